"""Who speaks: the ids that clients make up, and which of them stand for the client's own staff.

Invariant: an id has one form (NFC) wherever it is stored or compared, and only the exact prefix `client:` makes an operator.
"""

from __future__ import annotations

import unicodedata

from gigachat_server.errors import FieldError, InvalidRequest

CLIENT_PREFIX = "client:"
_LOOKALIKE_SPACES = {"Cf", "Zs", "Cc", "Mn"}


def client_defined_id(text: str, field: str) -> str:
    """An id that a client made up, in the one form (NFC) it is compared in. Raises `InvalidRequest`."""
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


def speaker_id(text: str, field: str) -> str:
    """A user_id. What merely looks like the `client:` prefix is refused: no spelling passes for staff."""
    text = client_defined_id(text, field)
    if text.startswith(CLIENT_PREFIX):
        name = text.removeprefix(CLIENT_PREFIX)
        if unicodedata.normalize("NFKC", name).strip() == "bot":
            raise InvalidRequest(errors=(FieldError(field, "Must name a person: 'bot' is the chatbot."),))
        if any(unicodedata.category(c) not in _LOOKALIKE_SPACES for c in name):
            return text
        raise InvalidRequest(errors=(FieldError(field, "Name who of the client speaks: client:support_staff_01."),))
    if _as_seen(text).startswith(CLIENT_PREFIX):
        raise InvalidRequest(errors=(FieldError(field, "Looks like the prefix client: but is not it."),))
    return text


def operator_name(text: str, field: str) -> str:
    """The name of an operator, with or without the prefix: one who takes over can also speak, as `client:` and that name."""
    name = text.removeprefix(CLIENT_PREFIX)
    return speaker_id(CLIENT_PREFIX + name, field).removeprefix(CLIENT_PREFIX)


def _as_seen(text: str) -> str:
    """Without what cannot be seen, and in one form of what looks alike. For texts without control characters."""
    if text.isascii():
        return text.lower().replace(" ", "")
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in unicodedata.normalize("NFKD", folded) if unicodedata.category(c) not in _LOOKALIKE_SPACES)
