"""Sites: crawled politely and to an end, resumed after anything, read again for what changed, and removed without a rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.clock import system_clock
from gigachat_server.knowledge.sites import html_facts, sitemap
from gigachat_server.models.base import Matrix
from gigachat_server.models.embedders.hashing_embedder import HashingEmbedder
from gigachat_server.store.database import Tx
from tests.fetching.canaries import SITE, Request, Response, canaries, serving
from tests.harness import Api, gigachat, until
from tests.hold_ups import hold_ups

ALLOW: dict[str, Any] = {"fetch_allow": SITE, "fetch_ports": "1-65535"}


class CountingEmbedder(HashingEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    async def embed_passages(self, texts: Sequence[str]) -> Matrix:
        self.texts += texts
        return await super().embed_passages(texts)


class Clock:
    """The system's, ahead by so many hours."""

    def __init__(self) -> None:
        self.ahead_h = 0

    def __call__(self) -> int:
        return system_clock() + self.ahead_h * 3_600_000_000


def html(*links: str, text: str = "", head: str = "") -> str:
    anchors = " ".join(f'<a href="{link}">to {link}</a>' for link in links)
    return f"<html><head><title>T</title>{head}</head><body><nav>{anchors}</nav><p>{text}</p></body></html>"


class Pages:
    """A site as a table: what is at each path. Pages that did not change are not sent twice."""

    def __init__(self, **pages: Any) -> None:
        self.at: dict[str, Any] = {"/" + name.replace("__", "/"): page for name, page in pages.items()}

    def __call__(self, request: Request) -> Response | None:
        page = self.at.get(request.path)
        if page is None or isinstance(page, Response):
            return page
        etag = f'"{hash(page)}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status=304, headers={"ETag": etag})
        return Response(page, headers={"ETag": etag})


@asynccontextmanager
async def crawling(folder: Path, **more: Any) -> AsyncIterator[tuple[Api, str]]:
    """A gigachat that may reach the test's sites, and the path of a chatbot's sites."""
    async with gigachat(folder, **{**ALLOW, **more}) as api:
        api.services.site_worker.first_retry_s = 0.01
        yield api, await api.chatbot(documents={"results": {"match_threshold": 0.0}}) + "/sites"


async def add(api: Api, sites: str, url: str, kind: str = "site", **more: Any) -> str:
    reply = await api.post(sites, {"url": url, "kind": kind, **more})
    assert reply.status == 202, reply.text
    assert reply.headers["Location"] == f"{sites}/{reply.body['id']}"
    return reply.headers["Location"]


async def over(api: Api, site: str) -> dict[str, Any]:
    """The site once its crawl is over, as its stream tells; every stream ends with exactly one `done`."""
    events = (await api.get(site, headers={"Accept": "text/event-stream"})).events
    assert [name for name, _ in events].count("done") == 1
    assert events[-1][0] == "done"
    last: dict[str, Any] = events[-2][1]
    assert last["state"] == events[-1][1]["state"]
    return last


async def crawled(api: Api, sites: str, url: str, kind: str = "site", **more: Any) -> dict[str, Any]:
    return await over(api, await add(api, sites, url, kind, **more))


async def again(api: Api, site: str) -> dict[str, Any]:
    assert (await api.post(f"{site}/crawl")).status == 202
    return await over(api, site)


async def pages_of(api: Api, site: str, base: str) -> dict[str, tuple[str, str | None]]:
    """State and reason of each page, by its path."""
    reply = await api.get(f"{site}/pages?limit=100")
    return {page["url"].removeprefix(base): (page["state"], page["reason"]) for page in reply.body}


async def documents_of(api: Api, sites: str) -> list[str]:
    return sorted(document["name"] for document in await all_of(api, sites.replace("/sites", "/documents")))


async def all_of(api: Api, path: str) -> list[dict[str, Any]]:
    found, link = [], f"{path}?limit=100"
    while link:
        reply = await api.get(link)
        found += reply.body
        link = reply.headers.get("Link", "").partition("<")[2].partition(">")[0]
    return found


def shop() -> Pages:
    return Pages(
        **{
            "": html("/parcels", "/returns", "/about", text="Welcome to the shop."),
            "parcels": html("/", "/parcels/abroad", text="Parcels are sent on Mondays."),
            "returns": html("/", text="You can return a parcel within 30 days."),
            "about": html("/", text="We are seven people in a small town."),
            "parcels__abroad": html("/", text="Parcels to other countries take a week."),
        }
    )


# --- what is read ---


async def test_a_site_is_crawled_and_answers(tmp_path: Path) -> None:
    async with serving(shop()) as site, crawling(tmp_path) as (api, sites):
        seen = await crawled(api, sites, site.url)
        assert (seen["state"], seen["reason"], seen["url"]) == ("ready", None, site.url + "/")
        progress = {"found": 5, "fetched": 5, "documents": 5, "failed": 0, "pending": 0, "percent": 100}
        assert seen["progress"].items() >= progress.items()
        assert await documents_of(api, sites) == sorted(f"{site.url}{path}" for path in shop().at)
        (reply,) = await api.say(sites.removesuffix("/sites"), "When are parcels sent, on Mondays?")
        assert reply["sources"][0]["name"].startswith(f"{site.url}/parcels")
        assert sorted(site.paths) == sorted(["/robots.txt", *shop().at]), "each page is fetched once"
        assert all(request.headers["user-agent"].startswith("gigachat/") for request in site.requests)


