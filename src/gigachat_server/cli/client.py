"""The API as the commands see it: over the local socket of the server on this data folder, or over HTTP with a key.

Idea: a command always talks to a server. If none runs, it starts one in its own process that listens only on the local socket
for as long as the command takes; so there is one way to do each thing, and two commands at once work too.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from gigachat_server.cli.output import note
from gigachat_server.errors import SetupError
from gigachat_server.ids import new_id
from gigachat_server.serving import local_socket
from gigachat_server.settings import Settings

T = TypeVar("T")

_STARTING_S = 5.0  # a server that starts has the lock before it listens
_ANSWER_S = 10.0
_TRIES = 6  # within some 15 s, in which a server starts again
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 10.0
_TRIED_AGAIN = (502, 503, 504)  # a proxy, or a server that is stopping, answers for one that is not there
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=_ANSWER_S)


class ApiProblem(SetupError):
    """The server refused; the text is the server's, for a person. Commands with many steps catch it and continue."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class _FieldProblem(msgspec.Struct):
    field: str
    message: str


class _Problem(msgspec.Struct):
    """What we read of a problem+json document."""

    code: str = "unknown"
    detail: str = ""
    errors: list[_FieldProblem] = []


class NamedId(msgspec.Struct):
    """What identifies a chatbot or a document."""

    id: str
    name: str


class Happening(msgspec.Struct, frozen=True):
    """A server-sent event; `place` is where to resume after it."""

    name: str
    data: Any
    place: str = ""


class _Trying:
    """How long to wait before the next attempt; `is_patient`: there always is one."""

    def __init__(self, *, is_patient: bool = False) -> None:
        self._is_patient = is_patient
        self._failed = 0

    def succeeded(self) -> None:
        self._failed = 0

    async def wait(self, error: SetupError) -> None:
        """Return when it is time to try again; raise the error if trying again is pointless."""
        is_final = isinstance(error, ApiProblem) and error.status not in _TRIED_AGAIN
        if is_final or (self._failed >= _TRIES and not self._is_patient):
            raise error
        if not self._failed:
            note("gigachat: the connection was lost; trying again ...")
        await asyncio.sleep(min(_FIRST_WAIT_S * 2**self._failed, _LONGEST_WAIT_S))
        self._failed += 1


