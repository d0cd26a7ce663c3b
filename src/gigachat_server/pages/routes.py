"""Every address of the pages, as data.

Invariant: a page is for anyone who is signed in unless it says that it is public, or names the scope that it needs; an address
that takes a POST goes through the same-origin and CSRF checks before its handler is called (the login, which has no session
yet, through the first). The handler of an `ActionRoute` takes the body that its `request` says, or mypy fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Literal

from starlette.responses import Response

from gigachat_server.access.scopes import Scope
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import B
from gigachat_server.edge.routes import PUBLIC, SIGNED_IN, Access, AnyRoute
from gigachat_server.pages import (
    audit,
    chat,
    conversation,
    demo,
    docs,
    figures,
    inbox,
    inbox_actions,
    inbox_events,
    keys,
    login,
    models,
    operators,
    people,
)
from gigachat_server.pages.context import PageContext
from gigachat_server.pages.request import PageRequest
from gigachat_server.pages.settings import access, answers, chatbots, compare, config, knowledge, relevance, replies

Handler = Callable[[PageRequest[B], PageContext], Awaitable[Answer | Response]]

STATIC = "/static/"
CONVERSATION = "/inbox/{chatbot_id}/{conversation_id}"


class PageRoute(AnyRoute, frozen=True, kw_only=True):
    """A page, or a form that one of them sends."""

    scope: Access = SIGNED_IN
    handler: Handler[Any]
    is_json: bool = False  # for our scripts: problems go out as JSON


class ActionRoute(PageRoute, Generic[B], frozen=True, kw_only=True):
    """What a script of the chat page has done: JSON comes in, names the chatbot, and problems go out as JSON."""

    method: str = "POST"
    handler: Handler[B]
    request: type[B]
    chatbot_in: Literal["path", "query", "body"] | None = "body"
    is_guarded: bool = True
    is_json: bool = True


SETTINGS = "/settings/{chatbot_id}"

# fmt: off
SETTINGS_ROUTES = (
    PageRoute(method="GET", path="/settings", scope=Scope.CHATBOTS_READ, handler=chatbots.list_all, is_filtered=True),
    PageRoute(method="POST", path="/settings", scope=Scope.CHATBOTS_WRITE, handler=chatbots.create),
    PageRoute(method="GET", path=SETTINGS, scope=Scope.CHATBOTS_READ, handler=chatbots.show),
    PageRoute(method="POST", path=SETTINGS, scope=Scope.CHATBOTS_WRITE, handler=chatbots.rename),
    PageRoute(method="POST", path=SETTINGS + "/delete", scope=Scope.CHATBOTS_WRITE, handler=chatbots.delete),
    PageRoute(method="GET", path=SETTINGS + "/knowledge", scope=Scope.DOCUMENTS_READ, handler=knowledge.show),
    PageRoute(method="POST", path=SETTINGS + "/knowledge", scope=Scope.DOCUMENTS_WRITE, handler=knowledge.act, is_large=True),
    PageRoute(method="GET", path=SETTINGS + "/sites/{site_id}", scope=Scope.DOCUMENTS_READ, handler=knowledge.show_site),
    PageRoute(method="POST", path="/web" + SETTINGS + "/files", scope=Scope.DOCUMENTS_WRITE, handler=knowledge.upload,
              takes_file=True, is_json=True),
    PageRoute(method="GET", path="/web" + SETTINGS + "/state", scope=Scope.DOCUMENTS_READ, handler=knowledge.state, is_json=True),
    PageRoute(method="GET", path=SETTINGS + "/relevance", scope=Scope.DOCUMENTS_READ, handler=relevance.show),
    PageRoute(method="POST", path=SETTINGS + "/relevance", scope=Scope.DOCUMENTS_READ, handler=relevance.act, is_large=True),
    PageRoute(method="GET", path=SETTINGS + "/answers", scope=Scope.DOCUMENTS_READ, handler=answers.show),
    PageRoute(method="POST", path=SETTINGS + "/answers", scope=Scope.LEARNING_WRITE, handler=answers.act, is_large=True),
    PageRoute(method="GET", path=SETTINGS + "/unanswered", scope=Scope.CONVERSATIONS_READ, handler=answers.show_unanswered,
              is_guarded=True),
    PageRoute(method="POST", path=SETTINGS + "/unanswered", scope=Scope.LEARNING_WRITE, handler=answers.act_unanswered,
              is_guarded=True, is_large=True),
    PageRoute(method="GET", path=SETTINGS + "/compare", scope=Scope.CHATBOTS_WRITE, handler=compare.show),
    PageRoute(method="POST", path=SETTINGS + "/compare", scope=Scope.CHATBOTS_WRITE, handler=compare.act, is_large=True),
    PageRoute(method="POST", path="/web" + SETTINGS + "/replay", scope=Scope.CONVERSATIONS_READ, handler=compare.run,
              is_guarded=True, is_large=True, is_json=True),
    PageRoute(method="GET", path=SETTINGS + "/replies", scope=Scope.MESSAGES_INJECT, handler=replies.show),
    PageRoute(method="POST", path=SETTINGS + "/replies", scope=Scope.MESSAGES_INJECT, handler=replies.act, is_large=True),
    PageRoute(method="GET", path=SETTINGS + "/access", scope=Scope.ACCESS_WRITE, handler=access.show),
    PageRoute(method="POST", path=SETTINGS + "/access", scope=Scope.ACCESS_WRITE, handler=access.act, is_large=True),
    *(
        PageRoute(method=method, path=f"{SETTINGS}/{section.name}", scope=Scope.CHATBOTS_WRITE, handler=make(section),
                  is_large=True)
        for section in (config.PERSONA, config.TAKEOVER, config.LIMITS)
        for method, make in (("GET", config.shower), ("POST", config.saver))
    ),
)
ROUTES = (
    *SETTINGS_ROUTES,
    PageRoute(method="GET", path="/", scope=Scope.CHATBOTS_READ, handler=chat.show, is_filtered=True),
    ActionRoute(path="/web/chat", scope=Scope.CONVERSATIONS_WRITE, handler=conversation.say, request=conversation.SayInput,
                is_prompt=True),
    PageRoute(method="GET", path="/web/chat/events", scope=Scope.CONVERSATIONS_READ, handler=conversation.follow, is_json=True,
              chatbot_in="query", is_guarded=True),
    ActionRoute(path="/web/chat/stop", scope=Scope.CONVERSATIONS_WRITE, handler=conversation.stop,
                request=conversation.ConversationInput),
    ActionRoute(path="/web/chat/retry", scope=Scope.CONVERSATIONS_WRITE, handler=conversation.retry,
                request=conversation.RetryInput, is_prompt=True),
    ActionRoute(path="/web/chat/rate", scope=Scope.CONVERSATIONS_WRITE, handler=conversation.rate,
                request=conversation.RatingInput),
    ActionRoute(path="/web/chat/takeover", scope=Scope.MESSAGES_INJECT, handler=conversation.take_over,
                request=conversation.ControlInput),
    ActionRoute(path="/web/chat/release", scope=Scope.MESSAGES_INJECT, handler=conversation.release,
                request=conversation.ControlInput),
    PageRoute(method="GET", path="/inbox", scope=Scope.CONVERSATIONS_READ, handler=inbox.show, is_filtered=True),
    PageRoute(method="GET", path=CONVERSATION, scope=Scope.CONVERSATIONS_READ, handler=inbox.show, is_guarded=True),
    PageRoute(method="GET", path="/web/inbox/events", scope=Scope.CONVERSATIONS_READ, handler=inbox_events.follow, is_json=True,
              is_filtered=True),
    PageRoute(method="GET", path="/web/inbox/replies", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.replies, is_json=True,
              chatbot_in="query", is_guarded=True),
    ActionRoute(path="/web/inbox/say", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.say,
                request=inbox_actions.SayInput, is_prompt=True),
    ActionRoute(path="/web/inbox/note", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.note,
                request=inbox_actions.NoteInput),
    ActionRoute(path="/web/inbox/delete-note", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.delete_note,
                request=inbox_actions.DeleteNoteInput),
    ActionRoute(path="/web/inbox/read", scope=Scope.CONVERSATIONS_WRITE, handler=inbox_actions.mark_read,
                request=inbox_actions.ReadInput),
    ActionRoute(path="/web/inbox/typing", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.note_typing,
                request=conversation.ConversationInput),
    ActionRoute(path="/web/inbox/presence", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.choose_presence,
                request=inbox_actions.PresenceInput, chatbot_in=None, is_guarded=False, is_filtered=True),
    ActionRoute(path="/web/inbox/takeover", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.take_over,
                request=inbox_actions.ControlInput),
    ActionRoute(path="/web/inbox/release", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.release,
                request=inbox_actions.ControlInput),
    ActionRoute(path="/web/inbox/change", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.change,
                request=inbox_actions.ChangeInput),
    ActionRoute(path="/web/inbox/suggest", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.suggest,
                request=conversation.ConversationInput),
    ActionRoute(path="/web/inbox/send", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.send,
                request=inbox_actions.SendInput),
    ActionRoute(path="/web/inbox/discard", scope=Scope.MESSAGES_INJECT, handler=inbox_actions.discard,
                request=inbox_actions.ProposalInput),
    ActionRoute(path="/web/inbox/fix", scope=Scope.LEARNING_WRITE, handler=inbox_actions.fix,
                request=inbox_actions.FixInput),
    PageRoute(method="GET", path="/figures", scope=Scope.CONVERSATIONS_READ, handler=figures.show, is_filtered=True),
    PageRoute(method="POST", path="/web/chatbots", scope=Scope.CHATBOTS_WRITE, handler=chat.create_chatbot),
    PageRoute(method="GET", path="/keys", handler=keys.show),
    PageRoute(method="POST", path="/keys", handler=keys.create),
    PageRoute(method="POST", path="/web/keys/revoke", handler=keys.revoke),
    PageRoute(method="GET", path="/models", handler=models.show),
    PageRoute(method="POST", path="/models", handler=models.test),
    PageRoute(method="GET", path="/widget/demo", scope=Scope.ACCESS_WRITE, handler=demo.show),
    PageRoute(method="POST", path="/widget/demo", scope=Scope.ACCESS_WRITE, handler=demo.create_key),
    PageRoute(method="GET", path="/widget/demo/shop", scope=Scope.ACCESS_WRITE, handler=demo.shop),
    PageRoute(method="GET", path="/operators", scope=Scope.OPERATORS_WRITE, handler=operators.show),
    PageRoute(method="POST", path="/web/operators/invite", scope=Scope.OPERATORS_WRITE, handler=operators.invite),
    PageRoute(method="POST", path="/web/operators/change", scope=Scope.OPERATORS_WRITE, handler=operators.change),
    PageRoute(method="POST", path="/web/operators/link", scope=Scope.OPERATORS_WRITE, handler=operators.renew_link),
    PageRoute(method="POST", path="/web/operators/state", scope=Scope.OPERATORS_WRITE, handler=operators.set_state),
    PageRoute(method="POST", path="/web/operators/delete", scope=Scope.OPERATORS_WRITE, handler=operators.delete),
    PageRoute(method="GET", path="/audit", scope=Scope.AUDIT_READ, handler=audit.show),
    PageRoute(method="GET", path="/profile", handler=people.profile),
    PageRoute(method="POST", path="/profile", handler=people.change_password),
    PageRoute(method="POST", path="/web/profile/sessions", handler=people.sign_out_elsewhere),
    PageRoute(method="GET", path="/welcome", handler=people.welcome),
    PageRoute(method="POST", path="/welcome", handler=people.create_owner),
    PageRoute(method="GET", path="/invite", scope=PUBLIC, handler=people.invitation),
    PageRoute(method="POST", path="/invite", scope=PUBLIC, handler=people.accept),
    PageRoute(method="GET", path="/login", scope=PUBLIC, handler=login.show),
    PageRoute(method="POST", path="/login", scope=PUBLIC, handler=login.sign_in),
    PageRoute(method="GET", path="/login/oidc", scope=PUBLIC, handler=login.to_provider),
    PageRoute(method="GET", path="/login/oidc/callback", scope=PUBLIC, handler=login.from_provider),
    PageRoute(method="POST", path="/logout", handler=login.sign_out),
    PageRoute(method="GET", path="/docs", scope=PUBLIC, handler=docs.show),
)
# fmt: on
