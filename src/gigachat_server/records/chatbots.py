"""Chatbots and all that their owners can set.

Requests are checked by the same types, strictly; what is stored is read leniently (`store/json_columns.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gigachat_server.records.limits import LimitsConfig

DEFAULT_PERSONA = (
    "You are a friendly chatbot to help answer questions! Given the following sections from a website, answer the "
    "question using only that information. If you are unsure and the answer and it is not explicitly written in the "
    'context sections, say "Sorry, I don\'t know how to help with that."'
)
Overlap = Literal["queue", "reject", "interrupt", "coalesce"]
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
        Meta(max_length=3, description="Models to try next, in this order, as long as nothing of a reply was shown."),
    ] = ()
    reasoning_effort: Annotated[
        Literal["none", "minimal", "low", "medium", "high"] | None,
        Meta(description="How much a reasoning model reasons; null: its default."),
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

    @classmethod
    def unreadable(cls) -> RestrictionsConfig:
        """Stands for stored restrictions that this version cannot read: it refuses everyone; the default admits everyone."""
        return cls(hostnames=("unreadable.invalid",), ip_addresses=("255.255.255.255",))


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
            description="The refusal. null: the words that the persona puts in quotes; with the default persona, a refusal in "
            "the language of the prompt."
        ),
    ] = None
    suggest: Annotated[bool, Meta(description="Whether a refusal made by gigachat names documents that may help.")] = True
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


class OpenSpan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """A part of a day, in the time that clocks show there; `until` itself no longer belongs to it."""

    from_: Annotated[str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM.")]
    until: Annotated[str, Meta(pattern="^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", description="HH:MM, or 24:00.")]


Spans = Annotated[tuple[OpenSpan, ...], Meta(max_length=10, description="In order, and apart from each other.")]


class WeekConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When people are there on each day; a day without spans is closed."""

    mon: Spans = ()
    tue: Spans = ()
    wed: Spans = ()
    thu: Spans = ()
    fri: Spans = ()
    sat: Spans = ()
    sun: Spans = ()


ClosedDate = Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="YYYY-MM-DD.")]


class HoursConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When people are there to answer."""

    timezone: Annotated[
        str, Meta(min_length=1, max_length=64, description="A name of the IANA time zone database, such as `Europe/Berlin`.")
    ] = "UTC"
    week: WeekConfig = WeekConfig()
    closed_dates: Annotated[
        tuple[ClosedDate, ...], Meta(max_length=400, description="Days without anybody there, such as holidays.")
    ] = ()


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
    handoff: Annotated[bool, Meta(description="Whether the chatbot may ask for a human on its own.")] = False
    handoff_when_asked: Annotated[
        bool, Meta(description="Whether an end user who asks for a human gets one instead of a reply by the model.")
    ] = True
    handoff_message: Annotated[
        str, Meta(min_length=1, max_length=2000, description="What the end user is told when a human was asked for.")
    ] = "I have asked a colleague to join us here."
    hours: Annotated[
        HoursConfig | None, Meta(description="When people are there to answer; null: whenever an operator is available.")
    ] = None
    away_message: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2000,
            description="What the end user is told instead of handoff_message: outside `hours`, and while no "
            "operator of the chatbot is available.",
        ),
    ] = (
        "My colleagues are away at the moment. Please leave your question and an e-mail address here, and one of them will get "
        "back to you."
    )
    when_operator_silent: Annotated[
        Literal["chatbot", "queue"],
        Meta(
            description="What follows release_after_minutes without a word of the operator. `chatbot`: the chatbot answers "
            "again; `queue`: it does, and a human is asked for anew."
        ),
    ] = "chatbot"
    review: Annotated[
        Literal["none", "all"],
        Meta(
            description="`all`: an operator sees each reply before the end user does, and sends, edits or discards it; nothing "
            "of it is shown until then."
        ),
    ] = "none"
    review_minutes: Annotated[
        int, Meta(ge=1, le=1440, description="A human is asked for if a proposed reply was not looked at for so long.")
    ] = 10
    suggest: Annotated[
        bool, Meta(description="Whether an operator in control is shown what the chatbot would reply to each prompt.")
    ] = False
    handoff_after_unanswered: Annotated[
        int,
        Meta(
            ge=0, le=10, description="The built-in model, and `refuse`, ask after so many unanswered prompts in a row; 0: never."
        ),
    ] = 2


class PricesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a million tokens of the model cost, in a currency of your choice. The figures multiply them."""

    input: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0
    output: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0


class ChatbotConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a chatbot that its owner can set, but its name."""

    response: ResponseConfig = ResponseConfig()
    restrictions: RestrictionsConfig = RestrictionsConfig()
    documents: DocumentsConfig = DocumentsConfig()
    interception: InterceptionConfig = InterceptionConfig()
    limits: LimitsConfig = LimitsConfig()
    prices: PricesConfig = PricesConfig()


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
