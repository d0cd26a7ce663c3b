"""Builds the parts of a running gigachat, room by room.

Each builder takes the ground and the rooms it stands on, and returns its own room: a struct of parts. A new part is a line in
its room's struct and builder; only what handlers use is handed on to `Services`. `Ground.opened` closes what must be closed.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from contextlib import AsyncExitStack

import msgspec

from gigachat_server.access.callers import Callers
from gigachat_server.access.end_users import EndUsers
from gigachat_server.access.identity_keys import IdentityKeys
from gigachat_server.access.invitations import Invitations
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
from gigachat_server.chat.alerts import Alerts
from gigachat_server.chat.answers.answer import Answerer
from gigachat_server.chat.attendance import Attendance
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
from gigachat_server.clock import Clock
from gigachat_server.configured import backing_up, make_embedder, make_model, make_searcher
from gigachat_server.errors import EmbeddingRefused
from gigachat_server.inbox.canned_replies import CannedReplies
from gigachat_server.inbox.desk import Desk
from gigachat_server.inbox.figures import Figures, FiguresWorker
from gigachat_server.inbox.mail_queue import MailWorker, Sender
from gigachat_server.inbox.overview import Overview
from gigachat_server.inbox.presence import Presence
from gigachat_server.inbox.proposals import Proposals
from gigachat_server.inbox.search import MessageSearch
from gigachat_server.inbox.transcripts import Transcripts
from gigachat_server.inbox.worker import InboxWorker
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.knowledge.documents.ingest_worker import IngestWorker
from gigachat_server.knowledge.extraction.extract import Extractor
from gigachat_server.knowledge.search.searcher import Searcher
from gigachat_server.knowledge.search.vector_space import built_with
from gigachat_server.knowledge.sites.site_worker import SiteWorker
from gigachat_server.knowledge.sites.sites import Sites
from gigachat_server.learning.fixed_answers import FixedAnswers
from gigachat_server.learning.groups import Learning
from gigachat_server.learning.replay import Replay
from gigachat_server.models.base import ChatModel, Embedder
from gigachat_server.records import Account
from gigachat_server.services import Services
from gigachat_server.settings import Settings
from gigachat_server.store import fixed_answers, ingest_queue, sites
from gigachat_server.store.database import Database, Tx
from gigachat_server.store.engines.migrate import migrate
from gigachat_server.work.background import Background

_log = logging.getLogger("gigachat.store")


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What every room stands on. What is pushed to `opened` last is closed first."""

    settings: Settings
    clock: Clock
    database: Database
    background: Background
    opened: AsyncExitStack


class _Models(msgspec.Struct, frozen=True, kw_only=True):
    embedder: Embedder
    model: ChatModel


class _Limits(msgspec.Struct, frozen=True, kw_only=True):
    till: Till
    limits: Limits
    upkeep: LimitsUpkeep


class _Access(msgspec.Struct, frozen=True, kw_only=True):
    key_ring: KeyRing
    account: Account
    secrets: Secrets
    identity_keys: IdentityKeys
    widget_keys: WidgetKeys
    end_users: EndUsers
    user_sessions: UserSessions
    callers: Callers
    worker: AccessWorker


class _People(msgspec.Struct, frozen=True, kw_only=True):
    operators: Operators
    sessions: Sessions
    sign_in: SignIn
    provider: Provider | None
    upkeep: AccessUpkeep


class _Mail(msgspec.Struct, frozen=True, kw_only=True):
    """What mail is asked for, and who is told that some waits. Without a `sender` none is."""

    sender: Sender | None
    invitations: Invitations
    alerts: Alerts
    wanted: asyncio.Event

    @property
    def is_sent(self) -> bool:
        return self.sender is not None


class _Knowledge(msgspec.Struct, frozen=True, kw_only=True):
    searcher: Searcher
    ingest: Ingest
    ingest_worker: IngestWorker
    sites: Sites
    site_worker: SiteWorker
    accepted: asyncio.Event  # wakes the ingest worker: a document waits


