"""A reply as it is made: its words as they come, and at the end what is stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Self

from gigachat_client._async.transport import AsyncTransport
from gigachat_client.problems import GigachatError
from gigachat_client.requests import Call, read
from gigachat_client.sse import ServerEvent
from gigachat_client.types import Message, StreamDelta, StreamStart

_MOST_ERRORS = 2  # as many as a call is sent again


class AsyncTurnStream:
    """Inside `with` the prompt is stored. What was streamed is provisional: `messages` is the truth, once `text` has ended.

    A connection that breaks goes on where it was. If the server died, the reply may be made again with other words:
    then `so_far` begins anew. Leaving early stops nothing: the reply is finished and stored.
    """

    def __init__(self, transport: AsyncTransport, call: Call) -> None:
        self.prompt: Message | None = None
        """None only where the chatbot does not stream, until the reply is there."""
        self.so_far = ""
        """The reply as far as it is known. With alternatives, the first of them."""
        self.messages: list[Message] = []
        """Once `text` has ended: the replies, or the message itself where there was nothing to answer."""
        self._transport = transport
        self._call = call
        self._events: AsyncGenerator[ServerEvent, None] | None = None
        self._lengths: dict[str, int] = {}
        self._shown_id = ""
        self._text = self._read()

    @property
    def text(self) -> AsyncIterator[str]:
        """The words of the reply that are still to come, piece by piece. With alternatives, of the first."""
        return self._text

    @property
    def reply(self) -> Message | None:
        """The stored reply; None before its end, or where an operator answers."""
        return next((message for message in self.messages if message.in_reply_to is not None), None)

    async def finish(self) -> list[Message]:
        """Wait for the end: `messages`."""
        async for _ in self._text:
            pass
        return self.messages

    async def __aenter__(self) -> Self:
        self._events = self._transport.events(self._call, most_errors=_MOST_ERRORS)
        try:
            self._take(await self._events.__anext__())
        except BaseException:
            await self._events.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._events is not None:
            await self._events.aclose()

    async def _read(self) -> AsyncGenerator[str, None]:
        if self._events is None:
            raise GigachatError("Read a turn inside `with`.")
        if self.so_far:
            yield self.so_far  # the chatbot does not stream: all came at once
        async for event in self._events:
            if text := self._take(event):
                yield text

    def _take(self, event: ServerEvent) -> str:
        """Notes what happened; the words that it adds to what is shown."""
        match event.name:
            case "start":
                start = read(event.data, StreamStart)
                return self._begin(start)
            case "delta":
                return self._add(read(event.data, StreamDelta))
            case "message":
                return self._store(read(event.data, Message))
            case "json":
                return "".join([self._store(each) for each in read(event.data, list[Message])])
        return ""

    def _begin(self, start: StreamStart) -> str:
        self.prompt, self.messages = start.prompt, []
        shown_id = start.message_ids[0] if start.message_ids else ""
        if self._lengths and shown_id not in self._lengths:
            self.so_far, self._lengths = "", {}
        self._shown_id = shown_id
        return ""

    def _add(self, delta: StreamDelta) -> str:
        known = self._lengths.get(delta.message_id, 0)
        self._lengths[delta.message_id] = max(known, delta.offset + len(delta.text))
        if not self.so_far and self._shown_id not in self._lengths:
            self._shown_id = delta.message_id  # answered together with a later prompt, and so in that one's reply
        if delta.message_id != self._shown_id:
            return ""
        text = delta.text[max(0, known - delta.offset) :]
        self.so_far += text
        return text

    def _store(self, message: Message) -> str:
        is_first_reply = message.in_reply_to is not None and self.reply is None
        self.messages.append(message)
        if not is_first_reply:
            return ""
        rest = message.content.removeprefix(self.so_far) if message.content.startswith(self.so_far) else ""
        self.so_far = message.content
        return rest
