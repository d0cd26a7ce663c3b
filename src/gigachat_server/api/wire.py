"""The wire form of records: what the contract shows, made from what the store holds.

Invariant: a chunk looks the same wherever it appears; times are UTC with six digits; ids and texts pass unchanged.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import orjson
from msgspec import UNSET, Meta, UnsetType

from gigachat_server.chat.conversations import Transcript
from gigachat_server.chat.feed import FeedEvent
from gigachat_server.chat.turns.progress import TurnResult
from gigachat_server.clock import wire_time
from gigachat_server.models.base import Passage
from gigachat_server.records import (
    ApiKey,
    Chatbot,
    Chunk,
    Citation,
    Conversation,
    ConversationStatus,
    Document,
    DocumentsConfig,
    DocumentWarning,
    EventType,
    Feedback,
    InterceptionConfig,
    LimitsConfig,
    Message,
    MessageRole,
    MessageStatus,
    PricesConfig,
    ResponseConfig,
    RestrictionsConfig,
    Source,
    Spending,
    TurnState,
)

# UTC, with six digits.
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
WireState = Literal["pending", "extracting", "embedding", "ready", "failed"]


class WireChatbot(msgspec.Struct, frozen=True):
    """A chatbot. `user_id` is the account that owns it."""

    id: str
    user_id: str
    name: str
    response: ResponseConfig
    restrictions: RestrictionsConfig
    documents: DocumentsConfig
    interception: InterceptionConfig
    limits: LimitsConfig
    prices: PricesConfig
    created_at: Moment
    updated_at: Moment


class WireSpent(msgspec.Struct, frozen=True):
    """What end users have used today, by budget; running turns count as what is reserved for them."""

    users: Spending
    anonymous: Spending


class WireLimits(msgspec.Struct, frozen=True):
    """A chatbot's limits, and what was used of its budgets."""

    limits: LimitsConfig
    day: Annotated[str, Meta(description="Today, in UTC.", extra_json_schema={"format": "date"})]
    spent: WireSpent


class WireDocument(msgspec.Struct, frozen=True):
    id: str
    chatbot_id: str
    user_id: str
    name: str
    state: Annotated[WireState, Meta(description="A `failed` one has an `error` and a `reason`; an earlier version answers.")]
    error: str | None
    reason: str | None
    progress: Annotated[int, Meta(description="Percent of the way from `pending` to `ready`.")]
    title: str | None
    origin: str | None
    chunk_count: int
    characters: int
    content_sha256: str
    warnings: Annotated[
        list[DocumentWarning],
        Meta(description="Parts of the file that were not read, or not reliably. Empty: all that a person sees was read."),
    ]
    created_at: Moment
    updated_at: Moment


class WireDocumentWithContent(WireDocument, frozen=True):
    content: str