async def test_depth_page_and_pattern_bound_a_crawl(tmp_path: Path) -> None:
    async with serving(shop()) as site, crawling(tmp_path) as (api, sites):
        page = await crawled(api, sites, site.url + "/parcels", "page")
        assert (page["progress"]["documents"], page["reason"]) == (1, None)
        shallow = await crawled(api, sites, site.url, depth=1)
        assert (shallow["progress"]["documents"], shallow["reason"]) == (4, "depth")
        few = await crawled(api, sites, site.url + "/about", max_pages=3)
        assert (few["progress"]["found"], few["reason"]) == (3, "max_pages")
        chosen = await crawled(api, sites, site.url + "/returns", include=["/parcels*"], exclude=["*abroad"])
        assert chosen["progress"]["found"] == 1, "what is not included is not followed"
        excluded = await crawled(api, sites, site.url + "/parcels/abroad", include=["/", "/parcels*"], exclude=["*abroad"])
        states = await pages_of(api, f"{sites}/{excluded['id']}", site.url)
        assert states == {"/": ("ready", None), "/parcels": ("ready", None), "/parcels/abroad": ("skipped", "excluded")}


async def test_a_sitemap_is_read_with_the_sitemaps_it_names(tmp_path: Path) -> None:
    pages = shop()
    async with serving(pages) as site, crawling(tmp_path) as (api, sites):
        some = "".join(f"<url><loc>{site.url}{path}</loc></url>" for path in ("/parcels", "/about", "/missing"))
        pages.at["/sitemap.xml"] = f"<sitemapindex><sitemap><loc>{site.url}/one.xml</loc></sitemap></sitemapindex>"
        pages.at["/one.xml"] = Response(f"<urlset>{some}<url><loc>https://other.example/</loc></url></urlset>", is_gzipped=True)
        seen = await crawled(api, sites, f"{site.url}/sitemap.xml", "sitemap")
        assert (seen["state"], seen["progress"]["found"], seen["progress"]["documents"]) == ("ready", 3, 2)
        states = await pages_of(api, f"{sites}/{seen['id']}", site.url)
        assert states["/missing"] == ("failed", "not_found")
        assert "/parcels/abroad" not in states, "links are not followed"


async def test_robots_noindex_canonical_and_copies_are_respected_and_told(tmp_path: Path) -> None:
    pages = Pages(
        **{
            "": html("/private/x", "/open", "/kept-out", "/copy", "/same", "/elsewhere", "/pdf", "/gone", "/away", "/moved"),
            "robots.txt": Response("User-agent: *\nDisallow: /\nUser-agent: gigachat\nDisallow: /private\n"),
            "private__x": html(text="secret"),
            "open": html(text="open"),
            "kept-out": html("/behind", head='<meta name="robots" content="noindex">'),
            "behind": html(text="behind"),
            "copy": html(head='<link rel="canonical" href="/open?utm=1">', text="copy"),
            "open?utm=1": html(text="the original"),
            "same": html(text="open"),
            "elsewhere": html(head='<link rel="canonical" href="https://other.example/x">'),
            "pdf": Response(b"x", headers={"Content-Type": "application/zip"}),
            "away": Response(status=302, headers={"Location": "https://other.example/"}),
            "moved": Response(status=301, headers={"Location": "/moved-here"}),
            "moved-here": html(text="moved here"),
        }
    )
    async with serving(pages) as site, crawling(tmp_path) as (api, sites):
        seen = await crawled(api, sites, site.url)
        states = await pages_of(api, f"{sites}/{seen['id']}", site.url)
        assert states == {
            "/": ("ready", None),
            "/private/x": ("skipped", "robots"),
            "/open": ("ready", None),
            "/kept-out": ("skipped", "noindex"),
            "/behind": ("ready", None),
            "/copy": ("skipped", "canonical"),
            "/open?utm=1": ("ready", None),
            "/same": ("skipped", "duplicate"),
            "/elsewhere": ("skipped", "canonical_elsewhere"),
            "/pdf": ("skipped", "not_text"),
            "/gone": ("failed", "not_found"),
            "/away": ("skipped", "other_host"),
            "/moved": ("skipped", "redirected"),
            "/moved-here": ("ready", None),
        }
        assert "/private/x" not in site.paths


# --- addresses that pages call their own ---


def canonical(to: str, text: str) -> str:
    return html("/a", "/b", "/c", "/d", text=text, head=f'<link rel="canonical" href="{to}">')


