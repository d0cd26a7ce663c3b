"""Sections that change a chatbot's configuration: persona and model, human takeover, limits, prices; and saving for all that do.

Invariant: what is saved is merged into what is stored, in one transaction; if somebody else has changed the chatbot since the
page was made, nothing is, until the visitor has seen that and saves again.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from starlette.responses import Response

from gigachat_server.access.till import ANONYMOUS, USERS
from gigachat_server.api.chatbots import merged_config
from gigachat_server.errors import ChangedMeanwhile, Conflict, InvalidRequest
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest
from gigachat_server.pages.settings import forms
from gigachat_server.pages.settings.page import done, render
from gigachat_server.records import Chatbot, ChatbotConfig

VERSION = "version"

_field = functools.partial(forms.field, ChatbotConfig)


class Group(msgspec.Struct, frozen=True):
    """Fields that belong together, under a title."""

    title: str
    lead: str
    fields: tuple[forms.Field, ...]


class ConfigSection(msgspec.Struct, frozen=True):
    """A section that is one form. `rare` fields are folded away."""

    name: str
    groups: tuple[Group, ...]
    rare: tuple[forms.Field, ...] = ()

    @property
    def fields(self) -> tuple[forms.Field, ...]:
        return (*(each for group in self.groups for each in group.fields), *self.rare)


PERSONA = ConfigSection(
    "persona",
    (
        Group(
            "Persona",
            "Who the chatbot is, how it speaks, and what it says when it does not know.",
            (_field("response.system_persona", "What the model is told", hint=""),),
        ),
        Group(
            "Model",
            "Which model writes the replies, and how freely.",
            (
                _field("response.model", "Model", placeholder="the server’s default"),
                _field("response.fallback_models", "Asked instead if it fails"),
                _field("response.temperature", "Temperature", hint="0: the same reply each time; 2: as it comes."),
                _field("response.max_tokens", "Longest reply"),
                _field("response.memory_size", "Memory"),
                _field("response.reasoning_effort", "Reasoning", choices={"": "As the model likes"}),
            ),
        ),
        Group(
            "Several prompts at once",
            "What happens to a prompt that arrives while another is being answered.",
            (
                _field(
                    "response.overlap",
                    "The further prompt",
                    hint="",
                    choices={
                        "queue": "waits (at most 8 do)",
                        "reject": "is rejected",
                        "interrupt": "interrupts the running reply",
                        "coalesce": "is answered together with the one before",
                    },
                ),
            ),
        ),
    ),
    (
        _field("response.n", "Alternative replies"),
        _field("response.top_p", "top_p"),
        _field("response.presence_penalty", "Presence penalty"),
        _field("response.frequency_penalty", "Frequency penalty"),
        _field("response.stream", "Stream replies"),
        _field("response.coalesce_ms", "Wait for more prompts, ms"),
        _field("response.omit", "Parameters that are not sent"),
        _field("response.first_token_timeout_s", "Seconds to the first word", placeholder="the server’s setting"),
        _field("response.idle_timeout_s", "Longest silence, s", placeholder="the server’s setting"),
        _field("response.timeout_s", "Longest time of a prompt, s", placeholder="the server’s setting"),
    ),
)
_WEEK = {
    "mon": "Monday",
    "tue": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}


def _day(name: str, label: str) -> forms.Field:
    """Weekends are closed unless somebody says otherwise."""
    usual = "" if name in ("sat", "sun") else "09:00–17:00"
    return _field(f"interception.hours.week.{name}", label, hint="", otherwise=usual)


TAKEOVER = ConfigSection(
    "takeover",
    (
        Group(
            "Handoff",
            "When the chatbot asks for a human.",
            (
                _field("interception.handoff", "The chatbot may ask for a human", hint="On its own, when it cannot help."),
                _field("interception.handoff_when_asked", "A visitor who asks for a human gets one"),
                _field("interception.handoff_after_unanswered", "After so many unanswered prompts"),
                _field("interception.handoff_message", "What the visitor is told"),
                _field(
                    "interception.away_message", "What the visitor is told while everybody is away", hint="Outside hours, too."
                ),
            ),
        ),
        Group(
            "Hours",
            "When people are there to answer. Outside them, visitors who ask for a human are told so, and wait for you.",
            (
                _field("interception.hours", "People have hours", hint="Off: whenever an operator is available."),
                _field("interception.hours.timezone", "Time zone"),
                *(_day(name, label) for name, label in _WEEK.items()),
                _field("interception.hours.closed_dates", "Closed on", placeholder="2027-01-01"),
            ),
        ),
        Group(
            "Control",
            "Who speaks once an operator has written.",
            (
                _field(
                    "interception.mode",
                    "When an operator writes",
                    hint="",
                    choices={
                        "inject": "The chatbot answers the next prompt",
                        "takeover": "The operator takes over, and the chatbot is silent",
                    },
                ),
                _field("interception.release_after_minutes", "Give control back after … minutes", placeholder="never"),
                _field(
                    "interception.when_operator_silent",
                    "And then",
                    hint="",
                    choices={"chatbot": "the chatbot answers again", "queue": "it does, and asks for a human anew"},
                ),
            ),
        ),
        Group(
            "Together",
            "How much operators see of a reply before a visitor does.",
            (
                _field(
                    "interception.review",
                    "Review",
                    choices={"none": "Replies go out at once", "all": "An operator looks at each reply first"},
                ),
                _field("interception.review_minutes", "Wait for a review, minutes"),
                _field("interception.suggest", "Suggest replies to an operator in control"),
            ),
        ),
    ),
)


def _rate(name: str, title: str, lead: str) -> Group:
    path = f"limits.{name}"
    return Group(
        title,
        lead,
        (
            _field(path, "Limited", hint=""),
            _field(f"{path}.quota", "How many", hint="All at once, or one after the other."),
            _field(f"{path}.window_s", "In how many seconds", hint="It refills evenly over them."),
        ),
    )


LIMITS = ConfigSection(
    "limits",
    (
        _rate("user", "An end user", "Prompts of one end user."),
        _rate("address", "An address", "Prompts from one address: several people may share it."),
        _rate("sessions", "New visitors", "Anonymous sessions that one address opens."),
        _rate("key", "An API key", "Prompts that are sent with one API key."),
        Group(
            "Budget of a day",
            "What end users may use on a day (UTC), all together. Empty: no limit.",
            (
                _field("limits.budgets.users.turns", "Prompts of everybody", placeholder="no limit"),
                _field("limits.budgets.users.tokens", "Tokens of everybody", placeholder="no limit"),
                _field("limits.budgets.anonymous.turns", "Prompts of anonymous visitors", placeholder="no limit"),
                _field("limits.budgets.anonymous.tokens", "Tokens of anonymous visitors", placeholder="no limit"),
            ),
        ),
        Group(
            "Prices",
            "What a million tokens cost, in a currency of your choice. The figures multiply by them.",
            (
                _field("prices.input", "A million tokens that the model reads"),
                _field("prices.output", "A million tokens that it writes"),
            ),
        ),
    ),
)

Handler = Callable[[PageRequest[None], PageContext], Awaitable[Response]]


def shower(section: ConfigSection) -> Handler:
    """Shows the section as it is stored."""

    async def show(request: PageRequest[None], context: PageContext) -> Response:
        return await _page(request, context, section, forms.show(section.fields, request.chatbot.config))

    return show


def saver(section: ConfigSection) -> Handler:
    """Saves the section's form, or shows it again with what is wrong."""

    async def save(request: PageRequest[None], context: PageContext) -> Response:
        try:
            await save_config(request, context, section.fields)
        except (InvalidRequest, ChangedMeanwhile) as error:
            controls = forms.show_again(section.fields, request.form, error.errors)
            return await _page(
                request, context, section, controls, status=error.status, problems=problems_of(error, section.fields)
            )
        return done(request, section.name, "saved")

    return save


