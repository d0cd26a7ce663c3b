"""`gigachat sites`: a site is added, watched, shown, crawled again and removed."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.commands import Gigachat
from tests.fetching.canaries import SITE

pytestmark = [pytest.mark.slow, pytest.mark.sqlite_only]  # a client of the API; test_keys, test_serve and test_commands open both


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def folder_served(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer((SITE, 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://{SITE}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_site_is_added_watched_shown_crawled_again_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text('<p>Welcome.</p><a href="a.html">a</a> <a href="no.html">b</a>')
    (folder / "a.html").write_text("<p>Parcels are sent on Mondays.</p>")
    gigachat = Gigachat(tmp_path / "data", fetch_allow=SITE, fetch_ports="1-65535")
    with folder_served(folder) as url, gigachat.serving():
        gigachat.output("chatbots", "create", "shop")
        added = gigachat.run("sites", "add", url, "--chatbot", "shop", "--depth", "3", "--exclude", "*.pdf")
        assert added.returncode == 0, added.stderr
        site_id = added.stdout.strip()
        assert f"{url}/: 2 documents (0 unchanged), 0 skipped, 1 failed, 0 removed." in added.stderr
        assert "100 % of 100 %" in added.stderr
        listed = gigachat.json("sites", "list", "--chatbot", "shop")
        assert [(each["id"], each["state"], each["depth"]) for each in listed] == [(site_id, "ready", 3)]
        shown = gigachat.output("sites", "show", url, "--chatbot", "shop")
        assert f"failed\tnot_found\t{url}/no.html" in shown
        (folder / "a.html").unlink()
        again = gigachat.run("sites", "crawl", site_id, "--chatbot", "shop")
        assert "1 documents (1 unchanged), 0 skipped, 1 failed, 1 removed." in again.stderr
        twice = gigachat.run("sites", "add", url, "--chatbot", "shop")
        assert twice.returncode == 1
        assert "has that site already" in twice.stderr
        assert gigachat.run("sites", "remove", url, "--chatbot", "shop").returncode == 0
        assert gigachat.json("documents", "list", "--chatbot", "shop") == []
        missing = gigachat.run("sites", "show", url, "--chatbot", "shop")
        assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)


def test_a_site_that_cannot_be_crawled_ends_with_its_reason(tmp_path: Path) -> None:
    gigachat = Gigachat(tmp_path / "data", fetch_allow=SITE, fetch_ports="1-65535")
    gigachat.output("chatbots", "create", "shop")
    ended = gigachat.run("sites", "add", f"http://{SITE}:1/sitemap.xml", "--chatbot", "shop")
    assert ended.returncode == 1
    assert "could not be crawled (unreachable)" in ended.stderr
    refused = gigachat.run("sites", "add", "http://localhost@x/", "--chatbot", "shop")
    assert (refused.returncode, "url: Must not contain a user name" in refused.stderr) == (1, True)
