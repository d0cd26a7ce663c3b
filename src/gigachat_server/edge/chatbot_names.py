"""Which chatbot a request means that names none by its id in the path: by its name, by one of its messages, or none at all.

Invariant: only the caller's own account is looked at, so a foreign chatbot's name looks like none. Whether the caller may
reach what is found, and from where, is checked behind this, in `frame.py`, as for every chatbot.
"""

from __future__ import annotations

from typing import Any

from gigachat_server.edge.request import Request
from gigachat_server.errors import ChatbotRequired, FieldError, GigachatError
from gigachat_server.ids import is_id
from gigachat_server.services import Services
from gigachat_server.store import chatbots
from gigachat_server.store.database import Reader

RESPONSE_PREFIX = "resp_"
_LONGEST_NAME = 255


class UnknownModel(GigachatError):
    status = 404
    code = "model_not_found"
    message = "No chatbot is called so: `model` is the id of a chatbot, or a name that one chatbot of the account has alone."


async def chatbot_called(request: Request[Any], services: Services) -> str:
    """The id of the chatbot that `model` stands for. Raises `UnknownModel`."""
    model = str(request.named.get("model") or getattr(request.body, "model", None) or "")
    if is_id(model):
        return model
    found = await _ids(request, services, name=model) if 0 < len(model) <= _LONGEST_NAME else []
    if len(found) != 1:
        several = "Several chatbots have this name; send the id of one." if found else None
        raise UnknownModel(several, errors=(FieldError("model", several or UnknownModel.message),))
    return found[0]


async def chatbot_of_response(request: Request[Any], services: Services) -> str:
    """The id of the chatbot that gave the response, or gives it; empty if there is none."""
    message_id = request.named["response_id"].removeprefix(RESPONSE_PREFIX)
    if not is_id(message_id):
        return ""
    return await services.chatbots.find_of_message(request.principal, message_id) or ""


async def only_chatbot(request: Request[Any], services: Services) -> str:
    """The id that the query names, or that of the account's only chatbot. Raises `ChatbotRequired`."""
    if (named := request.query.get("chatbot_id")) is not None:
        return named
    found = await _ids(request, services)
    if len(found) != 1:
        told = (
            "Say which chatbot: add ?chatbot_id=, or use /chatbots/{chatbot_id}/v1. Only an account of one chatbot needs neither."
        )
        raise ChatbotRequired(told, errors=(FieldError("chatbot_id", told),))
    return found[0]


async def _ids(request: Request[Any], services: Services, *, name: str | None = None) -> list[str]:
    async def read(reader: Reader) -> list[str]:
        return await chatbots.list_ids(reader, request.account_id, among=request.principal.reachable, name=name)

    return await services.database.read(read)
