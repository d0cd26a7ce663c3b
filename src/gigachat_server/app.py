"""Puts gigachat together: which store, embedder and model the settings ask for, and one ASGI application over them."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from starlette.types import Receive, Scope, Send

from gigachat_server import triggers
from gigachat_server.access.callers import Callers
from gigachat_server.access.end_users import EndUsers
from gigachat_server.access.identity_keys import IdentityKeys
from gigachat_server.access.keys import KeyRing
from gigachat_server.access.limits import Limits
from gigachat_server.access.limits_upkeep import LimitsUpkeep
from gigachat_server.access.oidc import Provider
from gigachat_server.access.operators import Operators
from gigachat_server.access.secrets import Secrets
from gigachat_server.access.sessions import Sessions
from gigachat_server.access.sign_in import SignIn
from gigachat_server.access.till import Till
from gigachat_server.access.upkeep import AccessUpkeep
from gigachat_server.access.user_sessions import UserSessions
from gigachat_server.access.widget_keys import WidgetKeys
from gigachat_server.access.worker import AccessWorker
from gigachat_server.api.dispatch import Api
from gigachat_server.chat.answers.answer import Answerer
from gigachat_server.chat.chatbots import Chatbots
from gigachat_server.chat.conversations import Conversations
from gigachat_server.chat.erasure import Erasure
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.feed import Feed
from gigachat_server.chat.threads import Threads
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.heartbeat import Heartbeat
from gigachat_server.chat.turns.lifecycle import Lifecycle
from gigachat_server.chat.turns.live import LiveTurns
from gigachat_server.chat.turns.nodes import Nodes
from gigachat_server.chat.turns.turn import Turns
from gigachat_server.clock import Clock, system_clock
from gigachat_server.errors import EmbeddingRefused, SetupError, StorageUnavailable
from gigachat_server.inbox.canned_replies import CannedReplies
from gigachat_server.inbox.desk import Desk
from gigachat_server.inbox.proposals import Proposals
from gigachat_server.inbox.search import MessageSearch
from gigachat_server.inbox.worker import InboxWorker
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.knowledge.documents.ingest_worker import IngestWorker
from gigachat_server.knowledge.extraction.extract import Extractor
from gigachat_server.knowledge.search.indexes import Indexes
from gigachat_server.knowledge.search.prior import shipped
from gigachat_server.knowledge.search.searcher import Searcher, no_prior
from gigachat_server.knowledge.search.store_search import StoreSearch
from gigachat_server.knowledge.search.vector_space import built_with
from gigachat_server.knowledge.sites.site_worker import SiteWorker
from gigachat_server.knowledge.sites.sites import Sites
from gigachat_server.learning.fixed_answers import FixedAnswers
from gigachat_server.learning.groups import Learning
from gigachat_server.learning.replay import Replay
from gigachat_server.models.base import ChatModel, Embedder
from gigachat_server.models.embedders import relevance_file, weights
from gigachat_server.models.embedders.built_in import BUILT_IN
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.embedders.local_embedder import LocalEmbedder
from gigachat_server.models.quoting.extractive import ExtractiveModel
from gigachat_server.pages.dispatch import Web
from gigachat_server.services import Services
from gigachat_server.settings import Settings, expanded, secret_of
from gigachat_server.store import fixed_answers as fixed_answer_rows
from gigachat_server.store import ingest_queue, sites
from gigachat_server.store.copies.backup import back_up_before
from gigachat_server.store.database import Database, Tx
from gigachat_server.store.engines.migrate import Migration, migrate
from gigachat_server.store.engines.sqlite import open_sqlite
from gigachat_server.widget import Widget
from gigachat_server.work.background import Background
from gigachat_server.work.leased import LOST
from gigachat_server.work.pace import Pace

if TYPE_CHECKING:
    from gigachat_server.models.endpoints.chat_completions import OpenAIModel
    from gigachat_server.models.endpoints.connection import Access

_log = logging.getLogger("gigachat.store")

if TYPE_CHECKING:
    from gigachat_server.models.endpoints.openai_embedder import OpenAIEmbedder


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
            services = await _assemble(settings, database, opened, Background(clock, pace), model, embedder, clock)
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


async def open_database(settings: Settings) -> Database:
    """The store that the settings name. Raises `SetupError`."""
    if not settings.database_url:
        return open_sqlite(settings.data_folder)
    # Its driver takes 0.1 s to import, so only those who use it do.
    from gigachat_server.store.engines.postgres import open_postgres

    return await open_postgres(settings.database_url, connections=settings.database_connections)


def _cannot_write(settings: Settings) -> str:
    if settings.database_url:
        return "Cannot write to PostgreSQL: its disk may be full, or its connections taken; its own log says more."
    return f"Cannot write to the message store in {settings.data_folder}: is its disk full or failing?"


def backing_up(settings: Settings, tell: Callable[[str], None]) -> Callable[[Migration], Awaitable[None]] | None:
    """What is done before the store of an earlier version is migrated. The backups of a PostgreSQL are its administrator's."""
    if settings.database_url:
        return None

    async def back_up(migration: Migration) -> None:
        made = await asyncio.to_thread(back_up_before, settings.data_folder, migration)
        tell(f"the store as it was before {migration.name} is kept in {made.file}")

    return back_up


