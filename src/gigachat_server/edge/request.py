"""A request as handlers get it: whose it is, what it names and what it carries, all checked before.

`edge/frame.py` fills it in, step by step; nothing else writes to it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode

from starlette.types import Scope

from gigachat_server.access.principal import Principal
from gigachat_server.access.restrictions import Network, parse_address, peer_address
from gigachat_server.edge.routes import AnyRoute
from gigachat_server.errors import FieldError, InvalidRequest
from gigachat_server.ids import random_text
from gigachat_server.records import Chatbot
from gigachat_server.store.idempotency import IdempotencyRecord, Key, read_result

B = TypeVar("B")
D = TypeVar("D", bound=bool | None)
R = TypeVar("R")

_MOST_RANGES = 50  # of an Accept header that are looked at
_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class Authoriser(Protocol):
    async def authorise(self, request: Any) -> None:
        """Find out who is calling, and raise unless they may make this request."""

    async def open_chatbot(self, request: Any, chatbot_id: str, *, is_guarded: bool) -> None:
        """Have the request name this chatbot, and raise unless it is the caller's and its restrictions let them in."""


class Request(Generic[B]):
    """One request. `B` is the type of its body, None where none is read."""

    body: B

    def __init__(self, scope: Scope, authoriser: Authoriser, *, trusted: Sequence[Network]) -> None:
        """`trusted`: the proxies that are believed who is behind them."""
        self.method: str = scope["method"]
        self.path: str = scope["path"]  # decoded
        self.encoded_path: bytes = scope["raw_path"]
        self.root: str = scope.get("root_path", "")  # the path that the public address has: every link starts with it
        self.raw_path = self.root + self.encoded_path.decode("ascii", "replace")  # as the caller knows it
        self.raw_query: bytes = scope["query_string"]
        self.headers = plain_headers(scope)
        given = self.headers.get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else random_text(8)
        self.route: AnyRoute | None = None
        self.named: Mapping[str, str] = {}  # what the path names: {"chatbot_id": ...}
        self.query: Mapping[str, str] = {}
        self.caller: Principal | None = None
        self.named_chatbot: Chatbot | None = None
        self.is_read = False  # its body is
        self.body_sha256 = b""  # of the bytes that came, where the route needs to know them again
        self.file: Path | None = None  # of a form: where the bytes of its file are until this request is answered
        self.key: Key | None = None  # as which the caller knows this write
        self.kept: IdempotencyRecord | None = None  # what came of it when it was sent before
        self._authoriser = authoriser
        self._client: tuple[str, int] | None = scope.get("client")
        self._scheme: str = scope["scheme"]
        self._trusted = trusted

    @property
    def principal(self) -> Principal:
        """Who is calling."""
        assert self.caller is not None, "a public route asked who is calling"
        return self.caller

    @property
    def account_id(self) -> str:
        return self.principal.account_id

    @property
    def chatbot(self) -> Chatbot:
        """The chatbot that the request names: the caller's own, its restrictions checked where the route is guarded."""
        assert self.named_chatbot is not None, "a route that names no chatbot asked for it"
        return self.named_chatbot

    @functools.cached_property
    def peer(self) -> str | None:
        """From which address it comes, behind the proxies that are trusted."""
        client = self._client[0] if self._client else None
        return peer_address(client, self.headers.get("x-forwarded-for"), self._trusted)

    @functools.cached_property
    def origin(self) -> str:
        """Where the caller sees this server, such as `http://127.0.0.1:8000`. A trusted proxy may say that they speak https."""
        scheme, client = self._scheme, parse_address(self._client[0] if self._client else "")
        if client is not None and any(client in network for network in self._trusted):
            said = self.headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
            scheme = said if said in ("http", "https") else scheme
        host = self.headers.get("host", "")
        return f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost'}"

    @property
    def accepts_events(self) -> bool:
        """Whether the caller would rather have an event stream."""
        return prefers_events(self.headers.get("accept", ""))

    async def reauthorise(self) -> None:
        """For long answers: raises once the caller may not make this request any more."""
        await self._authoriser.authorise(self)

    async def open_chatbot(self, chatbot_id: str, *, is_guarded: bool) -> Chatbot:
        """For a body that says deep within which chatbot it is about. Raises `NotFound`, `HostnameRefused`, `AddressRefused`."""
        await self._authoriser.open_chatbot(self, chatbot_id, is_guarded=is_guarded)
        return self.chatbot

    def earlier(self, result: type[R]) -> R | None:
        """What the same request resulted in when it was sent before; None if this is the first time."""
        return None if self.kept is None else read_result(self.kept, result)