class ApiClient:
    """Calls of the API. Every method raises `ApiProblem` if the server refuses, `SetupError` if there is no server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str, **query: str) -> Any:
        return (await self._call("GET", path, None, query))[0]

    async def post(self, path: str, body: Any = None, **query: str) -> Any:
        return (await self._call("POST", path, body, query))[0]

    async def post_once(self, path: str, body: Any = None, **query: str) -> Any:
        """Do it exactly once, even over a bad network: resend with the same `Idempotency-Key` until a server answers."""
        key, trying = new_id(), _Trying()
        while True:
            try:
                return (await self._call("POST", path, body, query, key=key))[0]
            except SetupError as error:
                await trying.wait(error)

    async def upload(self, path: str, file: Path, name: str) -> Any:
        """The file as a document of that name, once, as `post_once` does. Raises `OSError` where it cannot be read."""
        key, trying = new_id(), _Trying()
        while True:
            try:
                with file.open("rb") as content:
                    form = aiohttp.FormData()
                    form.add_field("name", name)
                    form.add_field("file", content, filename="file", content_type="application/octet-stream")
                    return (await self._sent("POST", path, form, {}, {"Idempotency-Key": key}))[0]
            except SetupError as error:
                await trying.wait(error)

    async def follow_document(self, path: str) -> AsyncIterator[Any]:
        """The document now and after each change, until it is ready or failed; reconnects when the connection breaks."""
        trying = _Trying(is_patient=True)
        while True:
            try:
                async with self._opened("GET", path, {"Accept": "text/event-stream"}) as response:
                    async for happening in _happenings(response):
                        if happening.name == "error":
                            raise ApiProblem(happening.data["status"], happening.data["code"], happening.data["detail"])
                        if happening.name == "done":
                            return
                        trying.succeeded()
                        yield happening.data
                raise SetupError("The connection to the server was lost.")
            except SetupError as error:
                await trying.wait(error)

    async def patch(self, path: str, body: Any) -> Any:
        return (await self._call("PATCH", path, body, {}))[0]

    async def put(self, path: str, body: Any) -> Any:
        return (await self._call("PUT", path, body, {}))[0]

    async def delete(self, path: str) -> None:
        await self._call("DELETE", path, None, {})

    async def list_all(self, path: str, **query: str) -> list[Any]:
        """Every page of a list."""
        found, query = [], {"limit": "100", **query}
        while True:
            page, following = await self._call("GET", path, None, query)
            found += page
            if following is None:
                return found
            query["after"] = following

    async def find_chatbot(self, name_or_id: str) -> NamedId:
        """The chatbot of that id, or the newest of that name. Raises `SetupError`."""
        chatbots = msgspec.convert(await self.list_all("/chatbots"), list[NamedId])
        for found in chatbots:
            if found.id == name_or_id:
                return found
        for found in chatbots:
            if found.name == name_or_id:
                return found
        known = ", ".join(sorted({chatbot.name for chatbot in chatbots})[:10]) or "there are none yet"
        raise SetupError(f"There is no chatbot {name_or_id!r} ({known}).")

    async def converse(self, path: str, body: Any) -> AsyncIterator[Happening]:
        """The events of a turn up to its last; from a chatbot that does not stream only `message`.

        Where the connection breaks before it, the prompt is sent again with the same `Idempotency-Key`: it is stored once,
        and told again from its start.
        """
        key, trying = new_id(), _Trying()
        while True:
            headers = {"Accept": "text/event-stream", "Idempotency-Key": key}
            try:
                async with self._opened("POST", path, headers, body=body) as response:
                    async for happening in _happenings(response):
                        yield happening
                        if happening.name in ("done", "error"):
                            return
                    if response.content_type != "text/event-stream":
                        return
                raise SetupError("The server ended the stream before the reply.")
            except SetupError as error:
                await trying.wait(error)

    async def follow(self, path: str, *, after: str) -> AsyncIterator[Happening]:
        """Every event from that place on, without end; a broken connection resumes where it was.

        Raises `ApiProblem` where there is nothing to follow any more.
        """
        trying = _Trying(is_patient=True)
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
            try:
                async with self._opened("GET", path, headers) as response:
                    async for happening in _happenings(response):
                        if happening.name == "error":
                            raise ApiProblem(happening.data["status"], happening.data["code"], happening.data["detail"])
                        trying.succeeded()
                        after = happening.place or after
                        yield happening
                raise SetupError("The connection to the server was lost.")
            except SetupError as error:
                await trying.wait(error)

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, headers: dict[str, str], *, body: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        query = {"embedding": "false"}
        try:
            async with self._session.request(method, path, json=body, params=query, headers=headers) as response:
                if response.status >= 400:
                    raise _problem(response.status, await response.read())
                yield response
        except aiohttp.ClientError as error:
            raise _lost(error) from None

    async def _call(self, method: str, path: str, body: Any, query: dict[str, str], *, key: str = "") -> tuple[Any, str | None]:
        """The decoded answer, and where its next page starts."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        return await self._sent(method, path, None if body is None else msgspec.json.encode(body), query, headers)

    async def _sent(
        self, method: str, path: str, data: Any, query: dict[str, str], headers: dict[str, str]
    ) -> tuple[Any, str | None]:
        try:
            async with self._session.request(method, path, data=data, params=query, headers=headers) as response:
                raw = await response.read()
                following = response.links["next"]["url"] if "next" in response.links else None
        except aiohttp.ClientError as error:
            raise _lost(error) from None
        if response.status >= 400:
            raise _problem(response.status, raw)
        try:
            answer = msgspec.json.decode(raw) if raw else None
        except msgspec.DecodeError:
            raise SetupError(f"The server at {response.url.origin()} is not gigachat.") from None
        return answer, URL(following).query.get("after") if following else None


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[ApiClient]:
    """The API of the gigachat on this data folder, as its operator, acting for `settings.account`."""
    async with AsyncExitStack() as stack:
        path = await _have_a_server(settings, stack)
        name = stack.enter_context(local_socket.short_name(path))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                "http://localhost",
                connector=aiohttp.UnixConnector(name, limit=0),
                headers={"X-Gigachat-Account": quote(settings.account)},
                timeout=_TIMEOUT,
            )
        )
        client = ApiClient(session)
        try:
            async with asyncio.timeout(_ANSWER_S):
                await client.get("/livez")
        except TimeoutError:
            raise SetupError(_unanswered(settings)) from None
        yield client