class _Chat(msgspec.Struct, frozen=True, kw_only=True):
    events: Events
    nodes: Nodes
    control: Control
    answerer: Answerer
    turns: Turns
    lifecycle: Lifecycle
    feed: Feed
    conversations: Conversations
    chatbots: Chatbots
    suggestions_wanted: asyncio.Event  # wakes the inbox's worker: an operator in control waits for a proposal


class _Inbox(msgspec.Struct, frozen=True, kw_only=True):
    desk: Desk
    proposals: Proposals
    canned_replies: CannedReplies
    search: MessageSearch
    overview: Overview
    worker: InboxWorker
    presence: Presence
    figures: Figures
    figures_worker: FiguresWorker
    transcripts: Transcripts
    mail_worker: MailWorker


class _Rooms(msgspec.Struct, frozen=True):
    models: _Models
    access: _Access
    limits: _Limits
    people: _People
    knowledge: _Knowledge
    answers: FixedAnswers
    chat: _Chat
    inbox: _Inbox


async def assemble(ground: Ground, *, model: ChatModel | None, embedder: Embedder | None) -> Services:
    """Migrate the store, build every room over it, and go on with what other processes left behind."""
    settings, database, clock = ground.settings, ground.database, ground.clock
    models = _open_models(ground, model, embedder)
    applied = await migrate(database, clock, before=backing_up(settings, _log.info))
    limits = _build_limits(ground)
    access = await _open_access(ground, limits)
    mail = _build_mail(ground)
    people = _build_people(ground, access, mail)
    knowledge = _build_knowledge(ground, models)
    answers = FixedAnswers(database, models.embedder, clock, ground.background)
    chat = _build_chat(ground, models, access, limits, knowledge, answers, mail)
    inbox = _build_inbox(ground, chat, mail)
    await database.transaction("document.reembed", functools.partial(_reembed, embedder=models.embedder))
    await _take_up(database, chat.lifecycle, was_old=bool(applied))
    return _services(ground, _Rooms(models, access, limits, people, knowledge, answers, chat, inbox))


def _services(ground: Ground, rooms: _Rooms) -> Services:
    models, access, limits, people = rooms.models, rooms.access, rooms.limits, rooms.people
    knowledge, answers, chat, inbox = rooms.knowledge, rooms.answers, rooms.chat, rooms.inbox
    database, clock = ground.database, ground.clock
    return Services(
        settings=ground.settings,
        clock=clock,
        database=database,
        background=ground.background,
        embedder=models.embedder,
        model=models.model,
        account=access.account,
        secrets=access.secrets,
        key_ring=access.key_ring,
        identity_keys=access.identity_keys,
        widget_keys=access.widget_keys,
        end_users=access.end_users,
        user_sessions=access.user_sessions,
        callers=access.callers,
        operators=people.operators,
        sessions=people.sessions,
        sign_in=people.sign_in,
        provider=people.provider,
        access_upkeep=people.upkeep,
        access_worker=access.worker,
        limits=limits.limits,
        till=limits.till,
        limits_upkeep=limits.upkeep,
        searcher=knowledge.searcher,
        ingest=knowledge.ingest,
        ingest_worker=knowledge.ingest_worker,
        sites=knowledge.sites,
        site_worker=knowledge.site_worker,
        fixed_answers=answers,
        learning=Learning(database, embedder=models.embedder, fixed_answers=answers, ingest=knowledge.ingest, clock=clock),
        replay=Replay(database, chat.answerer),
        events=chat.events,
        nodes=chat.nodes,
        control=chat.control,
        turns=chat.turns,
        lifecycle=chat.lifecycle,
        feed=chat.feed,
        conversations=chat.conversations,
        chatbots=chat.chatbots,
        desk=inbox.desk,
        proposals=inbox.proposals,
        canned_replies=inbox.canned_replies,
        message_search=inbox.search,
        overview=inbox.overview,
        inbox_worker=inbox.worker,
        presence=inbox.presence,
        figures=inbox.figures,
        figures_worker=inbox.figures_worker,
        transcripts=inbox.transcripts,
        mail_worker=inbox.mail_worker,
    )


