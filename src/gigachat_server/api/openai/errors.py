"""Errors in OpenAI's form, with gigachat's codes. Both of its SDKs read `code`, `Retry-After` and `x-should-retry`.

Invariant: an error says the same here as on every other route; only the form and, for 422, the status differ.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from gigachat_server.edge.problem import problem_headers
from gigachat_server.errors import ConversationBusy, FieldError, GigachatError, InvalidRequest, ModelRejected

_encode = msgspec.json.Encoder().encode
_AS_SENT = "body"
_LONGEST_WAIT_S = 60  # when told to wait longer, clients do not: they ask again within seconds


class UnsupportedParameter(GigachatError):
    status = 400
    code = "unsupported_parameter"
    message = "What this parameter asks for is not done here, and to ignore it would promise something else."


class TaskNotAnswered(GigachatError):
    status = 400
    code = "task_not_answered"
    message = "Titles, tags and other tasks of a front end are no prompts: nothing was stored. Switch them off there."


class PreviousResponseNotFound(GigachatError):
    status = 400
    code = "previous_response_not_found"
    message = "There is no such response, or it belongs to somebody else."


def unsupported(param: str, told: str | None = None) -> UnsupportedParameter:
    return UnsupportedParameter(told, errors=(FieldError(param, told or UnsupportedParameter.message),))


def invalid(param: str, told: str) -> InvalidRequest:
    return InvalidRequest(errors=(FieldError(param, told),))


def document(error: GigachatError) -> dict[str, Any]:
    """The JSON of an error; in a stream it is the data of the last event."""
    param = next((each.field for each in error.errors if each.field != _AS_SENT), None)
    return {"error": {"message": told(error), "type": _type(error), "param": param, "code": error.code}}


def told(error: GigachatError) -> str:
    """What to do about it, for a person."""
    if error.detail is None and error.errors and isinstance(error, InvalidRequest):
        return " ".join(f"{each.field}: {each.message}" for each in error.errors)
    return error.detail or error.message


def render(error: GigachatError) -> Response:
    headers = problem_headers(error)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="gigachat"'
    if isinstance(error, ConversationBusy | ModelRejected) or (error.retry_after_s or 0) > _LONGEST_WAIT_S:
        headers["x-should-retry"] = "false"  # it would be the same again, or a prompt out of its turn
    return Response(_encode(document(error)), _status(error), headers, "application/json")


def _status(error: GigachatError) -> int:
    return 400 if error.status == 422 else error.status


def _type(error: GigachatError) -> str:
    if error.status == 403:
        return "permission_error"
    if error.status == 429:
        return "rate_limit_error"
    return "server_error" if error.status >= 500 else "invalid_request_error"
