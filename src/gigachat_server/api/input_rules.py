r"""What only code checks of a request, as JSON Schema: patterns of texts, parameters and ids.

Idea: the structs of requests carry types, lengths and choices, which the decoder enforces. What is checked after it (a text that
is blank, a control character in an id, an address that is none) is told here, by struct and field, for the OpenAPI document
alone: nothing is refused because of this file. Invariant: what a rule refuses the server refuses, too, but where the rule says
in words that it is narrower; `tests/schema/test_input_rules.py` asks the server.

Patterns are ECMA 262, as JSON Schema has them: whitespace is spelt out, since `\s` differs between languages.
"""

from __future__ import annotations

import re
from typing import Any

from gigachat_server.access.scopes import SCOPES
from gigachat_server.api.routes import CHATBOT, CONVERSATION, CONVERSATIONS, UI_MESSAGES, UNANSWERED, USER

Schema = dict[str, Any]

_BLANK = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Blanks, and the marks around a text that do not count for what it asks.
_MARKS = _BLANK + (
    r"!\u0022'-*,.:;?\[\]_\u00a1\u00ab\u00bb\u00bf\u037e\u061f\u2018\u2019\u201c\u201d\u2024-\u2026\u203c\u2047-\u2049"
    r"\u207d\u207e\u208d\u208e\u3002\ufe10\ufe12-\ufe16\ufe19\ufe30\ufe33-\ufe36\ufe47\ufe48\ufe4d-\ufe50\ufe52\ufe54-\ufe57"
    r"\ufe59\ufe5a\ufe61\uff01\uff02\uff07-\uff0a\uff0c\uff0e\uff1a\uff1b\uff1f\uff3b\uff3d\uff3f\uff61"
)
TEXT = r"^[^\u0000]*$"  # of every string in a body: JSON's NUL cannot be stored
_SAYS_SOMETHING = rf"^[^\u0000]*[^\u0000{_MARKS}][^\u0000]*$"
_NOT_BLANK = rf"^[^\u0000]*[^\u0000{_BLANK}][^\u0000]*$"
# What shows nothing, however much of it there is.
_UNSEEN = (
    rf"\u0000-\u001f\u007f-\u009f{_BLANK}\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U00013441\U00013442\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_SHOWS_SOMETHING = rf"^[^\u0000]*[^{_UNSEEN}][^\u0000]*$"
# What is never seen, or turns what follows. Joiners and variation selectors, which some scripts need, are left to the server.
_MISLEADING = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
)
_ONE_LINE = rf"^[^\u0000-\u0008\u000a-\u001f\u007f-\u009f{_MISLEADING}]+$"
_NAME = rf"^[^\u0000{_MISLEADING}]+$"
_SHOWN = rf"^[^\u0000-\u001f\u007f-\u009f{_MISLEADING}]+$"
_NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f]+$"
_HEADER = r"^[!-~¡-¬®-ÿ]([ -~¡-¬®-ÿ]*[!-~¡-¬®-ÿ])?$"

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
_H = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [
        f"({_H}:){{7}}{_H}",
        f"({_H}:){{1,7}}:",
        *(f"({_H}:){{1,{7 - tail}}}(:{_H}){{1,{tail}}}" for tail in range(1, 7)),
        f":(:{_H}){{1,7}}",
        "::",
        f"::([Ff]{{4}}:)?{_IPV4}",
    ]
)
_NETWORK = rf"^({_IPV4}(/([0-9]|[12][0-9]|3[0-2]))?|({_IPV6})(/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?)$"
_OF_NAMES = r"!\u0022$-)+\-.0-9;->A-~"
_HOSTNAME = rf"^(\*\.)?[!\u0022$-)+\-0-9;->A-~][{_OF_NAMES}]*$"
_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_URL = rf"^https?://({_LABEL}\.){{0,3}}[A-Za-z]([A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?([/?#][!#-;=?-\[\]_a-z~]*)?$"

CLIENT_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _NO_CONTROLS, "not": {"enum": [".", ".."]}}
_CONVERSATION_ID: Schema = {"pattern": _NO_CONTROLS, "not": {"enum": [".", ".."]}}
_SHOWN_ID: Schema = {"pattern": _SHOWN, "not": {"enum": [".", ".."]}}
_NAMELESS = rf"[{_UNSEEN}]*(bot)?[{_UNSEEN}]*$"
_SPEAKER: Schema = {"pattern": _SHOWN, "not": {"anyOf": [{"enum": [".", ".."]}, {"pattern": rf"^client:{_NAMELESS}"}]}}
_USER: Schema = {"pattern": _SHOWN, "not": {"anyOf": [{"enum": [".", ".."]}, {"pattern": "^client:"}]}}
_USER_OR_NONE: Schema = {"maxLength": 255, **_USER, "pattern": rf"^{_SHOWN[1:-2]}*$"}
_NAMED_USER: Schema = {"pattern": _SHOWN, "not": {"anyOf": [{"enum": [".", ".."]}, {"pattern": "^([Cc]lient|[Aa]non):"}]}}
_OPERATOR: Schema = {
    "pattern": rf"^(client:)?{_SHOWN[1:-2]}{{1,248}}$",  # with the prefix it is a user_id
    "not": {"pattern": rf"^(client:)?{_NAMELESS}"},
}
OPERATOR: Schema = {"type": "string", "minLength": 1, "maxLength": 255, **_OPERATOR}
OPERATOR_OR_NONE: Schema = {"anyOf": [{"const": ""}, OPERATOR]}
_DOCUMENT_NAME: Schema = {"pattern": _ONE_LINE}


