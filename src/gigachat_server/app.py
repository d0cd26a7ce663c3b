"""Runs gigachat: opens its store, starts its workers, stops them in order, and serves one ASGI application over them."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from starlette.types import Receive, Scope, Send

from gigachat_server import triggers
from gigachat_server.api.dispatch import Api
from gigachat_server.assembly import Ground, assemble
from gigachat_server.clock import Clock, system_clock
from gigachat_server.configured import open_database
from gigachat_server.errors import SetupError, StorageUnavailable
from gigachat_server.models.base import ChatModel, Embedder
from gigachat_server.pages.dispatch import Web
from gigachat_server.services import Services
from gigachat_server.settings import Settings
from gigachat_server.store import ingest_queue, mails, sites
from gigachat_server.store.database import Tx
from gigachat_server.widget import Widget
from gigachat_server.work.background import Background
from gigachat_server.work.leased import LOST
from gigachat_server.work.pace import Pace


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    clock: Clock = system_clock,
    model: ChatModel | None = None,
    embedder: Embedder | None = None,
    pace: Pace | None = None,
    is_node: bool = True,
) -> AsyncIterator[Services]:
    """A gigachat at work on its store. Leaving drains running turns. Raises `SetupError`.

    `model` and `embedder` replace those the settings name: a scripted model, say. `pace` is how background work waits. What is
    no node, a command beside the nodes of a shared store, takes care of its own turns and documents alone.
    """
    async with AsyncExitStack() as opened:  # what is opened last is closed first, also if the start fails
        opened.enter_context(triggers.failpoint(settings.failpoint))  # it acts on turns that the start takes up, too
        database = await open_database(settings)
        opened.push_async_callback(database.aclose)
        try:
            background = Background(clock, pace)
            ground = Ground(settings=settings, clock=clock, database=database, background=background, opened=opened)
            services = await assemble(ground, model=model, embedder=embedder)
            if is_node:
                await database.transaction("work.retry", functools.partial(_retry_parked, now_us=clock()))
        except StorageUnavailable:
            raise SetupError(_cannot_write(settings)) from None
        for worker in _workers(services):
            opened.push_async_callback(worker.aclose)
            worker.start(is_dormant=not is_node)
        opened.push_async_callback(_stop, services)
        yield services


class Worker(Protocol):
    """Something that works in the background. Closing it ends its work at any point, or before it was started."""

    def start(self, *, is_dormant: bool = False) -> None:
        """`is_dormant`: this process is no node, so it leaves alone what it was not given itself."""

    async def aclose(self) -> None: ...


def _workers(services: Services) -> Sequence[Worker]:
    """In the order in which they start; they are closed in the opposite one."""
    return (
        services.searcher,
        services.fixed_answers,
        services.ingest_worker,
        services.site_worker,
        services.nodes,
        services.lifecycle,
        services.access_upkeep,
        services.access_worker,
        services.limits_upkeep,
        services.inbox_worker,
        services.figures_worker,
        services.mail_worker,
        services.figures_worker,
        services.mail_worker,
    )


async def _stop(services: Services) -> None:
    """Running turns have ended, or are cut off; everyone who waits for anything has been told."""
    services.is_shutting_down = True
    services.site_worker.drain()
    services.ingest_worker.drain()
    await services.turns.drain(services.settings.shutdown_timeout_s)
    services.feed.close()
    services.ingest.watch.close()
    services.sites.close()


def _cannot_write(settings: Settings) -> str:
    if settings.database_url:
        return "Cannot write to PostgreSQL: its disk may be full, or its connections taken; its own log says more."
    return f"Cannot write to the message store in {settings.data_folder}: is its disk full or failing?"


async def _retry_parked(tx: Tx, *, now_us: int) -> None:
    """What was given up is tried once more, by what may be another version, on another machine."""
    await ingest_queue.retry_parked(tx, but=LOST)
    await sites.retry_parked(tx, but=LOST, now_us=now_us)
    await mails.retry_failed(tx, but=LOST, now_us=now_us)
    await mails.retry_failed(tx, but=LOST, now_us=now_us)


class PublicApp:
    """All that is served over TCP: the pages, the widget, and for every other path the API.

    A proxy may take the path of the public address off or, as ids with a slash (`%2F`) need it, leave it.
    """

    def __init__(self, services: Services) -> None:
        self.web = Web(services)
        self._widget = Widget(services)
        self._api = Api(services)
        self._root = services.settings.public_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._root:
            scope = _below(self._root, scope)
        if self._widget.handles(scope["path"]) and not self.web.handles(scope["path"]):
            await self._widget(scope, receive, send)
            return
        is_page = self._is_page(scope)
        answering = self.web if is_page else self._api
        await answering(scope, receive, send)

    def _is_page(self, scope: Scope) -> bool:
        """Where a page and the API have the same address, and where neither has it, people get a page and programs the API."""
        if self.web.handles(scope["path"]):
            return _is_of_browser(scope) or not self._api.handles(scope["raw_path"])
        return _is_of_browser(scope) and not self._api.handles(scope["raw_path"])


def _below(root: str, scope: Scope) -> Scope:
    """The request as it is without the path that the public address has, which `root_path` then names."""
    raw_path: bytes = scope["raw_path"]
    if not raw_path.startswith(f"{root}/".encode()):
        return {**scope, "root_path": root}
    return {**scope, "root_path": root, "path": scope["path"][len(root) :], "raw_path": raw_path[len(root) :]}


def _is_of_browser(scope: Scope) -> bool:
    """Whether a person opened the address in a browser, rather than a program calling it."""
    if scope["method"] not in ("GET", "HEAD"):
        return False
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])