async def _assemble(
    settings: Settings,
    database: Database,
    opened: AsyncExitStack,
    background: Background,
    model: ChatModel | None,
    embedder: Embedder | None,
    clock: Clock,
) -> Services:
    """Make every part; `opened` closes those that need it."""
    embedder = embedder or make_embedder(settings)
    opened.push_async_callback(embedder.aclose)
    model = model or make_model(settings, embedder)
    opened.push_async_callback(model.aclose)
    applied = await migrate(database, clock, before=backing_up(settings, _log.info))
    key_ring = KeyRing(database, clock, configured_key=settings.api_key)
    account = await key_ring.ensure_account(settings.account)
    await key_ring.ensure_configured(account.id)
    operators = Operators(database, clock)
    with_keys = settings.key_sign_in == "always"
    sessions = Sessions(database, clock, key_ring, account_id=account.id, with_keys=with_keys)
    secrets = Secrets(database, clock, configured=settings.secret, folder=None if settings.database_url else settings.data_folder)
    await secrets.open()
    identity_keys, end_users = IdentityKeys(database, secrets, clock), EndUsers(database, clock)
    till = Till(database, clock)
    opened.push_async_callback(till.settle)
    limits = Limits(database, till, clock)
    user_sessions = UserSessions(database, limits, clock)
    searcher = make_searcher(settings, database, embedder, background)
    extractor = Extractor(most_characters=settings.max_document_characters)
    ingest = Ingest(database, embedder, searcher, clock, extractor=extractor)
    opened.push_async_callback(ingest.aclose)
    await database.transaction("document.reembed", functools.partial(_reembed, embedder=embedder))
    heartbeat, prompts_wait = Heartbeat(database), asyncio.Event()
    events, live = Events(database, clock), LiveTurns(may_show=heartbeat.may_show)
    nodes = Nodes(database, events, live, clock, background, heartbeat=heartbeat, prompts_wait=prompts_wait)
    control = Control(database, events=events, live=live, nodes=nodes, clock=clock)
    fixed_answers = FixedAnswers(database, embedder, clock, background)
    answerer = Answerer(model=model, embedder=embedder, searcher=searcher, fixed_answers=fixed_answers)
    suggestions_wanted = asyncio.Event()
    turns = Turns(
        database,
        answerer=answerer,
        control=control,
        events=events,
        live=live,
        nodes=nodes,
        clock=clock,
        suggestions_wanted=suggestions_wanted,
    )
    opened.push_async_callback(turns.drain, 0)
    lifecycle = Lifecycle(
        database,
        turns=turns,
        control=control,
        events=events,
        live=live,
        clock=clock,
        background=background,
        prompts_wait=prompts_wait,
    )
    await _take_up(database, lifecycle, was_old=bool(applied))
    accepted, due = asyncio.Event(), asyncio.Event()  # a document waits; a site is to be crawled
    web_sites = Sites(database, ingest, clock, due)
    feed = Feed(database, events, live, clock)
    desk = Desk(database, control=control, events=events, clock=clock)
    proposals = Proposals(database, control=control, events=events, clock=clock, suggestion_wanted=suggestions_wanted.set)
    erasure = Erasure(database, turns=turns, events=events, live=live, clock=clock)

    def forget_chatbot(chatbot_id: str) -> None:
        searcher.forget(chatbot_id)
        fixed_answers.forget(chatbot_id)

    return Services(
        settings=settings,
        clock=clock,
        database=database,
        account=account,
        secrets=secrets,
        key_ring=key_ring,
        operators=operators,
        sessions=sessions,
        sign_in=SignIn(
            database, clock, sessions=sessions, people=operators, account_id=account.id, role_of_strangers=settings.oidc_role
        ),
        access_upkeep=AccessUpkeep(database, clock, background),
        provider=Provider(database, clock, settings) if settings.oidc_issuer else None,
        identity_keys=identity_keys,
        widget_keys=WidgetKeys(database, clock),
        user_sessions=user_sessions,
        end_users=end_users,
        access_worker=AccessWorker(database, user_sessions, clock, background),
        callers=Callers(database, clock, key_ring=key_ring, identity_keys=identity_keys, users=end_users, sessions=user_sessions),
        embedder=embedder,
        model=model,
        searcher=searcher,
        ingest=ingest,
        ingest_worker=IngestWorker(database, ingest, clock, background, accepted),
        sites=web_sites,
        site_worker=SiteWorker(database, web_sites, ingest, settings, clock, background, due=due, accepted=accepted),
        fixed_answers=fixed_answers,
        learning=Learning(database, embedder=embedder, fixed_answers=fixed_answers, ingest=ingest, clock=clock),
        replay=Replay(database, answerer),
        chatbots=Chatbots(database, erasure=erasure, turns=turns, clock=clock, on_recut=accepted.set, on_deleted=forget_chatbot),
        conversations=Conversations(
            database,
            turns=turns,
            control=control,
            feed=feed,
            erasure=erasure,
            events=events,
            limits=limits,
            sessions=user_sessions,
            threads=Threads(database, events=events, clock=clock),
            settings=settings,
            clock=clock,
        ),
        limits=limits,
        till=till,
        limits_upkeep=LimitsUpkeep(database, till, clock, background),
        desk=desk,
        canned_replies=CannedReplies(database, clock),
        proposals=proposals,
        message_search=MessageSearch(database),
        inbox_worker=InboxWorker(
            database,
            desk=desk,
            proposals=proposals,
            answerer=answerer,
            events=events,
            clock=clock,
            background=background,
            suggestions_wanted=suggestions_wanted,
        ),
        events=events,
        feed=feed,
        control=control,
        turns=turns,
        lifecycle=lifecycle,
        nodes=nodes,
        background=background,
    )