class Lines(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    from_: int
    to: int


class Location(msgspec.Struct, frozen=True):
    """Where in its document a chunk begins; `page` and `heading` where the document has them."""

    lines: Lines
    page: int | UnsetType = UNSET
    heading: str | UnsetType = UNSET


class ChunkMetadata(msgspec.Struct, frozen=True):
    loc: Location


class WireChunk(msgspec.Struct, frozen=True):
    """A chunk; `embedding` is pgvector's text form, or null."""

    id: str
    chatbot_id: str
    user_id: str
    document_id: str
    name: str
    content: str
    metadata: ChunkMetadata
    embedding: str | None
    created_at: Moment
    updated_at: Moment


class WireSource(WireChunk, frozen=True):
    """A chunk that a reply was made from, as it stood then; `score` is its relevance in [0, 1]."""

    score: float


class WireCitation(msgspec.Struct, frozen=True):
    """A marker in a reply, such as `[1]`, and the span of a source that it stands for; places count characters, from 0."""

    number: Annotated[int, Meta(ge=1, description="The number of the source in `sources`, from 1.")]
    source_id: Annotated[str, Meta(description="The `id` of that source.")]
    start: Annotated[int | None, Meta(description="Where the span begins in that source's `content`, header included.")]
    end: Annotated[int | None, Meta(description="Where it ends.")]
    text: Annotated[
        str | None, Meta(description="The span word for word; null where no sentence of the source is known to say this.")
    ]
    marker_start: Annotated[int, Meta(description="Where the marker begins in the message's `content`.")]
    marker_end: Annotated[int, Meta(description="Where it ends.")]


class WirePassage(WireSource, frozen=True):
    """A chunk that a prompt may match, and why.

    Passages are ranked by `rank_score`. `score`, the relevance, is the sigmoid of the sum of `parts`: 0.78 is a sum of 1.27.
    """

    cosine: Annotated[float, Meta(description="How close its best unit is to the prompt in meaning.")]
    lexical: Annotated[float, Meta(description="Its BM25 divided by the best BM25 of all chunks; counts only in `rank_score`.")]
    coverage: Annotated[
        float,
        Meta(description="The share of the prompt's words that it holds, weighed by their idf; similar words count in part."),
    ]
    is_foreign: Annotated[bool, Meta(description="Whether the prompt is in another language, so words do not count.")]
    prior: Annotated[
        float,
        Meta(description="Of the prompt alone: how much closer it is to customers' questions than to small talk and trivia."),
    ]
    margin: Annotated[float, Meta(description="Its cosine minus that of the chatbot's fifth best unit: how far it stands out.")]
    identified: Annotated[
        float,
        Meta(description="1: it holds an identifier of the prompt; -1: the prompt has some and no chunk holds any; else 0."),
    ]
    units: Annotated[int, Meta(description="How many units the chatbot has; from 100 on, 100 or more.")]
    rank_score: Annotated[float, Meta(description="The score that passages are ordered by.")]
    parts: Annotated[
        dict[str, float],
        Meta(description="What each feature adds to the sum, `size` (of how many `units` it is one) and `bias` among them."),
    ]
    is_matched: Annotated[bool, Meta(description="Whether its `score` reaches `match_threshold`.")]
    is_source: Annotated[bool, Meta(description="Whether a reply would be made from it: matched, among the first `match_count`.")]


JudgedFor = Literal["generating", "quoting"]


class WireStem(msgspec.Struct, frozen=True):
    """A stem of the prompt, and how rare it is among the chatbot's chunks."""

    stem: str
    idf: float


class WireAddedStem(msgspec.Struct, frozen=True):
    """A stem that the conversation adds to the prompt, and how much of one occurrence in the prompt it counts."""

    stem: str
    weight: float


class WireRetrieval(msgspec.Struct, frozen=True):
    """What a prompt would find; `searched` is the number of chunks there were to be found. Small talk is not searched for."""

    query: str
    is_small_talk: bool
    is_dependent: Annotated[
        bool, Meta(description="Whether the query depends on the conversation, and was searched together with it.")
    ]
    judged_for: Annotated[
        JudgedFor,
        Meta(description="The kind of model that the passages are judged for: `for`, or else the server's."),
    ]
    is_lenient: Annotated[
        bool,
        Meta(
            description="Whether `leniency` is in every sum: for a model that generates, or because a passage reaches the "
            "threshold without it, which says that the documents answer this prompt."
        ),
    ]
    leniency: float
    embedder: Annotated[str, Meta(description="The name of the embedder whose scale is used.")]
    match_count: int
    match_threshold: float
    searched: int
    stems: list[WireStem]
    added_stems: list[WireAddedStem]
    passages: list[WirePassage]


class WireMessage(msgspec.Struct, frozen=True):
    id: str
    chatbot_id: str
    conversation_id: str
    user_id: str
    role: MessageRole
    name: str
    content: str
    status: MessageStatus
    metadata: dict[str, Any]
    embedding: None
    sources: list[WireSource]
    citations: list[WireCitation]
    in_reply_to: str | None
    alternative: int
    replaced_by: str | None
    turn: TurnState | None
    error: str | None
    feedback: Feedback | None
    seq: int
    created_at: Moment
    updated_at: Moment


class WireConversation(msgspec.Struct, frozen=True):
    conversation_id: str
    chatbot_id: str
    user_id: str | None
    controlled_by: str
    control_epoch: int
    release_at: Moment | None
    handoff_requested_at: Moment | None
    answering: str | None
    queued: int
    status: ConversationStatus
    snoozed_until: Moment | None
    closed_at: Moment | None
    assigned_to: Annotated[str | None, Meta(description="The operator who looks after it.")]
    waiting_since: Annotated[
        Moment | None,
        Meta(description="When its end user first spoke without an answer of a human, since one is wanted or in control."),
    ]
    last_message_seq: Annotated[int, Meta(description="Of the newest message; 0 if it is from before an upgrade.")]
    seq: int
    created_at: Moment
    updated_at: Moment


class WireEvent(msgspec.Struct, frozen=True):
    """An event; `message` and `prompt` are those it names, as they are now, null where it names none or they are deleted."""

    conversation_id: str
    seq: int
    type: Annotated[EventType, Meta(description="What happened: the guide to following live says what each means.")]
    data: dict[str, Any]
    message: WireMessage | None
    prompt: WireMessage | None
    created_at: Moment


class StreamStart(msgspec.Struct, frozen=True):
    """The prompt is stored. `message_ids` are those that its replies will have."""

    prompt: WireMessage
    message_ids: list[str]


class StreamDelta(msgspec.Struct, frozen=True):
    """A piece of a running reply, starting at that character of it."""

    message_id: str
    offset: int
    text: str


class StreamTyping(msgspec.Struct, frozen=True):
    """Who is writing now, besides the caller: empty once all have stopped."""

    names: list[str]


class StreamDone(msgspec.Struct, frozen=True):
    """All that a prompt led to is stored; `seq` is that of its last message."""

    conversation_id: str
    seq: int


class WorkDone(msgspec.Struct, frozen=True):
    """The document or site of that id is worked on no more."""

    id: str
    state: str


class FieldProblem(msgspec.Struct, frozen=True):
    field: Annotated[str, Meta(description="Which field: `response.n`, `prompts[0]`, or the name of a parameter or header.")]
    message: str


class Problem(msgspec.Struct, frozen=True):
    """Every error (RFC 9457). Programs act on `code`; the texts are for people."""

    type: Annotated[str, Meta(description="Where the code is explained: a path of this server.")]
    title: str
    status: int
    detail: str
    instance: Annotated[str, Meta(description="The path that was asked for.")]
    code: Annotated[str, Meta(description="What went wrong. A code never changes its meaning.")]
    request_id: Annotated[str, Meta(description="The id of this request in the server's log.")]
    errors: Annotated[list[FieldProblem] | UnsetType, Meta(description="The invalid fields of a 422.")] = UNSET
    violated_policies: Annotated[
        list[str] | UnsetType, Meta(description="The limits that a 429 is due to, as the chatbot's `limits` name them.")
    ] = msgspec.field(default=UNSET, name="violated-policies")


class WireKey(msgspec.Struct, frozen=True):
    id: str
    name: str
    last4: str
    scopes: list[str]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None


class WireNewKey(WireKey, frozen=True):
    """`key` is shown this once."""

    key: str


def chatbot(record: Chatbot) -> WireChatbot:
    return WireChatbot(
        id=record.id,
        user_id=record.account_id,
        name=record.name,
        response=record.config.response,
        restrictions=record.config.restrictions,
        documents=record.config.documents,
        interception=record.config.interception,
        limits=record.config.limits,
        prices=record.config.prices,
        created_at=wire_time(record.created_at),
        updated_at=wire_time(record.updated_at),
    )


def limits(config: LimitsConfig, spent: Mapping[str, Spending], *, now_us: int) -> WireLimits:
    return WireLimits(config, wire_time(now_us)[:10], WireSpent(**spent))


def document(record: Document, account_id: str) -> WireDocument:
    return WireDocument(**_document_fields(record, account_id))


def document_with_content(record: Document, account_id: str, content: str) -> WireDocumentWithContent:
    return WireDocumentWithContent(**_document_fields(record, account_id), content=content)


def _document_fields(record: Document, account_id: str) -> dict[str, Any]:
    return {
        "id": record.id,
        "chatbot_id": record.chatbot_id,
        "user_id": account_id,
        "name": record.name,
        "state": "pending" if record.state == "uploaded" else record.state,
        "error": record.error,
        "reason": record.reason,
        "progress": 100 if record.state == "ready" else record.progress,
        "title": record.title,
        "origin": record.origin,
        "chunk_count": record.chunk_count,
        "characters": record.characters,
        "content_sha256": record.content_sha256,
        "warnings": list(record.warnings),
        "created_at": wire_time(record.created_at),
        "updated_at": wire_time(record.updated_at),
    }


def chunk(record: Chunk, account_id: str, *, with_embedding: bool) -> WireChunk:
    return WireChunk(
        id=record.id,
        chatbot_id=record.chatbot_id,
        user_id=account_id,
        document_id=record.document_id,
        name=f"{record.document_name}-{record.number}",
        content=_with_header(record.document_name, record.content),
        metadata=_location(record),
        embedding=vector_text(record.embedding) if with_embedding else None,
        created_at=wire_time(record.created_at),
        updated_at=wire_time(record.updated_at),
    )


def message(record: Message, account_id: str, vectors: Mapping[str, bytes]) -> WireMessage:
    """`vectors` holds those of the sources that still exist, by chunk id; empty: none are shown."""
    return WireMessage(
        id=record.id,
        chatbot_id=record.chatbot_id,
        conversation_id=record.conversation_id,
        user_id=record.user_id,
        role=record.role,
        name=record.name,
        content=record.content,
        status=record.status,
        metadata=record.metadata,
        embedding=None,
        sources=[source(each, record.chatbot_id, account_id, vectors) for each in record.sources],
        citations=[citation(each, record.sources) for each in record.citations],
        in_reply_to=record.in_reply_to,
        alternative=record.alternative,
        replaced_by=record.replaced_by,
        turn=record.turn,
        error=record.error,
        feedback=record.feedback,
        seq=record.seq,
        created_at=wire_time(record.created_at),
        updated_at=wire_time(record.updated_at),
    )


def messages(found: TurnResult | Transcript, account_id: str, *, with_embedding: bool) -> list[WireMessage]:
    vectors = found.vectors if with_embedding else {}
    return [message(record, account_id, vectors) for record in found.messages]


def passage(
    record: Chunk,
    found: Passage,
    account_id: str,
    *,
    parts: Mapping[str, float],
    is_matched: bool,
    is_source: bool,
    with_embedding: bool,
) -> WirePassage:
    return WirePassage(
        **msgspec.structs.asdict(chunk(record, account_id, with_embedding=with_embedding)),
        score=round(found.score, 6),
        cosine=round(found.cosine, 6),
        lexical=round(found.lexical, 6),
        coverage=round(found.coverage, 6),
        is_foreign=found.is_foreign,
        prior=round(found.prior, 6),
        margin=round(found.margin, 6),
        identified=found.identified,
        units=found.units,
        rank_score=round(found.rank_score, 6),
        parts={name: round(part, 6) for name, part in parts.items()},
        is_matched=is_matched,
        is_source=is_source,
    )


def conversation(record: Conversation) -> WireConversation:
    return WireConversation(
        conversation_id=record.conversation_id,
        chatbot_id=record.chatbot_id,
        user_id=record.user_id,
        controlled_by=record.controlled_by,
        control_epoch=record.control_epoch,
        release_at=_time(record.release_at),
        handoff_requested_at=_time(record.handoff_requested_at),
        answering=record.answering,
        queued=record.queued,
        status=record.status,
        snoozed_until=_time(record.snoozed_until),
        closed_at=_time(record.closed_at),
        assigned_to=record.assigned_to,
        waiting_since=_time(record.waiting_since),
        last_message_seq=record.last_message_seq,
        seq=record.last_seq,
        created_at=wire_time(record.created_at),
        updated_at=wire_time(record.last_at),
    )


def event(happened: FeedEvent, account_id: str, *, with_embedding: bool) -> WireEvent:
    record, vectors = happened.event, happened.vectors if with_embedding else {}
    return WireEvent(
        conversation_id=record.conversation_id,
        seq=record.seq,
        type=record.type,
        data=record.data,
        message=None if happened.message is None else message(happened.message, account_id, vectors),
        prompt=None if happened.prompt is None else message(happened.prompt, account_id, vectors),
        created_at=wire_time(record.created_at),
    )


def _time(at: int | None) -> str | None:
    return None if at is None else wire_time(at)


def key(record: ApiKey) -> WireKey:
    return WireKey(**_key_fields(record))


def new_key(record: ApiKey, secret: str) -> WireNewKey:
    return WireNewKey(**_key_fields(record), key=secret)


def _key_fields(record: ApiKey) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "last4": record.last4,
        "scopes": list(record.scopes),
        "created_at": wire_time(record.created_at),
        "expires_at": _time(record.expires_at),
        "revoked_at": _time(record.revoked_at),
    }