def plain_headers(scope: Scope) -> dict[str, str]:
    """By lower-case name. Of a repeated one all count, in their order (RFC 9110, 5.3): a proxy may add its own after ours."""
    values: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        values.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return {name: ", ".join(each) for name, each in values.items()}


# --- what the caller accepts ---


def prefers_events(accept: str) -> bool:
    """Whether an `Accept` header wants an event stream rather than JSON."""
    return prefers("text/event-stream", accept)


def prefers(media_type: str, accept: str) -> bool:
    """Whether an `Accept` header wants that rather than JSON (RFC 9110, 12.5.1): wanted as much, if it is named."""
    weights: dict[str, float] = {}
    for text in accept.lower().split(",", _MOST_RANGES)[:_MOST_RANGES]:
        media_range, *parameters = (part.strip() for part in text.split(";"))
        weights[media_range] = max(weights.get(media_range, 0.0), _weight(parameters))
    wanted, answer = _weight_of(media_type, weights), _weight_of("application/json", weights)
    return wanted > answer or (wanted == answer > 0 and media_type in weights)


def _weight_of(media_type: str, weights: Mapping[str, float]) -> float:
    """The most specific range that the type is in counts."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    return next((weights[each] for each in ranges if each in weights), 0.0)


def _weight(parameters: Sequence[str]) -> float:
    """0 to 1; what is no number does not count."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q" and _WEIGHT.fullmatch(value.strip()):
            return float(value)
    return 1.0


# --- queries ---


def parse_query(raw: bytes) -> dict[str, str]:
    """Of a repeated name the last counts."""
    try:
        return dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50))
    except (ValueError, UnicodeDecodeError):
        raise InvalidRequest(errors=(FieldError("query", "Cannot be decoded."),)) from None


def query_limit(query: Mapping[str, str], *, default: int = 50, most: int = 100) -> int:
    text = query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= most):
        raise InvalidRequest(errors=(FieldError("limit", f"Must be a whole number from 1 to {most}."),))
    return int(text)


def query_flag(query: Mapping[str, str], name: str, *, default: D) -> bool | D:
    text = query_choice(query, name, ("true", "false"))
    return default if text is None else text == "true"


def query_choice(query: Mapping[str, str], name: str, choices: Sequence[str]) -> str | None:
    text = query.get(name)
    if text is not None and text not in choices:
        raise InvalidRequest(errors=(FieldError(name, f"Must be {' or '.join(choices)}."),))
    return text


def next_link(request: Request[Any], after: str) -> dict[str, str]:
    """The header that names a further page of the list just answered."""
    from_query = {name: value for name, value in request.query.items() if name != "after"}
    return {"Link": f'<{request.raw_path}?{urlencode({**from_query, "after": after})}>; rel="next"'}


class Listed(Protocol):
    @property
    def id(self) -> str: ...


L = TypeVar("L", bound=Listed)


def page_of(request: Request[Any], found: Sequence[L]) -> tuple[Sequence[L], dict[str, str]]:
    """What the request wants of a list that is short enough to be read whole, and the header that names a further page."""
    limit, after = query_limit(request.query), request.query.get("after")
    first = next((place + 1 for place, each in enumerate(found) if each.id == after), 0 if after is None else len(found))
    page = found[first : first + limit]
    return page, next_link(request, page[-1].id) if len(found) > first + limit else {}
