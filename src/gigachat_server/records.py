"""What gigachat stores and speaks of: chatbots, documents, chunks, conversations, messages, events, keys.

Invariant: a record is immutable and complete as read; one fact has one home (the table of the same name), and nothing
here knows the wire form (`api/`) or the SQL (`store/`). Times are microseconds since 1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gigachat_server.language.codes import Language

DEFAULT_PERSONA = (
    "You are a friendly chatbot to help answer questions! Given the following sections from a website, answer the "
    "question using only that information. If you are unsure and the answer and it is not explicitly written in the "
    'context sections, say "Sorry, I don\'t know how to help with that."'
)

MessageRole = Literal["user", "assistant", "operator", "system"]
MessageStatus = Literal["completed", "stopped", "incomplete", "failed"]
# What became of a prompt: it waits, is being answered, was answered, could not be; its reply was ended by `stop`, by a
# newer prompt, or by an operator who took over (or had); or it was answered together with the prompt after it.
TurnState = Literal["queued", "running", "done", "failed", "stopped", "interrupted", "intercepted", "coalesced"]
Ending = Literal["stopped", "interrupted", "intercepted"]  # of a turn that was ended on purpose
UNSETTLED: tuple[TurnState, ...] = ("queued", "running")  # the states in which somebody is responsible for it
# Why a prompt went unanswered: no passage of the documents was relevant enough, or the reply itself says that it is no answer.
UnansweredReason = Literal["nothing_matched", "refused"]
UnansweredState = Literal["open", "answered", "dismissed"]
Overlap = Literal["queue", "reject", "interrupt", "coalesce"]
SiteKind = Literal["page", "sitemap", "site"]
SiteState = Literal["pending", "crawling", "ready", "failed", "deleting"]
PageKind = Literal["page", "sitemap"]
# `ready`: it is a document; `unchanged`: it was, and is as it was; `skipped`: it is to be none; `removed`: it was one.
PageState = Literal["pending", "ready", "unchanged", "skipped", "failed", "removed"]
# `uploaded`: a file that nobody has begun to read; `pending`: a text that nobody has begun to embed.
DocumentState = Literal["uploaded", "pending", "extracting", "embedding", "ready", "failed"]
WAITING: tuple[DocumentState, ...] = ("uploaded", "pending", "extracting", "embedding")  # somebody has to see to it
# What of a document was not read, or not for certain; docs/push-documents.md tells what each means.
WarningCode = Literal[
    "pages_without_text",
    "pages_unreadable",
    "images_without_text",
    "objects_skipped",
    "parts_skipped",
    "attachments_skipped",
    "forms_unread",
    "hidden_sheets",
    "formulas_without_value",
    "rows_mended",
    "encoding_guessed",
    "characters_replaced",
    "not_as_declared",
    "truncated",
]
# docs/follow-live.md tells what each means.
EventType = Literal[
    "message.created",
    "message.replaced",
    "message.feedback",
    "messages.deleted",
    "turn.started",
    "turn.queued",
    "turn.failed",
    "turn.stopped",
    "turn.interrupted",
    "turn.intercepted",
    "turn.coalesced",
    "turn.recovered",
    "prompt.unanswered",
    "handoff.requested",
    "conversation.taken_over",
    "conversation.released",
]

# Parameters of a request to a model that can be left out; `system`: the role, whose words the first user message then says.
Omittable = Literal[
    "temperature",
    "top_p",
    "max_tokens",
    "n",
    "presence_penalty",
    "frequency_penalty",
    "reasoning_effort",
    "stream",
    "stream_options",
    "tools",
    "system",
]

Hostname = Annotated[
    str, Meta(min_length=1, max_length=255, description="`www.example.com`, or `*.example.com` for its subdomains.")
]
Address = Annotated[str, Meta(min_length=1, max_length=64, description="An IPv4 or IPv6 address, or a network in CIDR form.")]


class ResponseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the chatbot replies."""

    n: Annotated[int, Meta(ge=1, le=4, description="How many alternative replies are made.")] = 1
    top_p: Annotated[float, Meta(ge=0, le=1)] = 1.0
    stream: Annotated[bool, Meta(description="false turns streaming off for this chatbot.")] = True
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000, description="Longest reply, in the model's tokens.")] = 200
    memory_size: Annotated[int, Meta(ge=0, le=100, description="How many earlier messages the model sees.")] = 10
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    system_persona: Annotated[str, Meta(max_length=32_000, description="What the model is told to be.")] = DEFAULT_PERSONA
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    model: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | None,
        Meta(description="The model's name at the configured endpoint; null: the server's default."),
    ] = None
    fallback_models: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...],
        Meta(max_length=3, description="Models asked instead, in order, while nothing of a reply was shown."),
    ] = ()
    reasoning_effort: Annotated[
        Literal["none", "minimal", "low", "medium", "high"] | None,
        Meta(description="How long a model that can reason does so; null: as it likes."),
    ] = None
    omit: Annotated[
        tuple[Omittable, ...],
        Meta(max_length=20, description="Parameters that are not sent to the model, such as `temperature`."),
    ] = ()
    first_token_timeout_s: Annotated[
        Annotated[float, Meta(gt=0, le=3600)] | None,
        Meta(description="How long the model may take to its first sign of work, in seconds; null: the server's setting."),
    ] = None
    idle_timeout_s: Annotated[
        Annotated[float, Meta(gt=0, le=3600)] | None, Meta(description="Longest silence in a reply; null: the server's setting.")
    ] = None
    timeout_s: Annotated[
        Annotated[float, Meta(gt=0, le=3600)] | None,
        Meta(description="Longest time for one prompt at the model, retries included; null: the server's setting."),
    ] = None
    overlap: Annotated[
        Overlap,
        Meta(
            description="A prompt that arrives while another is being answered: `queue` (at most 8 wait), `reject` it, let it "
            "`interrupt` the running reply, or `coalesce` prompts that follow one another within coalesce_ms."
        ),
    ] = "queue"
    coalesce_ms: Annotated[
        int, Meta(ge=0, le=60_000, description="How long `coalesce` waits for more after the last prompt, in milliseconds.")
    ] = 1500


class RestrictionsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where end users may reach the chatbot; empty lists restrict nothing."""

    hostnames: Annotated[tuple[Hostname, ...], Meta(max_length=100)] = ()
    ip_addresses: Annotated[tuple[Address, ...], Meta(max_length=100)] = ()


class ResultsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which chunks reach the model."""

    match_count: Annotated[int, Meta(ge=1, le=100, description="At most this many chunks.")] = 3
    match_threshold: Annotated[float, Meta(ge=0, le=1, description="Least relevance, 0 to 1, of a chunk.")] = 0.78
    when_nothing_matches: Annotated[
        Literal["model", "refuse"],
        Meta(description="`model`: the model answers without sections; `refuse`: the refusal, no model call."),
    ] = "model"
    rewrite: Annotated[
        Literal["rules", "model"],
        Meta(
            description="How a follow-up is searched for: `rules`: together with what was said before; `model`: as the model "
            "rewrites it, which is one more call for each; the rules where that fails."
        ),
    ] = "rules"
    refusal: Annotated[
        Annotated[str, Meta(min_length=1, max_length=2000)] | None,
        Meta(
            description="What is said instead of an answer; null: what the persona tells to say, in quotes; where that is the "
            "default persona, in the language of the prompt."
        ),
    ] = None
    suggest: Annotated[bool, Meta(description="Whether a refusal of gigachat's own names documents that may help.")] = True
    prompts: Annotated[
        Literal["customers", "any"],
        Meta(
            description="What is asked of this chatbot. `customers`: what people ask a business, so that small talk, trivia and "
            "homework need a clearer match; `any`: anything, as of recipes or an encyclopedia."
        ),
    ] = "customers"
    fixed_answer_threshold: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            description="How near a prompt must be to one of a fixed answer, as the cosine of the embedding model; null: that "
            "model's own measure of what asks the same."
        ),
    ] = None


class TextSplitterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How documents are cut, in characters."""

    chunk_size: Annotated[int, Meta(ge=50, le=20_000)] = 1000
    chunk_overlap: Annotated[int, Meta(ge=0, le=19_999, description="Less than chunk_size.")] = 200


class DocumentsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    results: ResultsConfig = ResultsConfig()
    text_splitter: TextSplitterConfig = TextSplitterConfig()


class InterceptionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How humans and the chatbot share a conversation."""

    mode: Annotated[
        Literal["inject", "takeover"],
        Meta(
            description="What a `client:` message does: `inject`: the chatbot answers the next prompt; `takeover`: it also takes "
            "control, and the chatbot is silent until release."
        ),
    ] = "inject"
    release_after_minutes: Annotated[
        Annotated[int, Meta(ge=1, le=525_600)] | None,
        Meta(description="Control goes back to the chatbot after so long without a word of an operator; null: never by itself."),
    ] = None
    handoff: Annotated[bool, Meta(description="Whether the chatbot may ask for a human of its own accord.")] = False
    handoff_when_asked: Annotated[
        bool, Meta(description="Whether an end user who asks for a human gets one, rather than what the model says to that.")
    ] = True
    handoff_message: Annotated[
        str, Meta(min_length=1, max_length=2000, description="What the end user is told when a human was asked for.")
    ] = "I have asked a colleague to join us here."
    handoff_after_unanswered: Annotated[
        int,
        Meta(
            ge=0, le=10, description="The built-in model, and `refuse`, ask after so many unanswered prompts in a row; 0: never."
        ),
    ] = 2


class ChatbotConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a chatbot that its owner can set, but its name."""

    response: ResponseConfig = ResponseConfig()
    restrictions: RestrictionsConfig = RestrictionsConfig()
    documents: DocumentsConfig = DocumentsConfig()
    interception: InterceptionConfig = InterceptionConfig()


class Account(msgspec.Struct, frozen=True):
    id: str
    name: str
    created_at: int


class ApiKey(msgspec.Struct, frozen=True):
    """A credential. The secret itself is never stored: `secret_sha256` is its digest, `last4` its last characters."""

    id: str
    account_id: str
    name: str
    secret_sha256: bytes
    last4: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None
    revoked_at: int | None


class Chatbot(msgspec.Struct, frozen=True):
    """`knowledge_version` rises with every change of the chatbot's documents, in the same transaction."""

    id: str
    account_id: str
    name: str
    config: ChatbotConfig
    knowledge_version: int
    created_at: int
    updated_at: int

    @property
    def version(self) -> tuple[int, int]:
        """Differs as soon as anything of it does."""
        return self.knowledge_version, self.updated_at


class DocumentWarning(msgspec.Struct, frozen=True):
    """Something of a document that was not read whole, or not for certain: how often, and where, in words for a person.

    `code` is a `WarningCode`, or what a newer version knows besides.
    """

    code: str
    count: int
    where: str


class Document(msgspec.Struct, frozen=True):
    """A pushed text or file. Until it is `ready`, the chunks of its last `ready` version, if any, still answer.

    A `failed` one has an `error`, the code of a `DocumentFailed`, and the `reason` in words. `upload_id` names the bytes that
    are still to be read, `chunks_sha256` is the hash of the text that its chunks were cut from. `embedding_model` names the
    vector space of its units, and how they were made.
    """

    chatbot_id: str
    id: str
    name: str
    content_sha256: str
    state: DocumentState
    error: str | None
    chunk_count: int
    characters: int
    embedding_model: str | None
    created_at: int
    updated_at: int
    reason: str | None = None
    progress: int = 0  # percent, of what is between `pending` and `ready`
    title: str | None = None  # what a file calls itself
    media_type: str | None = None
    origin: str | None = None  # what brought it, other than a push
    upload_id: str | None = None
    file_sha256: str | None = None
    chunks_sha256: str | None = None
    language: Language | None = None  # in which its text is; None where that cannot be told
    warnings: tuple[DocumentWarning, ...] = ()  # of the text that was read last; none: what a person sees of it was read


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a document; `content` is its text as pushed, without the header the wire form puts before it."""

    chatbot_id: str
    document_id: str
    document_name: str
    id: str
    number: int
    content: str
    line_from: int
    line_to: int
    embedding: bytes  # float32, little-endian
    created_at: int
    updated_at: int
    page: int | None = None  # on which it begins, from 1
    heading: str | None = None  # under which it begins


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Pages of the web that are documents of a chatbot, and are read again. See `knowledge/sites/crawl.py`.

    `reason` is the code of why it failed, or of what the last crawl had to leave out; `error` says it to a person. `due_at`:
    from when on somebody has to see to it.
    """

    chatbot_id: str
    id: str
    url: str
    kind: SiteKind
    depth: int
    max_pages: int
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    recrawl_hours: int | None
    state: SiteState
    reason: str | None
    error: str | None
    crawl: int
    due_at: int | None
    crawled_at: int | None
    created_at: int
    updated_at: int


