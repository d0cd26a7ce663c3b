"""F34 for sites: a crawl that is killed goes on where it was; and a real site, crawled, changed and crawled again.

The second serves the collection `cloudflare` of the folder that the variable EVAL names: `make test-site EVAL=folder`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from markdown_it import MarkdownIt

from tests import stores
from tests.cli.commands import Gigachat, Server
from tests.faults.serving import KEY, ROUNDS, client_of
from tests.fetching.canaries import SITE, Request, Response, serving
from tests.fetching.test_sites import CountingEmbedder, crawled
from tests.harness import gigachat

pytestmark = pytest.mark.slow

PAGES = 30
# A node that shares its store has to wait until the lease of the dead one has run out.
USABLE_S = {True: 20.0, False: 60.0}


# --- kill -9 ---


def _page(number: int) -> str:
    links = " ".join(f'<a href="/{link}">{link}</a>' for link in (2 * number + 1, 2 * number + 2, 0) if link < PAGES)
    return f"<html><body>{links}<h1>Page {number}</h1><p>{f'This is sentence {number} of the site. ' * 60}</p></body></html>"


async def _over(running: Server, path: str) -> Any:
    """The site once its crawl is over; None if the server goes away before."""
    try:
        async with client_of(running) as client:
            for name, data in await client.follow(path, asyncio.Event()):
                if name == "site":
                    last = data
                elif name == "done":
                    return last
    except aiohttp.ClientError:
        pass
    return None


async def kill_in_crawl(data: Path, kill_after: int) -> dict[str, int]:
    """One round: killed when the site has been asked for so many pages; figures of what was there after it went on."""
    killed_at = asyncio.Event()

    def answer(request: Request) -> Response | None:
        if request.path == "/robots.txt":
            return None
        if len(site.requests) == kill_after:
            killed_at.set()
        return Response(_page(int(request.path[1:] or 0)))

    command = Gigachat(data, api_key=KEY, fetch_allow=SITE, fetch_ports="1-65535")
    async with serving(answer) as site:
        with command.serving() as killed:
            async with client_of(killed) as client:
                chatbot = await client.new_chatbot()
                made = await asyncio.to_thread(killed.call, f"{chatbot}/sites", KEY, {"url": site.url + "/0", "kind": "site"})
            assert made.status == 202, made.text
            path = f"{chatbot}/sites/{made.body['id']}"
            await killed_at.wait()
            killed.process.kill()
            await asyncio.to_thread(killed.process.wait, 30)
        with command.serving() as again:
            async with asyncio.timeout(USABLE_S[isinstance(stores.current(), stores.SQLiteStores)]):
                seen = await _over(again, path)
            async with client_of(again) as client:
                documents = await client.get(f"{chatbot}/documents?limit=100")
        fetched = Counter(path for path in site.paths if path != "/robots.txt")
    assert seen is not None
    chunks = stores.current().query(data, "SELECT document_id, number FROM chunks")
    held = Counter(row["document_id"] for row in chunks)
    names = Counter(document["name"].rpartition("/")[2] for document in documents)
    return {
        "missing": len({str(number) for number in range(PAGES)} - set(names)),
        "duplicates": sum(count > 1 for count in names.values()),
        "partial": sum(document["state"] != "ready" or held[document["id"]] != document["chunk_count"] for document in documents),
        "fetched again": sum(fetched.values()) - len(fetched),
        "not over": int(seen["state"] != "ready" or seen["progress"]["documents"] != PAGES),
    }


def _assert_whole(figures: dict[str, int]) -> None:
    assert {name: value for name, value in figures.items() if value and name != "fetched again"} == {}
    assert figures["fetched again"] <= 4, "at most what was on its way"


@pytest.mark.sqlite_only
async def test_a_crawl_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    _assert_whole(await kill_in_crawl(tmp_path / "data", kill_after=PAGES // 2))


@pytest.mark.faults
async def test_crawls_killed_at_any_page(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    rounds = min(ROUNDS, PAGES - 2)
    all_figures = [await kill_in_crawl(tmp_path / str(number), kill_after=number + 2) for number in range(rounds)]
    record_property("figures", {"kills": rounds, **{name: sum(each[name] for each in all_figures) for name in all_figures[0]}})
    for figures in all_figures:
        _assert_whole(figures)


# --- a real site ---


class Collection:
    """Documents in Markdown as the pages of a site, with a header, a menu and a footer around each."""

    def __init__(self, documents: dict[str, str]) -> None:
        self._markdown = MarkdownIt("commonmark").enable("table")
        self.pages = {"/" + quote(name.strip("/").replace(" ", "-")): text for name, text in documents.items()}
        self._menu = "".join(f'<li><a href="{path}">{path}</a></li>' for path in list(self.pages)[:20])
        self._bodies: dict[str, str] = {}

    def change(self, path: str, text: str) -> None:
        self.pages[path] = text
        self._bodies.pop(path, None)

    def remove(self, path: str) -> None:
        del self.pages[path]

    def __call__(self, request: Request) -> Response | None:
        if request.path == "/sitemap.xml":
            origin = f"http://{request.host}"
            urls = "".join(f"<url><loc>{origin}{path}</loc></url>" for path in self.pages)
            return Response(f"<urlset>{urls}</urlset>", headers={"Content-Type": "application/xml"}, is_gzipped=True)
        if request.path not in self.pages:
            return None
        body = self._bodies.get(request.path) or self._bodies.setdefault(request.path, self._rendered(request.path))
        etag = f'"{hashlib.sha256(body.encode()).hexdigest()[:16]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status=304, headers={"ETag": etag})
        return Response(body, headers={"ETag": etag}, is_gzipped=True)

    def _rendered(self, path: str) -> str:
        body = self._markdown.render(self.pages[path])
        return (
            f"<!doctype html><html lang=en><head><title>{path}</title></head><body>"
            f"<header><nav><ul>{self._menu}</ul></nav></header>"
            f"<main>{body}</main><footer>Terms, privacy and a cookie notice.</footer></body></html>"
        )


def _collection() -> dict[str, str]:
    folder = os.environ.get("EVAL", "")
    file = Path(folder) / "documents.jsonl"
    if not folder or not file.is_file():
        pytest.skip("EVAL names no folder with a documents.jsonl: `make test-site EVAL=folder`")
    documents = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = {each["name"]: each["content"] for each in documents if each["collection"] == "cloudflare"}
    if not found:
        pytest.skip(f"{file} has no collection `cloudflare`")
    return found


@pytest.mark.faults
@pytest.mark.sqlite_only
async def test_a_real_site_is_crawled_and_again_for_what_changed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    collection, embedder = Collection(_collection()), CountingEmbedder()
    paths, changed, gone = list(collection.pages), 10, 7
    async with (
        serving(collection) as site,
        gigachat(tmp_path, embedder=embedder, fetch_allow=SITE, fetch_ports="1-65535") as api,
    ):
        sites = await api.chatbot() + "/sites"
        shown: list[int] = []
        began = time.monotonic()
        made = await api.post(sites, {"url": f"{site.url}/sitemap.xml", "kind": "sitemap"})
        following = await api.get(made.headers["Location"], headers={"Accept": "text/event-stream"})
        first_s = time.monotonic() - began
        shown += [data["progress"]["percent"] for name, data in following.events if name == "site"]
        first = following.events[-2][1]
        assert (first["state"], first["progress"]["documents"], first["progress"]["failed"]) == ("ready", len(paths), 0)
        assert len(shown) > 5
        assert shown[-1] == 100
        before, sent_before = list(embedder.texts), len(site.requests)

        for path in paths[:changed]:
            collection.change(path, collection.pages[path] + "\n\nThis paragraph was added to the page afterwards.\n")
        for path in paths[changed : changed + gone]:
            collection.remove(path)
        embedder.texts.clear()
        began = time.monotonic()
        assert (await api.post(f"{made.headers['Location']}/crawl")).status == 202
        following = await api.get(made.headers["Location"], headers={"Accept": "text/event-stream"})
        again_s = time.monotonic() - began
        again = following.events[-2][1]["progress"]
        record_property(
            "figures",
            {
                "pages": len(paths), "chunks embedded at first": len(before), "seconds": round(first_s, 1),
                "progress events": len(shown), "changed": changed, "vanished": gone, "unchanged": again["unchanged"],
                "removed": again["removed"], "chunks embedded again": len(embedder.texts), "seconds again": round(again_s, 1),
                "requests": sent_before, "requests again": len(site.requests) - sent_before,
            },
        )  # fmt: skip
        assert again.items() >= {"unchanged": len(paths) - changed - gone, "removed": gone, "failed": 0}.items()
        assert changed <= len(embedder.texts) <= 2 * changed, "a page's last chunk, and what it overlaps"
        assert set(embedder.texts).isdisjoint(before)
        same = await crawled(api, sites, f"{site.url}{paths[-1]}", "page")
        assert same["progress"]["documents"] == 1
        listed = []
        link = f"{sites.replace('/sites', '/documents')}?limit=100"
        while link:
            reply = await api.get(link)
            listed += [document["name"].removeprefix(site.url) for document in reply.body]
            link = reply.headers.get("Link", "").partition("<")[2].partition(">")[0]
        assert sorted(listed) == sorted(collection.pages)
