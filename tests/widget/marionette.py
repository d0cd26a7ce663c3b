"""Firefox without geckodriver: Selenium's commands as Marionette, the protocol that geckodriver itself speaks to Firefox.

A message is its length, a colon and JSON: `[0, id, name, parameters]` one way, `[1, id, error, result]` the other.
"""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from selenium.common.exceptions import WebDriverException
from selenium.webdriver.remote.command import Command
from selenium.webdriver.remote.errorhandler import ErrorHandler

_NAMES = {
    Command.NEW_SESSION: "NewSession",
    Command.GET: "Navigate",
    Command.REFRESH: "Refresh",
    Command.GO_BACK: "Back",
    Command.GET_TITLE: "GetTitle",
    Command.GET_CURRENT_URL: "GetCurrentURL",
    Command.FIND_ELEMENT: "FindElement",
    Command.FIND_ELEMENTS: "FindElements",
    Command.FIND_CHILD_ELEMENT: "FindElement",
    Command.FIND_CHILD_ELEMENTS: "FindElements",
    Command.GET_SHADOW_ROOT: "GetShadowRoot",
    Command.FIND_ELEMENT_FROM_SHADOW_ROOT: "FindElementFromShadowRoot",
    Command.FIND_ELEMENTS_FROM_SHADOW_ROOT: "FindElementsFromShadowRoot",
    Command.CLICK_ELEMENT: "ElementClick",
    Command.CLEAR_ELEMENT: "ElementClear",
    Command.SEND_KEYS_TO_ELEMENT: "ElementSendKeys",
    Command.GET_ELEMENT_TEXT: "GetElementText",
    Command.GET_ELEMENT_PROPERTY: "GetElementProperty",
    Command.GET_ELEMENT_ATTRIBUTE: "GetElementAttribute",
    Command.IS_ELEMENT_ENABLED: "IsElementEnabled",
    Command.W3C_EXECUTE_SCRIPT: "ExecuteScript",
    Command.W3C_EXECUTE_SCRIPT_ASYNC: "ExecuteAsyncScript",
    Command.W3C_ACTIONS: "PerformActions",
    Command.W3C_CLEAR_ACTIONS: "ReleaseActions",
    Command.W3C_GET_ACTIVE_ELEMENT: "GetActiveElement",
    Command.W3C_GET_CURRENT_WINDOW_HANDLE: "GetWindowHandle",
    Command.W3C_GET_WINDOW_HANDLES: "GetWindowHandles",
    Command.SWITCH_TO_WINDOW: "SwitchToWindow",
    Command.SWITCH_TO_FRAME: "SwitchToFrame",
    Command.SWITCH_TO_PARENT_FRAME: "SwitchToParentFrame",
    Command.NEW_WINDOW: "NewWindow",
    Command.CLOSE: "CloseWindow",
    Command.SET_WINDOW_RECT: "SetWindowRect",
    Command.GET_WINDOW_RECT: "GetWindowRect",
    Command.SCREENSHOT: "TakeScreenshot",
    Command.SET_TIMEOUTS: "SetTimeouts",
    Command.DELETE_ALL_COOKIES: "DeleteAllCookies",
}
_ITEM = "element-6066-11e4-a52e-4f735466cecf"


class Marionette:
    """A running Firefox, as Selenium's command executor."""

    keep_alive = True
    client_config: Any = None

    def __init__(self, firefox: str, profile: Path, preferences: dict[str, Any]) -> None:
        preferences = {"marionette.port": 0, **preferences}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
        (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
        command = [firefox, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._ids = itertools.count(1)
        self._errors = ErrorHandler()
        self._socket = self._connect(profile / "MarionetteActivePort")
        self._held = b""
        self._read()  # its greeting

    def _connect(self, told: Path) -> socket.socket:
        until = time.monotonic() + 60
        while time.monotonic() < until and self._process.poll() is None:
            if told.exists() and (port := told.read_text().strip()):
                return socket.create_connection(("127.0.0.1", int(port)), timeout=120)
            time.sleep(0.05)
        raise RuntimeError("Firefox did not start")

    def _read(self) -> Any:
        while b":" not in self._held:
            self._held += self._received()
        length, _, rest = self._held.partition(b":")
        while len(rest) < int(length):
            rest += self._received()
        self._held = rest[int(length) :]
        return json.loads(rest[: int(length)])

    def _received(self) -> bytes:
        piece = self._socket.recv(1 << 16)
        if not piece:
            raise WebDriverException("Firefox is gone")
        return piece

    def execute(self, command: str, params: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in params.items() if name != "sessionId"}
        if command == Command.QUIT:
            self.close()
            return {"value": None}
        if command in (Command.FIND_CHILD_ELEMENT, Command.FIND_CHILD_ELEMENTS):
            given["element"] = given.pop("id")
        if command in (Command.FIND_ELEMENT_FROM_SHADOW_ROOT, Command.FIND_ELEMENTS_FROM_SHADOW_ROOT):
            given["shadowRoot"] = given.pop("shadowId")
        if command == Command.SWITCH_TO_FRAME and isinstance(given.get("id"), dict):
            given = {"element": given["id"][_ITEM]}
        if command == Command.NEW_SESSION:
            given = given["capabilities"]["alwaysMatch"] if "capabilities" in given else {}
            given = {name: value for name, value in given.items() if name in ("pageLoadStrategy",)}
        if command == Command.SCREENSHOT:
            given = {"full": False}
        message = json.dumps([0, next(self._ids), f"WebDriver:{_NAMES[command]}", given]).encode()
        self._socket.sendall(str(len(message)).encode() + b":" + message)
        _, _, error, result = self._read()
        if error is not None:
            self._errors.check_response({"status": 500, "value": json.dumps({"value": error})})
        if command == Command.NEW_SESSION:
            return {"value": {"sessionId": result["sessionId"], "capabilities": result["capabilities"]}}
        return {"value": result["value"]} if isinstance(result, dict) and set(result) == {"value"} else {"value": result}

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
