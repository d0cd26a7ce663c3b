"""What came of a prompt, read from the store: the same answer its caller got, or would have got."""

from __future__ import annotations

from collections.abc import Iterable

from gigachat_server.chat.turns.progress import TurnResult
from gigachat_server.errors import GigachatError, NotFound, error_with_code
from gigachat_server.records import UNSETTLED, Message
from gigachat_server.store import chunks, events, messages
from gigachat_server.store.database import Reader


async def read_outcome(reader: Reader, *, chatbot_id: str, prompt_id: str) -> TurnResult | GigachatError | None:
    """The newest messages, or the error; None while it is not settled."""
    prompt = await answered_with(reader, await messages.find(reader, chatbot_id, prompt_id))
    if prompt is None:
        return NotFound()  # deleted meanwhile
    if prompt.turn in UNSETTLED:
        return None
    if prompt.turn == "failed":
        return error_with_code(prompt.error)
    replies = await messages.list_replies(reader, prompt)
    return TurnResult(replies or [prompt], await vectors_of(reader, chatbot_id, replies))


async def answered_with(reader: Reader, prompt: Message | None) -> Message | None:
    """The prompt whose turn answers this one too, if they were coalesced, or else itself; None if that was deleted."""
    while prompt is not None and prompt.turn == "coalesced":
        told = await events.list_of_types(
            reader, prompt.chatbot_id, prompt.conversation_id, ("turn.coalesced",), after=prompt.seq
        )
        joined = next((str(event.data.get("with", "")) for event in told if event.prompt_id == prompt.id), "")
        prompt = await messages.find(reader, prompt.chatbot_id, joined)
    return prompt


async def joined_to(reader: Reader, prompt: Message) -> tuple[Message, ...]:
    """The prompts that were coalesced into this one's turn, in their order."""
    told = await events.list_of_types(reader, prompt.chatbot_id, prompt.conversation_id, ("turn.coalesced",), after=prompt.seq)
    ids = [event.prompt_id for event in told if event.data.get("with") == prompt.id]
    found = await messages.list_by_id(reader, prompt.chatbot_id, ids) if ids else {}
    return tuple(sorted(found.values(), key=lambda message: message.seq))


async def vectors_of(reader: Reader, chatbot_id: str, found: Iterable[Message]) -> dict[str, bytes]:
    """The vectors behind the messages' sources, of those chunks that still exist."""
    wanted = {source.id for message in found for source in message.sources}
    return await chunks.list_vectors(reader, chatbot_id, sorted(wanted)) if wanted else {}