async def documents_at(api: Api, sites: str, base: str, path: str = "") -> list[str]:
    await crawled(api, sites, f"{base}/{path}")
    return [name.removeprefix(base) for name in await documents_of(api, sites)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pages", "paths"),
    [
        ({"a": "/b", "b": "/a"}, ["/", "/a"]),
        ({"a": "/b", "b": "/c", "c": "/a"}, ["/", "/a", "/b"]),
        ({"a": "/gone"}, ["/", "/a"]),
        ({"a": "/private/x"}, ["/", "/a"]),
        ({"a": "/moved"}, ["/", "/a"]),
        ({"a": "/kept-out"}, ["/", "/a"]),
        ({"a": "/", "b": "/", "c": "/", "d": "/"}, ["/", "/a", "/b", "/c", "/d"]),
        ({"a": "/d", "b": "/d", "c": "/d", "d": ""}, ["/", "/a", "/b", "/c", "/d"]),
        ({"a": "/d", "d": ""}, ["/", "/d"]),
        ({"a": "/a?print=1"}, ["/", "/a?print=1"]),
        ({"a": "/x", "b": "/x"}, ["/", "/x"]),
    ],
)
async def test_a_page_is_left_out_for_another_address_only_if_that_is_a_document_that_says_it(
    pages: dict[str, str], paths: list[str], tmp_path: Path
) -> None:
    at = Pages(
        **{
            "": html("/a", "/b", "/c", "/d", text="The entrance of it all."),
            "robots.txt": Response("User-agent: *\nDisallow: /private\n"),
            "moved": Response(status=301, headers={"Location": "https://elsewhere.example/"}),
            "kept-out": html(head='<meta name="robots" content="noindex">'),
            "x": html(text="The page that two are copies of."),
            "a?print=1": html(text="What page a says, for printers."),
            **{name: canonical(to, f"What page {name} says.") if to else html(text="The page d.") for name, to in pages.items()},
        }
    )
    async with serving(at) as site, crawling(tmp_path) as (api, sites):
        assert await documents_at(api, sites, site.url) == paths


async def test_what_was_left_out_is_a_document_again_without_being_embedded_again(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    at = Pages(**{"": html("/a", text="The entrance."), "a": canonical("/gone", "What page a says.")})
    async with serving(at) as site, crawling(tmp_path, embedder=embedder) as (api, sites):
        seen = await crawled(api, sites, site.url)
        before = [each["id"] for each in await all_of(api, sites.replace("/sites", "/documents"))]
        count = len(embedder.texts)
        await again(api, f"{sites}/{seen['id']}")
        assert [each["id"] for each in await all_of(api, sites.replace("/sites", "/documents"))] == before
        assert len(embedder.texts) == count
        at.at["/gone"] = html(text="What page a says, and where it is now.")
        await again(api, f"{sites}/{seen['id']}")
        assert [name.removeprefix(site.url) for name in await documents_of(api, sites)] == ["/", "/gone"]


async def test_pages_that_only_sessions_make_different_are_one_document(tmp_path: Path) -> None:
    def page(name: str, number: int) -> str:
        token = f"{number * 7919:08x}a1{number * 104_729:010x}"
        form = f'<form><input type="hidden" name="csrf" value="{token}"></form><!-- {token} --><script>var t = "{token}"</script>'
        links = "".join(f'<a href="/{each}?sid={number + 1}">{each}</a>' for each in ("one", "two", "three") if number < 12)
        return f"<html><head><title>{name}</title></head><body>{form}{links}<p>Page {name}.</p><p>{token}</p></body></html>"

    def answer(request: Request) -> Response | None:
        path, _, query = request.path.partition("?")
        if path == "/robots.txt":
            return None
        return Response(page(path.strip("/") or "home", int(query.rpartition("=")[2] or 0)))

    async with serving(answer) as site, crawling(tmp_path) as (api, sites):
        seen = await crawled(api, sites, site.url)
        assert len(await documents_of(api, sites)) == 4
        states = await pages_of(api, f"{sites}/{seen['id']}", site.url)
        assert len(states) == 7, "links of what is the same are not followed"


async def test_pages_that_differ_in_a_figure_or_a_picture_are_not_one(tmp_path: Path) -> None:
    at = Pages(
        **{
            "": html("/a", "/b", "/c", "/d"),
            "a": html(text="It costs 9 euros."),
            "b": html(text="It costs 10 euros."),
            "c": html(text="<img alt='red'> A picture."),
            "d": html(text="<img alt='blue'> A picture."),
        }
    )
    async with serving(at) as site, crawling(tmp_path) as (api, sites):
        assert await documents_at(api, sites, site.url) == ["/", "/a", "/b", "/c", "/d"]


async def test_a_page_that_failed_is_told_of_at_the_site(tmp_path: Path) -> None:
    at = Pages(**{"": html("/a", "/b", "/gone", text="The entrance."), "a": Response(status=403), "b": html(text="Page b.")})
    async with serving(at) as site, crawling(tmp_path) as (api, sites):
        seen = await crawled(api, sites, site.url)
        assert (seen["state"], seen["reason"]) == ("ready", "pages_failed")
        assert seen["error"] == f"Could not be read: {site.url}/a (http_403)."


@pytest.mark.parametrize("before", ["\n", "\ufeff\n  \r\n", ""])
async def test_a_sitemap_may_begin_with_blank_lines(before: str, tmp_path: Path) -> None:
    async with serving(shop()) as site, crawling(tmp_path) as (api, sites):
        listed = f'{before}<?xml version="1.0"?><urlset><url><loc>{site.url}/parcels</loc></url></urlset>'
        site.answer = Pages(**{"sitemap.xml": listed, "parcels": html(text="Parcels.")})
        await crawled(api, sites, f"{site.url}/sitemap.xml", "sitemap")
        assert await documents_of(api, sites) == [f"{site.url}/parcels"]


def test_a_sitemap_of_fifty_thousand_addresses_is_read() -> None:
    address = "https://shop.example/" + "x" * 200
    body = f'<?xml version="1.0"?><urlset>{"".join(f"<url><loc>{address}{n}</loc></url>" for n in range(50_000))}</urlset>'
    assert len(body) > 12_000_000
    assert len(sitemap.read(body.encode()).pages) == 50_000


def test_what_a_page_says_is_told_in_no_time() -> None:
    began = time.process_time()
    for text in ("<" * 500_000, "<!--" * 200_000, "<script>" * 100_000, "<img " * 200_000, "<img alt=" * 100_000, "-" * 500_000):
        html_facts.said(text)
    assert time.process_time() - began < 5


async def test_a_crawl_delay_is_kept_and_no_more_than_two_come_at_once(tmp_path: Path) -> None:
    pages = shop()
    pages.at["/robots.txt"] = Response("User-agent: gigachat\nCrawl-delay: 0.15\n")
    async with serving(pages) as site, crawling(tmp_path) as (api, sites):
        await crawled(api, sites, site.url)
        at = [request.at for request in site.requests if request.path != "/robots.txt"]
        # On a busy machine a request may arrive a little late, and the next one in time.
        assert min(later - earlier for earlier, later in pairwise(at)) > 0.1
        assert site.connections <= 3


async def test_sites_that_want_to_be_read_slowly_keep_no_other_waiting(tmp_path: Path) -> None:
    slow_pages = shop()
    slow_pages.at["/robots.txt"] = Response("User-agent: gigachat\nCrawl-delay: 30\n")
    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(serving(slow_pages)) for _ in range(6)]
        quick = await stack.enter_async_context(serving(shop()))
        api, sites = await stack.enter_async_context(crawling(tmp_path))
        added = [await add(api, sites, site.url) for site in slow]

        async def all_wait() -> bool:
            return all("/" in site.paths for site in slow)

        await until(all_wait)
        assert (await crawled(api, sites, quick.url))["progress"]["documents"] == 5
        assert {(await api.get(site)).body["state"] for site in added} == {"crawling"}


