"""Documents as MCP resources: `gigachat://chatbots/{chatbot_id}/documents/{document_id}`, to be listed and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gigachat_server.access.principal import Principal
from gigachat_server.access.scopes import Scope
from gigachat_server.clock import wire_time
from gigachat_server.errors import NotFound
from gigachat_server.ids import is_id
from gigachat_server.records import Chatbot, Document
from gigachat_server.store import documents
from gigachat_server.store.database import Database, Reader

SCHEME = "gigachat://"
TEMPLATE = SCHEME + "chatbots/{chatbot_id}/documents/{document_id}"
_PAGE = 100
_TYPE = "text/plain"


async def list_page(database: Database, principal: Principal, chatbot: Chatbot | None, cursor: str | None) -> dict[str, Any]:
    """The documents that can be searched: of the chatbot, or of all that the principal reaches."""
    if not principal.may(Scope.DOCUMENTS_READ):
        return {"resources": []}
    among = principal.reachable if chatbot is None else (chatbot.id,)
    after = _place(cursor)

    async def read(reader: Reader) -> Sequence[Document]:
        return await documents.list_ready(reader, principal.account_id, among=among, after=after, limit=_PAGE + 1)

    found = await database.read(read)
    listed: dict[str, Any] = {"resources": [_resource(each) for each in found[:_PAGE]]}
    if len(found) > _PAGE:
        last = found[_PAGE - 1]
        listed["nextCursor"] = f"{last.chatbot_id}:{last.id}"
    return listed


async def contents(database: Database, principal: Principal, chatbot: Chatbot, document_id: str) -> str:
    """The text of a document. Raises `NotFound`."""
    if not principal.may(Scope.DOCUMENTS_READ):
        raise NotFound

    async def read(reader: Reader) -> str:
        content = await documents.get_content(reader, chatbot.id, document_id)
        if content is None:
            raise NotFound
        return content

    return await database.read(read)


def ids_of(uri: Any) -> tuple[str, str]:
    """The chatbot's id and the document's. Raises `NotFound`."""
    parts = uri.removeprefix(SCHEME).split("/") if isinstance(uri, str) and uri.startswith(SCHEME) else []
    if len(parts) != 4 or (parts[0], parts[2]) != ("chatbots", "documents") or not (is_id(parts[1]) and is_id(parts[3])):
        raise NotFound
    return parts[1], parts[3]


def read_result(uri: str, text: str) -> dict[str, Any]:
    return {"contents": [{"uri": uri, "mimeType": _TYPE, "text": text}]}


def _resource(document: Document) -> dict[str, Any]:
    return {
        "uri": TEMPLATE.format(chatbot_id=document.chatbot_id, document_id=document.id),
        "name": document.name,
        "title": document.title or document.name,
        "mimeType": _TYPE,
        "annotations": {"lastModified": wire_time(document.updated_at)},
    }


def _place(cursor: str | None) -> tuple[str, str]:
    """Behind which chatbot and document a page begins. What is no cursor is one behind everything."""
    if cursor is None:
        return "", ""
    chatbot_id, _, document_id = cursor.partition(":")
    return chatbot_id, document_id
