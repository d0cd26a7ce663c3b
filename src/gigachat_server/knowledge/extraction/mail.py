"""Mail (.eml) and saved pages (.mht): subject, sender, date, body and attachments.

Idea: each attachment is read once, as a file of its format, under a heading with its name; so is an attached message.
Invariant: a warning names each attachment that cannot be read; nesting of messages is bounded.
"""

from __future__ import annotations

import email
import email.policy
from typing import Any, cast

from gigachat_server.errors import DocumentFailed
from gigachat_server.knowledge.extraction.decoding import decode
from gigachat_server.knowledge.extraction.extracted import FileText, TextWriter, one_line
from gigachat_server.knowledge.extraction.kinds import kind_of
from gigachat_server.records import WarningCode

_HEADERS = ("From", "To", "Cc", "Date")
_DEEPEST = 3
_MOST_ATTACHMENTS = 100
_ALTERNATIVES = ("text/html", "text/plain")


def read_mail(data: bytes, most: int) -> FileText:
    writer = TextWriter(most)
    message = email.message_from_bytes(data, policy=email.policy.default)
    title = _write(writer, message, most, _DEEPEST)
    return writer.done(title)


def _write(writer: TextWriter, message: Any, most: int, depth: int) -> str | None:
    title = one_line(_header(message, "Subject") or _header(message, "Snapshot-Content-Location"))
    is_page = message.get_content_type() == "multipart/related" and message.get("Snapshot-Content-Location") is not None
    if not is_page:
        if title:
            writer.heading(1 if depth == _DEEPEST else 2, title)
        told = [f"{name}: {one_line(value)}" for name in _HEADERS if (value := _header(message, name))]
        writer.block("\n".join(told))
    body = _body(message)
    if body is not None:
        _write_text(writer, body)
    attachments = [part for part in _leaves(message) if part is not body and _is_attached(part, body)]
    for part in attachments[:_MOST_ATTACHMENTS]:
        _attached(writer, part, most, depth)
    if len(attachments) > _MOST_ATTACHMENTS:
        writer.warnings.add("attachments_skipped", count=len(attachments) - _MOST_ATTACHMENTS)
    return title or None


def _header(message: Any, name: str) -> str:
    try:
        return str(message.get(name, ""))
    except (ValueError, IndexError, AttributeError, TypeError, LookupError):  # what the library raises for headers that are none
        return next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")


def _body(message: Any) -> Any:
    """The part with what it says: as a page where it is one, which says more than its text alone."""
    leaves = [part for part in _leaves(message) if part.get_content_disposition() != "attachment"]
    for kind in _ALTERNATIVES:
        for part in leaves:
            if part.get_content_type() == kind and _bytes_of(part).strip():
                return part
    return None


def _leaves(message: Any, depth: int = 20) -> list[Any]:
    if not message.is_multipart() or message.get_content_type() == "message/rfc822" or depth == 0:
        return [message]
    return [leaf for part in message.iter_parts() for leaf in _leaves(part, depth - 1)]


def _is_attached(part: Any, body: Any) -> bool:
    """What stands for the body in another form, or is shown within it, is not."""
    if part.get_content_disposition() == "attachment" or part.get_content_type() == "message/rfc822":
        return True
    if part.get_content_type() in _ALTERNATIVES and not part.get_filename():
        return body is not None and part.get_content_type() == body.get_content_type() and part.get("Content-Location") is None
    is_within = part.get("Content-ID") is not None or part.get("Content-Location") is not None
    return not is_within and part.get_filename() is not None


def _bytes_of(part: Any) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _write_text(writer: TextWriter, part: Any) -> None:
    from gigachat_server.knowledge.extraction.html import write_page

    text = decode(_bytes_of(part), declared=part.get_content_charset(), warnings=writer.warnings)
    if part.get_content_type() == "text/html":
        write_page(writer, text)
    else:
        writer.block(text.replace("\r\n", "\n"))


def _attached(writer: TextWriter, part: Any, most: int, depth: int) -> None:
    from gigachat_server.knowledge.extraction.child import read

    name = one_line(part.get_filename() or "") or part.get_content_type()
    try:
        if depth <= 1:
            raise DocumentFailed
        if (inner := _message_in(part, name)) is not None:
            writer.heading(2, name)
            _write(writer, inner, most, depth - 1)
            return
        extracted = read(_bytes_of(part), name=name, media_type=part.get_content_type(), most_characters=most)
    except DocumentFailed:
        writer.warnings.add("attachments_skipped", name)
        return
    writer.heading(2, name)
    writer.block(extracted.text)
    for warning in extracted.warnings:
        where = f"{name}: {warning.where}" if warning.where else name
        writer.warnings.add(cast(WarningCode, warning.code), where, count=warning.count)


def _message_in(part: Any, name: str) -> Any:
    """The attached message, in either form; None if the attachment is something else."""
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        return inner[0] if isinstance(inner, list) and inner else None
    data = _bytes_of(part)
    if kind_of(data, name=name, media_type=part.get_content_type()) != "mail":
        return None
    return email.message_from_bytes(data, policy=email.policy.default)
