"""A call as data, and when to try it again: pure.

Every POST carries an `Idempotency-Key`, so whatever became of an earlier try, another one changes nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
from msgspec import UNSET, Struct

from gigachat_client.errors import BY_CODE
from gigachat_client.problems import ApiError, GigachatError, UnexpectedAnswer
from gigachat_client.types import Problem

T = TypeVar("T")

RETRIED = frozenset((408, 429, 502, 503, 504))
LONGEST_WAIT_S = 60.0
_FIRST_WAIT_S = 0.5
_LONGEST_OWN_WAIT_S = 8.0


class File(Struct, frozen=True):
    """What is sent as a form instead of JSON."""

    name: str
    content: bytes


class Call(Struct, frozen=True):
    """One call. `is_repeatable`: whether it may be sent again if nobody knows what became of it."""

    method: str
    path: str
    query: Mapping[str, Any] = {}
    body: Struct | None = None
    file: File | None = None
    idempotency_key: str | None = None
    is_repeatable: bool = True

    def after(self, query: Mapping[str, str]) -> Call:
        """The same call for another page."""
        return msgspec.structs.replace(self, query=query)

    def parameters(self) -> dict[str, str]:
        return {name: _text(value) for name, value in self.query.items() if value is not UNSET}


def path(template: str, **ids: str) -> str:
    """The template with its ids, each as one segment whatever it holds."""
    return template.format_map({name: quote(value, safe="") for name, value in ids.items()})


def next_query(link: str) -> dict[str, str] | None:
    """Where a `Link` header says the next page is; only its query counts, so no header leads anywhere else."""
    target, _, relation = link.partition(">")
    if 'rel="next"' not in relation:
        return None
    return dict(parse_qsl(urlsplit(target.lstrip(" <")).query, keep_blank_values=True))


def read(content: bytes, kind: type[T], *, status: int = 200) -> T:
    """What was answered or told as what it has to be. Raises `UnexpectedAnswer`."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as fault:
        raise UnexpectedAnswer(status, f"{fault}") from fault


def error_of(status: int, content: bytes) -> GigachatError:
    """What an answer other than success says."""
    try:
        problem = msgspec.json.decode(content, type=Problem)
    except msgspec.MsgspecError:
        return UnexpectedAnswer(status, content.decode(errors="replace"))
    return BY_CODE.get(problem.code, ApiError)(problem)


def is_passing(error: GigachatError) -> bool:
    """Whether the same call may succeed in a moment."""
    if isinstance(error, ApiError) and error.code == "idempotency_in_progress":
        return True
    return isinstance(error, ApiError | UnexpectedAnswer) and error.status in RETRIED


def wait_s(number: int, chance: float, retry_after: str | None = None) -> float | None:
    """How long to wait after try `number`, from 0; None if the server names a time that is too long to wait for.

    `chance`, from 0 to 1, is what spreads those who wait for the same thing.
    """
    if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
        asked_s = float(retry_after[:9])
        return None if asked_s > LONGEST_WAIT_S else asked_s
    return chance * min(_FIRST_WAIT_S * 2.0 ** min(number, 16), _LONGEST_OWN_WAIT_S)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