# By struct and field; of a list, about each of its items.
FIELDS: dict[tuple[str, str], Schema] = {
    ("PromptInput", "conversation_id"): _CONVERSATION_ID,
    ("PromptInput", "user_id"): _SPEAKER,
    ("TakeoverInput", "operator"): _OPERATOR,
    ("ConversationChange", "assigned_to"): _OPERATOR,
    ("NoteInput", "operator"): _OPERATOR,
    ("NoteInput", "content"): {"pattern": _SHOWS_SOMETHING},
    ("SendInput", "operator"): _OPERATOR,
    ("SendInput", "content"): {"pattern": _SHOWS_SOMETHING},
    ("DiscardInput", "operator"): _OPERATOR,
    ("CannedReplyInput", "shortcut"): {"pattern": "^/?[0-9A-Za-z][0-9A-Za-z_-]{0,63}$"},
    ("CannedReplyInput", "content"): {"pattern": _SHOWS_SOMETHING},
    ("ReplayInput", "conversation_ids"): _CONVERSATION_ID,
    ("EndUserPrompt", "conversation_id"): _CONVERSATION_ID,
    ("EndUserPrompt", "user_id"): _SPEAKER,
    ("SessionInput", "user_id"): _NAMED_USER,
    ("SessionInput", "conversation_ids"): _CONVERSATION_ID,
    ("ProfileInput", "name"): _SHOWN_ID,
    ("ProfileInput", "email"): _SHOWN_ID,
    ("IdentityKeyInput", "name"): {"pattern": _NAME},
    ("WidgetKeyInput", "name"): {"pattern": _NAME},
    ("WidgetKeyInput", "hostnames"): {"pattern": _HOSTNAME},
    ("UIChatInput", "id"): _CONVERSATION_ID,
    ("UIChatInput", "messages"): {"items": {}},
    ("UIChatInput", "user_id"): _USER,
    ("ChatInput", "user"): _USER_OR_NONE,
    ("ResponseInput", "user"): _USER_OR_NONE,
    ("ConversationReference", "id"): CLIENT_ID,
    ("DocumentInput", "name"): _DOCUMENT_NAME,
    ("DocumentInput", "content"): {"minLength": 1, "pattern": _NOT_BLANK},
    ("FixedAnswerInput", "prompts"): {"pattern": _SAYS_SOMETHING},
    ("FixedAnswerInput", "answer"): {"pattern": _SAYS_SOMETHING},
    ("AnswerInput", "answer"): {"pattern": _SAYS_SOMETHING},
    ("AnswerInput", "prompts"): {"pattern": _SAYS_SOMETHING},
    ("ChatbotInput", "name"): {"pattern": _NAME},
    ("KeyInput", "name"): {"pattern": _NAME},
    ("KeyInput", "scopes"): {"enum": list(SCOPES)},
    ("SiteInput", "url"): {"pattern": _URL},
    ("RestrictionsConfig", "ip_addresses"): {"pattern": _NETWORK},
    ("RestrictionsConfig", "hostnames"): {"pattern": _HOSTNAME},
}
_NONE_OF_THEM: Schema = {"anyOf": [{"type": "array", "items": {}, "maxItems": 0}, {"type": "null"}]}
_AS_TEXT: Schema = {"type": "object", "properties": {"type": {"type": "string", "enum": ["text"]}}}
_TEXT_OR_NONE: Schema = {"anyOf": [_AS_TEXT, {"type": "null"}]}
_TRUE_OR_NONE: Schema = {"anyOf": [{"type": "boolean", "const": True}, {"type": "null"}]}
_FALSE_OR_NONE: Schema = {"anyOf": [{"type": "boolean", "const": False}, {"type": "null"}]}
_ZERO_OR_NONE: Schema = {"anyOf": [{"type": "integer", "const": 0}, {"type": "null"}]}
_EMBEDDED: Schema = {"type": "string", "minLength": 1, "maxLength": 32_000, "pattern": _NOT_BLANK}
# By struct and field: all that is taken, where the struct leaves open what its handler refuses.
TAKEN: dict[tuple[str, str], Schema] = {
    ("ChatInput", "tools"): _NONE_OF_THEM,
    ("ChatInput", "functions"): _NONE_OF_THEM,
    ("ChatInput", "response_format"): _TEXT_OR_NONE,
    ("ChatInput", "modalities"): {
        "anyOf": [{"type": "array", "items": {"type": "string", "enum": ["text"]}, "minItems": 1}, {"type": "null"}]
    },
    ("ChatInput", "audio"): {"type": "null"},
    ("ChatInput", "web_search_options"): {"type": "null"},
    ("ChatInput", "logprobs"): _FALSE_OR_NONE,
    ("ChatInput", "top_logprobs"): _ZERO_OR_NONE,
    ("ChatInput", "store"): _TRUE_OR_NONE,
    ("ResponseInput", "input"): {
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": 32_000, "pattern": _SHOWS_SOMETHING},
            {"type": "array", "items": {}, "minItems": 1},
        ]
    },
    ("ResponseInput", "conversation"): {
        "anyOf": [CLIENT_ID, {"type": "object", "properties": {"id": CLIENT_ID}, "required": ["id"]}, {"type": "null"}]
    },
    ("ResponseInput", "tools"): _NONE_OF_THEM,
    ("ResponseInput", "text"): {
        "anyOf": [{"type": "object", "properties": {"format": _TEXT_OR_NONE}}, {"type": "null"}],
    },
    ("ResponseInput", "prompt"): {"type": "null"},
    ("ResponseInput", "top_logprobs"): _ZERO_OR_NONE,
    ("ResponseInput", "background"): _FALSE_OR_NONE,
    ("ResponseInput", "store"): _TRUE_OR_NONE,
    ("ConversationInput", "items"): _NONE_OF_THEM,
    ("EmbeddingInput", "input"): {"anyOf": [_EMBEDDED, {"type": "array", "items": _EMBEDDED, "minItems": 1, "maxItems": 64}]},
}
_NOT_THE_BOT = "What only looks like `bot` is refused."
# What no schema of one field can say, as words behind what the field means.
NOTES: dict[tuple[str, str], str] = {
    ("PromptInput", "user_id"): f"What only looks like the prefix, such as `Client:`, is refused. {_NOT_THE_BOT}",
    ("TakeoverInput", "operator"): _NOT_THE_BOT,
    ("ConversationChange", "assigned_to"): (
        f"{_NOT_THE_BOT} Where the account has operators, it takes the handle of one who may answer there."
    ),
    ("CannedReplyInput", "shortcut"): (
        "The pattern is what it takes in ASCII: letters and digits of other scripts are taken, too. Stored in lower case."
    ),
    ("EndUserPrompt", "user_id"): "What only looks like the prefix `client:`, such as `Client:`, is refused.",
    ("EndUserPrompt", "metadata"): "No string of it holds NUL, and it is nested 32 deep at most.",
    ("SessionInput", "user_id"): "What only looks like these prefixes is refused, too.",
    ("ProfileInput", "metadata"): "No string of it holds NUL, and it is nested 32 deep at most.",
    ("IdentityKeyInput", "public_key"): "Left out with HS256, required with the others.",
    ("WidgetKeyInput", "hostnames"): "Write names that are not ASCII as `xn--...`.",
    ("PromptInput", "metadata"): "No string of it holds NUL, and it is nested 32 deep at most.",
    ("UIChatInput", "messages"): "It is the user's, has a list of `parts`, and text in them.",
    ("UIChatInput", "user_id"): "None of your staff's, which begin with `client:`.",
    ("ChatInput", "user"): "Where `metadata.user_id` says it, this may be any text.",
    ("ResponseInput", "user"): "Where `metadata.user_id` says it, this may be any text.",
    ("ResponseInput", "previous_response_id"): "The newest of its conversation; not together with `conversation`.",
    ("DocumentInput", "content"): "At most as many characters as the server's GIGACHAT_MAX_DOCUMENT_CHARACTERS.",
    ("SiteInput", "url"): (
        "The pattern is what every server takes; addresses of the public internet, names that are not ASCII, and the ports of "
        "GIGACHAT_FETCH_PORTS are taken, too."
    ),
    ("RestrictionsConfig", "hostnames"): "Write names that are not ASCII as `xn--...`.",
    ("ReplayInput", "unanswered"): "Not together with `conversation_ids`.",
    ("ReplayInput", "config"): "No other `text_splitter` than the chatbot has: documents are not cut anew for this.",
    ("TextSplitterConfig", "chunk_size"): "More than chunk_overlap.",
}
# What no field alone can say, by struct.
WHOLE: dict[str, Schema] = {
    "ConversationChange": {
        "not": {
            "anyOf": [
                {
                    "properties": {"status": {"const": "snoozed"}, "snoozed_until": {"type": "null"}},
                    "required": ["status"],
                },
                {
                    "properties": {"status": {"enum": ["open", "closed"]}, "snoozed_until": {"type": "string"}},
                    "required": ["snoozed_until"],
                },
            ]
        }
    },
    "IdentityKeyInput": {
        "not": {
            "anyOf": [
                {
                    "properties": {"algorithm": {"const": "HS256"}, "public_key": {"type": "string"}},
                    "required": ["algorithm", "public_key"],
                },
                {
                    "properties": {"algorithm": {"not": {"const": "HS256"}}, "public_key": {"type": "null"}},
                    "required": ["algorithm"],
                },
            ]
        }
    },
    "ReplayInput": {
        "not": {
            "properties": {"unanswered": {"const": True}, "conversation_ids": {"type": "array", "minItems": 1}},
            "required": ["unanswered", "conversation_ids"],
        }
    },
    "ResponseInput": {
        "not": {
            "properties": {"conversation": {"type": ["string", "object"]}, "previous_response_id": {"type": "string"}},
            "required": ["conversation", "previous_response_id"],
        }
    },
}

