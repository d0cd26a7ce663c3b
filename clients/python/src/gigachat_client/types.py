# Made by tools/write_client_types.py: change the server, or that, and run `make docs`.
"""What the API takes and gives, as structs. `...Input` is what is sent: a field that is left out keeps its default.

What is answered may have more fields and choices with a later server: they are passed over, and choices are any text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import UNSET, Struct, UnsetType

if TYPE_CHECKING:
    from typing import Literal as Choice
else:

    class Choice:
        """For type checkers the values that this version knows; when decoded, any text."""

        def __class_getitem__(cls, known: Any) -> type:
            return str


class AddressRate(Struct, frozen=True, kw_only=True):
    """Prompts of end users from one IPv4 address or IPv6 /64."""

    quota: int
    """How many are allowed in a window."""
    window_s: int
    """In seconds. The quota refills evenly over it."""


class AddressRateInput(Struct, frozen=True, kw_only=True):
    """Prompts of end users from one IPv4 address or IPv6 /64."""

    quota: int | UnsetType = UNSET
    """How many are allowed in a window."""
    window_s: int | UnsetType = UNSET
    """In seconds. The quota refills evenly over it."""


class AnonymousBudget(Struct, frozen=True, kw_only=True):
    """What all anonymous end users together may use on a day (UTC)."""

    turns: int | None
    """Prompts that are answered; null: no limit."""
    tokens: int | None
    """Tokens of the model, prompts and replies together; null: no limit."""


class AnonymousBudgetInput(Struct, frozen=True, kw_only=True):
    """What all anonymous end users together may use on a day (UTC)."""

    turns: int | None | UnsetType = UNSET
    """Prompts that are answered; null: no limit."""
    tokens: int | None | UnsetType = UNSET
    """Tokens of the model, prompts and replies together; null: no limit."""


class AnswerInput(Struct, frozen=True, kw_only=True, rename={"as_": "as"}):
    """An operator's answer to a group of unanswered prompts."""

    answer: str
    as_: Literal["document", "fixed_answer"]
    """`fixed_answer`: the answer is given word for word; `document`: replies are made from it."""
    prompts: list[str] | UnsetType = UNSET
    """The prompts that the fixed answer answers. Default: those of the group."""
    name: str | None | UnsetType = UNSET
    """Name of the document, which replaces one of that name; null: named after the prompt."""


class BudgetConfig(Struct, frozen=True, kw_only=True):
    """What all end users together may use on a day (UTC)."""

    turns: int | None
    """Prompts that are answered; null: no limit."""
    tokens: int | None
    """Tokens of the model, prompts and replies together; null: no limit."""


class BudgetConfigInput(Struct, frozen=True, kw_only=True):
    """What all end users together may use on a day (UTC)."""

    turns: int | None | UnsetType = UNSET
    """Prompts that are answered; null: no limit."""
    tokens: int | None | UnsetType = UNSET
    """Tokens of the model, prompts and replies together; null: no limit."""


class BudgetsConfig(Struct, frozen=True, kw_only=True):
    """For a day (UTC), store-wide. Prompts sent with API keys do not count."""

    users: BudgetConfig
    anonymous: AnonymousBudget


class BudgetsConfigInput(Struct, frozen=True, kw_only=True):
    """For a day (UTC), store-wide. Prompts sent with API keys do not count."""

    users: BudgetConfigInput | UnsetType = UNSET
    anonymous: AnonymousBudgetInput | UnsetType = UNSET


class CannedReplyInput(Struct, frozen=True, kw_only=True):
    shortcut: str
    """One word, such as `refund-status`. The pattern is what it takes in ASCII: letters and digits of other scripts are taken,
    too. Stored in lower case.
    """
    content: str


class ChatbotInput(Struct, frozen=True, kw_only=True):
    name: str
    response: ResponseConfigInput | UnsetType = UNSET
    restrictions: RestrictionsConfigInput | UnsetType = UNSET
    documents: DocumentsConfigInput | UnsetType = UNSET
    interception: InterceptionConfigInput | UnsetType = UNSET
    limits: LimitsConfigInput | UnsetType = UNSET
    prices: PricesConfigInput | UnsetType = UNSET


class ChatbotInputPart(Struct, frozen=True, kw_only=True):
    """Any part of a ChatbotInput; what is left out stays as it is."""

    name: str | UnsetType = UNSET
    response: ResponseConfigInput | UnsetType = UNSET
    restrictions: RestrictionsConfigInput | UnsetType = UNSET
    documents: DocumentsConfigInput | UnsetType = UNSET
    interception: InterceptionConfigInput | UnsetType = UNSET
    limits: LimitsConfigInput | UnsetType = UNSET
    prices: PricesConfigInput | UnsetType = UNSET


class ChunkMetadata(Struct, frozen=True, kw_only=True):
    loc: Location


class ConversationChange(Struct, frozen=True, kw_only=True):
    """What is to change; what is left out stays."""

    status: Literal["closed", "open", "snoozed"] | UnsetType = UNSET
    """A closed or snoozed conversation is open again as soon as its end user speaks."""
    snoozed_until: str | None | UnsetType = UNSET
    """With status snoozed: in the next year."""
    assigned_to: str | None | UnsetType = UNSET
    """The operator who looks after it, or null. What only looks like `bot` is refused. Where the account has operators, it
    takes the handle of one who may answer there.
    """


class DiscardInput(Struct, frozen=True, kw_only=True):
    operator: str | None | UnsetType = UNSET
    """Who decides; an operator who is signed in decides as themselves."""


class DocumentInput(Struct, frozen=True, kw_only=True):
    """A text and what it is called; the name is its identity: pushing it again replaces the document."""

    name: str
    content: str
    """At most as many characters as the server's GIGACHAT_MAX_DOCUMENT_CHARACTERS."""


class DocumentWarning(Struct, frozen=True, kw_only=True):
    """A part of a document that could not be read in full, or only by guessing: how often, and where, in words for people.
    `code` is a `WarningCode`, or one that a later version added.
    """

    code: str
    count: int
    where: str


class DocumentsConfig(Struct, frozen=True, kw_only=True):
    results: ResultsConfig
    text_splitter: TextSplitterConfig


class DocumentsConfigInput(Struct, frozen=True, kw_only=True):
    results: ResultsConfigInput | UnsetType = UNSET
    text_splitter: TextSplitterConfigInput | UnsetType = UNSET


class EndUserConversation(Struct, frozen=True, kw_only=True):
    """A conversation, as its end user sees it."""

    conversation_id: str
    user_id: str | None
    controlled_by: str
    """`bot`, or the name of the operator who answers."""
    handoff_requested_at: str | None
    answering: str | None
    """The prompt that is being answered."""
    queued: int
    status: Choice["closed", "open"]
    seq: int
    created_at: str
    updated_at: str


class EndUserEvent(Struct, frozen=True, kw_only=True):
    """An event, as the end user of the conversation sees it. Their `seq` rises, and may skip."""

    conversation_id: str
    seq: int
    type: Choice[
        "conversation.assigned",
        "conversation.closed",
        "conversation.identified",
        "conversation.rated",
        "conversation.released",
        "conversation.reopened",
        "conversation.snoozed",
        "conversation.taken_over",
        "handoff.requested",
        "message.created",
        "message.feedback",
        "message.replaced",
        "messages.deleted",
        "note.created",
        "note.deleted",
        "prompt.unanswered",
        "proposal.created",
        "proposal.decided",
        "turn.coalesced",
        "turn.failed",
        "turn.intercepted",
        "turn.interrupted",
        "turn.proposed",
        "turn.queued",
        "turn.recovered",
        "turn.started",
        "turn.stopped",
    ]
    data: dict[str, Any]
    message: EndUserMessage | None
    prompt: EndUserMessage | None
    created_at: str


