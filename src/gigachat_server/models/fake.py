"""Models that say what they are told to: for tests of everything in front of a model, and for load without one.

Invariant: nothing here waits for time. A script goes on at once, or stops at a `Pause` until a test resumes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from gigachat_server.errors import ModelError
from gigachat_server.models.base import (
    HANDED_OFF,
    HandoffRequest,
    LeftOut,
    ModelAttempt,
    ModelCitation,
    ModelEvent,
    ModelInput,
    ReplyEnd,
    SourcesChosen,
    TakenBack,
    TextDelta,
    UsageReport,
)


class Pause:
    """A step that holds the stream: `await pause.reached.wait()`, look around, then `pause.resume()`."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._resumed = asyncio.Event()

    def resume(self) -> None:
        """Lets this call and every later one pass."""
        self._resumed.set()

    async def hold(self) -> None:
        self.reached.set()
        await self._resumed.wait()


Step = (
    str
    | TextDelta
    | SourcesChosen
    | TakenBack
    | LeftOut
    | ModelAttempt
    | ModelCitation
    | ReplyEnd
    | HandoffRequest
    | UsageReport
    | ModelError
    | Pause
)
Script = Sequence[Step]


class ScriptedModel:
    """Plays scripts: `ScriptedModel(["Hel", "lo", ModelUnreachable()])`.

    A text is a delta of every alternative the prompt asks for; `TextDelta` and `ReplyEnd` speak for one. Alternatives
    that said something and were not ended are ended after the last step. A `HandoffRequest` is said by all of them, and
    played whether or not it was offered. Several scripts are played one a call, the last one from then on; a function
    makes the script out of the `ModelInput`. `calls` has every input in order, `closed_early` counts the calls that their
    caller left before the end.
    """

    def __init__(
        self, *scripts: Script | Callable[[ModelInput], Script], name: str = "scripted", is_generating: bool = True
    ) -> None:
        if not scripts or any(isinstance(script, str) for script in scripts):
            raise ValueError("A script is a list of steps, and there is at least one.")
        self._scripts = scripts
        self._name = name
        self.is_generating = is_generating
        self.calls: list[ModelInput] = []
        self.closed_early = 0

    @property
    def name(self) -> str:
        return self._name

    async def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        script = self._scripts[min(len(self.calls), len(self._scripts) - 1)]
        self.calls.append(model_input)
        is_over = False
        finish_reason = "stop"
        open_indexes: set[int] = set()
        ended_indexes: set[int] = set()
        try:
            for step in script(model_input) if callable(script) else script:
                match step:
                    case Pause():
                        await step.hold()
                    case ModelError():
                        is_over = True
                        raise step
                    case str():
                        for index in range(model_input.sampling.n):
                            open_indexes.add(index)
                            yield TextDelta(index, step)
                    case TextDelta():
                        open_indexes.add(step.index)
                        yield step
                    case ReplyEnd():
                        ended_indexes.add(step.index)
                        yield step
                    case HandoffRequest():
                        finish_reason = HANDED_OFF
                        open_indexes.update(range(model_input.sampling.n))
                        yield step
                    case UsageReport() | ModelCitation() | TakenBack() | LeftOut() | ModelAttempt():
                        yield step
            for index in sorted(open_indexes - ended_indexes):
                yield ReplyEnd(index, finish_reason)
            is_over = True
        finally:
            if not is_over:
                self.closed_early += 1

    async def aclose(self) -> None:
        """Nothing to close."""


class EchoModel:
    """Says the prompt again, at once and without an endpoint: `You said: ...`. It keeps nothing, whatever the load."""

    is_generating = True

    @property
    def name(self) -> str:
        return "echo"

    async def stream(self, model_input: ModelInput) -> AsyncGenerator[ModelEvent, None]:
        prompt = next((message.content for message in reversed(model_input.messages) if message.role == "user"), "")
        for index in range(model_input.sampling.n):
            yield TextDelta(index, "You said: ")
            yield TextDelta(index, prompt)
            yield ReplyEnd(index)
        yield UsageReport(self.name, len(prompt.split()), 2 + len(prompt.split()))

    async def aclose(self) -> None:
        """Nothing to close."""
