# Made by tools/write_client_types.py: change the server, or that, and run `make docs`.
"""The client: say something, hear the reply, follow what happens, and every other call under what it is about."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from types import TracebackType
from typing import Any, Self

import httpx2
from msgspec import UNSET

from gigachat_client import types
from gigachat_client._sync.calls import SyncCalls
from gigachat_client._sync.transport import SyncTransport
from gigachat_client._sync.turn import SyncTurnStream
from gigachat_client.pausing import SyncPause, SyncTokens, sync_pause
from gigachat_client.requests import Call, File, path, read
from gigachat_client.sse import ServerEvent
from gigachat_client.version import VERSION

CHATBOT = "/chatbots/{chatbot_id}"
_CONVERSATIONS = CHATBOT + "/conversations"
_EVENTS = _CONVERSATIONS + "/{conversation_id}/events"
_RETRY = _CONVERSATIONS + "/{conversation_id}/messages/{message_id}/retry"
_REMEMBERED = 2_000  # events of a chatbot, which may come again after a break


class Gigachat(SyncCalls):
    """A gigachat server, spoken to with an API key, or with a function that gives the token to use.

    A function is asked at the first call, and once more when the server says that the token has expired.
    """

    def __init__(
        self,
        url: str,
        token: str | SyncTokens,
        *,
        tries: int = 3,
        timeout_s: float = 180.0,
        resume_s: float = 60.0,
        http: httpx2.Client | None = None,
        pause: SyncPause = sync_pause,
    ) -> None:
        """`timeout_s`: the longest silence of an answer. `resume_s`: how long a stream that broke off is asked for again.

        `http`: a client of your own, for a proxy or certificates; its timeouts are used.
        """
        timeout = httpx2.Timeout(timeout_s, connect=10.0, pool=None)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
        self._http = http or httpx2.Client(timeout=timeout, limits=limits)
        self._http.headers["User-Agent"] = f"gigachat-client/{VERSION}"
        self._transport = SyncTransport(url, token, http=self._http, tries=tries, resume_s=resume_s, pause=pause)
        self._following = SyncTransport(url, token, http=self._http, tries=tries, resume_s=float("inf"), pause=pause)
        super().__init__(self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def say(
        self,
        chatbot_id: str,
        prompt: str,
        *,
        conversation_id: str,
        user_id: str,
        metadata: dict[str, Any] | None = None,
        embedding: bool = False,
        idempotency_key: str | None = None,
    ) -> list[types.Message]:
        """Say something in a conversation: the newest messages, which are the replies, or yours where there is none."""
        call = _prompt(chatbot_id, prompt, conversation_id, user_id, metadata, embedding, idempotency_key)
        return self._transport.call(call, list[types.Message])

    def say_stream(
        self,
        chatbot_id: str,
        prompt: str,
        *,
        conversation_id: str,
        user_id: str,
        metadata: dict[str, Any] | None = None,
        embedding: bool = False,
        idempotency_key: str | None = None,
    ) -> SyncTurnStream:
        """The same, word by word: to be used with `with`."""
        call = _prompt(chatbot_id, prompt, conversation_id, user_id, metadata, embedding, idempotency_key)
        return SyncTurnStream(self._transport, call)

    def retry_stream(
        self,
        chatbot_id: str,
        conversation_id: str,
        message_id: str,
        *,
        embedding: bool = False,
        idempotency_key: str | None = None,
    ) -> SyncTurnStream:
        """Have a prompt, or the prompt of a reply, answered anew, word by word: to be used with `with`."""
        target = path(_RETRY, chatbot_id=chatbot_id, conversation_id=conversation_id, message_id=message_id)
        body, query = types.RetryInput(), {"embedding": embedding}
        return SyncTurnStream(self._transport, Call("POST", target, query=query, body=body, idempotency_key=idempotency_key))

    def follow(
        self, chatbot_id: str, conversation_id: str | None = None, *, after: str = "", embedding: bool = False
    ) -> Iterator[types.Event | types.StreamDelta]:
        """What happens, for as long as you listen: in a conversation every event and every word, or all events of a chatbot.

        A conversation is told from its first event, or from behind `after`, the `seq` of an event; a chatbot from now on.
        Connections that break are taken up where they were, and nothing comes twice. Raises `GigachatError` when there is no
        more to see, as when the conversation is deleted.
        """
        target = path(CHATBOT + "/events", chatbot_id=chatbot_id)
        if conversation_id is not None:
            target = path(_EVENTS, chatbot_id=chatbot_id, conversation_id=conversation_id)
        seen: OrderedDict[tuple[str, int], None] = OrderedDict()
        call = Call("GET", target, query={"embedding": embedding})
        with closing(self._following.events(call, place=after)) as events:
            for event in events:
                happened = _happened(event)
                if isinstance(happened, types.Event):
                    key = (happened.conversation_id, happened.seq)
                    if key in seen:
                        continue
                    seen[key] = None
                    if len(seen) > _REMEMBERED:
                        seen.popitem(last=False)
                if happened is not None:
                    yield happened

    def follow_document(self, chatbot_id: str, document_id: str) -> Iterator[types.Document]:
        """A document as it changes, until it is ready or has failed."""
        target = path(CHATBOT + "/documents/{document_id}", chatbot_id=chatbot_id, document_id=document_id)
        with closing(self._transport.events(Call("GET", target))) as events:
            for event in events:
                if event.name == "document":
                    yield read(event.data, types.Document)

    def follow_site(self, chatbot_id: str, site_id: str) -> Iterator[types.Site]:
        """A site as its crawl goes on, until that is over."""
        target = path(CHATBOT + "/sites/{site_id}", chatbot_id=chatbot_id, site_id=site_id)
        with closing(self._transport.events(Call("GET", target))) as events:
            for event in events:
                if event.name == "site":
                    yield read(event.data, types.Site)

    def push_file(self, chatbot_id: str, name: str, content: bytes, *, idempotency_key: str | None = None) -> types.Document:
        """Store a file as a document; it is read and made searchable after that: see `follow_document`."""
        target = path(CHATBOT + "/documents", chatbot_id=chatbot_id)
        call = Call("POST", target, file=File(name, content), idempotency_key=idempotency_key)
        return self._transport.call(call, types.Document)


def _prompt(
    chatbot_id: str,
    prompt: str,
    conversation_id: str,
    user_id: str,
    metadata: dict[str, Any] | None,
    embedding: bool,
    idempotency_key: str | None,
) -> Call:
    body = types.PromptInput(
        conversation_id=conversation_id, user_id=user_id, prompt=prompt, metadata=UNSET if metadata is None else metadata
    )
    target = path(_CONVERSATIONS, chatbot_id=chatbot_id)
    return Call("POST", target, query={"embedding": embedding}, body=body, idempotency_key=idempotency_key)


def _happened(event: ServerEvent) -> types.Event | types.StreamDelta | None:
    """None for what only a later version knows."""
    if event.name == "delta":
        return read(event.data, types.StreamDelta)
    return read(event.data, types.Event) if "." in event.name else None