def _open_models(ground: Ground, model: ChatModel | None, embedder: Embedder | None) -> _Models:
    """Those given, or else those the settings name."""
    embedder = embedder or make_embedder(ground.settings)
    ground.opened.push_async_callback(embedder.aclose)
    model = model or make_model(ground.settings, embedder)
    ground.opened.push_async_callback(model.aclose)
    return _Models(embedder=embedder, model=model)


def _build_limits(ground: Ground) -> _Limits:
    database, clock = ground.database, ground.clock
    till = Till(database, clock)
    ground.opened.push_async_callback(till.settle)
    return _Limits(till=till, limits=Limits(database, till, clock), upkeep=LimitsUpkeep(database, till, clock, ground.background))


async def _open_access(ground: Ground, limits: _Limits) -> _Access:
    """The account that commands act for exists, and the key of the settings opens it."""
    settings, database, clock = ground.settings, ground.database, ground.clock
    key_ring = KeyRing(database, clock, configured_key=settings.api_key)
    account = await key_ring.ensure_account(settings.account)
    await key_ring.ensure_configured(account.id)
    folder = None if settings.database_url else settings.data_folder
    secrets = Secrets(database, clock, configured=settings.secret, folder=folder)
    await secrets.open()
    identity_keys, end_users = IdentityKeys(database, secrets, clock), EndUsers(database, clock)
    user_sessions = UserSessions(database, limits.limits, clock)
    return _Access(
        key_ring=key_ring,
        account=account,
        secrets=secrets,
        identity_keys=identity_keys,
        widget_keys=WidgetKeys(database, clock),
        end_users=end_users,
        user_sessions=user_sessions,
        callers=Callers(database, clock, key_ring=key_ring, identity_keys=identity_keys, users=end_users, sessions=user_sessions),
        worker=AccessWorker(database, user_sessions, clock, ground.background),
    )


def _build_mail(ground: Ground) -> _Mail:
    settings, clock, wanted = ground.settings, ground.clock, asyncio.Event()
    sender = Sender(settings.smtp_url, settings.mail_from) if settings.smtp_url else None
    return _Mail(
        sender=sender,
        invitations=Invitations(clock, are_sent=sender is not None and bool(settings.public_url), wanted=wanted),
        alerts=Alerts(clock, are_sent=sender is not None, wanted=wanted),
        wanted=wanted,
    )


def _build_people(ground: Ground, access: _Access, mail: _Mail) -> _People:
    settings, database, clock, account_id = ground.settings, ground.database, ground.clock, access.account.id
    operators = Operators(database, mail.invitations, clock)
    with_keys = settings.key_sign_in == "always"
    sessions = Sessions(database, clock, access.key_ring, account_id=account_id, with_keys=with_keys)
    return _People(
        operators=operators,
        sessions=sessions,
        sign_in=SignIn(
            database, clock, sessions=sessions, people=operators, account_id=account_id, role_of_strangers=settings.oidc_role
        ),
        provider=Provider(database, clock, settings) if settings.oidc_issuer else None,
        upkeep=AccessUpkeep(database, clock, ground.background),
    )


def _build_knowledge(ground: Ground, models: _Models) -> _Knowledge:
    settings, database, clock, background = ground.settings, ground.database, ground.clock, ground.background
    accepted, due = asyncio.Event(), asyncio.Event()  # a document waits; a site is to be crawled
    searcher = make_searcher(settings, database, models.embedder, background)
    extractor = Extractor(most_characters=settings.max_document_characters)
    ingest = Ingest(database, models.embedder, searcher, clock, extractor=extractor)
    ground.opened.push_async_callback(ingest.aclose)
    web_sites = Sites(database, ingest, clock, due)
    return _Knowledge(
        searcher=searcher,
        ingest=ingest,
        ingest_worker=IngestWorker(database, ingest, clock, background, accepted),
        sites=web_sites,
        site_worker=SiteWorker(database, web_sites, ingest, settings, clock, background, due=due, accepted=accepted),
        accepted=accepted,
    )