# --- what never ends, or means harm ---


async def test_a_site_without_an_end_is_left_at_the_limit(tmp_path: Path) -> None:
    def endless(request: Request) -> Response:
        number = int(request.path.rpartition("=")[2] or 0) if "=" in request.path else 0
        return Response(
            html(f"/?page={number + 1}", f"/?page={number + 2}", f"/{'a/' * 30}", "/x/x/x/x/x", text=f"Page {number}.")
        )

    async with serving(endless) as site, crawling(tmp_path) as (api, sites):
        seen = await crawled(api, sites, site.url, max_pages=30, depth=20)
        assert (seen["state"], seen["reason"], seen["progress"]["found"]) == ("ready", "max_pages", 30)
        assert len(site.requests) == 31
        deep = await crawled(api, sites, site.url + "/?page=100", max_pages=1000, depth=4)
        assert (deep["reason"], deep["progress"]["found"]) == ("depth", 9)


async def test_pages_that_are_all_the_same_end_a_loop(tmp_path: Path) -> None:
    def calendar(request: Request) -> Response:
        """Each day links to the next one, and that is all that differs: not on the page."""
        return Response(html("/?day=7", text="Nothing on this day.") if "=" in request.path else html("/?day=1", text="Days."))

    async with serving(calendar) as site, crawling(tmp_path) as (api, sites):
        seen = await crawled(api, sites, site.url)
        states = await pages_of(api, f"{sites}/{seen['id']}", site.url)
        assert states == {"/": ("ready", None), "/?day=1": ("ready", None), "/?day=7": ("skipped", "duplicate")}


async def test_a_page_that_moves_keeps_its_text(tmp_path: Path) -> None:
    """The new address is found while the old one still counts, and is the same; only then the old one sends there."""
    text = html(text="Parcels ship on Monday.")
    pages = Pages(old=text)
    pages.at["/"] = html("/old")
    async with crawling(tmp_path) as (api, sites):
        path = ""

        async def moved() -> Response:
            async def is_left_out() -> bool:
                return (await pages_of(api, path, site.url)).get("/new") == ("skipped", "duplicate")

            await until(is_left_out)
            return Response("", 301, {"Location": "/new"})

        async with serving(lambda request: moved() if path and request.path == "/old" else pages(request)) as site:
            seen = await crawled(api, sites, site.url)
            path = f"{sites}/{seen['id']}"
            pages.at |= {"/": html("/new", "/old"), "/new": text}
            assert (await again(api, path))["state"] == "ready"
            assert await documents_of(api, sites) == [f"{site.url}/", f"{site.url}/new"]