class SitePage(msgspec.Struct, frozen=True, kw_only=True):
    """An address on a site, and what came of it in its last crawl."""

    chatbot_id: str
    site_id: str
    url: str
    kind: PageKind
    crawl: int
    depth: int
    hops: int  # how many redirects and canonical links led to it
    state: PageState
    reason: str | None
    error: str | None
    attempts: int
    document_id: str | None
    content_sha256: str | None
    etag: str | None
    last_modified: str | None
    fetched_at: int | None


class SiteProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the current crawl of a site is, in pages.

    Of those that are documents: `indexing` cannot be found yet, and of `unreadable` no text can be had.
    """

    found: int = 0
    pending: int = 0
    ready: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    removed: int = 0
    indexing: int = 0
    unreadable: int = 0


class Conversation(msgspec.Struct, frozen=True):
    """One thread. `user_id` is the end user who opened it; None while only a client has spoken.

    `controlled_by` is `bot` or the operator who has taken over. `control_epoch` rises whenever a reply in the making may
    no longer be stored: control changed hands, or the reply was ended. `answering` is the prompt being answered.
    """

    chatbot_id: str
    conversation_id: str
    user_id: str | None
    last_seq: int
    last_at: int
    controlled_by: str
    control_epoch: int
    release_at: int | None
    handoff_requested_at: int | None
    answering: str | None
    queued: int
    created_at: int


class Source(msgspec.Struct, frozen=True):
    """A chunk as it stood when a reply was made from it; only its vector is looked up again on reading."""

    id: str
    document_id: str
    document_name: str
    number: int
    content: str
    line_from: int
    line_to: int
    score: float
    created_at: int
    updated_at: int
    page: int | None = None
    heading: str | None = None


class Citation(msgspec.Struct, frozen=True):
    """A marker of a reply, and what it points to: characters `start` to `end` of the content of source `number`, from 1.

    Both are None where no sentence of the source is known to say what the reply says. The marker itself, such as `[1]`,
    is the reply's characters `marker_start` to `marker_end`; one that names two sources is two citations.
    """

    number: int
    start: int | None
    end: int | None
    marker_start: int
    marker_end: int

    def text(self, sources: Sequence[Source]) -> str | None:
        """What is cited, word for word."""
        return None if self.start is None else sources[self.number - 1].content[self.start : self.end]


class Feedback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an end user thought of a reply."""

    rating: Annotated[Literal["up", "down"] | None, Meta(description="null takes the rating back.")]
    text: Annotated[str, Meta(max_length=4000, description="Why, in their own words.")] = ""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One stored utterance. `seq` and `created_at` rise strictly within its conversation.

    `turn` and `error` belong to prompts: what became of it, and the code of what went wrong. `replaced_by` names the
    reply that a retry put in this one's place.
    """

    chatbot_id: str
    conversation_id: str
    seq: int
    id: str
    role: MessageRole
    user_id: str
    name: str
    content: str
    status: MessageStatus
    in_reply_to: str | None
    alternative: int
    replaced_by: str | None
    turn: TurnState | None = None
    error: str | None = None
    feedback: Feedback | None = None
    metadata: dict[str, Any]  # what the client sent with a prompt, or what the model reported about a reply
    sources: tuple[Source, ...]
    citations: tuple[Citation, ...] = ()
    created_at: int
    updated_at: int


class UnansweredPrompt(msgspec.Struct, frozen=True):
    """A prompt that got no answer, with what it says. `answered_by` is what an operator made of it, or a later reply."""

    chatbot_id: str
    prompt_id: str
    conversation_id: str
    seq: int
    reason: UnansweredReason
    state: UnansweredState = "open"
    answered_by: str | None = None
    created_at: int = 0
    updated_at: int = 0
    content: str = ""
    embedding: bytes | None = None
    embedding_model: str | None = None


class FixedAnswer(msgspec.Struct, frozen=True):
    """What is said word for word to whoever asks one of its prompts, or means the same."""

    chatbot_id: str
    id: str
    prompts: tuple[str, ...]
    answer: str
    is_enabled: bool
    use_count: int
    created_at: int
    updated_at: int


class Event(msgspec.Struct, frozen=True):
    """A fact about a conversation; its `seq` has no gaps. `data` holds ids, never copies.

    Whatever changes in a message, some event names it: in `message_id`, or, for a prompt, in `prompt_id`.
    """

    chatbot_id: str
    conversation_id: str
    seq: int
    type: EventType
    data: dict[str, Any]
    created_at: int
