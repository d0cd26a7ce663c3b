"""What a site asks crawlers to leave alone, and how fast it wants to be read (RFC 9309), for the agent `gigachat`.

Idea: each crawl reads its rules again. No rules mean that all may be read; rules that cannot be had, because the server
fails, mean that nothing may, since what they say is unknown.
"""

from __future__ import annotations

import asyncio

from gigachat_server.fetching import web_urls
from gigachat_server.fetching.safe_fetch import FetchFailed, FetchResult, SafeFetch
from gigachat_server.fetching.web_urls import WebUrl
from gigachat_server.knowledge.sites import robot_rules
from gigachat_server.knowledge.sites.robot_rules import RobotRules

AGENT = "gigachat"
_MOST_BYTES = 512 * 1024
_LONGEST_DELAY_S = 30.0
_MOST_INLINE_TEXT = 10_000  # characters, read in a few milliseconds
_MOST_INLINE = 50_000  # rules times characters of an address, looked at in a few milliseconds


class RobotsUnreachable(Exception):
    """The rules cannot be had now."""


class Rules:
    """The rules of one place."""

    def __init__(self, rules: RobotRules) -> None:
        self._rules = rules
        self.delay_s = min(rules.delay_s, _LONGEST_DELAY_S)  # to wait between two requests; 0: nothing is asked for

    async def allow(self, url: WebUrl) -> bool:
        """Thousands of rules are looked at in a thread, since to do so takes longer than others should wait."""
        if len(self._rules.rules) * len(url.target) <= _MOST_INLINE:
            return self._rules.allows(url.target)
        return await asyncio.to_thread(self._rules.allows, url.target)


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
        return await _rules_of(fetched)


async def _rules_of(fetched: FetchResult) -> Rules:
    if fetched.status == 429 or fetched.status >= 500:
        raise RobotsUnreachable
    if fetched.status != 200:
        return Rules(RobotRules([]))
    text = fetched.body.decode("utf-8-sig", "replace")
    if len(text) <= _MOST_INLINE_TEXT:
        return Rules(robot_rules.read(text, AGENT))
    return Rules(await asyncio.to_thread(robot_rules.read, text, AGENT))
