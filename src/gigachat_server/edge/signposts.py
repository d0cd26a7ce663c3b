"""Which way to go instead, for a request that went nowhere: another address, another method, another way to send the key.

Invariant: what is said depends on the request and on the documented routes alone, never on what is stored, so it may be told to
a caller without a key.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from gigachat_server.access.bearers import API_KEY
from gigachat_server.edge.routes import AnyRoute

_VERSION = re.compile(r"v\d+(?:beta\d*)?|api|rest", re.IGNORECASE)
_SEND = "Send it as 'Authorization: Bearer <API_KEY>'."
_OTHER_HEADERS = ("x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token", "openai-api-key")
_OTHER_PARAMETERS = ("api_key", "apikey", "api-key", "key", "token", "access_token")
_PLACEHOLDER = re.compile(r"\$|[<{]|YOUR|xxx", re.IGNORECASE)
_OTHER_PAGES = ("page", "offset", "cursor", "starting_after", "per_page", "page_size", "count", "size")
_PARAMETER = re.compile(r"(?:^|&)([^=&]+)")
_KEY_LENGTH = 50
_NOUNS = {
    "chatbot_id": "chatbot", "document_id": "document", "site_id": "site", "conversation_id": "conversation",
    "message_id": "message", "prompt_id": "unanswered prompt", "fixed_answer_id": "fixed answer", "key_id": "API key",
    "user_id": "user",
}  # fmt: skip


# --- addresses ---


def other_address(segments: Sequence[str], templates: Iterable[str], *, root: str) -> str:
    """What to ask for instead of a path, split at its slashes, that no template has. `root`: the path of the public address."""
    none = f"This is none of the documented addresses; {root}/docs lists them."
    known = {template: template.split("/")[1:] for template in templates}
    faults, parts = [], [*segments[1:]]
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
        faults = ["leave out the slash at the end"]
    if "" in parts and len(parts) > 1:
        faults.append("between two slashes something is missing, perhaps an id")
    elif parts and _VERSION.fullmatch(parts[0]) and len(parts) > 1 and not _nearest(parts, known):
        faults.append(f"leave out the /{parts[0]} in front")
        parts = parts[1:]
    near = _nearest(parts, known)
    if near and not faults:
        return f"{none} Did you mean {root}{near}?"
    if faults:
        instead = f"; it is {root}{near}" if near else ""
        return f"{none} {' and '.join(faults).capitalize()}{instead}."
    if versioned := _with_version(parts, known):
        return f"{none} OpenAI's clients need /v1 at the end of their base URL: {root}{versioned}."
    return none


def _with_version(parts: Sequence[str], known: Mapping[str, Sequence[str]]) -> str:
    """The template that has /v1 in front of these parts, or behind a chatbot, and is the same otherwise; empty if none is."""
    for tried in (["v1", *parts], [*parts[:2], "v1", *parts[2:]]):
        for template, words in known.items():
            if (
                "v1" in words
                and len(words) == len(tried)
                and all(word.startswith("{") or word == part for word, part in zip(words, tried, strict=True))
            ):
                return template
    return ""


def _nearest(parts: Sequence[str], known: Mapping[str, Sequence[str]]) -> str:
    """The template whose words are nearest to those of the path; empty if none is near."""
    best, found = 0.7, ""
    for template, words in known.items():
        if len(words) != len(parts):
            continue
        pairs = [(word, part) for word, part in zip(words, parts, strict=True) if not word.startswith("{")]
        likeness = min((_likeness(word, part) for word, part in pairs), default=0.0)
        if likeness > best:
            best, found = likeness, template
    return found


def _likeness(word: str, part: str) -> float:
    part = part.casefold().replace("_", "-")
    return difflib.SequenceMatcher(None, word, part[:64]).ratio()


def other_method(method: str, allowed: Iterable[str]) -> str:
    return f"{method[:20]} is not supported here; use {' or '.join(allowed)}."


def what_is_missing(route: AnyRoute, *, has_chatbot: bool, root: str) -> str:
    """Which of the things that the route names there may not be, the same for a foreign one and for none."""
    names = [_NOUNS.get(part[1:-1], part[1:-1]) for part in route.path.split("/") if part.startswith("{")]
    if route.chatbot_in is not None and not has_chatbot:
        return f"The account of this key has no chatbot with this id; GET {root}/chatbots lists those that it has."
    below = [name for name in names if name != "chatbot"]
    if not below:
        return "What was named does not exist, or belongs to another account."
    if route.chatbot_in is None:
        return f"The account of this key has no {below[0]} with this id."
    return (
        f"This chatbot has no {below[0]} with this id"
        + "".join(f", or that has no {each} with this id" for each in below[1:])
        + "."
    )


# --- keys ---


def why_no_key(headers: Mapping[str, str], raw_query: bytes) -> str:
    """What to do where no key was found."""
    sent = headers.get("authorization", "").strip()
    scheme, _, rest = sent.partition(" ")
    if sent and scheme.lower() == "bearer" and not rest.strip():
        return f"The header Authorization says Bearer, and no key follows. {_SEND}"
    if sent.startswith("gca_"):
        return f"In the header Authorization, the word Bearer is missing before the key. {_SEND}"
    if sent:
        return f"The header Authorization has another scheme than Bearer. {_SEND}"
    for name in _OTHER_HEADERS:
        if name in headers:
            return f"The header {name} is not read. {_SEND}"
    for name in _PARAMETER.findall(raw_query.decode("latin-1")):
        if name.casefold() in _OTHER_PARAMETERS:
            return f"A key in the address is not read, and ends up in logs. {_SEND}"
    if "gigachat_session=" in headers.get("cookie", ""):
        return f"The API does not read the cookie of the pages; it needs a key. {_SEND}"
    return f"No API key was sent. {_SEND}"


def why_refused(secret: str) -> str:
    """What may be wrong with a key that was sent: told from its form, and the same for unknown, revoked and expired ones."""
    if API_KEY.is_well_formed(secret):
        return "This API key was revoked, has expired, or was made by another server; `gigachat keys create` makes one."
    if secret.lower().startswith("bearer "):
        return f"The word Bearer was sent twice. {_SEND}"
    if secret[0] in "\"'`" or secret[-1] in "\"'`":
        return f"The API key stands in quotes; send it without them. {_SEND}"
    if secret.startswith("gca_") and len(secret) == _KEY_LENGTH:
        return "This API key has a typing error: its last characters do not fit the rest."
    if secret.startswith("gca_"):
        return f"This API key is not complete: a key has {_KEY_LENGTH} characters, and this has {len(secret)}."
    if len(secret) <= _KEY_LENGTH and _PLACEHOLDER.search(secret):  # what is longer, as a token is, may hold the like by chance
        return "This looks like a placeholder: put an API key in its place; `gigachat keys create` makes one."
    return "This server knows no such API key; those that `gigachat keys create` makes begin with gca_ and have 50 characters."


# --- queries ---


def unknown_parameter(name: str, allowed: Sequence[str]) -> str:
    if not allowed:
        return "Unknown query parameter. This call takes none."
    if name.casefold() in _OTHER_PAGES and {"limit", "after"} <= set(allowed):
        return "Unknown query parameter. Use limit, and follow the header Link, whose address has after."
    near = difflib.get_close_matches(name[:64].casefold(), allowed, 1, 0.6)
    if near:
        return f"Unknown query parameter. Did you mean {near[0]}?"
    return f"Unknown query parameter. This call takes {', '.join(allowed)}."