async def _take_up(database: Database, lifecycle: Lifecycle, *, was_old: bool) -> None:
    """Go on with what other processes left behind."""
    async with database.arriving() as is_alone:
        # Where no other process is there, nobody is at work now on whatever was being read, crawled or answered. One of the
        # version before may be, on a shared store that was just migrated: it does not show that it is there.
        is_only_process = is_alone and not (database.is_shared and was_old)
        if is_only_process:
            await database.transaction("work.release", _release_work)
        await lifecycle.recover(is_only_process=is_only_process)


async def _reembed(tx: Tx, *, embedder: Embedder) -> None:
    """What another embedder made, or refused, is made anew: its key, say, may be another one now."""
    await ingest_queue.mark_foreign_vectors_waiting(tx, embedding_model=built_with(embedder))
    await ingest_queue.retry_failed(tx, error=EmbeddingRefused.code)
    await fixed_answer_rows.have_embedded_anew(tx, embedding_model=embedder.name)


async def _retry_parked(tx: Tx, *, now_us: int) -> None:
    """What was given up is tried once more, by what may be another version, on another machine."""
    await ingest_queue.retry_parked(tx, but=LOST)
    await sites.retry_parked(tx, but=LOST, now_us=now_us)


async def _release_work(tx: Tx) -> None:
    await ingest_queue.release_all(tx)
    await sites.release_all(tx)


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
    """Whether somebody opened an address, rather than a program calling it."""
    if scope["method"] not in ("GET", "HEAD"):
        return False
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def make_searcher(settings: Settings, database: Database, embedder: Embedder, background: Background) -> Searcher:
    """What searches documents in that store."""
    prior = shipped(embedder.name)
    prior_of = no_prior if prior is None else prior.of
    searcher: Searcher
    searcher = in_memory = Indexes(database, embedder, memory_bytes=settings.index_memory_mb * 1024 * 1024, prior_of=prior_of)
    if database.dialect == "postgres":
        searcher = StoreSearch(database, embedder, small=in_memory, prior_of=prior_of, background=background)
    if not settings.reranker_url:
        return searcher
    from gigachat_server.knowledge.search.rerank import RerankingSearcher
    from gigachat_server.models.endpoints.reranker import EndpointReranker

    access = endpoint_access(settings)
    reranker = EndpointReranker(settings.reranker_url, settings.reranker_model, settings.reranker_key, access=access)
    return RerankingSearcher(searcher, reranker)


