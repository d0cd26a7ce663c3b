"""`gigachat sites`: crawls web pages as a chatbot's documents, and shows the progress."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from gigachat_server.cli.client import ApiClient, connected, run
from gigachat_server.cli.options import EVERYWHERE, with_settings
from gigachat_server.cli.output import as_json, day_and_time, note, print_json, print_table
from gigachat_server.cli.progress import shown
from gigachat_server.errors import SetupError
from gigachat_server.settings import Settings

of_chatbot = click.option("--chatbot", required=True, metavar="NAME_OR_ID", help="Whose site.")
no_wait = click.option("--no-wait", is_flag=True, help="Do not wait: the server crawls in the background.")


class Progress(msgspec.Struct):
    percent: int
    found: int
    documents: int
    unchanged: int
    skipped: int
    failed: int
    removed: int


class Site(msgspec.Struct):
    """What is shown of a site."""

    id: str
    url: str
    kind: str
    state: str
    reason: str | None
    error: str | None
    progress: Progress
    crawled_at: str | None
    next_crawl_at: str | None


class Page(msgspec.Struct):
    url: str
    state: str
    reason: str | None


@click.group()
def sites() -> None:
    """Crawl pages, sitemaps and sites; list, show, crawl again and remove them."""


@sites.command()
@click.argument("url")
@of_chatbot
@click.option("--kind", type=click.Choice(["page", "sitemap", "site"]), help="Default: sitemap for .xml and .xml.gz, else site.")
@click.option("--depth", type=int, help="Most links between URL and a page.  [default 5]")
@click.option("--max-pages", type=int, help="Most addresses that a crawl reads.  [default 1000]")
@click.option("--include", multiple=True, metavar="GLOB", help="Only addresses that match, such as '/help/*'; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="No addresses that match; repeatable.")
@click.option("--recrawl-hours", type=int, metavar="N", help="Crawl again this many hours after each crawl.")
@no_wait
@with_settings(*EVERYWHERE)
def add(settings: Settings, *, url: str, chatbot: str, kind: str | None, no_wait: bool, **more: Any) -> None:
    """Crawl a page, all pages of a sitemap, or a site; the pages become documents named by their addresses."""
    is_sitemap = url.partition("?")[0].endswith((".xml", ".xml.gz"))
    body = {"url": url, "kind": kind or ("sitemap" if is_sitemap else "site")}
    body |= {name: value for name, value in more.items() if value not in (None, ())}

    async def main() -> Site:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            made = msgspec.convert(await api.post_once(f"/chatbots/{found.id}/sites", body), Site)
            print(made.id)
            return made if no_wait else await _watch(api, f"/chatbots/{found.id}/sites/{made.id}")

    _tell(run(main()), is_watched=not no_wait)


@sites.command()
@click.argument("site", metavar="URL_OR_ID")
@of_chatbot
@no_wait
@with_settings(*EVERYWHERE)
def crawl(settings: Settings, *, site: str, chatbot: str, no_wait: bool) -> None:
    """Crawl a site again now: embeds what changed, and removes what vanished."""

    async def main() -> Site:
        async with connected(settings) as api:
            path = await _find(api, chatbot, site)
            begun = msgspec.convert(await api.post_once(f"{path}/crawl"), Site)
            return begun if no_wait else await _watch(api, path)

    _tell(run(main()), is_watched=not no_wait)


@sites.command("list")
@of_chatbot
@as_json
@with_settings(*EVERYWHERE)
def list_(settings: Settings, *, chatbot: str, is_json: bool) -> None:
    """List a chatbot's sites, newest first."""

    async def main() -> list[Any]:
        async with connected(settings) as api:
            found = await api.find_chatbot(chatbot)
            return await api.list_all(f"/chatbots/{found.id}/sites")

    found = run(main())
    if is_json:
        print_json(found)
        return
    rows = [
        (
            each.id,
            each.url,
            each.kind,
            each.state if each.state != "crawling" else f"crawling, {each.progress.percent} %",
            str(each.progress.documents),
            day_and_time(each.crawled_at),
            day_and_time(each.next_crawl_at),
        )
        for each in msgspec.convert(found, list[Site])
    ]
    print_table(("ID", "URL", "KIND", "STATE", "PAGES", "CRAWLED", "NEXT"), rows, nothing="There are no sites.")


@sites.command()
@click.argument("site", metavar="URL_OR_ID")
@of_chatbot
@as_json
@with_settings(*EVERYWHERE)
def show(settings: Settings, *, site: str, chatbot: str, is_json: bool) -> None:
    """Show the state of each page of a site."""

    async def main() -> tuple[Any, list[Any]]:
        async with connected(settings) as api:
            path = await _find(api, chatbot, site)
            return await api.get(path), await api.list_all(f"{path}/pages")

    found, pages = run(main())
    if is_json:
        print_json({**found, "pages": pages})
        return
    _tell(msgspec.convert(found, Site), is_watched=False)
    rows = [(page.state, page.reason or "", page.url) for page in msgspec.convert(pages, list[Page])]
    print_table(("STATE", "REASON", "URL"), rows, nothing="No pages found yet.")


@sites.command()
@click.argument("site", metavar="URL_OR_ID")
@of_chatbot
@with_settings(*EVERYWHERE)
def remove(settings: Settings, *, site: str, chatbot: str) -> None:
    """Remove a site and its documents."""

    async def main() -> None:
        async with connected(settings) as api:
            await api.delete(await _find(api, chatbot, site))

    run(main())
    note("Removed the site and its documents.")


async def _find(api: ApiClient, chatbot: str, site: str) -> str:
    """The path of the chatbot's site of that id or URL. Raises `SetupError`."""
    found = await api.find_chatbot(chatbot)
    path = f"/chatbots/{found.id}/sites"
    for each in msgspec.convert(await api.list_all(path), list[Site]):
        if site in (each.id, each.url) or site + "/" == each.url:
            return f"{path}/{each.id}"
    raise SetupError(f"The chatbot has no site {site!r}; `gigachat sites list` shows its sites.")


async def _watch(api: ApiClient, path: str) -> Site:
    """The site once its crawl is over."""
    last: Site | None = None
    with shown("pages", 100, unit="percent") as progress:
        async for happening in api.follow(path, after=""):
            if happening.name == "done":
                break
            last = msgspec.convert(happening.data, Site)
            counted = last.progress
            progress.begin(f"{counted.documents} of {counted.found} pages read")
            progress.reach(counted.percent, 100)
    assert last is not None, "a stream begins with the site"
    return last


def _tell(site: Site, *, is_watched: bool) -> None:
    counted = site.progress
    if site.state == "failed":
        text = f"{site.url} could not be crawled ({site.reason}): {site.error}"
        if is_watched:
            raise SetupError(text)
        note(text)
    elif is_watched or site.crawled_at is not None:
        note(
            f"{site.url}: {counted.documents} documents ({counted.unchanged} unchanged), {counted.skipped} skipped, "
            f"{counted.failed} failed, {counted.removed} removed."
        )
        if site.reason is not None:
            note(_LEFT_OUT.get(site.reason, site.error or site.reason))


_LEFT_OUT = {
    "max_pages": "There are more pages: the crawl stopped at max_pages.",
    "depth": "There are more pages: they are more than depth links away.",
}