async def test_a_header_that_is_no_utf8_is_no_trouble(tmp_path: Path) -> None:
    page = Response(html(text="Parcels ship on Monday."), headers={"Content-Type": "text/html; x=\xff", "ETag": '"\xfe"'})
    async with serving(lambda _: page) as site, crawling(tmp_path) as (api, sites):
        assert (await crawled(api, sites, site.url, kind="page"))["state"] == "ready"
        assert len(await documents_of(api, sites)) == 1


HOSTILE = {
    "a long type": Response(html(text="Parcels ship."), headers={"Content-Type": "text/html" + ";" * 7_000}),
    "a type of parameters": Response(html(text="Parcels ship."), headers={"Content-Type": "text/html" + ";a*0*=b" * 1_000}),
    "links below a deep base": Response(f'<base href="/{"a/" * 900}">' + "".join(f"<a href={n}>" for n in range(1_300))),
    "rules": Response("User-agent: *\n" + "".join(f"Disallow: /*a*%{n}x$\n" for n in range(15_000))),
}


@pytest.mark.sqlite_only
@pytest.mark.parametrize("name", HOSTILE)
async def test_nothing_that_a_site_sends_holds_up_the_loop(tmp_path: Path, name: str) -> None:
    wanted = "/robots.txt" if name == "rules" else "/"
    pages = Pages(**{"": html(text="Parcels ship."), "robots.txt": Response(status=404)})
    async with (
        serving(lambda request: HOSTILE[name] if request.path == wanted else pages(request)) as site,
        crawling(tmp_path) as (api, sites),
    ):
        await crawled(api, sites, site.url + "/other", kind="page")
        async with hold_ups() as met:
            await crawled(api, sites, site.url + "/", kind="page")
        assert met.longest_s < 0.1


async def test_sitemaps_without_an_end_are_left(tmp_path: Path) -> None:
    def endless(request: Request) -> Response:
        entries = "".join(f"<sitemap><loc>{site.url}{request.path}{number}.xml</loc></sitemap>" for number in range(90))
        return Response(f"<sitemapindex>{entries}</sitemapindex>", headers={"Content-Type": "application/xml"})

    async with serving(endless) as site, crawling(tmp_path) as (api, sites):
        await crawled(api, sites, f"{site.url}/s.xml", kind="sitemap")
        assert len(site.requests) <= 110


async def test_what_did_not_fit_this_time_is_not_removed(tmp_path: Path) -> None:
    """Which pages fit is a matter of which answer first: here the links change places."""
    pages = Pages(**{f"p{number}": html(text=f"Page {number}.") for number in range(6)})
    pages.at["/"] = html(*(f"/p{number}" for number in range(6)))
    async with serving(pages) as site, crawling(tmp_path) as (api, sites):
        seen = await crawled(api, sites, site.url, max_pages=4)
        assert seen["reason"] == "max_pages"
        before = await documents_of(api, sites)
        pages.at["/"] = html(*(f"/p{number}" for number in reversed(range(6))))
        assert (await again(api, f"{sites}/{seen['id']}"))["reason"] == "max_pages"
        assert set(before) <= set(await documents_of(api, sites))


async def test_hostile_answers_are_told_and_reach_nothing_inside(tmp_path: Path) -> None:
    async with canaries() as (canary, port):
        pages = Pages(
            **{
                "": html(
                    "/inside", "/file", "/loop/a", "/huge", "/bomb", "/odd", f"http://127.0.0.1:{port}/x", "//[::1]/", text="x"
                ),
                "inside": Response(status=302, headers={"Location": f"http://127.0.0.1:{port}/"}),
                "file": Response(status=302, headers={"Location": "file:///etc/passwd"}),
                "loop__a": Response(status=302, headers={"Location": "/loop/b"}),
                "loop__b": Response(status=302, headers={"Location": "/loop/a"}),
                "huge": Response(bytes(11 * 1024 * 1024)),
                "bomb": Response(bytes(30 * 1024 * 1024), is_gzipped=True),
                "odd": Response("x", headers={"Content-Encoding": "rot13"}),
            }
        )
        async with serving(pages) as site, crawling(tmp_path) as (api, sites):
            seen = await crawled(api, sites, site.url)
            states = await pages_of(api, f"{sites}/{seen['id']}", site.url)
            assert states == {
                "/": ("ready", None),
                "/inside": ("skipped", "other_host"),
                "/file": ("failed", "url_refused"),
                "/loop/a": ("skipped", "redirected"),
                "/loop/b": ("skipped", "redirected"),
                "/huge": ("failed", "too_large"),
                "/bomb": ("failed", "too_large"),
                "/odd": ("failed", "encoding_refused"),
            }
        assert canary.connections == 0


