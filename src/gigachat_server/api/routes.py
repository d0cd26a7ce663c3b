"""Every URL of the API on one page, as data: the router and the OpenAPI document are both made from this table.

Invariant: a route names the scope its caller needs, or says with `PUBLIC` that it needs none; one that does neither
does not start. `is_guarded` routes are those end users reach: the chatbot's `restrictions` apply to them. The handler of a
`BodyRoute` takes the body that its `request` says, or mypy fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, get_origin

import msgspec
from starlette.responses import Response

from gigachat_server.access.scopes import SCOPES, Scope
from gigachat_server.api import (
    access_wire,
    audit,
    chatbots,
    conversations,
    documents,
    figures,
    fixed_answers,
    health,
    identity_keys,
    inbox,
    keys,
    learning_wire,
    mcp_rpc,
    mcp_server,
    operators,
    presence,
    proposals,
    replay,
    retrieval,
    search,
    sessions,
    site_wire,
    sites,
    transcripts,
    ui_chat,
    ui_frames,
    unanswered,
    users,
    widget_keys,
    wire,
)
from gigachat_server.api.openai import bodies as openai_bodies
from gigachat_server.api.openai import chat as openai_chat
from gigachat_server.api.openai import conversations as openai_conversations
from gigachat_server.api.openai import embeddings as openai_embeddings
from gigachat_server.api.openai import models as openai_models
from gigachat_server.api.openai import responses as openai_responses
from gigachat_server.api.openai import wire as openai_wire
from gigachat_server.edge.answer import Answer
from gigachat_server.edge.request import Request
from gigachat_server.edge.routes import PUBLIC, SIGNED_IN, Access, AnyRoute, ChatbotIn
from gigachat_server.edge.uploads import FileInput
from gigachat_server.records import Feedback
from gigachat_server.services import Services

B = TypeVar("B")

PAGES = ("limit", "after")

Handler = Callable[[Request[B], Services], Awaitable[Answer | Response]]


class ApiRoute(AnyRoute, frozen=True, kw_only=True):
    """A row of the table: what the router and the OpenAPI document need to know."""

    summary: str
    response: Any = None  # type of the body of success
    query: tuple[str, ...] = ()
    query_defaults: Mapping[str, Any] = {}  # where they are others than usual
    after: str = ""  # what `?after=` means here, if more than what the `Link` header of a list says
    is_streamed: bool = False  # may answer with Server-Sent Events
    is_table: bool = False  # may answer with CSV
    accepted: Any = None  # type of the body of a 202, where `Prefer: respond-async` is understood
    at_rest: str = ""  # what a 204 says, where there may be nothing to stream
    is_unstored: bool = False  # stores nothing, so an Idempotency-Key is of no effect
    is_secret: bool = False  # the answer must not be kept, so an Idempotency-Key is of no effect

    @property
    def is_idempotent(self) -> bool:
        return self.method == "POST" and not self.is_secret and not self.is_unstored

    @property
    def parameters(self) -> tuple[str, ...] | None:
        """Health is told whatever a probe adds, and so are clients of OpenAI.

        Every list is paged, and vectors can be left out of every answer, by contract.
        """
        if self.scope == PUBLIC or self.is_openai:
            return None
        usual = (*(PAGES if self.is_list else ()), *(("embedding",) if self.chatbot_in else ()))
        return tuple(dict.fromkeys((*self.query, *usual)))

    @property
    def is_list(self) -> bool:
        """Whether it answers with an array of what an account has."""
        return self.method == "GET" and self.scope != PUBLIC and get_origin(self.response) is list

    @property
    def is_followed(self) -> bool:
        """Whether it may be an event stream that goes on behind a `Last-Event-ID`."""
        return self.method == "GET" and self.is_streamed and "after" in self.query


class Route(ApiRoute, frozen=True, kw_only=True):
    """No body is read."""

    handler: Handler[None]
    request: None = None


class BodyRoute(ApiRoute, Generic[B], frozen=True, kw_only=True):
    """The body is decoded into `request`, and that is what the handler gets."""

    handler: Handler[B]
    request: type[B]


class FileRoute(ApiRoute, Generic[B], frozen=True, kw_only=True):
    """The body is decoded into `request`, or it is a form with a file."""

    handler: Handler[B | FileInput]
    request: type[B]
    takes_file: bool = True


class RpcRoute(BodyRoute[mcp_rpc.RpcMessage], frozen=True, kw_only=True):
    """The body is a message of JSON-RPC, and so is every answer, of a failure too. What it calls needs scopes of its own."""

    scope: Access = SIGNED_IN
    handler: Handler[mcp_rpc.RpcMessage] = mcp_server.serve
    request: type[mcp_rpc.RpcMessage] = mcp_rpc.RpcMessage
    method: str = "POST"
    is_large: bool = True  # a document may be in it
    is_unstored: bool = True  # as far as HTTP knows: its key is in the message
    summary: str = "The Model Context Protocol"


class MergeRoute(ApiRoute, frozen=True, kw_only=True):
    """The body is any part of `request`, to be merged into what is stored: the handler gets it as plain JSON."""

    handler: Handler[dict[str, Any]]
    request: type[msgspec.Struct]
    is_merge: bool = True


CHATBOT = "/chatbots/{chatbot_id}"
DOCUMENTS = CHATBOT + "/documents"
DOCUMENT = DOCUMENTS + "/{document_id}"
SITES = CHATBOT + "/sites"
SITE = SITES + "/{site_id}"
CONVERSATIONS = CHATBOT + "/conversations"
CONVERSATION = CONVERSATIONS + "/{conversation_id}"
MESSAGE = CONVERSATION + "/messages/{message_id}"
UI = CHATBOT + "/ui"
UI_STREAM = UI + "/{conversation_id}/stream"
UI_MESSAGES = UI + "/{conversation_id}/messages"
NOTES = CONVERSATION + "/notes"
PROPOSALS = CONVERSATION + "/proposals"
CANNED_REPLIES = CHATBOT + "/canned-replies"
UNANSWERED = CHATBOT + "/unanswered"
FIXED_ANSWERS = CHATBOT + "/fixed-answers"
OPERATOR = "/operators/{operator_id}"
FIXED_ANSWER = FIXED_ANSWERS + "/{fixed_answer_id}"
IDENTITY_KEYS = CHATBOT + "/identity-keys"
WIDGET_KEYS = CHATBOT + "/widget-keys"
WIDGET_KEY = WIDGET_KEYS + "/{widget_key_id}"
SESSIONS = CHATBOT + "/sessions"
USER = CHATBOT + "/users/{user_id}"


# What an end user may do below a chatbot's address: talk, and read what was said.
_OPENAI_OF_END_USERS = (
    openai_chat.complete,
    openai_responses.create,
    openai_responses.get,
    openai_responses.cancel,
    openai_conversations.get,
    openai_conversations.list_items,
)


# fmt: off
def _openai(mount: str) -> tuple[ApiRoute, ...]:
    """OpenAI's API. Below a chatbot's own address everything is about that one; at the root `model` names a chatbot."""
    is_root = mount == "/v1"
    of_model: ChatbotIn | None = "model" if is_root else None
    of_response: ChatbotIn | None = "response" if is_root else None
    of_account: ChatbotIn | None = "account" if is_root else None
    query = ("chatbot_id",) if is_root else ()
    rows: tuple[ApiRoute, ...] = (
        Route(method="GET", path=mount + "/models", scope=Scope.CHATBOTS_READ, handler=openai_models.list_all,
              response=openai_wire.OpenAIModels,
              summary="List the chatbots as models" if is_root else "Show the chatbot as the only model"),
        Route(method="GET", path=mount + "/models/{model}", scope=Scope.CHATBOTS_READ, handler=openai_models.get,
              chatbot_in=of_model, response=openai_wire.OpenAIModel, summary="Get a chatbot as a model"),
        BodyRoute(method="POST", path=mount + "/chat/completions", scope=Scope.CONVERSATIONS_WRITE, handler=openai_chat.complete,
                  chatbot_in=of_model, request=openai_bodies.ChatInput, response=openai_wire.OpenAIChatCompletion,
                  is_prompt=True, is_streamed=True, summary="Send a prompt as a chat completion"),
        BodyRoute(method="POST", path=mount + "/responses", scope=Scope.CONVERSATIONS_WRITE, handler=openai_responses.create,
                  chatbot_in=of_model, request=openai_bodies.ResponseInput, response=openai_wire.OpenAIResponse,
                  is_prompt=True, is_streamed=True, summary="Send a prompt as a response"),
        Route(method="GET", path=mount + "/responses/{response_id}", scope=Scope.CONVERSATIONS_READ, handler=openai_responses.get,
              chatbot_in=of_response, response=openai_wire.OpenAIResponse, summary="Get a response"),
        Route(method="POST", path=mount + "/responses/{response_id}/cancel", scope=Scope.CONVERSATIONS_WRITE,
              handler=openai_responses.cancel, chatbot_in=of_response, response=openai_wire.OpenAIResponse, is_unstored=True,
              summary="Stop a response that is being made; the part that was written is stored"),
        BodyRoute(method="POST", path=mount + "/conversations", scope=Scope.CONVERSATIONS_WRITE,
                  handler=openai_conversations.create, chatbot_in=of_account, request=openai_bodies.ConversationInput,
                  is_body_optional=True, response=openai_wire.OpenAIConversation, query=query,
                  summary="Start a conversation in which nothing is said yet"),
        Route(method="GET", path=mount + "/conversations/{conversation_id}", scope=Scope.CONVERSATIONS_READ,
              handler=openai_conversations.get, chatbot_in=of_account, response=openai_wire.OpenAIConversation, query=query,
              summary="Get a conversation"),
        Route(method="GET", path=mount + "/conversations/{conversation_id}/items", scope=Scope.CONVERSATIONS_READ,
              handler=openai_conversations.list_items, chatbot_in=of_account, response=openai_wire.OpenAIItems,
              query=(*query, "limit", "after", "order"), query_defaults={"limit": 20},
              after="The `id` of the item behind which the page starts.",
              summary="List the messages of a conversation, newest first"),
        BodyRoute(method="POST", path=mount + "/embeddings", scope=Scope.DOCUMENTS_READ, handler=openai_embeddings.create,
                  chatbot_in=of_model, request=openai_bodies.EmbeddingInput, response=openai_wire.OpenAIEmbeddings,
                  is_unstored=True, summary="Embed texts as the chatbot's documents are embedded"),
    )
    return tuple(
        msgspec.structs.replace(
            row,
            is_openai=True,
            is_guarded=row.chatbot_in is not None,
            is_filtered=row.chatbot_in is None,
            end_user="own" if not is_root and row.handler in _OPENAI_OF_END_USERS else "no",
        )
        for row in rows
    )


ROUTES = (
    Route(method="GET", path="/chatbots", scope=Scope.CHATBOTS_READ, handler=chatbots.list_all, is_filtered=True,
          response=list[wire.WireChatbot], query=PAGES, summary="List chatbots, newest first"),
    BodyRoute(method="POST", path="/chatbots", scope=Scope.CHATBOTS_WRITE, handler=chatbots.create,
              request=chatbots.ChatbotInput, response=wire.WireChatbot, status=201, has_location=True,
              summary="Create a chatbot; only its name is required"),
    Route(method="GET", path=CHATBOT, scope=Scope.CHATBOTS_READ, handler=chatbots.get,
          response=wire.WireChatbot, summary="Get a chatbot"),
    MergeRoute(method="PATCH", path=CHATBOT, scope=Scope.CHATBOTS_WRITE, handler=chatbots.change,
               request=chatbots.ChatbotInput, response=wire.WireChatbot, summary="Change some properties of a chatbot"),
    Route(method="DELETE", path=CHATBOT, scope=Scope.CHATBOTS_WRITE, handler=chatbots.delete, status=204,
          summary="Delete a chatbot with all its documents and conversations"),

    Route(method="GET", path=CHATBOT + "/limits", scope=Scope.CHATBOTS_READ, handler=chatbots.limits,
          response=wire.WireLimits, summary="Show the limits of a chatbot, and what was used of its budgets today"),

    Route(method="GET", path="/queue", scope=Scope.DOCUMENTS_READ, handler=documents.queues, is_filtered=True,
          response=list[documents.WireQueue],
          summary="List the documents that wait for ingest, by chatbot, longest waiting first"),
    Route(method="GET", path=DOCUMENTS, scope=Scope.DOCUMENTS_READ, handler=documents.list_all,
          response=list[wire.WireDocument], query=(*PAGES, "state", "warned"), summary="List documents, newest first"),
    FileRoute(method="POST", path=DOCUMENTS, scope=Scope.DOCUMENTS_WRITE, handler=documents.push, is_large=True,
              accepted=wire.WireDocument,
              request=documents.DocumentInput, response=list[wire.WireChunk], status=201, query=("embedding",),
              summary="Push a text or a file, or replace the document of that name; a text returns its chunks"),
    Route(method="GET", path=DOCUMENT, scope=Scope.DOCUMENTS_READ, handler=documents.get,
          response=wire.WireDocumentWithContent, is_streamed=True,
          summary="Get a document with its text, or follow its state until it is ready or failed"),
    FileRoute(method="PUT", path=DOCUMENT, scope=Scope.DOCUMENTS_WRITE, handler=documents.put, is_large=True,
              accepted=wire.WireDocument, request=documents.DocumentInput, response=list[wire.WireChunk],
              query=("embedding",), summary="Replace a document: its name and text, or its file"),
    Route(method="DELETE", path=DOCUMENT, scope=Scope.DOCUMENTS_WRITE, handler=documents.delete, status=204,
          summary="Delete a document"),

    Route(method="GET", path=CHATBOT + "/retrieve", scope=Scope.DOCUMENTS_READ, handler=retrieval.retrieve, is_guarded=True,
          response=wire.WireRetrieval, query=("query", "conversation_id", "limit", "for", "embedding"),
          query_defaults={"limit": 10, "embedding": False},
          summary="Show what a prompt would find in the documents, and why; stores nothing"),

    Route(method="GET", path=SITES, scope=Scope.DOCUMENTS_READ, handler=sites.list_all,
          response=list[site_wire.WireSite], query=PAGES, summary="List sites, newest first"),
    BodyRoute(method="POST", path=SITES, scope=Scope.DOCUMENTS_WRITE, handler=sites.create, has_location=True,
              request=sites.SiteInput, response=site_wire.WireSite, status=202,
              summary="Crawl a page, a sitemap or a site; its pages become documents"),
    Route(method="GET", path=SITE, scope=Scope.DOCUMENTS_READ, handler=sites.get, is_streamed=True,
          response=site_wire.WireSite, summary="Get a site with the progress of its crawl, or follow the progress"),
    MergeRoute(method="PATCH", path=SITE, scope=Scope.DOCUMENTS_WRITE, handler=sites.change,
               request=sites.SiteSettings, response=site_wire.WireSite, summary="Change how and how often a site is crawled"),
    Route(method="DELETE", path=SITE, scope=Scope.DOCUMENTS_WRITE, handler=sites.delete, status=204,
          summary="Delete a site and its documents"),
    Route(method="POST", path=SITE + "/crawl", scope=Scope.DOCUMENTS_WRITE, handler=sites.crawl, status=202,
          response=site_wire.WireSite, summary="Crawl a site again now"),
    Route(method="GET", path=SITE + "/pages", scope=Scope.DOCUMENTS_READ, handler=sites.list_pages,
          response=list[site_wire.WireSitePage], query=PAGES, summary="List the pages of a site, by address"),

    Route(method="GET", path=CONVERSATIONS, scope=Scope.CONVERSATIONS_READ, handler=conversations.list_all,
          is_guarded=True, end_user="own", response=list[wire.WireConversation],
          query=(*PAGES, "controlled_by", "handoff_requested", "status", "waiting", "assigned_to", "operator", "user_id", "sort"),
          summary="List conversations, most recently active first, or longest waiting first"),
    BodyRoute[conversations.PromptInput | conversations.EndUserPrompt](
              method="POST", path=CONVERSATIONS, scope=Scope.CONVERSATIONS_WRITE, handler=conversations.say,
              is_guarded=True, end_user="own", request=conversations.PromptInput,
              end_user_request=conversations.EndUserPrompt, response=list[wire.WireMessage], status=201,
              query=("embedding",), is_streamed=True, is_prompt=True,
              summary="Start or continue a conversation; answers with the newest messages"),
    Route(method="GET", path=CONVERSATION, scope=Scope.CONVERSATIONS_READ, handler=conversations.get,
          is_guarded=True, end_user="own", response=wire.WireConversation, summary="Get a conversation"),
    BodyRoute(method="PATCH", path=CONVERSATION, scope=Scope.MESSAGES_INJECT, handler=inbox.change, is_guarded=True,
              request=inbox.ConversationChange, response=wire.WireConversation,
              summary="Open, snooze, close or assign a conversation"),
    Route(method="DELETE", path=CONVERSATION, scope=Scope.CONVERSATIONS_WRITE, handler=conversations.delete, is_guarded=True,
          status=204, summary="Delete a conversation with its messages"),
    Route(method="GET", path=CONVERSATION + "/messages", scope=Scope.CONVERSATIONS_READ, handler=conversations.list_messages,
          is_guarded=True, end_user="own", response=list[wire.WireMessage], query=(*PAGES, "embedding"),
          query_defaults={"embedding": False},
          after="The page starts after the message with this `seq`; the previous page's `Link` header has it.",
          summary="List messages, oldest first"),
    Route(method="POST", path=CONVERSATION + "/stop", scope=Scope.CONVERSATIONS_WRITE, handler=conversations.stop,
          is_guarded=True, end_user="own", response=list[wire.WireMessage], query=("embedding",),
          summary="Stop the running reply; the part that was written is stored"),
    BodyRoute(method="POST", path=CONVERSATION + "/takeover", scope=Scope.MESSAGES_INJECT, handler=conversations.take_over,
              is_guarded=True, request=conversations.TakeoverInput, response=wire.WireConversation,
              summary="Take a conversation over from the chatbot"),
    Route(method="POST", path=CONVERSATION + "/release", scope=Scope.MESSAGES_INJECT, handler=conversations.release,
          is_guarded=True, response=wire.WireConversation, summary="Give a conversation back to the chatbot"),
    BodyRoute(method="POST", path=CONVERSATION + "/handoff", scope=Scope.CONVERSATIONS_WRITE, handler=conversations.hand_off,
              is_guarded=True, end_user="own", request=conversations.HandoffInput, is_body_optional=True,
              response=wire.WireConversation,
              summary="Ask for a human"),
    BodyRoute(method="POST", path=CONVERSATION + "/transcript", scope=Scope.CONVERSATIONS_WRITE, handler=transcripts.send,
              is_guarded=True, end_user="own", request=transcripts.TranscriptInput, is_body_optional=True, status=202,
              response=transcripts.WireTranscript, summary="Send what was said by mail"),
    Route(method="GET", path=CONVERSATION + "/events", scope=Scope.CONVERSATIONS_READ, handler=conversations.list_events,
          is_guarded=True, end_user="own", response=list[wire.WireEvent], query=(*PAGES, "embedding", "typing"), is_streamed=True,
          query_defaults={"embedding": False, "typing": False},
          after="The last event that you have: its `seq`, or the last `id:` of a stream.",
          summary="List events, oldest first, or follow them"),
    BodyRoute(method="POST", path=MESSAGE + "/retry", scope=Scope.CONVERSATIONS_WRITE, handler=conversations.retry,
              is_guarded=True, end_user="own", request=conversations.RetryInput, is_body_optional=True, is_prompt=True,
              response=list[wire.WireMessage], status=201, query=("embedding",), is_streamed=True,
              summary="Retry a prompt: make a new reply"),
    BodyRoute(method="PUT", path=MESSAGE + "/feedback", scope=Scope.CONVERSATIONS_WRITE, handler=conversations.give_feedback,
              is_guarded=True, end_user="own", request=Feedback, response=wire.WireMessage, query=("embedding",),
              summary="Rate a reply: up, down, or null to take it back"),
    BodyRoute(method="PUT", path=CONVERSATION + "/read", scope=Scope.CONVERSATIONS_WRITE, handler=conversations.mark_read,
              is_guarded=True, end_user="own", request=conversations.ReadInput, status=204,
              summary="Note how far somebody has read"),
    BodyRoute(method="POST", path=CONVERSATION + "/typing", scope=Scope.CONVERSATIONS_WRITE, handler=conversations.note_typing,
              is_guarded=True, end_user="own", request=conversations.TypingInput, is_body_optional=True, is_unstored=True,
              status=204, summary="Tell that somebody is writing; shown for six seconds while a human answers"),
    BodyRoute(method="PUT", path=CONVERSATION + "/rating", scope=Scope.CONVERSATIONS_WRITE, handler=conversations.rate,
              is_guarded=True, end_user="own", request=conversations.RatingInput, status=204,
              summary="Rate a human's help, once they have closed the conversation"),
    Route(method="GET", path=CHATBOT + "/events", scope=Scope.CONVERSATIONS_READ, handler=conversations.follow_chatbot,
          is_guarded=True, is_streamed=True, query=("after", "embedding"), query_defaults={"embedding": False},
          after="The last `id:` that you have. The stream resumes some seconds before it, so events may come twice. "
                "Without it the stream begins now.",
          summary="Follow what happens in all conversations, as Server-Sent Events"),
    Route(method="GET", path=NOTES, scope=Scope.MESSAGES_INJECT, handler=inbox.list_notes, is_guarded=True,
          response=list[inbox.WireNote], query=PAGES, summary="List the notes that operators wrote, oldest first"),
    BodyRoute(method="POST", path=NOTES, scope=Scope.MESSAGES_INJECT, handler=inbox.add_note, is_guarded=True,
              request=inbox.NoteInput, response=inbox.WireNote, status=201,
              summary="Write a note for the other operators; end users never see it"),
    Route(method="DELETE", path=NOTES + "/{note_id}", scope=Scope.MESSAGES_INJECT, handler=inbox.delete_note, is_guarded=True,
          status=204, summary="Delete a note"),
    Route(method="GET", path=PROPOSALS, scope=Scope.MESSAGES_INJECT, handler=proposals.list_all, is_guarded=True,
          response=list[proposals.WireProposal], query=PAGES,
          summary="List the replies that the chatbot proposed to operators, oldest first"),
    Route(method="POST", path=CONVERSATION + "/suggest", scope=Scope.MESSAGES_INJECT, handler=proposals.suggest,
          is_guarded=True, response=proposals.WireProposal, status=202,
          summary="Have the chatbot propose a reply to the newest prompt"),
    BodyRoute(method="POST", path=PROPOSALS + "/{proposal_id}/send", scope=Scope.MESSAGES_INJECT, handler=proposals.send,
              is_guarded=True, request=proposals.SendInput, is_body_optional=True, response=wire.WireMessage, status=201,
              query=("embedding",), summary="Say a proposed reply, as it is or edited"),
    BodyRoute(method="POST", path=PROPOSALS + "/{proposal_id}/discard", scope=Scope.MESSAGES_INJECT,
              handler=proposals.discard, is_guarded=True, request=proposals.DiscardInput, is_body_optional=True,
              response=proposals.WireProposal, summary="Discard a proposed reply"),
    Route(method="GET", path=CHATBOT + "/search", scope=Scope.CONVERSATIONS_READ, handler=search.search, is_guarded=True,
          response=list[wire.WireMessage], query=("q", "role", "user_id", *PAGES),
          summary="Search in what was said: messages that hold all words of a query, newest first"),
    Route(method="GET", path=CANNED_REPLIES, scope=Scope.MESSAGES_INJECT, handler=inbox.list_canned_replies,
          response=list[inbox.WireCannedReply], query=PAGES, summary="List canned replies, by shortcut"),
    BodyRoute(method="POST", path=CANNED_REPLIES, scope=Scope.MESSAGES_INJECT, handler=inbox.create_canned_reply,
              request=inbox.CannedReplyInput, response=inbox.WireCannedReply, status=201, has_location=True,
              summary="Add words that operators often need"),
    BodyRoute(method="PUT", path=CANNED_REPLIES + "/{canned_reply_id}", scope=Scope.MESSAGES_INJECT,
              handler=inbox.put_canned_reply, request=inbox.CannedReplyInput, response=inbox.WireCannedReply,
              summary="Replace a canned reply"),
    Route(method="DELETE", path=CANNED_REPLIES + "/{canned_reply_id}", scope=Scope.MESSAGES_INJECT,
          handler=inbox.delete_canned_reply, status=204, summary="Delete a canned reply"),
    Route(method="DELETE", path=USER, scope=Scope.CONVERSATIONS_WRITE, handler=conversations.delete_user,
          is_guarded=True, status=204, summary="Delete everything that one end user said, and what is known of them"),

    BodyRoute(method="POST", path=UI, scope=Scope.CONVERSATIONS_WRITE, handler=ui_chat.say, is_guarded=True, end_user="own",
              request=ui_chat.UIChatInput, is_streamed=True, is_prompt=True,
              summary="Say something as the AI SDK's useChat does; answers with its UI message stream"),
    Route(method="GET", path=UI_STREAM, scope=Scope.CONVERSATIONS_READ, handler=ui_chat.join, is_guarded=True, end_user="own",
          is_streamed=True, at_rest="Nothing is being answered.",
          summary="Join the reply in the making, from its first word on, as a UI message stream"),
    Route(method="GET", path=UI_MESSAGES, scope=Scope.CONVERSATIONS_READ, handler=ui_chat.list_messages, is_guarded=True,
          end_user="own", response=list[ui_frames.UIMessage], query=PAGES, query_defaults={"limit": 100},
          after="The page ends before this place; the previous page's `Link` header has it.",
          summary="List the newest messages as UI messages, oldest first"),

    Route(method="GET", path=UNANSWERED, scope=Scope.CONVERSATIONS_READ, handler=unanswered.list_all, is_guarded=True,
          response=list[learning_wire.WireUnanswered], query=(*PAGES, "state"),
          summary="List groups of unanswered prompts that ask the same, the group with the newest prompt first"),
    BodyRoute(method="POST", path=UNANSWERED + "/{prompt_id}/answer", scope=Scope.LEARNING_WRITE, handler=unanswered.answer,
              is_guarded=True, request=unanswered.AnswerInput, response=learning_wire.WireSettled, status=201,
              summary="Answer a group of unanswered prompts, with a fixed answer or a document"),
    Route(method="POST", path=UNANSWERED + "/{prompt_id}/dismiss", scope=Scope.LEARNING_WRITE, handler=unanswered.dismiss,
          is_guarded=True, response=learning_wire.WireSettled, summary="Take a group of unanswered prompts off the list"),
    BodyRoute(method="POST", path=CHATBOT + "/replay", scope=Scope.CONVERSATIONS_READ, handler=replay.replay, is_guarded=True,
              request=replay.ReplayInput, is_body_optional=True, response=learning_wire.WireReplay, is_streamed=True,
              is_unstored=True,
              summary="Ask stored prompts again and show what would change; stores nothing. Also needs chatbots:write"),

    Route(method="GET", path=FIXED_ANSWERS, scope=Scope.DOCUMENTS_READ, handler=fixed_answers.list_all,
          response=list[learning_wire.WireFixedAnswer], query=PAGES, summary="List fixed answers, newest first"),
    BodyRoute(method="POST", path=FIXED_ANSWERS, scope=Scope.LEARNING_WRITE, handler=fixed_answers.create,
              request=fixed_answers.FixedAnswerInput, response=learning_wire.WireFixedAnswer, status=201, has_location=True,
              summary="Add an answer that is given word for word to everyone who asks one of its prompts"),
    Route(method="GET", path=FIXED_ANSWER, scope=Scope.DOCUMENTS_READ, handler=fixed_answers.get,
          response=learning_wire.WireFixedAnswer, summary="Get a fixed answer"),
    BodyRoute(method="PUT", path=FIXED_ANSWER, scope=Scope.LEARNING_WRITE, handler=fixed_answers.put,
              request=fixed_answers.FixedAnswerInput, response=learning_wire.WireFixedAnswer,
              summary="Replace a fixed answer; its use count stays"),
    Route(method="DELETE", path=FIXED_ANSWER, scope=Scope.LEARNING_WRITE, handler=fixed_answers.delete,
          status=204, summary="Delete a fixed answer"),

    Route(method="GET", path=IDENTITY_KEYS, scope=Scope.ACCESS_WRITE, handler=identity_keys.list_all,
          response=list[access_wire.WireIdentityKey], query=PAGES,
          summary="List the keys that tokens of your users are verified with"),
    BodyRoute(method="POST", path=IDENTITY_KEYS, scope=Scope.ACCESS_WRITE, handler=identity_keys.create,
              request=identity_keys.IdentityKeyInput, response=access_wire.WireNewIdentityKey, status=201, is_secret=True,
              has_location=True, summary="Create an identity key; a shared secret is shown only once"),
    Route(method="DELETE", path=IDENTITY_KEYS + "/{identity_key_id}", scope=Scope.ACCESS_WRITE, handler=identity_keys.revoke,
          status=204, summary="Revoke an identity key, and with it every token that was signed with it"),
    Route(method="GET", path=WIDGET_KEYS, scope=Scope.ACCESS_WRITE, handler=widget_keys.list_all,
          response=list[access_wire.WireWidgetKey], query=PAGES, summary="List widget keys, newest first"),
    BodyRoute(method="POST", path=WIDGET_KEYS, scope=Scope.ACCESS_WRITE, handler=widget_keys.create,
              request=widget_keys.WidgetKeyInput, response=access_wire.WireWidgetKey, status=201, has_location=True,
              summary="Create a widget key, with which visitors of certain pages may chat"),
    MergeRoute(method="PATCH", path=WIDGET_KEY, scope=Scope.ACCESS_WRITE, handler=widget_keys.change,
               request=widget_keys.WidgetKeyInput, response=access_wire.WireWidgetKey,
               summary="Change a widget key, or switch it off and on"),
    Route(method="DELETE", path=WIDGET_KEY, scope=Scope.ACCESS_WRITE, handler=widget_keys.revoke, status=204,
          summary="Revoke a widget key, and with it every session that was opened with it"),
    BodyRoute(method="POST", path=SESSIONS, scope=Scope.TOKENS_WRITE, handler=sessions.create, is_guarded=True, end_user="own",
              request=sessions.SessionInput, is_body_optional=True, response=access_wire.WireSession, status=201, is_secret=True,
              summary="Open a session of an end user: anonymous with a widget key, named with an API key or a token"),
    Route(method="DELETE", path=SESSIONS + "/current", scope=Scope.CONVERSATIONS_READ, handler=sessions.close, is_guarded=True,
          end_user="own", status=204, summary="End the session that the request came with"),
    Route(method="GET", path=USER, scope=Scope.CONVERSATIONS_READ, handler=users.get, is_guarded=True,
          response=access_wire.WireEndUser, summary="Get what is known of an end user"),
    MergeRoute(method="PATCH", path=USER, scope=Scope.CONVERSATIONS_WRITE, handler=users.change, is_guarded=True,
               request=users.ProfileInput, response=access_wire.WireEndUser,
               summary="Tell operators who an end user is"),
    BodyRoute(method="POST", path=USER + "/revoke", scope=Scope.ACCESS_WRITE, handler=users.revoke,
              request=users.RevokeInput, is_body_optional=True, response=access_wire.WireEndUser,
              summary="Refuse every token and session that an end user has; or block the user"),

    Route(method="GET", path=CHATBOT + "/figures", scope=Scope.CONVERSATIONS_READ, handler=figures.show, is_table=True,
          response=figures.WireFiguresOfDays, query=("from", "to", "format"),
          summary="Show what happened in a chatbot, by day, as JSON or CSV"),
    Route(method="GET", path="/presence", scope=Scope.MESSAGES_INJECT, handler=presence.show,
          response=presence.WirePresenceList, summary="Show which operators of the account are there"),
    BodyRoute(method="PUT", path="/presence", scope=Scope.MESSAGES_INJECT, handler=presence.choose,
              request=presence.PresenceInput, response=presence.WirePresence,
              summary="Be available, or away"),

    Route(method="GET", path="/api-keys", scope=Scope.KEYS_WRITE, handler=keys.list_all,
          response=list[wire.WireKey], query=PAGES, summary="List API keys, newest first, without their secrets"),
    BodyRoute(method="POST", path="/api-keys", scope=Scope.KEYS_WRITE, handler=keys.create,
              request=keys.KeyInput, response=wire.WireNewKey, status=201, is_secret=True,
              summary="Create an API key; it is shown only once"),
    Route(method="DELETE", path="/api-keys/{key_id}", scope=Scope.KEYS_WRITE, handler=keys.revoke, status=204,
          summary="Revoke an API key"),

    Route(method="GET", path="/operators", scope=Scope.OPERATORS_WRITE, handler=operators.list_all,
          response=list[operators.WireOperator], query=PAGES, summary="List operators, in the order in which they were added"),
    BodyRoute(method="POST", path="/operators", scope=Scope.OPERATORS_WRITE, handler=operators.create,
              request=operators.OperatorInput, response=operators.WireInvited, status=201, is_secret=True, has_location=True,
              summary="Add an operator; the link of their invitation is shown only once"),
    MergeRoute(method="PATCH", path=OPERATOR, scope=Scope.OPERATORS_WRITE, handler=operators.change,
               request=operators.OperatorChange, response=operators.WireOperator,
               summary="Change an operator: their role, their chatbots, or whether they are disabled"),
    Route(method="DELETE", path=OPERATOR, scope=Scope.OPERATORS_WRITE, handler=operators.delete, status=204,
          summary="Delete an operator; their handle is never given to anybody else"),
    Route(method="POST", path=OPERATOR + "/invite", scope=Scope.OPERATORS_WRITE, handler=operators.invite, status=201,
          response=operators.WireInvited, is_secret=True,
          summary="Make a new link with which an operator chooses a password; earlier links are void"),
    Route(method="GET", path="/audit", scope=Scope.AUDIT_READ, handler=audit.list_all, response=list[audit.WireAuditEntry],
          query=PAGES, summary="List what was done in the account in the last 365 days, newest first"),
    *_openai("/v1"),
    *_openai(CHATBOT + "/v1"),

    Route(method="GET", path="/livez", scope=PUBLIC, handler=health.live, response=health.Health,
          summary="Whether the process is alive"),
    Route(method="GET", path="/readyz", scope=PUBLIC, handler=health.ready, response=health.Readiness,
          summary="Whether it can store and answer"),
)
# fmt: on

# Of another protocol, which describes itself: they are in no OpenAPI document.
MCP_ROUTES = (RpcRoute(path="/mcp"), RpcRoute(path=CHATBOT + "/mcp", is_guarded=True))


def check(routes: Sequence[ApiRoute]) -> None:
    """Raises if a route forgot to say who may call it."""
    for route in routes:
        if route.scope not in (PUBLIC, SIGNED_IN) and route.scope not in SCOPES:
            raise ValueError(f"{route.method} {route.path} has no scope of access/scopes.py and is not PUBLIC")


class RouteMatch(msgspec.Struct, frozen=True):
    """The routes of one path, by method, and what its segments hold."""

    by_method: dict[str, ApiRoute]
    path: dict[str, str]


class _Known(msgspec.Struct, frozen=True):
    """The routes of a path, and the places of the segments that are named in it."""

    names: tuple[tuple[int, str], ...]
    by_method: dict[str, ApiRoute]


class RouteTable:
    """Finds routes by path. Segments are split first and decoded after, so an id may hold a slash."""

    def __init__(self, routes: Sequence[ApiRoute]) -> None:
        check(routes)
        by_path: dict[str, dict[str, ApiRoute]] = {}
        for route in routes:
            by_path.setdefault(route.path, {})[route.method] = route
        # By how many segments there are, and which of them are fixed: the routes, by what these hold.
        shapes: dict[int, dict[tuple[int, ...], dict[tuple[str, ...], _Known]]] = {}
        for path, by_method in by_path.items():
            template = path.split("/")
            fixed = tuple(place for place, segment in enumerate(template) if not segment.startswith("{"))
            names = tuple((place, segment[1:-1]) for place, segment in enumerate(template) if place not in fixed)
            known = shapes.setdefault(len(template), {}).setdefault(fixed, {})
            known[tuple(template[place] for place in fixed)] = _Known(names, by_method)
        # Of paths that both fit, the one that says more counts.
        self._shapes = {
            length: sorted(of_length.items(), key=lambda shape: -len(shape[0])) for length, of_length in shapes.items()
        }

    def find(self, segments: list[str]) -> RouteMatch | None:
        """The routes of a path already split at its slashes and decoded."""
        for fixed, by_text in self._shapes.get(len(segments), ()):
            known = by_text.get(tuple([segments[place] for place in fixed]))
            if known is not None and all(segments[place] for place, _ in known.names):
                return RouteMatch(known.by_method, {name: segments[place] for place, name in known.names})
        return None
