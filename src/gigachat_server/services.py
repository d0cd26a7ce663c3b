"""What a running gigachat consists of, as its handlers and pages see it. `assembly.py` builds it."""

from __future__ import annotations

import msgspec

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
from gigachat_server.chat.chatbots import Chatbots
from gigachat_server.chat.conversations import Conversations
from gigachat_server.chat.events.recorder import Events
from gigachat_server.chat.feed import Feed
from gigachat_server.chat.turns.control import Control
from gigachat_server.chat.turns.lifecycle import Lifecycle
from gigachat_server.chat.turns.nodes import Nodes
from gigachat_server.chat.turns.turn import Turns
from gigachat_server.clock import Clock
from gigachat_server.inbox.canned_replies import CannedReplies
from gigachat_server.inbox.desk import Desk
from gigachat_server.inbox.figures import Figures, FiguresWorker
from gigachat_server.inbox.mail_queue import MailWorker
from gigachat_server.inbox.overview import Overview
from gigachat_server.inbox.presence import Presence
from gigachat_server.inbox.proposals import Proposals
from gigachat_server.inbox.search import MessageSearch
from gigachat_server.inbox.transcripts import Transcripts
from gigachat_server.inbox.worker import InboxWorker
from gigachat_server.knowledge.documents.ingest import Ingest
from gigachat_server.knowledge.documents.ingest_worker import IngestWorker
from gigachat_server.knowledge.search.searcher import Searcher
from gigachat_server.knowledge.sites.site_worker import SiteWorker
from gigachat_server.knowledge.sites.sites import Sites
from gigachat_server.learning.fixed_answers import FixedAnswers
from gigachat_server.learning.groups import Learning
from gigachat_server.learning.replay import Replay
from gigachat_server.models.base import ChatModel, Embedder
from gigachat_server.records import Account
from gigachat_server.settings import Settings
from gigachat_server.store.database import Database
from gigachat_server.work.background import Background


class Services(msgspec.Struct, kw_only=True):
    settings: Settings
    clock: Clock
    database: Database
    account: Account  # the default one, which this machine's own commands act for
    secrets: Secrets
    key_ring: KeyRing
    operators: Operators
    sessions: Sessions
    sign_in: SignIn
    access_upkeep: AccessUpkeep
    provider: Provider | None  # of identities
    identity_keys: IdentityKeys
    widget_keys: WidgetKeys
    user_sessions: UserSessions
    end_users: EndUsers
    callers: Callers
    access_worker: AccessWorker
    embedder: Embedder
    model: ChatModel
    searcher: Searcher
    ingest: Ingest
    ingest_worker: IngestWorker
    sites: Sites
    site_worker: SiteWorker
    fixed_answers: FixedAnswers
    learning: Learning
    replay: Replay
    chatbots: Chatbots
    conversations: Conversations
    limits: Limits
    till: Till
    limits_upkeep: LimitsUpkeep
    desk: Desk
    proposals: Proposals
    message_search: MessageSearch
    overview: Overview
    canned_replies: CannedReplies
    presence: Presence
    figures: Figures
    figures_worker: FiguresWorker
    transcripts: Transcripts
    mail_worker: MailWorker
    inbox_worker: InboxWorker
    events: Events
    feed: Feed
    control: Control
    turns: Turns
    lifecycle: Lifecycle
    nodes: Nodes
    background: Background
    is_shutting_down: bool = False