async def test_a_site_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    refusing = Pages(**{"": html(), "robots.txt": Response("User-agent: *\nDisallow: /")})
    failing = Pages(**{"": html(), "robots.txt": Response("x", 503)})
    bomb = Pages(**{"": Response('<!DOCTYPE x [<!ENTITY a "b">]><urlset/>'), "empty": "<urlset></urlset>"})
    away = Pages(**{"": Response(status=301, headers={"Location": "https://www.other.example/"})})
    async with crawling(tmp_path) as (api, sites):
        for pages, kind, path, reason in (
            (refusing, "site", "/", "robots"),
            (failing, "site", "/", "robots_unreachable"),
            (bomb, "sitemap", "/", "not_a_sitemap"),
            (bomb, "sitemap", "/empty", "empty"),
            (bomb, "sitemap", "/no", "not_found"),
            (away, "site", "/", "other_host"),
            (Pages(), "page", "/", "not_found"),
            (Pages(**{"": Response("x", 403)}), "page", "/", "http_403"),
            (Pages(**{"": Response("x", 500)}), "site", "/", "http_500"),
        ):
            async with serving(pages) as site:
                seen = await crawled(api, sites, site.url + path, kind)
                assert (seen["state"], seen["reason"]) == ("failed", reason)
                assert seen["error"]
                assert seen["progress"]["documents"] == 0
        nobody = await crawled(api, sites, f"http://{SITE}:1/", "page")
        assert (nobody["state"], nobody["reason"]) == ("failed", "unreachable")
        assert await documents_of(api, sites) == []


async def test_what_fails_for_a_moment_is_tried_again(tmp_path: Path) -> None:
    pages = shop()
    failed: list[Request] = []

    def answer(request: Request) -> Response | None:
        if request.path == "/about" and len(failed) < 2:
            failed.append(request)
            return Response("busy", 429 if failed else 503)
        return pages(request)

    async with serving(answer) as site, crawling(tmp_path) as (api, sites):
        seen = await crawled(api, sites, site.url)
        assert (seen["progress"]["documents"], seen["progress"]["failed"]) == (5, 0)
        assert site.paths.count("/about") == 3


# --- again ---


async def test_only_what_changed_is_fetched_and_embedded_again(tmp_path: Path) -> None:
    pages, embedder = shop(), CountingEmbedder()
    async with serving(pages) as site, crawling(tmp_path, embedder=embedder) as (api, sites):
        first = await crawled(api, sites, site.url)
        path = f"{sites}/{first['id']}"
        before = len(embedder.texts)
        assert before == 5
        site.requests.clear()
        same = await again(api, path)
        assert (same["progress"]["unchanged"], same["progress"]["documents"], same["progress"]["found"]) == (5, 5, 5)
        assert len(embedder.texts) == before
        assert all("if-none-match" in request.headers for request in site.requests if request.path != "/robots.txt")

        pages.at["/about"] = html("/", "/new", text="We are eight people in a small town.")
        pages.at["/new"] = html("/", text="The newest page of all.")
        del pages.at["/returns"]  # still linked, and gone
        pages.at["/parcels"] = html("/", text="Parcels are sent on Tuesdays.")  # links no more to /parcels/abroad
        changed = await again(api, path)
        assert changed["progress"].items() >= {"unchanged": 1, "documents": 4, "removed": 2, "failed": 0}.items()
        assert len(embedder.texts) - before == 3
        states = await pages_of(api, path, site.url)
        assert states["/returns"] == ("removed", "not_found")
        assert states["/parcels/abroad"] == ("removed", "unlinked")
        assert await documents_of(api, sites) == sorted(f"{site.url}{name}" for name in ("/", "/about", "/new", "/parcels"))
        (reply,) = await api.say(sites.removesuffix("/sites"), "Can I return a parcel within 30 days?")
        assert not any("30 days" in source["content"].split("---")[1] for source in reply["sources"])
        third = await again(api, path)
        assert (third["progress"]["removed"], third["progress"]["unchanged"]) == (0, 4), "what was removed is told once"


async def test_a_crawl_that_could_not_read_everything_removes_nothing_that_is_not_gone(tmp_path: Path) -> None:
    pages = shop()
    async with serving(pages) as site, crawling(tmp_path) as (api, sites):
        path = f"{sites}/{(await crawled(api, sites, site.url))['id']}"
        everything = await documents_of(api, sites)
        intact = dict(pages.at)
        pages.at["/parcels"] = Response("down", 500)  # the only page that links to /parcels/abroad
        seen = await again(api, path)
        assert (seen["state"], seen["reason"], seen["progress"]["removed"]) == ("ready", "incomplete", 0)
        assert await documents_of(api, sites) == everything
        pages.at = {name: Response("down", 503) for name in intact}
        seen = await again(api, path)
        assert (seen["state"], seen["reason"], seen["progress"]["removed"]) == ("failed", "http_503", 0)
        assert await documents_of(api, sites) == everything
        pages.at = {"/": html(text="Nothing links to anything any more.")}
        seen = await again(api, path)
        assert (seen["state"], seen["progress"]["removed"]) == ("ready", 4)
        assert await documents_of(api, sites) == [site.url + "/"]


