# Made by tools/write_client_types.py: change the server, or that, and run `make docs`.
"""Every call of the API, by what it is about. Long lists come as pages that are fetched as you go through them.

Vectors are left out of answers unless you say `embedding=True`. A POST has an `idempotency_key` of its own; pass one that you
keep if the call may have to be repeated by another process.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from gigachat_client import types
from gigachat_client._sync.transport import SyncPages, SyncTransport
from gigachat_client.requests import Call, path


class SyncChatbotsCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(self, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET) -> SyncPages[types.Chatbot]:
        """List chatbots, newest first."""
        call = Call("GET", path("/chatbots"), query={"limit": limit, "after": after})
        return SyncPages(self._transport, call, list[types.Chatbot])

    def create(
        self,
        *,
        name: str,
        response: types.ResponseConfigInput | UnsetType = UNSET,
        restrictions: types.RestrictionsConfigInput | UnsetType = UNSET,
        documents: types.DocumentsConfigInput | UnsetType = UNSET,
        interception: types.InterceptionConfigInput | UnsetType = UNSET,
        limits: types.LimitsConfigInput | UnsetType = UNSET,
        prices: types.PricesConfigInput | UnsetType = UNSET,
        idempotency_key: str | None = None,
    ) -> types.Chatbot:
        """Create a chatbot; only its name is required."""
        body = types.ChatbotInput(
            name=name,
            response=response,
            restrictions=restrictions,
            documents=documents,
            interception=interception,
            limits=limits,
            prices=prices,
        )
        call = Call("POST", path("/chatbots"), body=body, idempotency_key=idempotency_key)
        return self._transport.call(call, types.Chatbot)

    def get(self, chatbot_id: str) -> types.Chatbot:
        """Get a chatbot."""
        call = Call("GET", path("/chatbots/{chatbot_id}", chatbot_id=chatbot_id))
        return self._transport.call(call, types.Chatbot)

    def change(
        self,
        chatbot_id: str,
        *,
        name: str | UnsetType = UNSET,
        response: types.ResponseConfigInput | UnsetType = UNSET,
        restrictions: types.RestrictionsConfigInput | UnsetType = UNSET,
        documents: types.DocumentsConfigInput | UnsetType = UNSET,
        interception: types.InterceptionConfigInput | UnsetType = UNSET,
        limits: types.LimitsConfigInput | UnsetType = UNSET,
        prices: types.PricesConfigInput | UnsetType = UNSET,
    ) -> types.Chatbot:
        """Change some properties of a chatbot."""
        body = types.ChatbotInputPart(
            name=name,
            response=response,
            restrictions=restrictions,
            documents=documents,
            interception=interception,
            limits=limits,
            prices=prices,
        )
        call = Call("PATCH", path("/chatbots/{chatbot_id}", chatbot_id=chatbot_id), body=body)
        return self._transport.call(call, types.Chatbot)

    def delete(self, chatbot_id: str) -> None:
        """Delete a chatbot with all its documents and conversations."""
        call = Call("DELETE", path("/chatbots/{chatbot_id}", chatbot_id=chatbot_id))
        self._transport.call(call, None)

    def limits(self, chatbot_id: str) -> types.Limits:
        """Show the limits of a chatbot, and what was used of its budgets today."""
        call = Call("GET", path("/chatbots/{chatbot_id}/limits", chatbot_id=chatbot_id))
        return self._transport.call(call, types.Limits)


class SyncDocumentsCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def queues(self) -> SyncPages[types.Queue]:
        """List the documents that wait for ingest, by chatbot, longest waiting first."""
        call = Call("GET", path("/queue"))
        return SyncPages(self._transport, call, list[types.Queue])

    def list_all(
        self,
        chatbot_id: str,
        *,
        limit: int | UnsetType = UNSET,
        after: str | UnsetType = UNSET,
        state: Literal["pending", "extracting", "embedding", "ready", "failed"] | UnsetType = UNSET,
        warned: bool | UnsetType = UNSET,
    ) -> SyncPages[types.Document]:
        """List documents, newest first."""
        call = Call(
            "GET",
            path("/chatbots/{chatbot_id}/documents", chatbot_id=chatbot_id),
            query={"limit": limit, "after": after, "state": state, "warned": warned},
        )
        return SyncPages(self._transport, call, list[types.Document])

    def push(
        self, chatbot_id: str, *, name: str, content: str, embedding: bool = False, idempotency_key: str | None = None
    ) -> list[types.Chunk]:
        """Push a text or a file, or replace the document of that name; a text returns its chunks."""
        body = types.DocumentInput(name=name, content=content)
        call = Call(
            "POST",
            path("/chatbots/{chatbot_id}/documents", chatbot_id=chatbot_id),
            query={"embedding": embedding},
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, list[types.Chunk])

    def get(self, chatbot_id: str, document_id: str) -> types.DocumentWithContent:
        """Get a document with its text, or follow its state until it is ready or failed."""
        call = Call("GET", path("/chatbots/{chatbot_id}/documents/{document_id}", chatbot_id=chatbot_id, document_id=document_id))
        return self._transport.call(call, types.DocumentWithContent)

    def put(self, chatbot_id: str, document_id: str, *, name: str, content: str, embedding: bool = False) -> list[types.Chunk]:
        """Replace a document: its name and text, or its file."""
        body = types.DocumentInput(name=name, content=content)
        call = Call(
            "PUT",
            path("/chatbots/{chatbot_id}/documents/{document_id}", chatbot_id=chatbot_id, document_id=document_id),
            query={"embedding": embedding},
            body=body,
        )
        return self._transport.call(call, list[types.Chunk])

    def delete(self, chatbot_id: str, document_id: str) -> None:
        """Delete a document."""
        call = Call(
            "DELETE", path("/chatbots/{chatbot_id}/documents/{document_id}", chatbot_id=chatbot_id, document_id=document_id)
        )
        self._transport.call(call, None)


class SyncRetrievalCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def retrieve(
        self,
        chatbot_id: str,
        *,
        query: str,
        conversation_id: str | UnsetType = UNSET,
        limit: int | UnsetType = UNSET,
        for_: Literal["configured", "generating", "quoting"] | UnsetType = UNSET,
        embedding: bool = False,
    ) -> types.Retrieval:
        """Show what a prompt would find in the documents, and why; stores nothing."""
        call = Call(
            "GET",
            path("/chatbots/{chatbot_id}/retrieve", chatbot_id=chatbot_id),
            query={"query": query, "conversation_id": conversation_id, "limit": limit, "for": for_, "embedding": embedding},
        )
        return self._transport.call(call, types.Retrieval)


class SyncSitesCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(
        self, chatbot_id: str, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET
    ) -> SyncPages[types.Site]:
        """List sites, newest first."""
        call = Call("GET", path("/chatbots/{chatbot_id}/sites", chatbot_id=chatbot_id), query={"limit": limit, "after": after})
        return SyncPages(self._transport, call, list[types.Site])

    def create(
        self,
        chatbot_id: str,
        *,
        url: str,
        kind: Literal["page", "site", "sitemap"],
        depth: int | UnsetType = UNSET,
        max_pages: int | UnsetType = UNSET,
        include: list[str] | UnsetType = UNSET,
        exclude: list[str] | UnsetType = UNSET,
        recrawl_hours: int | None | UnsetType = UNSET,
        idempotency_key: str | None = None,
    ) -> types.Site:
        """Crawl a page, a sitemap or a site; its pages become documents."""
        body = types.SiteInput(
            depth=depth, max_pages=max_pages, include=include, exclude=exclude, recrawl_hours=recrawl_hours, url=url, kind=kind
        )
        call = Call(
            "POST", path("/chatbots/{chatbot_id}/sites", chatbot_id=chatbot_id), body=body, idempotency_key=idempotency_key
        )
        return self._transport.call(call, types.Site)

    def get(self, chatbot_id: str, site_id: str) -> types.Site:
        """Get a site with the progress of its crawl, or follow the progress."""
        call = Call("GET", path("/chatbots/{chatbot_id}/sites/{site_id}", chatbot_id=chatbot_id, site_id=site_id))
        return self._transport.call(call, types.Site)

    def change(
        self,
        chatbot_id: str,
        site_id: str,
        *,
        depth: int | UnsetType = UNSET,
        max_pages: int | UnsetType = UNSET,
        include: list[str] | UnsetType = UNSET,
        exclude: list[str] | UnsetType = UNSET,
        recrawl_hours: int | None | UnsetType = UNSET,
    ) -> types.Site:
        """Change how and how often a site is crawled."""
        body = types.SiteSettingsPart(
            depth=depth, max_pages=max_pages, include=include, exclude=exclude, recrawl_hours=recrawl_hours
        )
        call = Call("PATCH", path("/chatbots/{chatbot_id}/sites/{site_id}", chatbot_id=chatbot_id, site_id=site_id), body=body)
        return self._transport.call(call, types.Site)

    def delete(self, chatbot_id: str, site_id: str) -> None:
        """Delete a site and its documents."""
        call = Call("DELETE", path("/chatbots/{chatbot_id}/sites/{site_id}", chatbot_id=chatbot_id, site_id=site_id))
        self._transport.call(call, None)

    def crawl(self, chatbot_id: str, site_id: str, *, idempotency_key: str | None = None) -> types.Site:
        """Crawl a site again now."""
        call = Call(
            "POST",
            path("/chatbots/{chatbot_id}/sites/{site_id}/crawl", chatbot_id=chatbot_id, site_id=site_id),
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Site)

    def list_pages(
        self, chatbot_id: str, site_id: str, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET
    ) -> SyncPages[types.SitePage]:
        """List the pages of a site, by address."""
        call = Call(
            "GET",
            path("/chatbots/{chatbot_id}/sites/{site_id}/pages", chatbot_id=chatbot_id, site_id=site_id),
            query={"limit": limit, "after": after},
        )
        return SyncPages(self._transport, call, list[types.SitePage])


class SyncConversationsCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(
        self,
        chatbot_id: str,
        *,
        limit: int | UnsetType = UNSET,
        after: str | UnsetType = UNSET,
        controlled_by: Literal["human", "bot"] | UnsetType = UNSET,
        handoff_requested: bool | UnsetType = UNSET,
        status: Literal["open", "snoozed", "closed"] | UnsetType = UNSET,
        waiting: bool | UnsetType = UNSET,
        assigned_to: Any | str | UnsetType = UNSET,
        operator: str | UnsetType = UNSET,
        user_id: str | UnsetType = UNSET,
        sort: Literal["last", "waiting"] | UnsetType = UNSET,
    ) -> SyncPages[types.Conversation]:
        """List conversations, most recently active first, or longest waiting first."""
        call = Call(
            "GET",
            path("/chatbots/{chatbot_id}/conversations", chatbot_id=chatbot_id),
            query={
                "limit": limit,
                "after": after,
                "controlled_by": controlled_by,
                "handoff_requested": handoff_requested,
                "status": status,
                "waiting": waiting,
                "assigned_to": assigned_to,
                "operator": operator,
                "user_id": user_id,
                "sort": sort,
            },
        )
        return SyncPages(self._transport, call, list[types.Conversation])

    def say(
        self,
        chatbot_id: str,
        *,
        conversation_id: str,
        user_id: str,
        prompt: str,
        metadata: dict[str, Any] | UnsetType = UNSET,
        embedding: bool = False,
        idempotency_key: str | None = None,
    ) -> list[types.Message]:
        """Start or continue a conversation; answers with the newest messages."""
        body = types.PromptInput(conversation_id=conversation_id, user_id=user_id, prompt=prompt, metadata=metadata)
        call = Call(
            "POST",
            path("/chatbots/{chatbot_id}/conversations", chatbot_id=chatbot_id),
            query={"embedding": embedding},
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, list[types.Message])

    def get(self, chatbot_id: str, conversation_id: str) -> types.Conversation:
        """Get a conversation."""
        call = Call(
            "GET",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}", chatbot_id=chatbot_id, conversation_id=conversation_id
            ),
        )
        return self._transport.call(call, types.Conversation)

    def delete(self, chatbot_id: str, conversation_id: str) -> None:
        """Delete a conversation with its messages."""
        call = Call(
            "DELETE",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}", chatbot_id=chatbot_id, conversation_id=conversation_id
            ),
        )
        self._transport.call(call, None)

    def list_messages(
        self,
        chatbot_id: str,
        conversation_id: str,
        *,
        limit: int | UnsetType = UNSET,
        after: str | UnsetType = UNSET,
        embedding: bool = False,
    ) -> SyncPages[types.Message]:
        """List messages, oldest first."""
        call = Call(
            "GET",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/messages",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            query={"limit": limit, "after": after, "embedding": embedding},
        )
        return SyncPages(self._transport, call, list[types.Message])

    def stop(
        self, chatbot_id: str, conversation_id: str, *, embedding: bool = False, idempotency_key: str | None = None
    ) -> list[types.Message]:
        """Stop the running reply; the part that was written is stored."""
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/stop",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            query={"embedding": embedding},
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, list[types.Message])

    def take_over(
        self,
        chatbot_id: str,
        conversation_id: str,
        *,
        operator: str,
        force: bool | UnsetType = UNSET,
        idempotency_key: str | None = None,
    ) -> types.Conversation:
        """Take a conversation over from the chatbot."""
        body = types.TakeoverInput(operator=operator, force=force)
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/takeover",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Conversation)

    def release(self, chatbot_id: str, conversation_id: str, *, idempotency_key: str | None = None) -> types.Conversation:
        """Give a conversation back to the chatbot."""
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/release",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Conversation)

    def hand_off(
        self, chatbot_id: str, conversation_id: str, *, note: str | UnsetType = UNSET, idempotency_key: str | None = None
    ) -> types.Conversation:
        """Ask for a human."""
        body = types.HandoffInput(note=note)
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/handoff",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Conversation)

    def list_events(
        self,
        chatbot_id: str,
        conversation_id: str,
        *,
        limit: int | UnsetType = UNSET,
        after: str | UnsetType = UNSET,
        embedding: bool = False,
        typing: bool | UnsetType = UNSET,
    ) -> SyncPages[types.Event]:
        """List events, oldest first, or follow them."""
        call = Call(
            "GET",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/events",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            query={"limit": limit, "after": after, "embedding": embedding, "typing": typing},
        )
        return SyncPages(self._transport, call, list[types.Event])

    def retry(
        self,
        chatbot_id: str,
        conversation_id: str,
        message_id: str,
        *,
        embedding: bool = False,
        idempotency_key: str | None = None,
    ) -> list[types.Message]:
        """Retry a prompt: make a new reply."""
        body = types.RetryInput()
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/messages/{message_id}/retry",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
                message_id=message_id,
            ),
            query={"embedding": embedding},
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, list[types.Message])

    def give_feedback(
        self,
        chatbot_id: str,
        conversation_id: str,
        message_id: str,
        *,
        rating: Literal["down", "up"] | None,
        text: str | UnsetType = UNSET,
        embedding: bool = False,
    ) -> types.Message:
        """Rate a reply: up, down, or null to take it back."""
        body = types.FeedbackInput(rating=rating, text=text)
        call = Call(
            "PUT",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/messages/{message_id}/feedback",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
                message_id=message_id,
            ),
            query={"embedding": embedding},
            body=body,
        )
        return self._transport.call(call, types.Message)

    def mark_read(self, chatbot_id: str, conversation_id: str, *, seq: int, user_id: str | UnsetType = UNSET) -> None:
        """Note how far somebody has read."""
        body = types.ReadInput(user_id=user_id, seq=seq)
        call = Call(
            "PUT",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/read",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            body=body,
        )
        self._transport.call(call, None)

    def note_typing(self, chatbot_id: str, conversation_id: str, *, user_id: str | UnsetType = UNSET) -> None:
        """Tell that somebody is writing; shown for six seconds while a human answers."""
        body = types.TypingInput(user_id=user_id)
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/typing",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            body=body,
        )
        self._transport.call(call, None)

    def rate(
        self, chatbot_id: str, conversation_id: str, *, closed_seq: int, score: int, comment: str | UnsetType = UNSET
    ) -> None:
        """Rate a human's help, once they have closed the conversation."""
        body = types.RatingInput(closed_seq=closed_seq, score=score, comment=comment)
        call = Call(
            "PUT",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/rating",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            body=body,
        )
        self._transport.call(call, None)

    def delete_user(self, chatbot_id: str, user_id: str) -> None:
        """Delete everything that one end user said, and what is known of them."""
        call = Call("DELETE", path("/chatbots/{chatbot_id}/users/{user_id}", chatbot_id=chatbot_id, user_id=user_id))
        self._transport.call(call, None)


class SyncInboxCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def change(
        self,
        chatbot_id: str,
        conversation_id: str,
        *,
        status: Literal["closed", "open", "snoozed"] | UnsetType = UNSET,
        snoozed_until: str | None | UnsetType = UNSET,
        assigned_to: str | None | UnsetType = UNSET,
    ) -> types.Conversation:
        """Open, snooze, close or assign a conversation."""
        body = types.ConversationChange(status=status, snoozed_until=snoozed_until, assigned_to=assigned_to)
        call = Call(
            "PATCH",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}", chatbot_id=chatbot_id, conversation_id=conversation_id
            ),
            body=body,
        )
        return self._transport.call(call, types.Conversation)

    def list_notes(
        self, chatbot_id: str, conversation_id: str, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET
    ) -> SyncPages[types.Note]:
        """List the notes that operators wrote, oldest first."""
        call = Call(
            "GET",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/notes",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            query={"limit": limit, "after": after},
        )
        return SyncPages(self._transport, call, list[types.Note])

    def add_note(
        self,
        chatbot_id: str,
        conversation_id: str,
        *,
        content: str,
        operator: str | None | UnsetType = UNSET,
        idempotency_key: str | None = None,
    ) -> types.Note:
        """Write a note for the other operators; end users never see it."""
        body = types.NoteInput(content=content, operator=operator)
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/notes",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Note)

    def delete_note(self, chatbot_id: str, conversation_id: str, note_id: str) -> None:
        """Delete a note."""
        call = Call(
            "DELETE",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/notes/{note_id}",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
                note_id=note_id,
            ),
        )
        self._transport.call(call, None)

    def list_canned_replies(
        self, chatbot_id: str, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET
    ) -> SyncPages[types.CannedReply]:
        """List canned replies, by shortcut."""
        call = Call(
            "GET", path("/chatbots/{chatbot_id}/canned-replies", chatbot_id=chatbot_id), query={"limit": limit, "after": after}
        )
        return SyncPages(self._transport, call, list[types.CannedReply])

    def create_canned_reply(
        self, chatbot_id: str, *, shortcut: str, content: str, idempotency_key: str | None = None
    ) -> types.CannedReply:
        """Add words that operators often need."""
        body = types.CannedReplyInput(shortcut=shortcut, content=content)
        call = Call(
            "POST",
            path("/chatbots/{chatbot_id}/canned-replies", chatbot_id=chatbot_id),
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.CannedReply)

    def put_canned_reply(self, chatbot_id: str, canned_reply_id: str, *, shortcut: str, content: str) -> types.CannedReply:
        """Replace a canned reply."""
        body = types.CannedReplyInput(shortcut=shortcut, content=content)
        call = Call(
            "PUT",
            path(
                "/chatbots/{chatbot_id}/canned-replies/{canned_reply_id}", chatbot_id=chatbot_id, canned_reply_id=canned_reply_id
            ),
            body=body,
        )
        return self._transport.call(call, types.CannedReply)

    def delete_canned_reply(self, chatbot_id: str, canned_reply_id: str) -> None:
        """Delete a canned reply."""
        call = Call(
            "DELETE",
            path(
                "/chatbots/{chatbot_id}/canned-replies/{canned_reply_id}", chatbot_id=chatbot_id, canned_reply_id=canned_reply_id
            ),
        )
        self._transport.call(call, None)


class SyncTranscriptsCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def send(
        self, chatbot_id: str, conversation_id: str, *, email: str | None | UnsetType = UNSET, idempotency_key: str | None = None
    ) -> types.Transcript:
        """Send what was said by mail."""
        body = types.TranscriptInput(email=email)
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/transcript",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Transcript)


class SyncProposalsCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(
        self, chatbot_id: str, conversation_id: str, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET
    ) -> SyncPages[types.Proposal]:
        """List the replies that the chatbot proposed to operators, oldest first."""
        call = Call(
            "GET",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/proposals",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            query={"limit": limit, "after": after},
        )
        return SyncPages(self._transport, call, list[types.Proposal])

    def suggest(self, chatbot_id: str, conversation_id: str, *, idempotency_key: str | None = None) -> types.Proposal:
        """Have the chatbot propose a reply to the newest prompt."""
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/suggest",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
            ),
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Proposal)

    def send(
        self,
        chatbot_id: str,
        conversation_id: str,
        proposal_id: str,
        *,
        content: str | None | UnsetType = UNSET,
        operator: str | None | UnsetType = UNSET,
        embedding: bool = False,
        idempotency_key: str | None = None,
    ) -> types.Message:
        """Say a proposed reply, as it is or edited."""
        body = types.SendInput(content=content, operator=operator)
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/proposals/{proposal_id}/send",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
                proposal_id=proposal_id,
            ),
            query={"embedding": embedding},
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Message)

    def discard(
        self,
        chatbot_id: str,
        conversation_id: str,
        proposal_id: str,
        *,
        operator: str | None | UnsetType = UNSET,
        idempotency_key: str | None = None,
    ) -> types.Proposal:
        """Discard a proposed reply."""
        body = types.DiscardInput(operator=operator)
        call = Call(
            "POST",
            path(
                "/chatbots/{chatbot_id}/conversations/{conversation_id}/proposals/{proposal_id}/discard",
                chatbot_id=chatbot_id,
                conversation_id=conversation_id,
                proposal_id=proposal_id,
            ),
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Proposal)


class SyncSearchCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def search(
        self,
        chatbot_id: str,
        *,
        q: str,
        role: Literal["user", "assistant", "operator", "system"] | UnsetType = UNSET,
        user_id: str | UnsetType = UNSET,
        limit: int | UnsetType = UNSET,
        after: str | UnsetType = UNSET,
    ) -> SyncPages[types.Message]:
        """Search in what was said: messages that hold all words of a query, newest first."""
        call = Call(
            "GET",
            path("/chatbots/{chatbot_id}/search", chatbot_id=chatbot_id),
            query={"q": q, "role": role, "user_id": user_id, "limit": limit, "after": after},
        )
        return SyncPages(self._transport, call, list[types.Message])


class SyncUnansweredCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(
        self,
        chatbot_id: str,
        *,
        limit: int | UnsetType = UNSET,
        after: str | UnsetType = UNSET,
        state: Literal["open", "answered", "dismissed"] | UnsetType = UNSET,
    ) -> SyncPages[types.Unanswered]:
        """List groups of unanswered prompts that ask the same, the group with the newest prompt first."""
        call = Call(
            "GET",
            path("/chatbots/{chatbot_id}/unanswered", chatbot_id=chatbot_id),
            query={"limit": limit, "after": after, "state": state},
        )
        return SyncPages(self._transport, call, list[types.Unanswered])

    def answer(
        self,
        chatbot_id: str,
        prompt_id: str,
        *,
        answer: str,
        as_: Literal["document", "fixed_answer"],
        prompts: list[str] | UnsetType = UNSET,
        name: str | None | UnsetType = UNSET,
        idempotency_key: str | None = None,
    ) -> types.Settled:
        """Answer a group of unanswered prompts, with a fixed answer or a document."""
        body = types.AnswerInput(answer=answer, as_=as_, prompts=prompts, name=name)
        call = Call(
            "POST",
            path("/chatbots/{chatbot_id}/unanswered/{prompt_id}/answer", chatbot_id=chatbot_id, prompt_id=prompt_id),
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Settled)

    def dismiss(self, chatbot_id: str, prompt_id: str, *, idempotency_key: str | None = None) -> types.Settled:
        """Take a group of unanswered prompts off the list."""
        call = Call(
            "POST",
            path("/chatbots/{chatbot_id}/unanswered/{prompt_id}/dismiss", chatbot_id=chatbot_id, prompt_id=prompt_id),
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.Settled)


class SyncReplayCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def replay(
        self,
        chatbot_id: str,
        *,
        conversation_ids: list[str] | UnsetType = UNSET,
        unanswered: bool | UnsetType = UNSET,
        limit: int | UnsetType = UNSET,
        config: types.ChatbotInputPart | UnsetType = UNSET,
    ) -> types.Replay:
        """Ask stored prompts again and show what would change; stores nothing. Also needs chatbots:write."""
        body = types.ReplayInput(conversation_ids=conversation_ids, unanswered=unanswered, limit=limit, config=config)
        call = Call("POST", path("/chatbots/{chatbot_id}/replay", chatbot_id=chatbot_id), body=body)
        return self._transport.call(call, types.Replay)


class SyncFixedAnswersCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(
        self, chatbot_id: str, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET
    ) -> SyncPages[types.FixedAnswer]:
        """List fixed answers, newest first."""
        call = Call(
            "GET", path("/chatbots/{chatbot_id}/fixed-answers", chatbot_id=chatbot_id), query={"limit": limit, "after": after}
        )
        return SyncPages(self._transport, call, list[types.FixedAnswer])

    def create(
        self,
        chatbot_id: str,
        *,
        prompts: list[str],
        answer: str,
        is_enabled: bool | UnsetType = UNSET,
        idempotency_key: str | None = None,
    ) -> types.FixedAnswer:
        """Add an answer that is given word for word to everyone who asks one of its prompts."""
        body = types.FixedAnswerInput(prompts=prompts, answer=answer, is_enabled=is_enabled)
        call = Call(
            "POST",
            path("/chatbots/{chatbot_id}/fixed-answers", chatbot_id=chatbot_id),
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.FixedAnswer)

    def get(self, chatbot_id: str, fixed_answer_id: str) -> types.FixedAnswer:
        """Get a fixed answer."""
        call = Call(
            "GET",
            path(
                "/chatbots/{chatbot_id}/fixed-answers/{fixed_answer_id}", chatbot_id=chatbot_id, fixed_answer_id=fixed_answer_id
            ),
        )
        return self._transport.call(call, types.FixedAnswer)

    def put(
        self, chatbot_id: str, fixed_answer_id: str, *, prompts: list[str], answer: str, is_enabled: bool | UnsetType = UNSET
    ) -> types.FixedAnswer:
        """Replace a fixed answer; its use count stays."""
        body = types.FixedAnswerInput(prompts=prompts, answer=answer, is_enabled=is_enabled)
        call = Call(
            "PUT",
            path(
                "/chatbots/{chatbot_id}/fixed-answers/{fixed_answer_id}", chatbot_id=chatbot_id, fixed_answer_id=fixed_answer_id
            ),
            body=body,
        )
        return self._transport.call(call, types.FixedAnswer)

    def delete(self, chatbot_id: str, fixed_answer_id: str) -> None:
        """Delete a fixed answer."""
        call = Call(
            "DELETE",
            path(
                "/chatbots/{chatbot_id}/fixed-answers/{fixed_answer_id}", chatbot_id=chatbot_id, fixed_answer_id=fixed_answer_id
            ),
        )
        self._transport.call(call, None)


class SyncIdentityKeysCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(
        self, chatbot_id: str, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET
    ) -> SyncPages[types.IdentityKey]:
        """List the keys that tokens of your users are verified with."""
        call = Call(
            "GET", path("/chatbots/{chatbot_id}/identity-keys", chatbot_id=chatbot_id), query={"limit": limit, "after": after}
        )
        return SyncPages(self._transport, call, list[types.IdentityKey])

    def create(
        self,
        chatbot_id: str,
        *,
        name: str,
        algorithm: Literal["ES256", "EdDSA", "HS256", "RS256"],
        public_key: str | None | UnsetType = UNSET,
        sources: Literal["full", "none", "titles"] | UnsetType = UNSET,
    ) -> types.NewIdentityKey:
        """Create an identity key; a shared secret is shown only once."""
        body = types.IdentityKeyInput(name=name, algorithm=algorithm, public_key=public_key, sources=sources)
        call = Call("POST", path("/chatbots/{chatbot_id}/identity-keys", chatbot_id=chatbot_id), body=body, is_repeatable=False)
        return self._transport.call(call, types.NewIdentityKey)

    def revoke(self, chatbot_id: str, identity_key_id: str) -> None:
        """Revoke an identity key, and with it every token that was signed with it."""
        call = Call(
            "DELETE",
            path(
                "/chatbots/{chatbot_id}/identity-keys/{identity_key_id}", chatbot_id=chatbot_id, identity_key_id=identity_key_id
            ),
        )
        self._transport.call(call, None)


class SyncWidgetKeysCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(
        self, chatbot_id: str, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET
    ) -> SyncPages[types.WidgetKey]:
        """List widget keys, newest first."""
        call = Call(
            "GET", path("/chatbots/{chatbot_id}/widget-keys", chatbot_id=chatbot_id), query={"limit": limit, "after": after}
        )
        return SyncPages(self._transport, call, list[types.WidgetKey])

    def create(
        self,
        chatbot_id: str,
        *,
        name: str,
        hostnames: list[str],
        is_enabled: bool | UnsetType = UNSET,
        settings: types.WidgetSettingsInput | UnsetType = UNSET,
        idempotency_key: str | None = None,
    ) -> types.WidgetKey:
        """Create a widget key, with which visitors of certain pages may chat."""
        body = types.WidgetKeyInput(name=name, hostnames=hostnames, is_enabled=is_enabled, settings=settings)
        call = Call(
            "POST", path("/chatbots/{chatbot_id}/widget-keys", chatbot_id=chatbot_id), body=body, idempotency_key=idempotency_key
        )
        return self._transport.call(call, types.WidgetKey)

    def change(
        self,
        chatbot_id: str,
        widget_key_id: str,
        *,
        name: str | UnsetType = UNSET,
        hostnames: list[str] | UnsetType = UNSET,
        is_enabled: bool | UnsetType = UNSET,
        settings: types.WidgetSettingsInput | UnsetType = UNSET,
    ) -> types.WidgetKey:
        """Change a widget key, or switch it off and on."""
        body = types.WidgetKeyInputPart(name=name, hostnames=hostnames, is_enabled=is_enabled, settings=settings)
        call = Call(
            "PATCH",
            path("/chatbots/{chatbot_id}/widget-keys/{widget_key_id}", chatbot_id=chatbot_id, widget_key_id=widget_key_id),
            body=body,
        )
        return self._transport.call(call, types.WidgetKey)

    def revoke(self, chatbot_id: str, widget_key_id: str) -> None:
        """Revoke a widget key, and with it every session that was opened with it."""
        call = Call(
            "DELETE",
            path("/chatbots/{chatbot_id}/widget-keys/{widget_key_id}", chatbot_id=chatbot_id, widget_key_id=widget_key_id),
        )
        self._transport.call(call, None)


class SyncSessionsCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def create(
        self,
        chatbot_id: str,
        *,
        user_id: str | UnsetType = UNSET,
        expires_in_s: int | UnsetType = UNSET,
        conversation_ids: list[str] | UnsetType = UNSET,
        sources: Literal["full", "none", "titles"] | UnsetType = UNSET,
        claim: str | UnsetType = UNSET,
    ) -> types.Session:
        """Open a session of an end user: anonymous with a widget key, named with an API key or a token."""
        body = types.SessionInput(
            user_id=user_id, expires_in_s=expires_in_s, conversation_ids=conversation_ids, sources=sources, claim=claim
        )
        call = Call("POST", path("/chatbots/{chatbot_id}/sessions", chatbot_id=chatbot_id), body=body, is_repeatable=False)
        return self._transport.call(call, types.Session)

    def close(self, chatbot_id: str) -> None:
        """End the session that the request came with."""
        call = Call("DELETE", path("/chatbots/{chatbot_id}/sessions/current", chatbot_id=chatbot_id))
        self._transport.call(call, None)


class SyncUsersCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def get(self, chatbot_id: str, user_id: str) -> types.EndUser:
        """Get what is known of an end user."""
        call = Call("GET", path("/chatbots/{chatbot_id}/users/{user_id}", chatbot_id=chatbot_id, user_id=user_id))
        return self._transport.call(call, types.EndUser)

    def change(
        self,
        chatbot_id: str,
        user_id: str,
        *,
        name: str | None | UnsetType = UNSET,
        email: str | None | UnsetType = UNSET,
        metadata: dict[str, Any] | UnsetType = UNSET,
    ) -> types.EndUser:
        """Tell operators who an end user is."""
        body = types.ProfileInputPart(name=name, email=email, metadata=metadata)
        call = Call("PATCH", path("/chatbots/{chatbot_id}/users/{user_id}", chatbot_id=chatbot_id, user_id=user_id), body=body)
        return self._transport.call(call, types.EndUser)

    def revoke(
        self, chatbot_id: str, user_id: str, *, block: bool | UnsetType = UNSET, idempotency_key: str | None = None
    ) -> types.EndUser:
        """Refuse every token and session that an end user has; or block the user."""
        body = types.RevokeInput(block=block)
        call = Call(
            "POST",
            path("/chatbots/{chatbot_id}/users/{user_id}/revoke", chatbot_id=chatbot_id, user_id=user_id),
            body=body,
            idempotency_key=idempotency_key,
        )
        return self._transport.call(call, types.EndUser)


class SyncFiguresCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def show(
        self,
        chatbot_id: str,
        *,
        from_: str | UnsetType = UNSET,
        to: str | UnsetType = UNSET,
        format: Literal["json", "csv"] | UnsetType = UNSET,
    ) -> types.FiguresOfDays:
        """Show what happened in a chatbot, by day, as JSON or CSV."""
        call = Call(
            "GET",
            path("/chatbots/{chatbot_id}/figures", chatbot_id=chatbot_id),
            query={"from": from_, "to": to, "format": format},
        )
        return self._transport.call(call, types.FiguresOfDays)


class SyncPresenceCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def show(self) -> types.PresenceList:
        """Show which operators of the account are there."""
        call = Call("GET", path("/presence"))
        return self._transport.call(call, types.PresenceList)

    def choose(self, *, status: Literal["available", "away"]) -> types.Presence:
        """Be available, or away."""
        body = types.PresenceInput(status=status)
        call = Call("PUT", path("/presence"), body=body)
        return self._transport.call(call, types.Presence)


class SyncKeysCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(self, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET) -> SyncPages[types.Key]:
        """List API keys, newest first, without their secrets."""
        call = Call("GET", path("/api-keys"), query={"limit": limit, "after": after})
        return SyncPages(self._transport, call, list[types.Key])

    def create(
        self,
        *,
        name: str,
        scopes: list[
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
        | UnsetType = UNSET,
        expires_in_days: int | None | UnsetType = UNSET,
    ) -> types.NewKey:
        """Create an API key; it is shown only once."""
        body = types.KeyInput(name=name, scopes=scopes, expires_in_days=expires_in_days)
        call = Call("POST", path("/api-keys"), body=body, is_repeatable=False)
        return self._transport.call(call, types.NewKey)

    def revoke(self, key_id: str) -> None:
        """Revoke an API key."""
        call = Call("DELETE", path("/api-keys/{key_id}", key_id=key_id))
        self._transport.call(call, None)


class SyncOperatorsCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(self, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET) -> SyncPages[types.Operator]:
        """List operators, in the order in which they were added."""
        call = Call("GET", path("/operators"), query={"limit": limit, "after": after})
        return SyncPages(self._transport, call, list[types.Operator])

    def create(
        self,
        *,
        email: str,
        name: str | UnsetType = UNSET,
        handle: str | UnsetType = UNSET,
        role: Literal["admin", "member", "owner"] | UnsetType = UNSET,
        chatbots: list[types.MembershipInput] | UnsetType = UNSET,
    ) -> types.Invited:
        """Add an operator; the link of their invitation is shown only once."""
        body = types.OperatorInput(email=email, name=name, handle=handle, role=role, chatbots=chatbots)
        call = Call("POST", path("/operators"), body=body, is_repeatable=False)
        return self._transport.call(call, types.Invited)

    def change(
        self,
        operator_id: str,
        *,
        email: str | UnsetType = UNSET,
        name: str | UnsetType = UNSET,
        handle: str | UnsetType = UNSET,
        role: Literal["admin", "member", "owner"] | UnsetType = UNSET,
        chatbots: list[types.MembershipInput] | UnsetType = UNSET,
        disabled: bool | UnsetType = UNSET,
    ) -> types.Operator:
        """Change an operator: their role, their chatbots, or whether they are disabled."""
        body = types.OperatorChangePart(email=email, name=name, handle=handle, role=role, chatbots=chatbots, disabled=disabled)
        call = Call("PATCH", path("/operators/{operator_id}", operator_id=operator_id), body=body)
        return self._transport.call(call, types.Operator)

    def delete(self, operator_id: str) -> None:
        """Delete an operator; their handle is never given to anybody else."""
        call = Call("DELETE", path("/operators/{operator_id}", operator_id=operator_id))
        self._transport.call(call, None)

    def invite(self, operator_id: str) -> types.Invited:
        """Make a new link with which an operator chooses a password; earlier links are void."""
        call = Call("POST", path("/operators/{operator_id}/invite", operator_id=operator_id), is_repeatable=False)
        return self._transport.call(call, types.Invited)


class SyncAuditCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list_all(self, *, limit: int | UnsetType = UNSET, after: str | UnsetType = UNSET) -> SyncPages[types.AuditEntry]:
        """List what was done in the account in the last 365 days, newest first."""
        call = Call("GET", path("/audit"), query={"limit": limit, "after": after})
        return SyncPages(self._transport, call, list[types.AuditEntry])


class SyncHealthCalls:
    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def live(self) -> types.Health:
        """Whether the process is alive."""
        call = Call("GET", path("/livez"))
        return self._transport.call(call, types.Health)

    def ready(self) -> types.Readiness:
        """Whether it can store and answer."""
        call = Call("GET", path("/readyz"))
        return self._transport.call(call, types.Readiness)


class SyncCalls:
    """All calls, each under what it is about."""

    def __init__(self, transport: SyncTransport) -> None:
        self.chatbots = SyncChatbotsCalls(transport)
        self.documents = SyncDocumentsCalls(transport)
        self.retrieval = SyncRetrievalCalls(transport)
        self.sites = SyncSitesCalls(transport)
        self.conversations = SyncConversationsCalls(transport)
        self.inbox = SyncInboxCalls(transport)
        self.transcripts = SyncTranscriptsCalls(transport)
        self.proposals = SyncProposalsCalls(transport)
        self.search = SyncSearchCalls(transport)
        self.unanswered = SyncUnansweredCalls(transport)
        self.replay = SyncReplayCalls(transport)
        self.fixed_answers = SyncFixedAnswersCalls(transport)
        self.identity_keys = SyncIdentityKeysCalls(transport)
        self.widget_keys = SyncWidgetKeysCalls(transport)
        self.sessions = SyncSessionsCalls(transport)
        self.users = SyncUsersCalls(transport)
        self.figures = SyncFiguresCalls(transport)
        self.presence = SyncPresenceCalls(transport)
        self.keys = SyncKeysCalls(transport)
        self.operators = SyncOperatorsCalls(transport)
        self.audit = SyncAuditCalls(transport)
        self.health = SyncHealthCalls(transport)
