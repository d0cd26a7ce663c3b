"""What a site asks crawlers to leave alone, and how fast it wants to be read (RFC 9309), for the agent `gigachat`.

Idea: its rules are read anew by each crawl. No rules mean that all may be read; rules that cannot be had, because the server
fails, mean that nothing may, since nobody knows what they say.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from protego import Protego

from gigachat_server.fetching import web_urls
from gigachat_server.fetching.safe_fetch import FetchFailed, FetchResult, SafeFetch
from gigachat_server.fetching.web_urls import WebUrl

AGENT = "gigachat"
_MOST_BYTES = 512 * 1024
_LONGEST_DELAY_S = 30.0


class Rules(Protocol):
    def allows(self, url: WebUrl) -> bool: ...

    @property
    def delay_s(self) -> float:
        """How long to wait between two requests; 0: nothing is asked for."""


class RobotsUnreachable(Exception):
    """The rules cannot be had now."""


class _Anything:
    delay_s = 0.0

    def allows(self, url: WebUrl) -> bool:
        return True


class _AsWritten:
    def __init__(self, text: str) -> None:
        self._rules = Protego.parse(text)
        self.delay_s = min(self._rules.crawl_delay(AGENT) or 0.0, _LONGEST_DELAY_S)

    def allows(self, url: WebUrl) -> bool:
        return self._rules.can_fetch(url.text, AGENT)


class Robots:
    """The rules of each place that one crawl comes to, fetched once."""

    def __init__(self, safe_fetch: SafeFetch) -> None:
        self._safe_fetch = safe_fetch
        self._rules: dict[str, Rules] = {}
        self._one_at_a_time = asyncio.Lock()

    async def of(self, url: WebUrl) -> Rules:
        """Raises `RobotsUnreachable`, or `FetchFailed` where no page could be fetched either."""
        async with self._one_at_a_time:
            if url.origin not in self._rules:
                self._rules[url.origin] = await self._fetch(web_urls.parse(url.origin + "/robots.txt"))
            return self._rules[url.origin]

    async def _fetch(self, url: WebUrl) -> Rules:
        try:
            fetched = await self._safe_fetch.fetch(url, most_bytes=_MOST_BYTES, wants=lambda status, _: status == 200)
        except FetchFailed as error:
            if error.reason == "too_large":
                raise RobotsUnreachable from None
            raise
        return _rules_of(fetched)


def _rules_of(fetched: FetchResult) -> Rules:
    if fetched.status == 429 or fetched.status >= 500:
        raise RobotsUnreachable
    if fetched.status != 200:
        return _Anything()
    return _AsWritten(fetched.body.decode("utf-8-sig", "replace"))