class EndUserMessage(Struct, frozen=True, kw_only=True):
    """A message, as the end user of the conversation sees it."""

    id: str
    conversation_id: str
    user_id: str | None
    """Yours, of what you said and the replies to it; null otherwise."""
    role: Choice["assistant", "operator", "system", "user"]
    name: str
    content: str
    status: Choice["completed", "failed", "incomplete", "stopped"]
    sources: list[EndUserSource]
    citations: list[Citation]
    """Places count in a source's `content`; null where that is not shown."""
    in_reply_to: str | None
    alternative: int
    replaced_by: str | None
    turn: Choice["coalesced", "done", "failed", "intercepted", "interrupted", "proposed", "queued", "running", "stopped"] | None
    error: str | None
    feedback: Feedback | None
    seq: int
    created_at: str
    updated_at: str


class EndUserPrompt(Struct, frozen=True, kw_only=True):
    """What an end user says. Without a conversation_id it starts a conversation, whose id the answer tells."""

    prompt: str
    """What the user says."""
    conversation_id: str | UnsetType = UNSET
    """Of one that is theirs, to continue it."""
    user_id: str | UnsetType = UNSET
    """Theirs, which their token or session says anyway. What only looks like the prefix `client:`, such as `Client:`, is
    refused.
    """
    stream: bool | None | UnsetType = UNSET
    """true: answer with Server-Sent Events."""
    metadata: dict[str, Any] | UnsetType = UNSET
    """Stored with the prompt; 16 kB of JSON at most. No string of it holds NUL, and it is nested 32 deep at most."""


class EndUserSource(Struct, frozen=True, kw_only=True):
    """A passage that a reply was made from."""

    id: str
    document_id: str
    name: str
    """The document's."""
    content: str | None
    """Its text; null where only names are shown."""
    page: int | None
    heading: str | None


class Feedback(Struct, frozen=True, kw_only=True):
    """What an end user thought of a reply."""

    rating: Choice["down", "up"] | None
    """null takes the rating back."""
    text: str
    """The reason, in the end user's own words."""


class FeedbackInput(Struct, frozen=True, kw_only=True):
    """What an end user thought of a reply."""

    rating: Literal["down", "up"] | None
    """null takes the rating back."""
    text: str | UnsetType = UNSET
    """The reason, in the end user's own words."""


class FieldProblem(Struct, frozen=True, kw_only=True):
    field: str
    """Which field: `response.n`, `prompts[0]`, or the name of a parameter or header."""
    message: str


class FixedAnswerInput(Struct, frozen=True, kw_only=True):
    """What is asked, in several wordings, and what is said to it, word for word."""

    prompts: list[str]
    answer: str
    is_enabled: bool | UnsetType = UNSET
    """false: it is kept, but not used."""


class HandoffInput(Struct, frozen=True, kw_only=True):
    note: str | UnsetType = UNSET
    """A note to the operators: what it is about."""


class Health(Struct, frozen=True, kw_only=True):
    status: str
    version: str


class HoursConfig(Struct, frozen=True, kw_only=True):
    """When people are there to answer."""

    timezone: str
    """A name of the IANA time zone database, such as `Europe/Berlin`."""
    week: WeekConfig
    closed_dates: list[str]
    """Days without anybody there, such as holidays."""


class HoursConfigInput(Struct, frozen=True, kw_only=True):
    """When people are there to answer."""

    timezone: str | UnsetType = UNSET
    """A name of the IANA time zone database, such as `Europe/Berlin`."""
    week: WeekConfigInput | UnsetType = UNSET
    closed_dates: list[str] | UnsetType = UNSET
    """Days without anybody there, such as holidays."""


class IdentityKeyInput(Struct, frozen=True, kw_only=True):
    name: str
    """Which of your servers signs with it, say."""
    algorithm: Literal["ES256", "EdDSA", "HS256", "RS256"]
    """HS256: a shared secret, which is made here. Otherwise bring a public key."""
    public_key: str | None | UnsetType = UNSET
    """In PEM: Ed25519, P-256, or RSA of 2048 to 4096 bits. Left out with HS256, required with the others."""
    sources: Literal["full", "none", "titles"] | UnsetType = UNSET
    """What its users see of the sources of a reply: their text, their names or `none`."""


class InterceptionConfig(Struct, frozen=True, kw_only=True):
    """How humans and the chatbot share a conversation."""

    mode: Choice["inject", "takeover"]
    """What a `client:` message does: `inject`: the chatbot answers the next prompt; `takeover`: it also takes control, and the
    chatbot is silent until release.
    """
    release_after_minutes: int | None
    """Control goes back to the chatbot after so long without a word of an operator; null: never by itself."""
    handoff: bool
    """Whether the chatbot may ask for a human on its own."""
    handoff_when_asked: bool
    """Whether an end user who asks for a human gets one instead of a reply by the model."""
    handoff_message: str
    """What the end user is told when a human was asked for."""
    hours: HoursConfig | None
    """When people are there to answer; null: whenever an operator is available."""
    away_message: str
    """What the end user is told instead of handoff_message: outside `hours`, and while no operator of the chatbot is available.
    """
    when_operator_silent: Choice["chatbot", "queue"]
    """What follows release_after_minutes without a word of the operator. `chatbot`: the chatbot answers again; `queue`: it
    does, and a human is asked for anew.
    """
    review: Choice["all", "none"]
    """`all`: an operator sees each reply before the end user does, and sends, edits or discards it; nothing of it is shown
    until then.
    """
    review_minutes: int
    """A human is asked for if a proposed reply was not looked at for so long."""
    suggest: bool
    """Whether an operator in control is shown what the chatbot would reply to each prompt."""
    handoff_after_unanswered: int
    """The built-in model, and `refuse`, ask after so many unanswered prompts in a row; 0: never."""


class InterceptionConfigInput(Struct, frozen=True, kw_only=True):
    """How humans and the chatbot share a conversation."""

    mode: Literal["inject", "takeover"] | UnsetType = UNSET
    """What a `client:` message does: `inject`: the chatbot answers the next prompt; `takeover`: it also takes control, and the
    chatbot is silent until release.
    """
    release_after_minutes: int | None | UnsetType = UNSET
    """Control goes back to the chatbot after so long without a word of an operator; null: never by itself."""
    handoff: bool | UnsetType = UNSET
    """Whether the chatbot may ask for a human on its own."""
    handoff_when_asked: bool | UnsetType = UNSET
    """Whether an end user who asks for a human gets one instead of a reply by the model."""
    handoff_message: str | UnsetType = UNSET
    """What the end user is told when a human was asked for."""
    hours: HoursConfigInput | None | UnsetType = UNSET
    """When people are there to answer; null: whenever an operator is available."""
    away_message: str | UnsetType = UNSET
    """What the end user is told instead of handoff_message: outside `hours`, and while no operator of the chatbot is available.
    """
    when_operator_silent: Literal["chatbot", "queue"] | UnsetType = UNSET
    """What follows release_after_minutes without a word of the operator. `chatbot`: the chatbot answers again; `queue`: it
    does, and a human is asked for anew.
    """
    review: Literal["all", "none"] | UnsetType = UNSET
    """`all`: an operator sees each reply before the end user does, and sends, edits or discards it; nothing of it is shown
    until then.
    """
    review_minutes: int | UnsetType = UNSET
    """A human is asked for if a proposed reply was not looked at for so long."""
    suggest: bool | UnsetType = UNSET
    """Whether an operator in control is shown what the chatbot would reply to each prompt."""
    handoff_after_unanswered: int | UnsetType = UNSET
    """The built-in model, and `refuse`, ask after so many unanswered prompts in a row; 0: never."""


