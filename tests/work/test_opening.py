"""Opening and closing a gigachat: a start that fails leaves nothing open, and one part that cannot be closed keeps no other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gigachat_server import app
from gigachat_server.errors import SetupError
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.settings import Settings
from gigachat_server.store.database import Tx
from gigachat_server.work.background import Background
from tests import stores
from tests.harness import gigachat


class Closing(HashingEmbedder):
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


class ClosingModel(ScriptedModel):
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


def settings(folder: Path) -> Settings:
    given: dict[str, Any] = {"data": str(folder), "shutdown_timeout_s": 0.2} | stores.current().settings(folder)
    return Settings(**given)


async def test_what_was_opened_before_a_start_fails_is_closed(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:

        async def body(tx: Tx) -> None:
            await tx.run("INSERT INTO schema_migrations (number, name, applied_at) VALUES (9999, 'later', 0)")

        await api.services.database.transaction("test", body)
    before, embedder, model = asyncio.all_tasks(), Closing(), ClosingModel([])
    with pytest.raises(SetupError, match="newer gigachat"):
        async with app.running(settings(tmp_path), embedder=embedder, model=model):
            pass
    assert (embedder.closed, model.closed) == (1, 1)
    assert asyncio.all_tasks() == before


class Ill(Background):
    """It cannot make the loop of that name."""

    name = ""

    def loop(self, name: str, *arguments: Any, **options: Any) -> Any:
        made = super().loop(name, *arguments, **options)
        if name == self.name:
            made.start = _fails  # type: ignore[method-assign]
        return made


def _fails(*, is_dormant: bool = False) -> None:
    raise RuntimeError("no more tasks")


@pytest.mark.parametrize("name", ["fixed-answers", "ingest", "crawls-leases", "drafts"])
async def test_a_part_that_does_not_start_has_the_others_closed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, embedder, model = asyncio.all_tasks(), Closing(), ClosingModel([])
    monkeypatch.setattr(Ill, "name", name)
    with monkeypatch.context() as ill:
        ill.setattr(app, "Background", Ill)
        with pytest.raises(RuntimeError, match="no more tasks"):
            async with app.running(settings(tmp_path), embedder=embedder, model=model):
                pass
    assert (embedder.closed, model.closed) == (1, 1)
    assert asyncio.all_tasks() == before
    async with gigachat(tmp_path) as api:
        assert (await api.get("/chatbots")).status == 200, "the store's lock is free"


async def test_a_part_that_cannot_be_closed_keeps_no_other_from_closing(tmp_path: Path) -> None:
    class Stuck(Closing):
        async def aclose(self) -> None:
            await super().aclose()
            raise ValueError("a bug")

    before, embedder, model = asyncio.all_tasks(), Stuck(), ClosingModel([])
    with pytest.raises(ValueError, match="a bug"):
        async with app.running(settings(tmp_path), embedder=embedder, model=model):
            pass
    assert (embedder.closed, model.closed) == (1, 1)
    assert asyncio.all_tasks() == before
    async with gigachat(tmp_path) as api:
        assert (await api.get("/chatbots")).status == 200, "the store's lock is free"