_SEQ = r"^[0-9]{1,18}$"
_PLACE = r"^[0-9]{1,18}(\.[0-9]{1,18})?$"
# A cursor is "<microseconds> <id>" in base64: sixteen digits, a space, and what may stand there.
_THREE_DIGITS = "([MN][DTjz]|O[DT])[AEIMQUYcgk][w-z0-5]"
_DIGIT_AND_SPACE = "([MN][CSiy]|O[CS])"
_OF_MOMENTS = f"^({_THREE_DIGITS}){{5}}{_DIGIT_AND_SPACE}A$"
_UUID_CHARACTERS = "[LMNOYZ][2CDGSTWijmyz][01ABEFIJMNQRUVYZcdghkl]"
_OF_IDS = f"^({_THREE_DIGITS}){{5}}{_DIGIT_AND_SPACE}[AB][0-5h-mt-z]({_UUID_CHARACTERS}[0-5h-mt-z]){{11}}{_UUID_CHARACTERS}$"
_OF_CLIENT_IDS = f"^({_THREE_DIGITS}){{5}}{_DIGIT_AND_SPACE}[A-D][0-9A-Za-z_-]+$"

_ITEM: Schema = {"type": "string", "pattern": "^msg_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"}

QUERY: dict[str, Schema] = {"query": {"type": "string", "minLength": 1, "maxLength": 32_000, "pattern": _NOT_BLANK}}
# Where a page or a stream starts, by path; elsewhere `after` may be anything that the `Link` header says.
AFTER: dict[str, Schema] = {
    CONVERSATION + "/messages": {"type": "string", "pattern": _SEQ},
    CONVERSATION + "/events": {"type": "string", "pattern": _SEQ},
    UI_MESSAGES: {"type": "string", "pattern": _SEQ},
    CHATBOT + "/events": {"type": "string", "pattern": _OF_MOMENTS},
    CONVERSATIONS: {"type": "string", "pattern": _OF_CLIENT_IDS},
    CHATBOT + "/search": {"type": "string", "pattern": _OF_IDS},
    UNANSWERED: {"type": "string", "pattern": _OF_IDS},
    "/audit": {"type": "string", "pattern": _OF_IDS},
    **{mount + "/conversations/{conversation_id}/items": _ITEM for mount in ("/v1", CHATBOT + "/v1")},
    "/api-keys": {"type": "string", "pattern": _OF_IDS},
}
LAST_EVENT_ID: dict[str, Schema] = {
    CONVERSATION + "/events": {"type": "string", "pattern": _PLACE},
    CHATBOT + "/events": AFTER[CHATBOT + "/events"],
}
IDEMPOTENCY_KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _HEADER}
PATH: dict[str, Schema] = {"conversation_id": CLIENT_ID, "user_id": {**CLIENT_ID, **_USER}}
# Where a segment takes more than elsewhere: what staff said is deleted, too.
PATH_OF: dict[tuple[str, str], dict[str, Schema]] = {("DELETE", USER): {"user_id": CLIENT_ID}}
DOCUMENT_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 1024, **_DOCUMENT_NAME}


def is_full_match(schema: Schema, text: str) -> bool:
    """Whether the text is one that the rule lets through."""
    refused = schema.get("not", {})
    alternatives = refused.get("anyOf", [refused])
    return _matches(schema.get("pattern", ""), text) and not any(
        text in each.get("enum", ()) or ("pattern" in each and _matches(each["pattern"], text)) for each in alternatives
    )


def _matches(pattern: str, text: str) -> bool:
    """As in ECMA 262, where a line break at the end is a character like others."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), text) is not None
