"""The statements that a server runs: how many there are, and how the store would go about each."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from gigachat_server.store.engines import postgres, sqlite
from tests.harness import Api

_FROM = re.compile(r"\b(?:FROM|JOIN|UPDATE) (\w+)(?: (?:AS )?(?!WHERE|ON|SET|LEFT|JOIN|ORDER|LIMIT|USING)(\w+))?")


class Statement(msgspec.Struct, frozen=True):
    sql: str
    parameters: dict[str, Any]


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """All that any server of this process runs within the block, in the order in which they run."""
    found: list[Statement] = []
    with pytest.MonkeyPatch.context() as patch:
        for each in (sqlite._Statements, postgres._Statements):
            for name in ("all", "one", "run", "add"):
                patch.setattr(each, name, _recording(getattr(each, name), found))
        yield found


def _recording(method: Any, found: list[Statement]) -> Any:
    @functools.wraps(method)
    async def record(self: Any, sql: str, **parameters: Any) -> Any:
        found.append(Statement(sql, parameters))
        return await method(self, sql, **parameters)

    return record


async def scanned(api: Api, statement: Statement) -> set[str]:
    """The tables that the store would read from one end to the other."""
    plan = await _plan(api, statement)
    if api.services.database.dialect == "postgres":
        return {each["Relation Name"] for each in plan if each.get("Node Type") == "Seq Scan"}
    tables = {alias or table: table for table, alias in _FROM.findall(statement.sql)}
    details = [re.fullmatch(r"SCAN (\w+)", each) for each in plan]
    return {tables[match[1]] for match in details if match is not None and match[1] in tables}


async def used_indexes(api: Api, statement: Statement) -> set[str]:
    plan = await _plan(api, statement)
    if api.services.database.dialect == "postgres":
        return {each["Index Name"] for each in plan if "Index Name" in each}
    return {match[1] for each in plan if (match := re.search(r"INDEX (\w+)", each)) is not None}


async def _plan(api: Api, statement: Statement) -> list[Any]:
    """The steps, as the store tells them."""

    async def read(reader: Any) -> list[Any]:
        how = "EXPLAIN QUERY PLAN" if api.services.database.dialect == "sqlite" else "EXPLAIN (FORMAT JSON)"
        found: list[Any] = await reader.all(f"{how} {statement.sql}", **statement.parameters)
        return found

    rows = await api.services.database.read(read)
    if api.services.database.dialect == "sqlite":
        return [row[3] for row in rows]
    return list(_nodes(json.loads(rows[0][0])))


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plan, dict):
        yield plan
    for each in plan.values() if isinstance(plan, dict) else plan if isinstance(plan, list) else ():
        yield from _nodes(each)