def source(record: Source, chatbot_id: str, account_id: str, vectors: Mapping[str, bytes]) -> WireSource:
    vector = vectors.get(record.id)
    return WireSource(
        id=record.id,
        chatbot_id=chatbot_id,
        user_id=account_id,
        document_id=record.document_id,
        name=f"{record.document_name}-{record.number}",
        content=_with_header(record.document_name, record.content),
        metadata=_location(record),
        embedding=vector_text(vector) if vector is not None else None,
        created_at=wire_time(record.created_at),
        updated_at=wire_time(record.updated_at),
        score=round(record.score, 6),
    )


def citation(record: Citation, sources: Sequence[Source]) -> WireCitation:
    cited = sources[record.number - 1]
    before = len(_with_header(cited.document_name, ""))
    return WireCitation(
        number=record.number,
        source_id=cited.id,
        start=None if record.start is None else before + record.start,
        end=None if record.end is None else before + record.end,
        text=record.text(sources),
        marker_start=record.marker_start,
        marker_end=record.marker_end,
    )


def _with_header(document_name: str, content: str) -> str:
    return f"DOCUMENT NAME: {document_name}\n\n---\n\n{content}"


def _location(place: Chunk | Source) -> ChunkMetadata:
    page = UNSET if place.page is None else place.page
    heading = UNSET if place.heading is None else place.heading
    return ChunkMetadata(Location(Lines(place.line_from, place.line_to), page, heading))


@functools.lru_cache(maxsize=1024)
def vector_text(vector: bytes) -> str:
    """pgvector's text form: the shortest decimals that give the same float32 back. Cached: a popular chunk is often a source."""
    return orjson.dumps(np.frombuffer(vector, dtype="<f4").astype(np.float32), option=orjson.OPT_SERIALIZE_NUMPY).decode()
