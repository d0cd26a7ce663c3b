"""Who speaks: the ids that clients make up, and which of them stand for the client's own staff.

Invariant: an id has one form (NFC) wherever it is stored or compared, speakers whose ids differ look
different, and only the exact prefix `client:` makes an operator: what looks like it is refused.
"""

from __future__ import annotations

import unicodedata

from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.language.blank import is_blank
from gigachat_server.language.invisible import has_misleading
from gigachat_server.language.lookalikes import skeleton

CLIENT_PREFIX = "client:"
ANONYMOUS_PREFIX = "anon:"
_MISLEADING = "Must not contain invisible characters or marks of direction."
_PREFIX_AS_SEEN = skeleton(CLIENT_PREFIX)
_ANONYMOUS_AS_SEEN = skeleton(ANONYMOUS_PREFIX)
_BOT_AS_SEEN = skeleton("bot")


def client_defined_id(text: str, field: str) -> str:
    """An id that a client made up, any string by contract, in the one form (NFC) it is compared in. Raises `InvalidRequest`."""
    is_plain = text.isascii() and text.isprintable()  # as nearly all are: there is one form of it, and no control character
    if not is_plain:
        text = unicodedata.normalize("NFC", text)
    if not 1 <= len(text) <= 255:
        raise InvalidRequest(errors=(FieldError(field, "Must have 1 to 255 characters."),))
    if text in (".", ".."):
        raise InvalidRequest(errors=(FieldError(field, "Must not be '.' or '..': clients rewrite such paths."),))
    if not is_plain and any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise InvalidRequest(errors=(FieldError(field, "Must not contain control characters."),))
    return text


def shown_name(text: str, field: str) -> str:
    """What a speaker, a chatbot or a key is called: shown as what it is. Raises `InvalidRequest`."""
    if has_misleading(text):
        raise InvalidRequest(errors=(FieldError(field, _MISLEADING),))
    return text


def document_name(text: str, field: str) -> str:
    """What a document is called: shown in one line, too. Raises `InvalidRequest`."""
    if "\0" in text:
        raise InvalidRequest(errors=(FieldError(field, "Must not contain NUL characters."),))
    if not text.isprintable() and any(unicodedata.category(each) == "Cc" and each != "\t" for each in text):
        raise InvalidRequest(errors=(FieldError(field, "Must not contain line breaks or control characters."),))
    return shown_name(text, field)


def speaker_id(text: str, field: str) -> str:
    """A user_id. What merely looks like the `client:` prefix is refused: no spelling passes for staff."""
    text = shown_name(client_defined_id(text, field), field)
    if text.startswith(CLIENT_PREFIX):
        name = text.removeprefix(CLIENT_PREFIX)
        if name.strip() == "bot" or (not name.isascii() and skeleton(name) == _BOT_AS_SEEN):
            raise InvalidRequest(errors=(FieldError(field, "Must name a person: 'bot' is the chatbot."),))
        if is_blank(name):
            raise InvalidRequest(errors=(FieldError(field, "Name who of the client speaks: client:support_staff_01."),))
        return text
    if skeleton(text).startswith(_PREFIX_AS_SEEN):
        raise InvalidRequest(errors=(FieldError(field, "Looks like the prefix client: but is not it."),))
    return text


def end_user_id(text: str, field: str) -> str:
    """The user_id of a user whom the client's server names: neither staff nor an anonymous visitor. Raises `InvalidRequest`."""
    text = speaker_id(text, field)
    if text.startswith(CLIENT_PREFIX):
        raise InvalidRequest(errors=(FieldError(field, "Must name an end user: client: stands for your staff."),))
    if skeleton(text).startswith(_ANONYMOUS_AS_SEEN):
        raise InvalidRequest(errors=(FieldError(field, "Must not begin with anon:, as the ids of anonymous visitors do."),))
    return text


def operator_name(text: str, field: str) -> str:
    """The name of an operator, with or without the prefix: one who takes over can also speak, as `client:` and that name."""
    name = text.removeprefix(CLIENT_PREFIX)
    return speaker_id(CLIENT_PREFIX + name, field).removeprefix(CLIENT_PREFIX)