class KeyInput(Struct, frozen=True, kw_only=True):
    name: str
    scopes: (
        list[
            Literal[
                "chatbots:read",
                "chatbots:write",
                "documents:read",
                "documents:write",
                "conversations:read",
                "conversations:write",
                "messages:inject",
                "keys:write",
                "learning:write",
                "access:write",
                "tokens:write",
                "operators:write",
                "audit:read",
            ]
        ]
        | UnsetType
    ) = UNSET
    """What it may do; by default neither keys, users nor operators."""
    expires_in_days: int | None | UnsetType = UNSET
    """The key expires after so many days; null: never."""


class KeyRate(Struct, frozen=True, kw_only=True):
    """Prompts sent with one API key."""

    quota: int
    """How many are allowed in a window."""
    window_s: int
    """In seconds. The quota refills evenly over it."""


class KeyRateInput(Struct, frozen=True, kw_only=True):
    """Prompts sent with one API key."""

    quota: int | UnsetType = UNSET
    """How many are allowed in a window."""
    window_s: int | UnsetType = UNSET
    """In seconds. The quota refills evenly over it."""


class LimitsConfig(Struct, frozen=True, kw_only=True):
    """How much end users, and API keys, may use; null: no limit."""

    user: UserRate | None
    address: AddressRate | None
    sessions: SessionRate | None
    key: KeyRate | None
    budgets: BudgetsConfig


class LimitsConfigInput(Struct, frozen=True, kw_only=True):
    """How much end users, and API keys, may use; null: no limit."""

    user: UserRateInput | None | UnsetType = UNSET
    address: AddressRateInput | None | UnsetType = UNSET
    sessions: SessionRateInput | None | UnsetType = UNSET
    key: KeyRateInput | None | UnsetType = UNSET
    budgets: BudgetsConfigInput | UnsetType = UNSET


