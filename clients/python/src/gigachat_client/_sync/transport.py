# Made by tools/write_client_types.py: change the server, or that, and run `make docs`.
"""Sends calls until they are answered, and reads lists page by page and streams event by event."""

from __future__ import annotations

import random
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Generic, TypeVar

import httpx2
import msgspec

from gigachat_client.pausing import SyncPause, SyncTokens
from gigachat_client.problems import ApiError, GigachatError, NoAnswer
from gigachat_client.requests import Call, error_of, is_passing, next_query, read, wait_s
from gigachat_client.sse import EventParser, ServerEvent

T = TypeVar("T")

EVENTS = "text/event-stream"
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout)
_HOPELESS = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
_SILENCE_S = 45.0  # in a stream, where a ping comes every 15 s


class SyncTransport:
    """One server and one credential. `token` is asked for at the first call, and once more when it has expired."""

    def __init__(
        self, url: str, token: str | SyncTokens, *, http: httpx2.Client, tries: int, resume_s: float, pause: SyncPause
    ) -> None:
        self._url = url.rstrip("/")
        self._tokens = None if isinstance(token, str) else token
        self._token = token if isinstance(token, str) else None
        self._http = http
        self._tries = tries
        self._pause = pause
        self.resume_s = resume_s

    def close(self) -> None:
        self._http.close()

    def call(self, call: Call, kind: type[T] | None) -> T:
        """What the server answers. Raises `GigachatError`."""
        response = self._send(call)
        return decoded(response, kind)

    def page(self, call: Call, kind: type[list[T]]) -> tuple[list[T], Call | None]:
        """A page of a list, and the call for the next one."""
        response = self._send(call)
        query = next_query(response.headers.get("link", ""))
        return decoded(response, kind), None if query is None else call.after(query)

    def events(self, call: Call, *, place: str = "", most_errors: int | None = None) -> Generator[ServerEvent, None]:
        """The events of a stream, over as many connections as it takes, until `done`; JSON instead is one event `json`.

        A stream that breaks off goes on behind its last `id:`. Until it was sent it is tried as any call; after that, until
        nothing new came for `resume_s`. Raises the error that an event tells, or waits, for those that pass, and asks
        again, at most `most_errors` times. Raises `GigachatError`.
        """
        call = keyed(call)
        has_begun, has_new_token, number, waited_s, errors = False, False, 0, 0.0, 0
        while True:
            failure: GigachatError = NoAnswer(f"The stream of {call.path} broke off.")
            try:
                with closing(self._connection(call, place)) as events:
                    for event in events:
                        if event.name == "error":
                            errors += 1
                            raise error_of(0, event.data)
                        has_begun = True
                        if event.name != "start" or not place:  # it comes again with every connection, and is no news then
                            place, has_new_token, number, waited_s = event.place or place, False, 0, 0.0
                        yield event
                        if event.name in ("done", "json"):
                            return
            except GigachatError as error:
                failure = error
                if self._is_expired(error) and not has_new_token:
                    has_new_token, self._token = True, None
                    continue
                has_begun = has_begun or (isinstance(error, NoAnswer) and error.was_sent)
                is_over = not (isinstance(error, NoAnswer) or is_passing(error))
                if is_over or not has_begun or (most_errors is not None and errors > most_errors):
                    raise
            seconds = wait_s(number, 0.5 + random.random() / 2) or 0.0  # noqa: S311 - spreads, hides nothing
            number, waited_s = number + 1, waited_s + seconds
            if waited_s > self.resume_s:
                raise failure
            self._pause(seconds)

    def _connection(self, call: Call, place: str) -> Generator[ServerEvent, None]:
        """The events of one connection. It ends where that does, for whatever reason."""
        response = self._send(call, accept=EVENTS, place=place)
        try:
            if not response.headers.get("content-type", "").startswith(EVENTS):
                yield ServerEvent("json", response.read(), "")
                return
            parser = EventParser()
            for piece in response.iter_bytes():
                for event in parser.feed(piece):
                    yield event
        except httpx2.TransportError:
            return
        finally:
            response.close()

    def _send(self, call: Call, *, accept: str = "application/json", place: str = "") -> httpx2.Response:
        """A successful answer: whole, or the head of a stream. Raises `GigachatError`."""
        call = keyed(call)
        has_new_token, number, is_unknown = False, 0, False
        while True:
            retry_after = None
            try:
                response = self._http.send(self._request(call, accept, place), stream=True)
                if accept != EVENTS or not response.is_success:
                    response.read()
            except httpx2.TransportError as fault:
                is_unknown = is_unknown or not isinstance(fault, _NEVER_SENT)
                told = f"{call.method} {self._url}{call.path}: {fault or type(fault).__name__}"
                failure: GigachatError = NoAnswer(told, was_sent=is_unknown)
                if isinstance(fault, _HOPELESS) or (is_unknown and not call.is_repeatable):
                    raise failure from fault
            else:
                if response.is_success or (is_unknown and call.method == "DELETE" and response.status_code == 404):
                    return response
                failure, retry_after = error_of(response.status_code, response.content), response.headers.get("retry-after")
                if self._is_expired(failure) and not has_new_token:
                    has_new_token, self._token = True, None
                    continue
                if not is_passing(failure) or not call.is_repeatable:
                    raise failure
            seconds = wait_s(number, random.random(), retry_after)  # noqa: S311 - spreads, hides nothing
            number += 1
            if number >= self._tries or seconds is None:
                raise failure
            self._pause(seconds)

    def _request(self, call: Call, accept: str, place: str) -> httpx2.Request:
        if self._token is None and self._tokens is not None:
            self._token = self._tokens()
        headers = {"Authorization": f"Bearer {self._token}", "Accept": accept}
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = call.idempotency_key
        if place:
            headers["Last-Event-ID"] = place
        timeout = self._http.timeout
        if accept == EVENTS:
            timeout = httpx2.Timeout(connect=timeout.connect, read=_SILENCE_S, write=timeout.write, pool=timeout.pool)
        content, files = None, None
        if call.body is not None:
            content, headers["Content-Type"] = msgspec.json.encode(call.body), "application/json"
        if call.file is not None:
            files = {"file": (call.file.name, call.file.content)}
        url, parameters = self._url + call.path, call.parameters()
        return self._http.build_request(
            call.method, url, params=parameters, content=content, files=files, headers=headers, timeout=timeout
        )

    def _is_expired(self, error: GigachatError) -> bool:
        """Whether another token may help."""
        return self._tokens is not None and isinstance(error, ApiError) and error.code == "token_expired"


class SyncPages(Generic[T]):
    """The entries of a list, fetched page by page as you go through them, each time anew."""

    def __init__(self, transport: SyncTransport, call: Call, kind: type[list[T]]) -> None:
        self._transport = transport
        self._call = call
        self._kind = kind

    def __iter__(self) -> Iterator[T]:
        call: Call | None = self._call
        while call is not None:
            entries, call = self._transport.page(call, self._kind)
            for entry in entries:
                yield entry


def keyed(call: Call) -> Call:
    """With the key that all its tries share, if it is a POST."""
    if call.method != "POST" or call.idempotency_key is not None:
        return call
    return msgspec.structs.replace(call, idempotency_key=str(uuid.uuid4()))


def decoded(response: httpx2.Response, kind: type[T] | None) -> T:
    """The body as what it has to be. Raises `UnexpectedAnswer`."""
    if kind is None:
        return None  # type: ignore[return-value]
    return read(response.content, kind, status=response.status_code)