async def test_a_site_that_stops_answering_is_given_up(tmp_path: Path) -> None:
    def answer(request: Request) -> Response | None:
        if request.path == "/":
            return Response(html(*(f"/{number}" for number in range(200)), text="x"))
        return None if request.path == "/robots.txt" else Response("x", 503)

    async with serving(answer) as site, crawling(tmp_path) as (api, sites):
        seen = await crawled(api, sites, site.url)
        assert (seen["state"], seen["reason"]) == ("failed", "http_503")
        assert len(site.requests) < 60


async def test_a_site_is_crawled_again_when_its_time_has_come(tmp_path: Path) -> None:
    pages, clock = shop(), Clock()
    async with serving(pages) as site, crawling(tmp_path, clock=clock) as (api, sites):
        path = await add(api, sites, site.url, recrawl_hours=24)
        seen = await over(api, path)
        assert seen["next_crawl_at"] is not None
        pages.at["/about"] = html(text="Another text.")
        clock.ahead_h = 23
        api.services.site_worker.wake_up()
        assert (await over(api, path))["progress"]["unchanged"] == 0
        clock.ahead_h = 25
        api.services.site_worker.wake_up()

        async def has_begun() -> bool:
            return bool((await api.get(path)).body["crawled_at"] > seen["crawled_at"])

        await until(has_begun)
        assert (await over(api, path))["progress"].items() >= {"unchanged": 4, "documents": 5}.items()


async def test_a_page_of_two_sites_stays_with_the_other_one(tmp_path: Path) -> None:
    async with serving(shop()) as site, crawling(tmp_path) as (api, sites):
        whole = f"{sites}/{(await crawled(api, sites, site.url))['id']}"
        one = f"{sites}/{(await crawled(api, sites, site.url + '/about', 'page'))['id']}"
        assert (await api.call("DELETE", whole)).status == 204
        assert await documents_of(api, sites) == [site.url + "/about"]
        assert (await api.get(whole)).status == 404
        assert (await api.call("DELETE", one)).status == 204
        assert await documents_of(api, sites) == []
        assert (await api.get(sites)).body == []
        assert (await api.call("DELETE", one)).status == 404


# --- in the middle of it ---


async def test_a_crawl_goes_on_where_another_process_left_it(tmp_path: Path) -> None:
    """The first server ends in the middle: what it had read is not read again."""
    pages = Pages(**{"": html(*(f"/{n}" for n in range(12)), text="x"), **{f"{n}": html(text=f"Page {n}.") for n in range(12)}})
    reached, gate = asyncio.Event(), asyncio.Event()

    async def answer(request: Request) -> Response | None:
        if len(set(site.paths)) > 7:
            reached.set()
            await gate.wait()
        return pages(request)

    async with serving(answer) as site:
        async with crawling(tmp_path) as (api, sites):
            path = await add(api, sites, site.url)
            await reached.wait()
        gate.set()
        read = [path for path in site.paths if path != "/robots.txt"]
        assert 6 <= len(read) < 13
        async with gigachat(tmp_path, **ALLOW) as api:
            _, api.key = await api.services.key_ring.create(api.services.account.id, "again")
            async with asyncio.timeout(20):  # and not when the lease of the first has run out
                seen = await over(api, path)
            assert seen["progress"].items() >= {"found": 13, "documents": 13, "failed": 0}.items()
        fetched = [path for path in site.paths if path != "/robots.txt"]
        assert set(fetched) == set(pages.at)
        assert len(fetched) <= 13 + 2, "at most what was on its way is fetched twice"


async def test_who_has_lost_the_lease_stores_nothing(tmp_path: Path) -> None:
    """As a node that stood still does when it goes on."""
    reached, gate = asyncio.Event(), asyncio.Event()

    async def answer(request: Request) -> Response | None:
        if request.path == "/":
            reached.set()
            await gate.wait()
        return Response(html(text="late")) if request.path == "/" else None

    async with serving(answer) as site, crawling(tmp_path) as (api, sites):
        path = await add(api, sites, site.url)
        await reached.wait()

        async def take_away(tx: Tx) -> None:
            until_us = system_clock() + 3_600_000_000
            await tx.run("UPDATE sites SET lease = 'another', lease_until = :until_us", until_us=until_us)

        await api.services.database.transaction("test.take", take_away)
        (crawl,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("crawls site ")]
        gate.set()
        await crawl
        assert await pages_of(api, path, site.url) == {"/": ("pending", None)}
        assert await documents_of(api, sites) == []
        assert (await api.get(path)).body["state"] == "crawling"


async def test_a_site_deleted_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    reached = asyncio.Event()

    def answer(request: Request) -> Response | None:
        if request.path == "/5":
            reached.set()
        return Response(html(*(f"/{n}" for n in range(60)), text=f"This is {request.path}."))

    async with serving(answer) as site, crawling(tmp_path) as (api, sites):
        path = await add(api, sites, site.url)
        following = asyncio.create_task(api.get(path, headers={"Accept": "text/event-stream"}))
        await reached.wait()
        assert (await api.call("DELETE", path)).status == 204
        assert await documents_of(api, sites) == []
        name, problem = (await following).events[-1]
        assert (name, problem["code"]) == ("error", "not_found")
        await api.services.site_worker.aclose()
        assert await documents_of(api, sites) == [], "nothing is stored behind it"


