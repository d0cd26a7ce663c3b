"""Which problems each route can answer, as OpenAPI says it: by status, with the codes that a program may meet there.

Idea: what a row of the route table says (its scope, its body, whether it is a prompt) tells which errors are possible, and
the few that a handler adds are listed by route. Routes that can answer the same share one schema, named after the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gigachat_server import errors
from gigachat_server.access.identity_keys import TooManyIdentityKeys
from gigachat_server.access.operators import HandleFixed, LastOwner, OperatorExists
from gigachat_server.access.widget_keys import TooManyWidgetKeys
from gigachat_server.api.openai.errors import PreviousResponseNotFound, TaskNotAnswered, UnsupportedParameter
from gigachat_server.api.routes import (
    CANNED_REPLIES,
    CHATBOT,
    CONVERSATION,
    DOCUMENT,
    FIXED_ANSWER,
    FIXED_ANSWERS,
    IDENTITY_KEYS,
    MESSAGE,
    OPERATOR,
    PROPOSALS,
    SESSIONS,
    SITES,
    UNANSWERED,
    WIDGET_KEYS,
    ApiRoute,
)
from gigachat_server.chat.conversations import NotClaimable
from gigachat_server.edge.chatbot_names import UnknownModel
from gigachat_server.edge.routes import PUBLIC
from gigachat_server.errors import GigachatError
from gigachat_server.inbox.canned_replies import ShortcutTaken, TooManyCannedReplies
from gigachat_server.inbox.proposals import NothingToAnswer, ProposalDecidedAlready
from gigachat_server.inbox.search import SearchBusy
from gigachat_server.inbox.transcripts import EmailUnverified, MailMissing
from gigachat_server.knowledge.documents.ingest import DocumentNameTaken
from gigachat_server.knowledge.sites.sites import SiteExists, TooManySites
from gigachat_server.learning.fixed_answers import TooManyFixedAnswers
from gigachat_server.learning.groups import UnansweredSettled

Kinds = tuple[type[GigachatError], ...]

_ALWAYS: Kinds = (
    errors.MalformedRequest,
    errors.RequestTimeout,
    errors.InvalidRequest,
    errors.HeadTooLarge,
    GigachatError,
    errors.TooManyConnections,
    errors.StorageUnavailable,
    errors.ShuttingDown,
)
_OF_KEYS: Kinds = (errors.Unauthenticated, errors.Forbidden)
_OF_RESTRICTIONS: Kinds = (errors.HostnameRefused, errors.AddressRefused)
_OF_BODIES: Kinds = (errors.MalformedBody, errors.PayloadTooLarge, errors.UnsupportedMediaType)
_OF_FILES: Kinds = (errors.MalformedForm,)
_OF_IDEMPOTENCY: Kinds = (errors.IdempotencyInProgress, errors.IdempotencyKeyReused)
_OF_EMBEDDERS: Kinds = (errors.EmbedderUnavailable, errors.EmbedderRejected)


def _below(kind: type[GigachatError]) -> list[type[GigachatError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in _below(child))]


_OF_PROMPTS: Kinds = (
    errors.ConversationBusy,
    *_below(errors.RateLimited),
    errors.ReplyCutOff,
    *_OF_EMBEDDERS,
    *_below(errors.ModelError),
)
# What a handler adds: a word for it, and the errors.
_OF_ROUTES: dict[tuple[str, str], tuple[str, Kinds]] = {
    ("GET", CHATBOT + "/retrieve"): ("Retrieve", _OF_EMBEDDERS),
    ("PUT", DOCUMENT): ("Document", (DocumentNameTaken,)),
    ("POST", SITES): ("Site", (SiteExists, TooManySites)),
    ("POST", CONVERSATION + "/takeover"): ("Takeover", (errors.AlreadyTakenOver,)),
    ("POST", CONVERSATION + "/transcript"): ("Transcript", (EmailUnverified, MailMissing)),
    ("POST", CONVERSATION + "/release"): ("Takeover", (errors.AlreadyTakenOver,)),
    ("POST", "/operators"): ("Operator", (OperatorExists,)),
    ("PATCH", OPERATOR): ("OperatorChange", (OperatorExists, LastOwner, HandleFixed)),
    ("DELETE", OPERATOR): ("OperatorDeletion", (LastOwner,)),
    ("POST", OPERATOR + "/invite"): ("Invitation", (errors.Conflict,)),
    ("POST", MESSAGE + "/retry"): ("Retry", (errors.ConversationTakenOver,)),
    ("GET", CONVERSATION + "/events"): ("Events", (errors.RateLimited,)),
    ("POST", FIXED_ANSWERS): ("FixedAnswer", (TooManyFixedAnswers,)),
    ("PUT", FIXED_ANSWER): ("FixedAnswer", (TooManyFixedAnswers,)),
    ("POST", UNANSWERED + "/{prompt_id}/answer"): ("Unanswered", (UnansweredSettled, TooManyFixedAnswers)),
    ("POST", UNANSWERED + "/{prompt_id}/dismiss"): ("Dismiss", (UnansweredSettled,)),
    ("POST", CONVERSATION + "/suggest"): ("Suggest", (NothingToAnswer,)),
    ("POST", PROPOSALS + "/{proposal_id}/send"): ("Send", (ProposalDecidedAlready, errors.AlreadyTakenOver)),
    ("POST", PROPOSALS + "/{proposal_id}/discard"): ("Discard", (ProposalDecidedAlready,)),
    ("GET", CHATBOT + "/search"): ("Search", (SearchBusy,)),
    ("POST", CANNED_REPLIES): ("CannedReply", (ShortcutTaken, TooManyCannedReplies)),
    ("PUT", CANNED_REPLIES + "/{canned_reply_id}"): ("Shortcut", (ShortcutTaken,)),
    ("POST", IDENTITY_KEYS): ("IdentityKey", (TooManyIdentityKeys, errors.SecretMissing)),
    ("POST", WIDGET_KEYS): ("WidgetKey", (TooManyWidgetKeys,)),
    ("POST", SESSIONS): ("Session", (NotClaimable, errors.RateLimited)),
}


def error_classes() -> list[type[GigachatError]]:
    """The error tree, each class behind the one it is a kind of."""
    return _below(GigachatError)


def error_codes() -> list[tuple[str, int, str]]:
    """Every code of the error tree: code, status, meaning."""
    return sorted({(kind.code, kind.status, kind.message) for kind in error_classes()}, key=lambda row: row[1::-1])


class ProblemSchemas:
    """The responses other than success. `components` grows by what they refer to."""

    def __init__(self, components: dict[str, Any]) -> None:
        self._components = components

    def responses(self, route: ApiRoute) -> dict[str, Any]:
        """By status; `default` stands for codes of later versions."""
        by_status: dict[int, tuple[str, dict[str, str]]] = {}
        for reason, kinds in _reasons(route):
            for kind in kinds:
                name, meanings = by_status.get(kind.status, ("", {}))
                if kind.code not in meanings:
                    name += "" if name.endswith(reason) else reason
                    by_status[kind.status] = (name, {**meanings, kind.code: kind.message})
        found = {str(status): self._response(status, *by_status[status]) for status in sorted(by_status)}
        return {**found, "default": {"description": "Another problem.", "content": _content("Problem")}}

    def _response(self, status: int, reasons: str, meanings: dict[str, str]) -> dict[str, Any]:
        name = f"Problem{status}{reasons}"
        narrowed = {"type": "object", "properties": {"code": {"type": "string", "enum": sorted(meanings)}}}
        schema = {"title": name, "allOf": [{"$ref": "#/components/schemas/Problem"}, narrowed]}
        assert self._components.setdefault(name, schema) == schema, f"{name} means two things"
        told = "\n".join(f"- `{code}`: {meaning}" for code, meaning in sorted(meanings.items()))
        return {"description": told, "content": _content(name)}


def _content(name: str) -> dict[str, Any]:
    return {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _openai_reasons(route: ApiRoute) -> Iterable[tuple[str, Kinds]]:
    if route.chatbot_in == "model":
        yield "Model", (errors.NotFound, UnknownModel)
    if route.chatbot_in == "account":
        yield "Account", (errors.ChatbotRequired,)
    if route.request is not None:
        yield "OpenAI", (UnsupportedParameter,)
    if route.is_prompt:
        yield "OpenAIPrompt", (TaskNotAnswered, PreviousResponseNotFound, errors.PreviousResponseSuperseded)


def _reasons(route: ApiRoute) -> Iterable[tuple[str, Kinds]]:
    """Why this route may not succeed: each reason with its errors."""
    yield "", _ALWAYS
    if route.scope != PUBLIC:
        yield "", _OF_KEYS
    if route.is_guarded:
        yield "Guarded", _OF_RESTRICTIONS
    if "{" in route.path:
        yield "", (errors.NotFound,)
    if route.is_openai:
        yield from _openai_reasons(route)
    if route.request is not None:
        yield "Body", _OF_BODIES
    if route.takes_file:
        yield "Form", _OF_FILES
    if route.is_idempotent:
        yield "Idempotent", _OF_IDEMPOTENCY
    if route.is_prompt:
        yield "Prompt", _OF_PROMPTS
    if (of_route := _OF_ROUTES.get((route.method, route.path))) is not None:
        yield of_route
