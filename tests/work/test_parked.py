"""What was given up is shown by `gigachat doctor`, and can be tried again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gigachat_server.cli import doctor
from gigachat_server.settings import Settings
from tests import stores
from tests.harness import gigachat
from tests.turns import rows
from tests.work.test_workers import Refusing, at_rest, execute


async def test_a_document_that_is_cut_in_another_way_is_tried_again(tmp_path: Path) -> None:
    async with at_rest(tmp_path) as (api, time):
        chatbot = await api.chatbot()
        await api.push(chatbot, "a", "Parcels are nine euros.")
        await execute(
            api, "UPDATE documents SET state = 'failed', error = 'document_failed', parked_at = 1, parked_reason = 'ValueError'"
        )
        changed = await api.call("PATCH", chatbot, {"documents": {"text_splitter": {"chunk_size": 500}}})
        assert changed.status == 200, changed.text
        await time.settled()
        assert await rows(api, "SELECT state, parked_at FROM documents") == [("ready", None)]


async def test_a_file_that_was_parked_is_kept_and_read_at_the_next_start(tmp_path: Path) -> None:
    async with at_rest(tmp_path, embedder=Refusing()) as (api, time):
        chatbot, key = await api.chatbot(), api.key
        head = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.md"\r\n\r\n'
        sent = await api.call(
            "POST", f"{chatbot}/documents", raw=f"{head}# poison\r\n--x--\r\n".encode(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )  # fmt: skip
        assert sent.status == 202, sent.text
        await time.advance(300)
        assert await rows(api, "SELECT state, error FROM documents") == [("failed", "document_failed")]
    async with at_rest(tmp_path) as (api, time):
        api.key = key
        await time.settled()
        assert (await api.get(f"{chatbot}/documents")).body[0]["state"] == "ready"


async def test_doctor_shows_what_was_given_up(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot()
        for name in ("prices", "fine"):
            await api.push(chatbot, name, "Parcels are nine euros.")
        given: dict[str, Any] = {"data": str(tmp_path), "embedder": "hashing"} | stores.current().settings(tmp_path)

        async def given_up() -> list[doctor.Finding]:
            return [each async for each in doctor._findings(Settings(**given)) if "given up" in each.text]

        assert await given_up() == []
        await execute(
            api,
            "UPDATE documents SET state = 'failed', parked_at = 1700000000000000, parked_reason = 'ValueError: a bug' "
            "WHERE name = 'prices'",
        )
        (found,) = await given_up()
        assert f"document 'prices' of chatbot {chatbot.rpartition('/')[2]}" in found.text
        assert "ValueError: a bug" in found.text and "2023-11-14" in found.text
        assert "Push it again" in found.advice
        assert not found.is_urgent, "the server works"
    (found,) = [each async for each in doctor._findings(Settings(**given)) if "given up" in each.text]
    assert "ValueError: a bug" in found.text, "also while no server runs"