async def test_a_chatbot_deleted_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    reached = asyncio.Event()

    def answer(request: Request) -> Response | None:
        if request.path == "/5":
            reached.set()
        return Response(html(*(f"/{n}" for n in range(60)), text=f"This is {request.path}."))

    async with serving(answer) as site, crawling(tmp_path) as (api, sites):
        await add(api, sites, site.url)
        await reached.wait()
        chatbot = sites.removesuffix("/sites")
        assert (await api.call("DELETE", chatbot)).status == 204
        await api.services.site_worker.aclose()
        assert (await api.get(sites)).status == 404

        async def nothing_left(reader: Any) -> list[Any]:
            return [*await reader.all("SELECT id FROM sites"), *await reader.all("SELECT url FROM site_pages"),
                    *await reader.all("SELECT id FROM documents")]  # fmt: skip

        assert await api.services.database.read(nothing_left) == []


# --- requests ---


async def test_what_cannot_be_crawled_is_refused_at_once(tmp_path: Path) -> None:
    async with gigachat(tmp_path, fetch_allow=SITE) as api:
        sites = await api.chatbot() + "/sites"
        good = {"url": f"http://{SITE}/", "kind": "site"}
        for body, field in (
            ({**good, "url": "ftp://a.example/"}, "url"),
            ({**good, "url": "http://me@a.example/"}, "url"),
            ({**good, "url": "http://127.0.0.1/"}, "url"),
            ({**good, "url": "http://2130706433/"}, "url"),
            ({**good, "url": "http://169.254.169.254/latest/meta-data/"}, "url"),
            ({**good, "url": f"http://{SITE}:8080/"}, "url"),
            ({**good, "kind": "everything"}, "kind"),
            ({**good, "depth": 21}, "depth"),
            ({**good, "max_pages": 0}, "max_pages"),
            ({**good, "include": [""]}, "include[0]"),
            ({**good, "exclude": ["x"] * 51}, "exclude"),
            ({**good, "recrawl_hours": 0}, "recrawl_hours"),
            ({**good, "what": 1}, "what"),
            ({"kind": "site"}, "url"),
        ):
            reply = await api.post(sites, body)
            assert (reply.status, reply.code) == (422, "invalid_request"), body
            assert {f.replace("include[...]", "include[0]") for f in reply.fields} == {field}, reply.text
        assert (await api.get(sites)).body == []


async def test_a_site_is_changed_listed_and_not_had_twice(tmp_path: Path) -> None:
    async with serving(shop()) as site, crawling(tmp_path) as (api, sites):
        headers = {"Idempotency-Key": "k1"}
        body = {"url": site.url, "kind": "site", "include": ["/a*"]}
        first = await api.post(sites, body, headers=headers)
        replayed = await api.post(sites, body, headers=headers)
        assert (replayed.status, replayed.body["id"]) == (202, first.body["id"])
        clash = await api.post(sites, {**body, "url": site.url + "/#top"})
        assert (clash.status, clash.code) == (409, "site_exists")
        path = first.headers["Location"]
        await over(api, path)
        changed = await api.call("PATCH", path, {"recrawl_hours": 2, "include": []})
        assert (changed.status, changed.body["include"], changed.body["recrawl_hours"]) == (200, [], 2)
        assert changed.body["next_crawl_at"] is not None
        assert (await api.call("PATCH", path, {"recrawl_hours": None})).body["next_crawl_at"] is None
        assert (await api.call("PATCH", path, {"url": "http://a.example"})).status == 422
        assert (await again(api, path))["progress"]["documents"] == 5
        others = [await add(api, sites, f"{site.url}{page}", "page") for page in ("/about", "/returns")]
        listed = [each["id"] for each in await all_of_pages(api, f"{sites}?limit=2")]
        assert listed == [other.rpartition("/")[2] for other in reversed(others)] + [first.body["id"]]
        urls = [page["url"] for page in await all_of_pages(api, f"{path}/pages?limit=2")]
        assert urls == sorted(f"{site.url}{name}" for name in shop().at)


async def all_of_pages(api: Api, link: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while link:
        reply = await api.get(link)
        assert len(reply.body) <= 2
        found += reply.body
        link = reply.headers.get("Link", "").partition("<")[2].partition(">")[0]
    return found


async def test_foreign_and_missing_sites_look_the_same(tmp_path: Path) -> None:
    async with serving(shop()) as site, crawling(tmp_path) as (api, sites):
        path = await add(api, sites, site.url, "page")
        other = await api.chatbot() + "/sites/" + path.rpartition("/")[2]
        missing = sites + "/" + "0" * 8 + path.rpartition("/")[2][8:]
        for method, below in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/crawl"), ("GET", "/pages")):
            answers = [
                await api.call(method, each + below, {} if method == "PATCH" else None) for each in (other, missing, sites + "/x")
            ]
            assert {(reply.status, reply.code) for reply in answers} == {(404, "not_found")}, (method, below)
        await over(api, path)