@asynccontextmanager
async def connected_to(url: str, key: str) -> AsyncIterator[ApiClient]:
    """The API of a server elsewhere."""
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0), headers=headers, timeout=_TIMEOUT) as session:
        yield ApiClient(session)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(main)


async def _have_a_server(settings: Settings, stack: AsyncExitStack) -> Path:
    """Ensure that a server answers this local socket until the stack is closed."""
    if settings.database_url:
        own = stack.enter_context(_own_folder(settings)) / "gigachat.sock"
        await stack.enter_async_context(_in_process(settings, own))
        return own
    give_up_at = time.monotonic() + _STARTING_S
    while not local_socket.is_answered(settings.socket_path):
        try:
            await stack.enter_async_context(_in_process(settings, settings.socket_path))
        except SetupError:
            if not local_socket.is_locked(settings.data_folder):
                raise
            if time.monotonic() > give_up_at:
                raise SetupError(_unanswered(settings)) from None
            await asyncio.sleep(0.1)
    return settings.socket_path


@contextmanager
def _own_folder(settings: Settings) -> Iterator[Path]:
    """A folder for this process alone: where there is no temporary one, in the data folder. Raises `SetupError`."""
    with ExitStack() as stack:
        try:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="gigachat-"))
        except OSError:
            try:
                settings.data_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                name = stack.enter_context(tempfile.TemporaryDirectory(prefix="command-", dir=settings.data_folder))
            except OSError as error:
                raise SetupError(f"Cannot write in {settings.data_folder}: {error.strerror}. Set GIGACHAT_DATA.") from None
        yield Path(name)


@asynccontextmanager
async def _in_process(settings: Settings, path: Path) -> AsyncIterator[None]:
    # Half a second of imports that a command does not need while a server runs.
    from gigachat_server.app import running
    from gigachat_server.serving import logs
    from gigachat_server.serving.server import listening_locally

    logs.configure(msgspec.structs.replace(settings, log="warning"))
    is_node = not settings.database_url
    async with running(settings, is_node=is_node) as services, listening_locally(services, path):
        yield


def _unanswered(settings: Settings) -> str:
    return (
        f"A gigachat process has locked the data folder {settings.data_folder} but does not answer on {settings.socket_path}: "
        "it may be stopping or stuck. Try again, or stop it."
    )


def _problem(status: int, raw: bytes) -> ApiProblem:
    try:
        problem = msgspec.json.decode(raw, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem(detail=f"The server answered {status}.")
    fields = "; ".join(f"{error.field}: {error.message}" for error in problem.errors)
    return ApiProblem(status, problem.code, fields or problem.detail)


def _lost(error: aiohttp.ClientError) -> SetupError:
    return SetupError(f"The connection to the server was lost ({error or type(error).__name__}). Run the command again.")


async def _happenings(response: aiohttp.ClientResponse) -> AsyncIterator[Happening]:
    if response.content_type != "text/event-stream":
        for message in msgspec.json.decode(await response.read()):
            yield Happening("message", message)
        return
    name, place, rest = "", "", b""
    async for piece in response.content.iter_any():  # by lines aiohttp would limit how long one may be
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            field, _, value = line.partition(b": ")
            if field == b"event":
                name = value.decode()
            elif field == b"id":
                place = value.decode()
            elif field == b"data":
                yield Happening(name, msgspec.json.decode(value), place)
