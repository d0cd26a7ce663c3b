"""Settings as flags, made from the table in `settings.py`: a new setting is a flag without a line here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, get_args

import click

from gigachat_server import settings

Command = Callable[..., Any]

# Which data, and for whom: what every command can be told.
EVERYWHERE = ("data", "account")
# Which models answer, and how they are reached.
ENDPOINTS = (
    "model_url",
    "model",
    "model_key",
    "model_key_header",
    "model_headers",
    "model_omit",
    "model_context_tokens",
    "model_first_token_timeout_s",
    "model_idle_timeout_s",
    "model_timeout_s",
    "model_providers",
    "endpoint_proxy",
    "endpoint_ca_file",
)


def with_settings(*fields: str) -> Callable[[Command], Command]:
    """Give a command those settings as flags (none named: all), and the settings in force as its first argument."""
    infos = [info for info in settings.table() if not fields or info.field in fields]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def loaded(**values: Any) -> Any:
            flags = {info.field: values.pop(_parameter(info)) for info in infos}
            return command(settings.load(flags), **values)

        for info in reversed(infos):
            loaded = click.option(info.flag, _parameter(info), metavar=_metavar(info), help=_help(info))(loaded)
        return loaded

    return decorate


def _parameter(info: settings.SettingInfo) -> str:
    return f"setting_{info.field}"


def _metavar(info: settings.SettingInfo) -> str:
    kind = info.type.__origin__
    if kind is str:
        return "TEXT"
    return "|".join(get_args(kind)) or "N"


def _help(info: settings.SettingInfo) -> str:
    default = f"; default {info.default}" if info.default != "" else ""
    caution = " Everyone on this machine can see flags: prefer the variable." if info.secret else ""
    return f"{info.description}{caution}  [{info.variable}{default}]"
