"""What every page has in common: where requests may come from, what they may hold, and the headers of every answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gigachat_server.pages.routes import ROUTES
from gigachat_server.pages.static_files import FOLDER, StaticFiles
from gigachat_server.records import ApiKey
from gigachat_server.store import keys
from gigachat_server.store.database import Reader
from tests.harness import Reply
from tests.pages.pages import Page, Pages, pages

pytestmark = pytest.mark.sqlite_only  # a page sees nothing but the API, which is tested on both

# What a browser sends with a request that another site makes it send, or that nobody can tell the origin of.
FOREIGN: tuple[dict[str, str], ...] = (
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://{host}"},
    {"Origin": "https://evil.test"},
    {"Origin": "http://{host}.evil.test"},
    {"Origin": "http://evil.test@{host}:1"},
    {"Origin": "null"},
    {"Origin": ""},
    {},
)


def host_of(site: Pages) -> str:
    return site.visitor.url.removeprefix("http://")


async def effects(site: Pages) -> tuple[object, ...]:
    """What the requests below would change."""
    held = [(key.id, key.revoked_at) for key in await _keys(site)]
    chatbots = (await site.api.get("/chatbots")).text
    return held, chatbots, (await site.visitor.get("/keys")).status


async def _keys(site: Pages) -> list[ApiKey]:
    async def read(reader: Reader) -> list[ApiKey]:
        return await keys.list_keys(reader, site.api.services.account.id, before=None, limit=100)

    return await site.api.services.database.read(read)


async def attempt(site: Pages, path: str, headers: dict[str, str], csrf: str) -> Reply:
    fields = {"csrf": csrf, "name": "evil", "key_id": site.api.key[4:12], "key": site.api.key}
    if path == "/keys":
        fields = {"csrf": csrf, "name": "evil"}
    return await site.visitor.post(path, headers=headers, **fields)


async def test_no_other_site_can_have_anything_done(tmp_path: Path) -> None:
    templates = [route.path for route in ROUTES if route.method == "POST" and not route.is_json]
    async with pages(tmp_path) as site:
        chatbot_id = (await site.api.chatbot()).rpartition("/")[2]
        posts = [template.format(chatbot_id=chatbot_id) for template in templates]
        before = await effects(site)
        for path in posts:
            for foreign in FOREIGN:
                headers = {name: value.format(host=host_of(site)) for name, value in foreign.items()}
                reply = await attempt(site, path, headers, site.visitor.csrf)
                assert reply.status == 403, (path, headers)
                assert "Set-Cookie" not in reply.headers
        for path in posts:
            if path not in ("/login", "/invite"):  # which nobody is signed in for
                for token in ("", "x", site.visitor.csrf[:-1]):
                    reply = await attempt(site, path, {"Sec-Fetch-Site": "same-origin"}, token)
                    assert reply.status == 403, (path, token)
        assert await effects(site) == before


async def test_no_other_site_can_speak(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        body = b'{"chatbot_id":"%s","conversation_id":"c1","prompt":"x"}' % chatbot.split("/")[-1].encode()
        ours = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json", "X-CSRF-Token": site.visitor.csrf}
        for changed, status in (
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"X-CSRF-Token": "x"}, 403),
            ({"X-CSRF-Token": ""}, 403),
            ({"Content-Type": "text/plain"}, 415),
        ):
            reply = await site.visitor.call("POST", "/web/chat", raw=body, headers={**ours, **changed})
            assert reply.status == status
            assert reply.code
        assert (await site.api.get(f"{chatbot}/conversations")).body == []
        assert (await site.visitor.call("POST", "/web/chat", raw=body, headers=ours)).status == 201


async def test_over_plain_http_the_origin_shows_that_a_form_is_ours(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        reply = await site.visitor.post("/keys", headers={"Origin": f"http://{host_of(site)}"}, name="k")
        assert reply.status == 201


async def every_answer(site: Pages) -> list[Reply]:
    paths = [
        "/",
        "/keys",
        "/docs",
        "/login",
        "/logout",
        "/web/none",
        "/web/chat",
        "/web/chat/events",
        "/static/none.js",
        "/?chatbot=x",
    ]
    paths += ["/keys?after=x", "/?conversation=%00", "/docs?" + "a=1&" * 60, StaticFiles().url("style.css")]
    found = [await visitor.get(path) for visitor in (site.visitor, site.stranger) for path in paths]
    found.append(await site.visitor.post("/keys", name="a"))
    found.append(await site.visitor.post("/keys", name=""))
    found.append(await site.visitor.post("/web/keys/revoke", key_id="none"))
    found.append(await site.stranger.post("/login", key="x"))
    found.append(await site.visitor.say("/chatbots/none", "x"))
    return found


async def test_every_answer_forbids_what_no_page_needs(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        await site.api.chatbot()
        for reply in await every_answer(site):
            assert reply.headers["Content-Security-Policy"] == (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            )
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Referrer-Policy"] == "same-origin"
            assert reply.status < 500
            if reply.headers.get("Content-Type", "").startswith("text/html"):
                assert Page(reply.text).dangers == []
                assert reply.headers["Cache-Control"] == "no-store"


async def test_errors_are_pages(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        missing = await site.visitor.get("/web/none")
        assert missing.status == 404
        assert missing.headers["Content-Type"] == "text/html; charset=utf-8"
        assert 'href="/docs#error-not_found"' in missing.text
        wrong = await site.visitor.get("/logout")
        assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
        head = await site.visitor.call("HEAD", "/keys", headers={})
        assert (head.status, head.text) == (200, "")


FORM = "application/x-www-form-urlencoded"
BAD_FORMS = (
    (b"name=" + b"a" * 70_000, FORM, 413),
    (b"name=a", "multipart/form-data; boundary=x", 415),
    (b"name=a", "text/plain", 415),
    (b"name=a&name=b", FORM, 422),
    (b"name=%00", FORM, 422),
    (b"name=%ED%A0%80", FORM, 422),
    (b"name=%FF", FORM, 422),
    (b"name=\xff", FORM, 422),
    (b"name=a&other=b", FORM, 422),
    (b"name=" + b"a" * 256, FORM, 422),
    (b"name=+%09+", FORM, 422),
    (b"a=1&" * 50, FORM, 422),
)


async def test_forms_are_strict(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        for raw, media_type, status in BAD_FORMS:
            headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": media_type}
            for path in ("/keys", "/web/chatbots"):
                signed = raw + b"&csrf=" + site.visitor.csrf.encode()
                reply = await site.visitor.call("POST", path, raw=signed, headers=headers)
                assert reply.status == status, (raw[:40], reply.text)
        headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": FORM}
        assert (await site.visitor.call("POST", "/keys", raw=b"", headers=headers)).status == 403
        assert len(await _keys(site)) == 1
        assert (await site.api.get("/chatbots")).body == []


async def test_only_the_files_of_the_package_are_served(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        for name in (path.name for path in FOLDER.iterdir()):
            plain = await site.stranger.get(f"/static/{name}")
            assert plain.status == 200
            assert plain.headers["Cache-Control"] == "no-cache"
            lasting = await site.stranger.get(StaticFiles().url(name))
            assert lasting.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            known = await site.stranger.get(f"/static/{name}", **{"If-None-Match": plain.headers["Etag"]})
            assert (known.status, known.text) == (304, "")
        for name in ("", "../__init__.py", "..%2f__init__.py", "%2e%2e/routes.py", "/etc/passwd", "base.html", "."):
            assert (await site.stranger.get(f"/static/{name}")).status == 404


async def test_a_strange_host_is_not_repeated(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        page = await site.stranger.get("/docs", Host='evil.test/$(id)"')
        assert "evil.test" not in page.text
        assert "http://localhost/chatbots" in page.text


def test_no_script_of_a_page_leads_out_of_the_public_path() -> None:
    """A server may be one of several behind an address, each below a path of its own."""
    rooted = re.compile(r"""[`"'(]/(\?|web\b|inbox\b|settings\b|login\b|keys\b|figures\b|static\b|widget/|chat\b)""")
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in FOLDER.glob("*.js")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if rooted.search(line) and not line.lstrip().startswith("//")
    ]
    assert found == []
