"""What a turn remembers, pure."""

from __future__ import annotations

import numpy as np
import pytest

from gigachat_server.chat.answers.memory import Memory
from gigachat_server.store.messages import MemoryRow


def remembered(seq: int, role: str, vector: bytes | None, model: str | None) -> MemoryRow:
    return MemoryRow(seq, f"m{seq}", role, "", f"text {seq}", vector, model, None, "done" if role == "user" else None, "{}")


@pytest.mark.parametrize(("model", "counts"), [("this", True), ("another", False), (None, False)])
def test_only_vectors_of_the_model_that_embeds_now_are_searched_with(model: str | None, counts: bool) -> None:
    vector = np.arange(4, dtype="<f4")
    memory = Memory((remembered(1, "user", vector.tobytes(), model), remembered(2, "assistant", None, None)))
    prompt, reply = memory.searched("this")
    assert (prompt.text, reply.text) == ("text 1", "text 2")
    assert (prompt.vector is not None) == counts and reply.vector is None
    if counts:
        np.testing.assert_array_equal(prompt.vector, vector)