def _build_chat(
    ground: Ground,
    models: _Models,
    access: _Access,
    limits: _Limits,
    knowledge: _Knowledge,
    answers: FixedAnswers,
    mail: _Mail,
) -> _Chat:
    database, clock, background = ground.database, ground.clock, ground.background
    heartbeat, prompts_wait, suggestions_wanted = Heartbeat(database), asyncio.Event(), asyncio.Event()
    events, live = Events(database, clock), LiveTurns(may_show=heartbeat.may_show)
    nodes = Nodes(database, events, live, clock, background, heartbeat=heartbeat, prompts_wait=prompts_wait)
    attendance = Attendance(database, clock)
    control = Control(database, events=events, live=live, nodes=nodes, attendance=attendance, alerts=mail.alerts, clock=clock)
    answerer = Answerer(
        model=models.model,
        embedder=models.embedder,
        searcher=knowledge.searcher,
        fixed_answers=answers,
        attendance=attendance,
    )
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
    ground.opened.push_async_callback(turns.drain, 0)
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
    feed = Feed(database, events, live, clock)
    erasure = Erasure(database, turns=turns, events=events, live=live, secrets=access.secrets, clock=clock)
    conversations = _build_front_door(ground, access, limits, turns, control, feed, erasure, events)
    return _Chat(
        events=events,
        nodes=nodes,
        control=control,
        answerer=answerer,
        turns=turns,
        lifecycle=lifecycle,
        feed=feed,
        conversations=conversations,
        chatbots=_build_chatbots(ground, knowledge, answers, erasure, turns),
        suggestions_wanted=suggestions_wanted,
    )


def _build_front_door(
    ground: Ground,
    access: _Access,
    limits: _Limits,
    turns: Turns,
    control: Control,
    feed: Feed,
    erasure: Erasure,
    events: Events,
) -> Conversations:
    database, clock = ground.database, ground.clock
    return Conversations(
        database,
        turns=turns,
        control=control,
        feed=feed,
        erasure=erasure,
        events=events,
        limits=limits.limits,
        sessions=access.user_sessions,
        threads=Threads(database, events=events, clock=clock),
        settings=ground.settings,
        clock=clock,
    )


def _build_chatbots(ground: Ground, knowledge: _Knowledge, answers: FixedAnswers, erasure: Erasure, turns: Turns) -> Chatbots:
    def forget(chatbot_id: str) -> None:
        knowledge.searcher.forget(chatbot_id)
        answers.forget(chatbot_id)

    database, clock, on_recut = ground.database, ground.clock, knowledge.accepted.set
    return Chatbots(database, erasure=erasure, turns=turns, clock=clock, on_recut=on_recut, on_deleted=forget)


def _build_inbox(ground: Ground, chat: _Chat, mail: _Mail) -> _Inbox:
    database, clock, background, wanted = ground.database, ground.clock, ground.background, chat.suggestions_wanted
    desk = Desk(database, control=chat.control, events=chat.events, clock=clock)
    proposals = Proposals(database, control=chat.control, events=chat.events, clock=clock, suggestion_wanted=wanted.set)
    search = MessageSearch(database)
    return _Inbox(
        desk=desk,
        proposals=proposals,
        canned_replies=CannedReplies(database, clock),
        search=search,
        overview=Overview(database, search=search, events=chat.events, feed=chat.feed),
        worker=InboxWorker(
            database,
            desk=desk,
            proposals=proposals,
            answerer=chat.answerer,
            events=chat.events,
            clock=clock,
            background=background,
            suggestions_wanted=wanted,
        ),
        presence=Presence(database, chat.events, clock),
        figures=Figures(database, clock),
        figures_worker=FiguresWorker(database, clock, background),
        transcripts=Transcripts(database, chat.conversations, clock, are_sent=mail.is_sent, wanted=mail.wanted),
        mail_worker=MailWorker(
            database,
            mail.sender,
            clock,
            background,
            invitations=mail.invitations,
            wanted=mail.wanted,
            public_url=ground.settings.public_url,
        ),
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
    """What another embedder made, or refused, is embedded again: its key, say, may have changed."""
    await ingest_queue.mark_foreign_vectors_waiting(tx, embedding_model=built_with(embedder))
    await ingest_queue.retry_failed(tx, error=EmbeddingRefused.code)
    await fixed_answers.have_embedded_anew(tx, embedding_model=embedder.name)


async def _release_work(tx: Tx) -> None:
    await ingest_queue.release_all(tx)
    await sites.release_all(tx)