async def save_config(request: PageRequest[None], context: PageContext, fields: Sequence[forms.Field]) -> Chatbot:
    """Put what the form says in place. Raises `InvalidRequest`, `ChangedMeanwhile`, `Forbidden`."""
    patch = forms.patch_of(fields, request.form)
    seen = request.form.get(VERSION)

    def merge(held: Chatbot) -> Chatbot:
        if seen != str(held.updated_at):
            raise ChangedMeanwhile
        return msgspec.structs.replace(held, config=merged_config(held, patch)[1])

    try:
        return await context.services.chatbots.change(request.principal, request.chatbot.id, merge)
    except ChangedMeanwhile:
        found = await context.services.chatbots.find(request.principal, request.chatbot.id)
        request.named_chatbot = found
        raise


def problems_of(error: InvalidRequest | Conflict, fields: Sequence[forms.Field]) -> list[str]:
    """What is said above the form, since no control can say it."""
    return forms.elsewhere(fields, error.errors) if error.errors else [error.detail or error.message]


async def _page(
    request: PageRequest[None],
    context: PageContext,
    section: ConfigSection,
    controls: forms.Controls,
    *,
    status: int = 200,
    problems: Sequence[str] = (),
) -> Response:
    services = context.services
    spent = await services.till.spent_today(request.chatbot.id) if section is LIMITS else None
    return await render(
        request,
        context,
        section.name,
        status=status,
        template="config",
        form=section,
        controls=controls,
        is_rare_wrong=any(controls[each.path].problem for each in section.rare),
        problems=problems,
        names=_names(section),
        spent=None if spent is None else ((USERS, spent[USERS]), (ANONYMOUS, spent[ANONYMOUS])),
        default_model=services.model.name,
    )


def _names(section: ConfigSection) -> Mapping[str, str]:
    """The gate that a control is behind."""
    gates = [each.path for each in section.fields if each.kind == "gate"]
    return {each.path: gate for each in section.fields for gate in gates if each.path.startswith(gate + ".")}