class Lines(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    from_: int
    to: int


class Location(Struct, frozen=True, kw_only=True):
    """Where in its document a chunk begins; `page` and `heading` where the document has them."""

    lines: Lines
    page: int | UnsetType = UNSET
    heading: str | UnsetType = UNSET


class MembershipInput(Struct, frozen=True, kw_only=True):
    """A chatbot that a member sees, and what they may do there: answer and teach, or read."""

    chatbot_id: str
    role: Literal["operator", "viewer"] | UnsetType = UNSET


class NoteInput(Struct, frozen=True, kw_only=True):
    """What an operator tells the others; end users never see it."""

    content: str
    operator: str | None | UnsetType = UNSET
    """Who writes; an operator who is signed in writes as themselves."""


class OpenSpan(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A part of a day, in the time that clocks show there; `until` itself no longer belongs to it."""

    from_: str
    """HH:MM."""
    until: str
    """HH:MM, or 24:00."""


class OpenSpanInput(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A part of a day, in the time that clocks show there; `until` itself no longer belongs to it."""

    from_: str
    """HH:MM."""
    until: str
    """HH:MM, or 24:00."""


class OperatorChangePart(Struct, frozen=True, kw_only=True):
    """Any part of a OperatorChange; what is left out stays as it is."""

    email: str | UnsetType = UNSET
    """Where the invitation goes, and what they sign in with."""
    name: str | UnsetType = UNSET
    """How colleagues call them. Default: the handle."""
    handle: str | UnsetType = UNSET
    """The name under which they speak, as `client:<handle>`; fixed once they have signed in. Default: what stands before the @.
    """
    role: Literal["admin", "member", "owner"] | UnsetType = UNSET
    """`owner`: everything; `admin`: everything but owners; `member`: what `chatbots` says."""
    chatbots: list[MembershipInput] | UnsetType = UNSET
    """The chatbots of a member; of no effect for others."""
    disabled: bool | UnsetType = UNSET
    """Whether they are shut out: at once, on every page and stream."""


class OperatorInput(Struct, frozen=True, kw_only=True):
    email: str
    """Where the invitation goes, and what they sign in with."""
    name: str | UnsetType = UNSET
    """How colleagues call them. Default: the handle."""
    handle: str | UnsetType = UNSET
    """The name under which they speak, as `client:<handle>`; fixed once they have signed in. Default: what stands before the @.
    """
    role: Literal["admin", "member", "owner"] | UnsetType = UNSET
    """`owner`: everything; `admin`: everything but owners; `member`: what `chatbots` says."""
    chatbots: list[MembershipInput] | UnsetType = UNSET
    """The chatbots of a member; of no effect for others."""


class PresenceInput(Struct, frozen=True, kw_only=True):
    status: Literal["available", "away"]


class PricesConfig(Struct, frozen=True, kw_only=True):
    """What a million tokens of the model cost, in a currency of your choice. The figures multiply them."""

    input: float
    output: float


class PricesConfigInput(Struct, frozen=True, kw_only=True):
    """What a million tokens of the model cost, in a currency of your choice. The figures multiply them."""

    input: float | UnsetType = UNSET
    output: float | UnsetType = UNSET


class Problem(Struct, frozen=True, kw_only=True, rename={"violated_policies": "violated-policies"}):
    """Every error (RFC 9457). Programs act on `code`; the texts are for people."""

    type: str
    """Where the code is explained: a path of this server."""
    title: str
    status: int
    detail: str
    instance: str
    """The path that was asked for."""
    code: str
    """What went wrong. A code never changes its meaning."""
    request_id: str
    """The id of this request in the server's log."""
    errors: list[FieldProblem] | UnsetType = UNSET
    """The invalid fields of a 422."""
    violated_policies: list[str] | UnsetType = UNSET
    """The limits that a 429 is due to, as the chatbot's `limits` name them."""


class ProfileInputPart(Struct, frozen=True, kw_only=True):
    """Any part of a ProfileInput; what is left out stays as it is."""

    name: str | None | UnsetType = UNSET
    """What operators see."""
    email: str | None | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    """Whatever operators should know; 4 kB of JSON at most. No string of it holds NUL, and it is nested 32 deep at most."""


class PromptInput(Struct, frozen=True, kw_only=True):
    """What someone says. A new conversation_id starts a conversation, a known one continues it."""

    conversation_id: str
    """Yours to define: any string but `.` and `..`."""
    user_id: str
    """With the prefix `client:` your staff speaks, and the chatbot does not reply. What only looks like the prefix, such as
    `Client:`, is refused. What only looks like `bot` is refused.
    """
    prompt: str
    """What the user says."""
    stream: bool | None | UnsetType = UNSET
    """true: answer with Server-Sent Events, as `Accept: text/event-stream` does."""
    metadata: dict[str, Any] | UnsetType = UNSET
    """Stored with the prompt and returned; 16 kB of JSON at most. No string of it holds NUL, and it is nested 32 deep at most."""


class RatingInput(Struct, frozen=True, kw_only=True):
    closed_seq: int
    """Of the event `conversation.closed`."""
    score: int
    comment: str | UnsetType = UNSET


class ReadInput(Struct, frozen=True, kw_only=True):
    user_id: str | UnsetType = UNSET
    """With an API key: who, an end user or `client:support_staff_01`."""
    seq: int
    """Of the last message that they have read."""


class Readiness(Struct, frozen=True, kw_only=True):
    status: str
    version: str
    durability: Choice["local", "replicated"]


class ReplayInput(Struct, frozen=True, kw_only=True):
    """Which prompts are asked again: those of conversations, the unanswered ones, or else the newest; and of what chatbot."""

    conversation_ids: list[str] | UnsetType = UNSET
    """Replay only these conversations."""
    unanswered: bool | UnsetType = UNSET
    """true: replay the open prompts of the list of unanswered ones. Not together with `conversation_ids`."""
    limit: int | UnsetType = UNSET
    """Replay at most this many prompts, the newest."""
    config: ChatbotInputPart | UnsetType = UNSET
    """Changes to the chatbot's configuration for this replay, as PATCH takes them. No other `text_splitter` than the chatbot
    has: documents are not cut anew for this.
    """
    stream: bool | None | UnsetType = UNSET
    """true: answer with Server-Sent Events."""


class ResponseConfig(Struct, frozen=True, kw_only=True):
    """How the chatbot replies."""

    n: int
    """How many alternative replies are made."""
    top_p: float
    stream: bool
    """false turns streaming off for this chatbot."""
    max_tokens: int
    """Longest reply, in the model's tokens."""
    memory_size: int
    """How many earlier messages the model sees."""
    temperature: float
    system_persona: str
    """What the model is told to be."""
    presence_penalty: float
    frequency_penalty: float
    model: str | None
    """The model's name at the configured endpoint; null: the server's default."""
    fallback_models: list[str]
    """Models to try next, in this order, as long as nothing of a reply was shown."""
    reasoning_effort: Choice["high", "low", "medium", "minimal", "none"] | None
    """How much a reasoning model reasons; null: its default."""
    omit: list[
        Choice[
            "frequency_penalty",
            "max_tokens",
            "n",
            "presence_penalty",
            "reasoning_effort",
            "stream",
            "stream_options",
            "system",
            "temperature",
            "tools",
            "top_p",
        ]
    ]
    """Parameters that are not sent to the model, such as `temperature`."""
    first_token_timeout_s: float | None
    """How long the model may take to its first sign of work, in seconds; null: the server's setting."""
    idle_timeout_s: float | None
    """Longest silence in a reply; null: the server's setting."""
    timeout_s: float | None
    """Longest time for one prompt at the model, retries included; null: the server's setting."""
    overlap: Choice["coalesce", "interrupt", "queue", "reject"]
    """A prompt that arrives while another is being answered: `queue` (at most 8 wait), `reject` it, let it `interrupt` the
    running reply, or `coalesce` prompts that follow one another within coalesce_ms.
    """
    coalesce_ms: int
    """How long `coalesce` waits for more after the last prompt, in milliseconds."""


class ResponseConfigInput(Struct, frozen=True, kw_only=True):
    """How the chatbot replies."""

    n: int | UnsetType = UNSET
    """How many alternative replies are made."""
    top_p: float | UnsetType = UNSET
    stream: bool | UnsetType = UNSET
    """false turns streaming off for this chatbot."""
    max_tokens: int | UnsetType = UNSET
    """Longest reply, in the model's tokens."""
    memory_size: int | UnsetType = UNSET
    """How many earlier messages the model sees."""
    temperature: float | UnsetType = UNSET
    system_persona: str | UnsetType = UNSET
    """What the model is told to be."""
    presence_penalty: float | UnsetType = UNSET
    frequency_penalty: float | UnsetType = UNSET
    model: str | None | UnsetType = UNSET
    """The model's name at the configured endpoint; null: the server's default."""
    fallback_models: list[str] | UnsetType = UNSET
    """Models to try next, in this order, as long as nothing of a reply was shown."""
    reasoning_effort: Literal["high", "low", "medium", "minimal", "none"] | None | UnsetType = UNSET
    """How much a reasoning model reasons; null: its default."""
    omit: (
        list[
            Literal[
                "frequency_penalty",
                "max_tokens",
                "n",
                "presence_penalty",
                "reasoning_effort",
                "stream",
                "stream_options",
                "system",
                "temperature",
                "tools",
                "top_p",
            ]
        ]
        | UnsetType
    ) = UNSET
    """Parameters that are not sent to the model, such as `temperature`."""
    first_token_timeout_s: float | None | UnsetType = UNSET
    """How long the model may take to its first sign of work, in seconds; null: the server's setting."""
    idle_timeout_s: float | None | UnsetType = UNSET
    """Longest silence in a reply; null: the server's setting."""
    timeout_s: float | None | UnsetType = UNSET
    """Longest time for one prompt at the model, retries included; null: the server's setting."""
    overlap: Literal["coalesce", "interrupt", "queue", "reject"] | UnsetType = UNSET
    """A prompt that arrives while another is being answered: `queue` (at most 8 wait), `reject` it, let it `interrupt` the
    running reply, or `coalesce` prompts that follow one another within coalesce_ms.
    """
    coalesce_ms: int | UnsetType = UNSET
    """How long `coalesce` waits for more after the last prompt, in milliseconds."""


class RestrictionsConfig(Struct, frozen=True, kw_only=True):
    """From where end users may reach the chatbot; empty lists restrict nothing."""

    hostnames: list[str]
    ip_addresses: list[str]


class RestrictionsConfigInput(Struct, frozen=True, kw_only=True):
    """From where end users may reach the chatbot; empty lists restrict nothing."""

    hostnames: list[str] | UnsetType = UNSET
    """Write names that are not ASCII as `xn--...`."""
    ip_addresses: list[str] | UnsetType = UNSET


class ResultsConfig(Struct, frozen=True, kw_only=True):
    """Which chunks reach the model."""

    match_count: int
    """At most this many chunks."""
    match_threshold: float
    """Least relevance, 0 to 1, of a chunk."""
    when_nothing_matches: Choice["model", "refuse"]
    """`model`: the model answers without sections; `refuse`: the refusal, no model call."""
    rewrite: Choice["model", "rules"]
    """How a follow-up is searched for: `rules`: together with what was said before; `model`: as the model rewrites it, which is
    one more call for each; the rules where that fails.
    """
    refusal: str | None
    """The refusal. null: the words that the persona puts in quotes; with the default persona, a refusal in the language of the
    prompt.
    """
    suggest: bool
    """Whether a refusal made by gigachat names documents that may help."""
    prompts: Choice["any", "customers"]
    """What is asked of this chatbot. `customers`: what people ask a business, so that small talk, trivia and homework need a
    clearer match; `any`: anything, as of recipes or an encyclopedia.
    """
    fixed_answer_threshold: float | None
    """How near a prompt must be to one of a fixed answer, as the cosine of the embedding model; null: that model's own measure
    of what asks the same.
    """


class ResultsConfigInput(Struct, frozen=True, kw_only=True):
    """Which chunks reach the model."""

    match_count: int | UnsetType = UNSET
    """At most this many chunks."""
    match_threshold: float | UnsetType = UNSET
    """Least relevance, 0 to 1, of a chunk."""
    when_nothing_matches: Literal["model", "refuse"] | UnsetType = UNSET
    """`model`: the model answers without sections; `refuse`: the refusal, no model call."""
    rewrite: Literal["model", "rules"] | UnsetType = UNSET
    """How a follow-up is searched for: `rules`: together with what was said before; `model`: as the model rewrites it, which is
    one more call for each; the rules where that fails.
    """
    refusal: str | None | UnsetType = UNSET
    """The refusal. null: the words that the persona puts in quotes; with the default persona, a refusal in the language of the
    prompt.
    """
    suggest: bool | UnsetType = UNSET
    """Whether a refusal made by gigachat names documents that may help."""
    prompts: Literal["any", "customers"] | UnsetType = UNSET
    """What is asked of this chatbot. `customers`: what people ask a business, so that small talk, trivia and homework need a
    clearer match; `any`: anything, as of recipes or an encyclopedia.
    """
    fixed_answer_threshold: float | None | UnsetType = UNSET
    """How near a prompt must be to one of a fixed answer, as the cosine of the embedding model; null: that model's own measure
    of what asks the same.
    """


class RetryInput(Struct, frozen=True, kw_only=True):
    stream: bool | None | UnsetType = UNSET
    """true: answer with Server-Sent Events."""


class RevokeInput(Struct, frozen=True, kw_only=True):
    block: bool | UnsetType = UNSET
    """true: tokens that are issued later are refused, too; false: they count again."""


class SendInput(Struct, frozen=True, kw_only=True):
    content: str | None | UnsetType = UNSET
    """The reply as the operator has edited it; null: as it is."""
    operator: str | None | UnsetType = UNSET
    """Who decides; an operator who is signed in decides as themselves."""


class SessionInput(Struct, frozen=True, kw_only=True):
    """`{}` with a widget key, or with a token for its user; `{"claim": ...}` with a token; the rest with an API key."""

    user_id: str | UnsetType = UNSET
    """With an API key: whose session it is. Neither `client:...` nor `anon:...`. What only looks like these prefixes is
    refused, too.
    """
    expires_in_s: int | UnsetType = UNSET
    """With an API key: how long it lasts; without, a day, which is the longest."""
    conversation_ids: list[str] | UnsetType = UNSET
    """With an API key: the only conversations that it reaches; of these also those that name no user."""
    sources: Literal["full", "none", "titles"] | UnsetType = UNSET
    """With an API key: what it shows of the sources of a reply; without, `titles`."""
    claim: str | UnsetType = UNSET
    """With a token: the anonymous session (`gcu_...`) whose conversations become its user's."""


class SessionRate(Struct, frozen=True, kw_only=True):
    """Anonymous sessions from one IPv4 address or IPv6 /64."""

    quota: int
    """How many are allowed in a window."""
    window_s: int
    """In seconds. The quota refills evenly over it."""


class SessionRateInput(Struct, frozen=True, kw_only=True):
    """Anonymous sessions from one IPv4 address or IPv6 /64."""

    quota: int | UnsetType = UNSET
    """How many are allowed in a window."""
    window_s: int | UnsetType = UNSET
    """In seconds. The quota refills evenly over it."""


class SiteInput(Struct, frozen=True, kw_only=True):
    depth: int | UnsetType = UNSET
    """For a `site`: how many links away from `url` its pages may be."""
    max_pages: int | UnsetType = UNSET
    """The most addresses that one crawl reads."""
    include: list[str] | UnsetType = UNSET
    """Read only addresses that match one of these. Empty: all."""
    exclude: list[str] | UnsetType = UNSET
    """Skip addresses that match one of these."""
    recrawl_hours: int | None | UnsetType = UNSET
    """Crawl it again so many hours after a crawl has ended; null: only when you ask for it."""
    url: str
    """The address to start from: http or https. The pattern is what every server takes; addresses of the public internet, names
    that are not ASCII, and the ports of GIGACHAT_FETCH_PORTS are taken, too.
    """
    kind: Literal["page", "site", "sitemap"]
    """`page`: that page alone; `sitemap`: all pages it lists; `site`: follow links on the same host."""


class SiteSettingsPart(Struct, frozen=True, kw_only=True):
    """Any part of a SiteSettings; what is left out stays as it is."""

    depth: int | UnsetType = UNSET
    """For a `site`: how many links away from `url` its pages may be."""
    max_pages: int | UnsetType = UNSET
    """The most addresses that one crawl reads."""
    include: list[str] | UnsetType = UNSET
    """Read only addresses that match one of these. Empty: all."""
    exclude: list[str] | UnsetType = UNSET
    """Skip addresses that match one of these."""
    recrawl_hours: int | None | UnsetType = UNSET
    """Crawl it again so many hours after a crawl has ended; null: only when you ask for it."""


class Spending(Struct, frozen=True, kw_only=True):
    """What was used of a budget."""

    turns: int
    tokens: int


class StreamDelta(Struct, frozen=True, kw_only=True):
    """A piece of a running reply, starting at that character of it."""

    message_id: str
    offset: int
    text: str


class StreamDone(Struct, frozen=True, kw_only=True):
    """All that a prompt led to is stored; `seq` is that of its last message."""

    conversation_id: str
    seq: int


class StreamStart(Struct, frozen=True, kw_only=True):
    """The prompt is stored. `message_ids` are those that its replies will have."""

    prompt: Message
    message_ids: list[str]


class StreamTyping(Struct, frozen=True, kw_only=True):
    """Who is writing now, besides the caller: empty once all have stopped."""

    names: list[str]


class TakeoverInput(Struct, frozen=True, kw_only=True):
    operator: str
    """The operator who takes over, such as `support_staff_01`. What only looks like `bot` is refused."""
    force: bool | UnsetType = UNSET
    """true: take over from another operator, too."""


class TextSplitterConfig(Struct, frozen=True, kw_only=True):
    """How documents are cut, in characters."""

    chunk_size: int
    chunk_overlap: int
    """Less than chunk_size."""


class TextSplitterConfigInput(Struct, frozen=True, kw_only=True):
    """How documents are cut, in characters."""

    chunk_size: int | UnsetType = UNSET
    """More than chunk_overlap."""
    chunk_overlap: int | UnsetType = UNSET
    """Less than chunk_size."""


class TranscriptInput(Struct, frozen=True, kw_only=True):
    """Where it goes."""

    email: str | None | UnsetType = UNSET
    """null: to the verified address of the conversation's end user, where an end user's own goes always."""


class TypingInput(Struct, frozen=True, kw_only=True):
    user_id: str | UnsetType = UNSET
    """With an API key: who, an end user or `client:support_staff_01`."""


class UserRate(Struct, frozen=True, kw_only=True):
    """Prompts of one end user."""

    quota: int
    """How many are allowed in a window."""
    window_s: int
    """In seconds. The quota refills evenly over it."""


class UserRateInput(Struct, frozen=True, kw_only=True):
    """Prompts of one end user."""

    quota: int | UnsetType = UNSET
    """How many are allowed in a window."""
    window_s: int | UnsetType = UNSET
    """In seconds. The quota refills evenly over it."""


class WeekConfig(Struct, frozen=True, kw_only=True):
    """When people are there on each day; a day without spans is closed."""

    mon: list[OpenSpan]
    """In order, and apart from each other."""
    tue: list[OpenSpan]
    """In order, and apart from each other."""
    wed: list[OpenSpan]
    """In order, and apart from each other."""
    thu: list[OpenSpan]
    """In order, and apart from each other."""
    fri: list[OpenSpan]
    """In order, and apart from each other."""
    sat: list[OpenSpan]
    """In order, and apart from each other."""
    sun: list[OpenSpan]
    """In order, and apart from each other."""


class WeekConfigInput(Struct, frozen=True, kw_only=True):
    """When people are there on each day; a day without spans is closed."""

    mon: list[OpenSpanInput] | UnsetType = UNSET
    """In order, and apart from each other."""
    tue: list[OpenSpanInput] | UnsetType = UNSET
    """In order, and apart from each other."""
    wed: list[OpenSpanInput] | UnsetType = UNSET
    """In order, and apart from each other."""
    thu: list[OpenSpanInput] | UnsetType = UNSET
    """In order, and apart from each other."""
    fri: list[OpenSpanInput] | UnsetType = UNSET
    """In order, and apart from each other."""
    sat: list[OpenSpanInput] | UnsetType = UNSET
    """In order, and apart from each other."""
    sun: list[OpenSpanInput] | UnsetType = UNSET
    """In order, and apart from each other."""


class WidgetKeyInput(Struct, frozen=True, kw_only=True):
    name: str
    hostnames: list[str]
    """On whose pages it is good: on no others. Write names that are not ASCII as `xn--...`."""
    is_enabled: bool | UnsetType = UNSET
    """false: it, and each session that was opened with it, is refused."""
    settings: WidgetSettingsInput | UnsetType = UNSET


class WidgetKeyInputPart(Struct, frozen=True, kw_only=True):
    """Any part of a WidgetKeyInput; what is left out stays as it is."""

    name: str | UnsetType = UNSET
    hostnames: list[str] | UnsetType = UNSET
    """On whose pages it is good: on no others. Write names that are not ASCII as `xn--...`."""
    is_enabled: bool | UnsetType = UNSET
    """false: it, and each session that was opened with it, is refused."""
    settings: WidgetSettingsInput | UnsetType = UNSET


class WidgetSettings(Struct, frozen=True, kw_only=True):
    """What the holder of a widget key decides for the visitors who come with it."""

    sources: Choice["full", "none", "titles"]
    """What visitors see of the sources of a reply: their text (`full`), their names (`titles`) or `none`."""
    allow_apps: bool
    """Whether requests without an `Origin`, as apps send them, are let in with this key."""
    allow_direct: bool
    """Whether anyone with the link `/chat/{chatbot_id}` can chat, without a site."""
    accent: str
    """The colour of buttons; white text on it has to be readable."""
    theme: Choice["auto", "dark", "light"]
    """`auto`: as the visitor's device."""
    side: Choice["left", "right"]
    """Where the button is."""
    offset_x: int
    """Its distance from that side, in pixels."""
    offset_y: int
    """Its distance from the bottom, in pixels."""
    greeting: str | None
    """What stands above an empty conversation; null: a greeting in the visitor's language."""
    starters: list[str]
    """Prompts that a visitor can begin with."""
    handoff_button: bool
    """Whether the menu has a button that asks for a human."""
    ask_contact: Choice["handoff", "never", "start"]
    """When a visitor is asked for name and e-mail address; what they say stays unverified."""
    csat: bool
    """Whether a visitor is asked for a rating when a human has ended their part."""


class WidgetSettingsInput(Struct, frozen=True, kw_only=True):
    """What the holder of a widget key decides for the visitors who come with it."""

    sources: Literal["full", "none", "titles"] | UnsetType = UNSET
    """What visitors see of the sources of a reply: their text (`full`), their names (`titles`) or `none`."""
    allow_apps: bool | UnsetType = UNSET
    """Whether requests without an `Origin`, as apps send them, are let in with this key."""
    allow_direct: bool | UnsetType = UNSET
    """Whether anyone with the link `/chat/{chatbot_id}` can chat, without a site."""
    accent: str | UnsetType = UNSET
    """The colour of buttons; white text on it has to be readable."""
    theme: Literal["auto", "dark", "light"] | UnsetType = UNSET
    """`auto`: as the visitor's device."""
    side: Literal["left", "right"] | UnsetType = UNSET
    """Where the button is."""
    offset_x: int | UnsetType = UNSET
    """Its distance from that side, in pixels."""
    offset_y: int | UnsetType = UNSET
    """Its distance from the bottom, in pixels."""
    greeting: str | None | UnsetType = UNSET
    """What stands above an empty conversation; null: a greeting in the visitor's language."""
    starters: list[str] | UnsetType = UNSET
    """Prompts that a visitor can begin with."""
    handoff_button: bool | UnsetType = UNSET
    """Whether the menu has a button that asks for a human."""
    ask_contact: Literal["handoff", "never", "start"] | UnsetType = UNSET
    """When a visitor is asked for name and e-mail address; what they say stays unverified."""
    csat: bool | UnsetType = UNSET
    """Whether a visitor is asked for a rating when a human has ended their part."""


class AddedStem(Struct, frozen=True, kw_only=True):
    """A stem that the conversation adds to the prompt, and how much of one occurrence in the prompt it counts."""

    stem: str
    weight: float


class AuditEntry(Struct, frozen=True, kw_only=True):
    id: str
    at: str
    actor: str
    """Who did it: `operator:<handle>`, `key:<id>`, or `local`, the server's machine."""
    action: str
    """A noun and what happened to it, such as `operator.disabled`."""
    target: str
    """What it was done to, such as `chatbot:<id>`."""
    detail: dict[str, Any]
    """What else is known; neither secrets nor what end users said."""


class CannedReply(Struct, frozen=True, kw_only=True):
    id: str
    chatbot_id: str
    shortcut: str
    content: str
    updated_at: str


class Chatbot(Struct, frozen=True, kw_only=True):
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
    created_at: str
    updated_at: str


class Chunk(Struct, frozen=True, kw_only=True):
    """A chunk; `embedding` is pgvector's text form, or null."""

    id: str
    chatbot_id: str
    user_id: str
    document_id: str
    name: str
    content: str
    metadata: ChunkMetadata
    embedding: str | None
    created_at: str
    updated_at: str


class Citation(Struct, frozen=True, kw_only=True):
    """A marker in a reply, such as `[1]`, and the span of a source that it stands for; places count characters, from 0."""

    number: int
    """The number of the source in `sources`, from 1."""
    source_id: str
    """The `id` of that source."""
    start: int | None
    """Where the span begins in that source's `content`, header included."""
    end: int | None
    """Where it ends."""
    text: str | None
    """The span word for word; null where no sentence of the source is known to say this."""
    marker_start: int
    """Where the marker begins in the message's `content`."""
    marker_end: int
    """Where it ends."""


class Conversation(Struct, frozen=True, kw_only=True):
    conversation_id: str
    chatbot_id: str
    user_id: str | None
    controlled_by: str
    control_epoch: int
    release_at: str | None
    handoff_requested_at: str | None
    answering: str | None
    queued: int
    status: Choice["closed", "open", "snoozed"]
    snoozed_until: str | None
    closed_at: str | None
    assigned_to: str | None
    """The operator who looks after it."""
    waiting_since: str | None
    """When its end user first spoke without an answer of a human, since one is wanted or in control."""
    last_message_seq: int
    """Of the newest message; 0 if it is from before an upgrade."""
    seq: int
    created_at: str
    updated_at: str


class Day(Struct, frozen=True, kw_only=True):
    conversations: int
    """Conversations that began."""
    prompts: int
    answered: int
    """Replies that are neither refusals, fixed answers nor handoffs."""
    refused: int
    """Replies to prompts that count as unanswered."""
    fixed: int
    """Replies that are a fixed answer."""
    failed: int
    takeovers: int
    handoffs: dict[str, int]
    """By reason: asked, unanswered, review, silence, other."""
    ratings: dict[str, int]
    """Of conversations, by score from 1 to 5."""
    thumbs: dict[str, int]
    """Of replies: up, down."""
    input_tokens: int
    output_tokens: int
    cost: float
    """By the chatbot's `prices`."""
    day: str
    """YYYY-MM-DD, in UTC."""
    first_word_ms: Wait
    """From a prompt to the first word of its reply."""
    first_human_reply_ms: Wait
    """From a handoff to the first word of an operator."""


class Document(Struct, frozen=True, kw_only=True):
    id: str
    chatbot_id: str
    user_id: str
    name: str
    state: Choice["embedding", "extracting", "failed", "pending", "ready"]
    """A `failed` one has an `error` and a `reason`; an earlier version answers."""
    error: str | None
    reason: str | None
    progress: int
    """Percent of the way from `pending` to `ready`."""
    title: str | None
    origin: str | None
    chunk_count: int
    characters: int
    content_sha256: str
    warnings: list[DocumentWarning]
    """Parts of the file that were not read, or not reliably. Empty: all that a person sees was read."""
    created_at: str
    updated_at: str


class DocumentWithContent(Struct, frozen=True, kw_only=True):
    id: str
    chatbot_id: str
    user_id: str
    name: str
    state: Choice["embedding", "extracting", "failed", "pending", "ready"]
    """A `failed` one has an `error` and a `reason`; an earlier version answers."""
    error: str | None
    reason: str | None
    progress: int
    """Percent of the way from `pending` to `ready`."""
    title: str | None
    origin: str | None
    chunk_count: int
    characters: int
    content_sha256: str
    warnings: list[DocumentWarning]
    """Parts of the file that were not read, or not reliably. Empty: all that a person sees was read."""
    created_at: str
    updated_at: str
    content: str


class EndUser(Struct, frozen=True, kw_only=True):
    user_id: str
    chatbot_id: str
    name: str | None
    email: str | None
    metadata: dict[str, Any]
    is_verified: bool
    """Whether your server said so, in a token or here, rather than the user."""
    blocked_at: str | None
    tokens_valid_from: str | None
    """Tokens that were issued before are refused."""
    seen_at: str
    created_at: str


class Event(Struct, frozen=True, kw_only=True):
    """An event; `message` and `prompt` are those it names, as they are now, null where it names none or they are deleted."""

    conversation_id: str
    seq: int
    type: Choice[
        "conversation.assigned",
        "conversation.closed",
        "conversation.identified",
        "conversation.rated",
        "conversation.released",
        "conversation.reopened",
        "conversation.snoozed",
        "conversation.taken_over",
        "handoff.requested",
        "message.created",
        "message.feedback",
        "message.replaced",
        "messages.deleted",
        "note.created",
        "note.deleted",
        "prompt.unanswered",
        "proposal.created",
        "proposal.decided",
        "turn.coalesced",
        "turn.failed",
        "turn.intercepted",
        "turn.interrupted",
        "turn.proposed",
        "turn.queued",
        "turn.recovered",
        "turn.started",
        "turn.stopped",
    ]
    """What happened: the guide to following live says what each means."""
    data: dict[str, Any]
    message: Message | None
    prompt: Message | None
    created_at: str


class Example(Struct, frozen=True, kw_only=True):
    """An unanswered prompt. `answered_by`: the fixed answer or document that an operator made of it, or `reply`."""

    prompt_id: str
    conversation_id: str
    prompt: str
    reason: Choice["nothing_matched", "refused"]
    answered_by: str | None
    created_at: str


class Figures(Struct, frozen=True, kw_only=True):
    """What happened, each fact on the day of its own event."""

    conversations: int
    """Conversations that began."""
    prompts: int
    answered: int
    """Replies that are neither refusals, fixed answers nor handoffs."""
    refused: int
    """Replies to prompts that count as unanswered."""
    fixed: int
    """Replies that are a fixed answer."""
    failed: int
    takeovers: int
    handoffs: dict[str, int]
    """By reason: asked, unanswered, review, silence, other."""
    ratings: dict[str, int]
    """Of conversations, by score from 1 to 5."""
    thumbs: dict[str, int]
    """Of replies: up, down."""
    input_tokens: int
    output_tokens: int
    cost: float
    """By the chatbot's `prices`."""


class FiguresOfDays(Struct, frozen=True, kw_only=True):
    days: list[Day]
    total: Figures


class FixedAnswer(Struct, frozen=True, kw_only=True):
    """An answer given word for word to everyone who asks one of its prompts, or the same in other words."""

    id: str
    chatbot_id: str
    user_id: str
    prompts: list[str]
    answer: str
    is_enabled: bool
    use_count: int
    created_at: str
    updated_at: str


class IdentityKey(Struct, frozen=True, kw_only=True):
    id: str
    """The `kid` of the tokens that it verifies."""
    chatbot_id: str
    name: str
    algorithm: Choice["ES256", "EdDSA", "HS256", "RS256"]
    public_key: str | None
    """In PEM; null for a shared secret."""
    sources: Choice["full", "none", "titles"]
    created_at: str


class Invited(Struct, frozen=True, kw_only=True):
    """`invite_url` is shown this once: the page on which they choose a password, within 7 days."""

    id: str
    email: str
    name: str
    handle: str
    role: str
    chatbots: list[Membership]
    state: Choice["active", "disabled", "invited"]
    """`invited`: they have not signed in yet."""
    signs_in_with: list[Choice["oidc", "password"]]
    """Empty until they accept their invitation."""
    created_at: str
    seen_at: str | None
    """When they last signed in."""
    disabled_at: str | None
    invite_url: str


class Key(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    last4: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class Limits(Struct, frozen=True, kw_only=True):
    """A chatbot's limits, and what was used of its budgets."""

    limits: LimitsConfig
    day: str
    """Today, in UTC."""
    spent: Spent


class Membership(Struct, frozen=True, kw_only=True):
    chatbot_id: str
    role: str


class Message(Struct, frozen=True, kw_only=True):
    id: str
    chatbot_id: str
    conversation_id: str
    user_id: str
    role: Choice["assistant", "operator", "system", "user"]
    name: str
    content: str
    status: Choice["completed", "failed", "incomplete", "stopped"]
    metadata: dict[str, Any]
    embedding: None
    sources: list[Source]
    citations: list[Citation]
    in_reply_to: str | None
    alternative: int
    replaced_by: str | None
    turn: Choice["coalesced", "done", "failed", "intercepted", "interrupted", "proposed", "queued", "running", "stopped"] | None
    error: str | None
    feedback: Feedback | None
    seq: int
    created_at: str
    updated_at: str


class NewIdentityKey(Struct, frozen=True, kw_only=True):
    """`secret` is shown this once: the text itself, not what it might decode to, is the key of HS256."""

    id: str
    """The `kid` of the tokens that it verifies."""
    chatbot_id: str
    name: str
    algorithm: Choice["ES256", "EdDSA", "HS256", "RS256"]
    public_key: str | None
    """In PEM; null for a shared secret."""
    sources: Choice["full", "none", "titles"]
    created_at: str
    secret: str | None


class NewKey(Struct, frozen=True, kw_only=True):
    """`key` is shown this once."""

    id: str
    name: str
    last4: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    key: str


class Note(Struct, frozen=True, kw_only=True):
    id: str
    conversation_id: str
    after_seq: int
    """The `seq` of the conversation when it was written."""
    operator: str
    content: str
    created_at: str
    updated_at: str


class Operator(Struct, frozen=True, kw_only=True):
    id: str
    email: str
    name: str
    handle: str
    role: str
    chatbots: list[Membership]
    state: Choice["active", "disabled", "invited"]
    """`invited`: they have not signed in yet."""
    signs_in_with: list[Choice["oidc", "password"]]
    """Empty until they accept their invitation."""
    created_at: str
    seen_at: str | None
    """When they last signed in."""
    disabled_at: str | None


class Passage(Struct, frozen=True, kw_only=True):
    """A chunk that a prompt may match, and why. Passages are ranked by `rank_score`. `score`, the relevance, is the sigmoid of
    the sum of `parts`: 0.78 is a sum of 1.27.
    """

    id: str
    chatbot_id: str
    user_id: str
    document_id: str
    name: str
    content: str
    metadata: ChunkMetadata
    embedding: str | None
    created_at: str
    updated_at: str
    score: float
    cosine: float
    """How close its best unit is to the prompt in meaning."""
    lexical: float
    """Its BM25 divided by the best BM25 of all chunks; counts only in `rank_score`."""
    coverage: float
    """The share of the prompt's words that it holds, weighed by their idf; similar words count in part."""
    is_foreign: bool
    """Whether the prompt is in another language, so words do not count."""
    prior: float
    """Of the prompt alone: how much closer it is to customers' questions than to small talk and trivia."""
    margin: float
    """Its cosine minus that of the chatbot's fifth best unit: how far it stands out."""
    identified: float
    """1: it holds an identifier of the prompt; -1: the prompt has some and no chunk holds any; else 0."""
    units: int
    """How many units the chatbot has; from 100 on, 100 or more."""
    rank_score: float
    """The score that passages are ordered by."""
    parts: dict[str, float]
    """What each feature adds to the sum, `size` (of how many `units` it is one) and `bias` among them."""
    is_matched: bool
    """Whether its `score` reaches `match_threshold`."""
    is_source: bool
    """Whether a reply would be made from it: matched, among the first `match_count`."""


class Presence(Struct, frozen=True, kw_only=True):
    operator: str
    """The handle that they speak under."""
    name: str
    status: Choice["available", "away"]
    """What they chose; `available` at first."""
    available: bool
    """Whether they are, and a page of theirs was open in the last 45 seconds."""
    seen_at: str | None


class PresenceList(Struct, frozen=True, kw_only=True):
    operators: list[Presence]


class Proposal(Struct, frozen=True, kw_only=True):
    """A reply that is not said yet. `wanted`: it is being made, and has no content."""

    id: str
    conversation_id: str
    prompt_id: str
    state: Choice["discarded", "edited", "failed", "open", "sent", "superseded", "wanted"]
    content: str
    sources: list[Source]
    citations: list[Citation]
    decided_by: str | None
    message_id: str | None
    """Of the reply that it became."""
    created_at: str
    decided_at: str | None


class Queue(Struct, frozen=True, kw_only=True):
    """Documents of a chatbot that cannot be found yet."""

    chatbot_id: str
    name: str
    waiting: int
    """How many are waiting."""
    working: int
    """How many are being read or embedded."""
    bytes: int
    """Their size together: bytes of files, characters of texts."""
    oldest_at: str
    """When the oldest of them began to wait."""


class Replay(Struct, frozen=True, kw_only=True):
    """`error` is there, as a problem, if it broke off: then the turns are those until then."""

    turns: list[ReplayedTurn]
    summary: ReplaySummary
    error: Problem | UnsetType = UNSET


class ReplayError(Struct, frozen=True, kw_only=True):
    code: str
    detail: str


class ReplayReply(Struct, frozen=True, kw_only=True):
    """`message_id` is null for a reply that is not stored."""

    message_id: str | None
    content: str
    is_unanswered: bool
    finish_reason: str | None
    fixed_answer_id: str | None


class ReplaySource(Struct, frozen=True, kw_only=True):
    """A passage that a reply was made from, with its relevance then and now; null: not of that reply."""

    name: str
    document_id: str
    old_score: float | None
    new_score: float | None


class ReplaySources(Struct, frozen=True, kw_only=True):
    added: list[ReplaySource]
    removed: list[ReplaySource]
    kept: list[ReplaySource]


class ReplaySummary(Struct, frozen=True, kw_only=True):
    """How many turns, by what changed, and what asking them has cost."""

    turns: int
    same: int
    different: int
    now_answered: int
    now_unanswered: int
    failed: int
    model_calls: int
    prompt_tokens: int
    completion_tokens: int


class ReplayText(Struct, frozen=True, kw_only=True):
    """Sentences that one of the two replies says and the other does not."""

    added: list[str]
    removed: list[str]


class ReplayedTurn(Struct, frozen=True, kw_only=True):
    """A prompt asked again: `old` is what was replied, `new` what would be. Nothing of `new` is stored."""

    prompt_id: str
    conversation_id: str
    prompt: str
    changed: Choice["different", "failed", "now_answered", "now_unanswered", "same"]
    would_answer: bool
    old: ReplayReply | None
    new: ReplayReply | None
    sources: ReplaySources
    text: ReplayText
    model_calls: int
    error: ReplayError | None


class Retrieval(Struct, frozen=True, kw_only=True):
    """What a prompt would find; `searched` is the number of chunks there were to be found. Small talk is not searched for."""

    query: str
    is_small_talk: bool
    is_dependent: bool
    """Whether the query depends on the conversation, and was searched together with it."""
    judged_for: Choice["generating", "quoting"]
    """The kind of model that the passages are judged for: `for`, or else the server's."""
    is_lenient: bool
    """Whether `leniency` is in every sum: for a model that generates, or because a passage reaches the threshold without it,
    which says that the documents answer this prompt.
    """
    leniency: float
    embedder: str
    """The name of the embedder whose scale is used."""
    match_count: int
    match_threshold: float
    searched: int
    stems: list[Stem]
    added_stems: list[AddedStem]
    passages: list[Passage]


class Session(Struct, frozen=True, kw_only=True):
    """`token` is shown this once: send it as `Authorization: Bearer gcu_...`."""

    token: str
    user_id: str
    expires_at: str


class Settled(Struct, frozen=True, kw_only=True):
    """What became of a group of `count` prompts, and what was made of it."""

    id: str
    state: Choice["answered", "dismissed", "open"]
    count: int
    fixed_answer: FixedAnswer | None
    document: Document | None


class Site(Struct, frozen=True, kw_only=True):
    """Pages of the web that are a chatbot's documents."""

    id: str
    chatbot_id: str
    user_id: str
    url: str
    kind: Choice["page", "site", "sitemap"]
    depth: int
    max_pages: int
    include: list[str]
    exclude: list[str]
    recrawl_hours: int | None
    state: str
    """`pending`, `crawling`, `ready` or `failed`."""
    reason: str | None
    """The code of why it failed; or, of one that is `ready`, what the crawl left out: `max_pages`, `depth`, `incomplete`,
    `pages_failed`.
    """
    error: str | None
    """The same for a person."""
    progress: SiteProgress
    crawled_at: str | None
    next_crawl_at: str | None
    created_at: str
    updated_at: str


class SitePage(Struct, frozen=True, kw_only=True):
    """An address on a site, and what came of it in its last crawl."""

    url: str
    state: Choice["failed", "pending", "ready", "removed", "skipped", "unchanged"]
    """`pending`, `ready` (a document), `unchanged` (still one), `skipped`, `failed` or `removed`."""
    reason: str | None
    """Why the page was left out, as a code."""
    error: str | None
    """The same for a person."""
    document_id: str | None
    depth: int
    fetched_at: str | None


class SiteProgress(Struct, frozen=True, kw_only=True):
    """The current crawl, or the last one, in pages."""

    percent: int
    """100 once everything read is searchable. It may fall when more addresses are found."""
    found: int
    """Addresses found so far."""
    fetched: int
    """Addresses read, changed or not."""
    documents: int
    """Of the addresses read, those that are documents."""
    unchanged: int
    """Of these documents, those that have not changed, so nothing was embedded."""
    skipped: int
    """Addresses left out: each page's `reason` says why."""
    failed: int
    """Addresses that could not be read, or hold no text."""
    removed: int
    """Documents deleted because their pages are gone."""
    pending: int
    """Addresses still to read."""
    indexing: int
    """Documents read, but not searchable yet."""


class Source(Struct, frozen=True, kw_only=True):
    """A chunk that a reply was made from, as it stood then; `score` is its relevance in [0, 1]."""

    id: str
    chatbot_id: str
    user_id: str
    document_id: str
    name: str
    content: str
    metadata: ChunkMetadata
    embedding: str | None
    created_at: str
    updated_at: str
    score: float


class Spent(Struct, frozen=True, kw_only=True):
    """What end users have used today, by budget; running turns count as what is reserved for them."""

    users: Spending
    anonymous: Spending


class Stem(Struct, frozen=True, kw_only=True):
    """A stem of the prompt, and how rare it is among the chatbot's chunks."""

    stem: str
    idf: float


class Suggestion(Struct, frozen=True, kw_only=True):
    """What an operator said to an end user who had got no answer."""

    content: str
    operator: str
    message_id: str
    conversation_id: str


class Transcript(Struct, frozen=True, kw_only=True):
    state: str
    """`waiting`: it is sent as soon as the mail server takes it."""


class Unanswered(Struct, frozen=True, kw_only=True):
    """Unanswered prompts that ask much the same; `id` is that of the first, `prompt` what it says."""

    id: str
    chatbot_id: str
    state: Choice["answered", "dismissed", "open"]
    prompt: str
    count: int
    examples: list[Example]
    """The newest, 10 at most."""
    suggested_answer: Suggestion | None
    oldest_at: str
    newest_at: str


class Wait(Struct, frozen=True, kw_only=True):
    """How long people waited, in milliseconds; null where none did. Percentiles of days cannot be added up."""

    count: int
    p50: int | None
    p90: int | None


class WidgetKey(Struct, frozen=True, kw_only=True):
    """`key` is public: it stands in the page."""

    id: str
    chatbot_id: str
    key: str
    name: str
    hostnames: list[str]
    is_enabled: bool
    settings: WidgetSettings
    created_at: str


class WorkDone(Struct, frozen=True, kw_only=True):
    """The document or site of that id is worked on no more."""

    id: str
    state: str
