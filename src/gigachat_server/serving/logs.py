"""The log: lines on stderr, for people or as JSON. At debug there is one line a request as well.

Invariant: no line holds a query string or a body, which may carry secrets and what people said.
"""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gigachat_server.settings import Settings

_OURS = ("gigachat", "gigachat_server")

_log = logging.getLogger("gigachat.requests")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the traceback of an error as `error`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure(settings: Settings) -> None:
    """Have all that is logged from now on go to stderr as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if settings.log_json else text)
    is_debug = settings.log_level == "DEBUG"
    # Libraries speak of their own insides: unless someone debugs, only their warnings matter.
    logging.basicConfig(level="DEBUG" if is_debug else "WARNING", handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(settings.log_level)
    # It warns of every request that is not HTTP, which any port scanner can send.
    logging.getLogger("uvicorn.error").setLevel("DEBUG" if is_debug else "ERROR")


def with_request_lines(app: ASGIApp) -> ASGIApp:
    """The same app with one debug line a request; the app itself where such lines are not logged."""
    if not _log.isEnabledFor(logging.DEBUG):
        return app

    async def logged(scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = 0

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, noting_status)
        finally:
            took_ms = 1000 * (time.perf_counter() - started)
            _log.debug("%s %s %d %.1f ms", scope["method"], scope["raw_path"].decode("ascii", "replace"), status, took_ms)

    return logged