# The HTTP client takes 0.2 s and 9 MB to import, so only those who call an endpoint do.


def make_embedder(settings: Settings) -> Embedder:
    """The embedder that the settings name, with the scale of relevance that they name. Raises `SetupError`."""
    embedder = _own_embedder(settings)
    if settings.relevance:
        fitted = relevance_file.read(expanded(settings.relevance), embedder=embedder.name)
        embedder.scale = fitted.applied_to(embedder.scale)
    return embedder


def _own_embedder(settings: Settings) -> HashingEmbedder | LocalEmbedder | OpenAIEmbedder:
    if settings.embedding_url:
        from gigachat_server.models.endpoints.openai_embedder import OpenAIEmbedder

        # One provider often serves both; its key is none of another host's business.
        is_one_host = urlsplit(settings.embedding_url)[:2] == urlsplit(settings.model_url)[:2]  # scheme and address
        key = settings.embedding_key or (settings.model_key if is_one_host else "")
        access = endpoint_access(settings, key_header=settings.embedding_key_header, headers=settings.embedding_headers)
        return OpenAIEmbedder(settings.embedding_url, settings.embedding_model, key, access=access)
    if settings.embedder == "hashing":
        return HashingEmbedder()
    built_in = BUILT_IN[settings.embedder]
    return LocalEmbedder(
        built_in, weights.find(built_in.published, configured=settings.embedding_folder, data_folder=settings.data_folder)
    )


def make_model(settings: Settings, embedder: Embedder) -> ChatModel:
    """The model that the settings name; without any the extractive one."""
    if settings.model_url or settings.model_providers:
        from gigachat_server.models.endpoints.providers import Providers

        default, others = make_endpoints(settings)
        first = next(iter(others.values()), None)
        if default is not None:
            return Providers(default, others)
        assert first is not None  # a file without providers is refused
        return Providers(first, others, default_name=settings.model or next(iter(others)))
    return ExtractiveModel(embedder)


def make_endpoints(settings: Settings) -> tuple[OpenAIModel | None, dict[str, OpenAIModel]]:
    """The endpoint of GIGACHAT_MODEL_URL, if there is one, and those of the file. Raises `SetupError`."""
    from gigachat_server.models.endpoints.chat_completions import OpenAIModel, Timeouts
    from gigachat_server.models.endpoints.providers import open_provider, read_providers

    access = endpoint_access(settings)
    timeouts = Timeouts(
        first_token_s=settings.model_first_token_timeout_s,
        idle_s=settings.model_idle_timeout_s,
        total_s=settings.model_timeout_s,
    )
    providers = read_providers(settings.model_providers) if settings.model_providers else {}
    others = {
        name: open_provider(provider, access=access, timeouts=timeouts, secret=secret_of) for name, provider in providers.items()
    }
    if not settings.model_url:
        return None, others
    default = OpenAIModel(
        settings.model_url,
        settings.model,
        settings.model_key,
        timeouts=timeouts,
        access=endpoint_access(settings, key_header=settings.model_key_header, headers=settings.model_headers),
        omit=settings.omitted_parameters,
        context_tokens=settings.model_context_tokens,
    )
    return default, others


def endpoint_access(settings: Settings, *, key_header: str = "Authorization", headers: str = "") -> Access:
    """How endpoints are reached. Raises `SetupError`."""
    from gigachat_server.models.endpoints.connection import Access, parse_headers

    return Access(
        key_header=key_header,
        headers=parse_headers(headers),
        proxy=settings.endpoint_proxy,
        ca_file=settings.endpoint_ca_file,
    )
