"""gigachat's client: `Gigachat`, and `AsyncGigachat` for asyncio. What calls take and give is in `types`, errors in `errors`."""

from gigachat_client import errors, types
from gigachat_client._async.client import AsyncGigachat
from gigachat_client._async.turn import AsyncTurnStream
from gigachat_client._sync.client import Gigachat
from gigachat_client._sync.turn import SyncTurnStream as TurnStream
from gigachat_client.problems import ApiError, GigachatError, NoAnswer, UnexpectedAnswer
from gigachat_client.types import Event, Message, StreamDelta
from gigachat_client.version import VERSION

__all__ = [
    "VERSION",
    "ApiError",
    "AsyncGigachat",
    "AsyncTurnStream",
    "Event",
    "Gigachat",
    "GigachatError",
    "Message",
    "NoAnswer",
    "StreamDelta",
    "TurnStream",
    "UnexpectedAnswer",
    "errors",
    "types",
]
