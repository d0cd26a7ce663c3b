"""Runs `async def` tests, each in an event loop of its own, and closes the network but for loopback."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

_connect = socket.socket.connect


def _connect_locally(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and not ipaddress.ip_address(address[0]).is_loopback:
        raise AssertionError(f"a test tried to reach {address[0]}")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _network_off() -> Any:
    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", _connect_locally)
    for name in [name for name in os.environ if name.startswith("GIGACHAT_")]:
        patch.delenv(name)
    yield
    patch.undo()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The many rounds of a fault, and what needs more network than loopback, are for those who ask for them with `-m`."""
    unasked = [name for name in ("faults", "network") if name not in config.getoption("-m")]
    deselected = [item for item in items if any(item.get_closest_marker(name) for name in unasked)]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in deselected]


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function: Callable[..., Any] = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}
    limit_s = 900 if pyfuncitem.get_closest_marker("faults") else 60
    with asyncio.Runner() as runner:
        runner.run(asyncio.wait_for(function(**arguments), limit_s))
    return True
