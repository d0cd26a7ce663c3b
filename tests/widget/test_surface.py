"""What the frame is served and may call, over HTTP."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.records import Citation, Message, MessageRole, Source
from gigachat_server.records import SourceView as SourcesShown
from gigachat_server.store.database import Reader
from gigachat_server.widget.context import templates_of_widget
from gigachat_server.widget.files import Files
from gigachat_server.widget.strings import FOLDER, locales, strings
from gigachat_server.widget.views import plain_line, widget_view
from tests.harness import Api, gigachat
from tests.pages.pages import MATCHING, Page
from tests.pages.payloads import XSS
from tests.widget.visits import Told, fetched, is_answered, visiting

OTHER = "01a22e02-e9f7-76d9-91d7-7e8587c01425"


async def test_a_visitor_asks_and_is_answered(tmp_path: Path) -> None:
    async with gigachat(tmp_path, model=ScriptedModel(["Free for ", "30 days."])) as api, visiting(api) as visit:
        bearer = await visit.session()
        said = await visit.say(bearer, "How do returns work?", key="k1")
        assert said["conversation_id"].startswith("cnv_")
        assert await visit.say(bearer, "How do returns work?", key="k1") == said
        found = await visit.follow(bearer, said["conversation_id"], until=is_answered)
        assert any("Free for 30 days." in each["html"] for _, _, data in found for each in data.get("messages", ()))
        page = await visit.get(f"/conversation?id={said['conversation_id']}", bearer=bearer)
        assert page.body["html"].count("<article") == 2
        assert page.body["control"] == {"state": "bot", "name": ""}
        assert page.body["unread"] == 1
        read = {"conversation_id": said["conversation_id"], "seq": page.body["seq"]}
        assert (await visit.post("/read", read, bearer=bearer)).status == 204
        (listed,) = (await visit.get("/conversations", bearer=bearer)).body
        assert (listed["title"], listed["unread"]) == ("Free for 30 days.", 0)


async def test_a_stranger_and_another_visitor_find_nothing(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api, visiting(api) as visit:
        mine = await visit.session()
        said = await visit.say(mine, "Hello")
        theirs, conversation = await visit.session(), said["conversation_id"]
        for path in (f"/conversation?id={conversation}", f"/events?id={conversation}"):
            assert (await visit.get(path, bearer=theirs)).status == 404
            assert (await visit.get(path)).status == 401
            assert (await visit.get(path, bearer=visit.key)).status == 403  # a widget key opens sessions alone
            assert (await visit.get(path, bearer=visit.keeper)).status == 403  # an API key stays on a server
        assert (await visit.get("/conversations", bearer=theirs)).body == []
        named = {"conversation_id": conversation}
        for below, more in (
            ("/stop", {}),
            ("/handoff", {}),
            ("/typing", {}),
            ("/read", {"seq": 1}),
            ("/prompt", {"prompt": "Hi"}),
        ):
            assert (await visit.post(below, named | more, bearer=theirs)).status == 404, below


async def test_only_our_own_frame_has_anything_done(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api, visiting(api) as visit:
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "none", "Origin": "https://shop.example.com"},
            {"Sec-Fetch-Site": "same-site", "Origin": "null"},
        ):
            assert (await visit.post("/session", {}, bearer=visit.key, headers=headers)).status == 403
        assert (await visit.post("/session", {}, bearer=visit.key)).status == 201


async def test_the_policy_names_the_pages_of_the_key(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api, visiting(api, hostnames=("shop.example.com", "*.example.org", "localhost")) as visit:
        shown = await visit.get(f"?key={visit.key}")
        assert shown.status == 200
        policy = shown.headers["Content-Security-Policy"]
        assert policy.endswith(
            "frame-ancestors https://shop.example.com:* https://*.example.org:* https://localhost:* http://localhost:*"
        )
        assert shown.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert shown.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert "Set-Cookie" not in shown.headers
        top = await visit.get(f"?key={visit.key}", headers={"Sec-Fetch-Dest": "document"})
        assert top.status == 404
        assert (await fetched(api, f"/chat/{visit.chatbot_id}")).status == 404
        assert (await visit.change_key(allow_direct=True)).status == 200
        page = await fetched(api, f"/chat/{visit.chatbot_id}")
        assert page.status == 200
        assert page.headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")


async def test_a_key_that_lets_nobody_in_opens_nothing(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api, visiting(api) as visit, visiting(api) as other:
        for key in ("", "gcp_", other.key, visit.key[:-1] + "x", visit.keeper):
            assert (await visit.get(f"?key={key}")).status == 404
            told = await visit.get(f"/settings.js?key={key}")
            assert told.status == 200
            assert "refused" in told.text
        told = await visit.get(f"/settings.js?key={visit.key}", headers={"Origin": "https://evil.example"})
        assert "does not list" in told.text
        told = await visit.get(f"/settings.js?key={visit.key}", headers={"Origin": "https://shop.example.com"})
        assert '"accent"' in told.text
        assert told.headers["Access-Control-Allow-Origin"] == "*"
        loader = await fetched(api, f"/widget.js?chatbot={visit.chatbot_id}&key={visit.key}")
        assert 'const GIVEN = {"name":' in loader.text
        # What one page was told, a cache in between must not tell another.
        assert told.headers["Vary"] == "Accept-Encoding, Accept-Language, Origin"
        assert loader.headers["Vary"] == "Accept-Encoding, Accept-Language, Referer"
        assert (await api.call("DELETE", f"{visit.path}/widget-keys/{visit.key_id}", key=visit.keeper)).status == 204
        assert (await visit.get(f"?key={visit.key}")).status == 404
        assert (await fetched(api, f"/widget/{OTHER}?key={visit.key}")).status == 404


async def test_what_is_complete_of_a_reply_comes_as_it_will_be(tmp_path: Path) -> None:
    pause = Pause()
    model = ScriptedModel(["**One**", ".\n\n```\na\n\nb\n", "```\n\nTwo ", pause, "<script>x</script>\n\nend"])
    async with gigachat(tmp_path, model=model) as api, visiting(api) as visit:
        bearer = await visit.session()
        said = await visit.say(bearer, "Tell me")

        def has_blocks(found: list[Told]) -> bool:
            return any(name == "block" and data["end"] == 24 for _, name, data in found)

        found = await visit.follow(bearer, said["conversation_id"], until=has_blocks)
        blocks = [data for _, name, data in found if name == "block"]
        assert [block["start"] for block in blocks] == [
            0,
            *(block["end"] for block in blocks[:-1]),
        ]  # they come one after the other
        html = "".join(block["html"] for block in blocks)
        assert "<strong>One</strong>" in html
        assert "<pre><code>a\n\nb\n</code></pre>" in html
        pause.resume()
        found = await visit.follow(bearer, said["conversation_id"], until=is_answered)
        shown = [data.get("html", "") + "".join(each["html"] for each in data.get("messages", ())) for _, _, data in found]
        assert "&lt;script&gt;" in "".join(shown)
        assert "<script>" not in "".join(shown)


@pytest.mark.parametrize(
    ("shown", "is_title", "is_text"), [("full", True, True), ("titles", True, False), ("none", False, False)]
)
async def test_a_key_says_what_visitors_see_of_sources(tmp_path: Path, shown: str, is_title: bool, is_text: bool) -> None:
    model = ScriptedModel(["Free.[1]"])
    async with gigachat(tmp_path, model=model) as api, visiting(api, documents=MATCHING["documents"]) as visit:
        await api.push(
            visit.path, "https://shop.example.com/help", "# Returns\n\nReturns are [free](https://x.test/) within 30 days."
        )
        assert (await visit.change_key(sources=shown)).status == 200
        bearer = await visit.session()
        said = await visit.say(bearer, "Returns?")
        await visit.follow(bearer, said["conversation_id"], until=is_answered)
        html = (await visit.get(f"/conversation?id={said['conversation_id']}", bearer=bearer)).body["html"]
        assert ("shop.example.com/help</bdi>" in html) is is_title
        assert ("Returns are free within 30 days." in html) is is_text
        assert "x.test" not in html
        assert ('class="cited"' in html) is is_title


async def test_a_human_comes_writes_and_closes(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api, visiting(api) as visit:
        bearer = await visit.session()
        said = await visit.say(bearer, "Hello")
        conversation = f"{visit.path}/conversations/{said['conversation_id']}"
        await visit.follow(bearer, said["conversation_id"], until=is_answered)
        assert (await visit.post("/handoff", {"conversation_id": said["conversation_id"]}, bearer=bearer)).status == 204
        page = f"/conversation?id={said['conversation_id']}"
        assert (await visit.get(page, bearer=bearer)).body["control"]["state"] == "waiting"
        assert (await api.post(f"{conversation}/takeover", {"operator": "ann"}, key=visit.keeper)).status == 200
        typing = await api.post(f"{conversation}/typing", {"user_id": "client:ann"}, key=visit.keeper)
        assert typing.status == 204, typing.text

        def is_writing(found: list[Told]) -> bool:
            return found[-1][1:] == ("typing", {"is_typing": True, "names": ["ann"]})

        found = await visit.follow(bearer, said["conversation_id"], until=is_writing)
        assert [data["line"] for _, _, data in found if data.get("line")] == [
            {"seq": found[-2][2]["line"]["seq"], "kind": "taken_over", "name": "ann"}
        ]
        closed = await api.call("PATCH", conversation, {"status": "closed"}, key=visit.keeper)
        assert closed.status == 200, closed.text
        shown = (await visit.get(page, bearer=bearer)).body
        assert (shown["control"]["state"], shown["csat"]["name"]) == ("closed", "ann")
        wanted = {"conversation_id": said["conversation_id"], "seq": shown["csat"]["seq"], "score": 5}
        assert (await visit.post("/csat", wanted | {"seq": 1}, bearer=bearer)).status == 422
        assert (await visit.post("/csat", wanted | {"score": 6}, bearer=bearer)).status == 422
        for _ in range(2):
            assert (await visit.post("/csat", wanted, bearer=bearer)).status == 204
        assert (await visit.get(page, bearer=bearer)).body["csat"] is None
        events = (await api.get(f"{conversation}/events?limit=100", key=visit.keeper)).body
        assert [event["type"] for event in events].count("conversation.rated") == 1
        read = {"conversation_id": said["conversation_id"], "seq": 2**50}
        assert (await visit.post("/read", read, bearer=bearer)).status == 204
        assert await _left(api) == [1, 1, 1]
        assert (await api.call("DELETE", conversation, key=visit.keeper)).status == 204
        assert await _left(api) == [0, 0, 0]


async def _left(api: Api) -> list[int]:
    """How many read marks, notes of typing and ratings are stored."""

    async def read(reader: Reader) -> list[int]:
        counts = [await reader.one(f"SELECT count(*) FROM {table}") for table in ("read_marks", "typing", "ratings")]
        return [int(row[0]) for row in counts if row is not None]

    return await api.services.database.read(read)


async def test_files_come_compressed_and_are_kept_for_good(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        plain = await fetched(api, "/widget/static/frame.css")
        assert plain.headers["Cache-Control"] == "no-cache"
        assert "Content-Encoding" not in plain.headers
        async with api._session.get(f"{api.url}/widget/static/frame.css", headers={"Accept-Encoding": "br, gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await answer.read()).decode() == plain.text
        etag = {"If-None-Match": plain.headers["Etag"]}
        assert (await fetched(api, "/widget/static/frame.css", headers=etag)).status == 304
        refused = await fetched(api, "/widget/static/frame.css", headers={"Accept-Encoding": "gzip;q=0"})
        assert "Content-Encoding" not in refused.headers
        for name in ("../frame.css", "%2e%2e/context.py", "nothing.js"):
            assert (await fetched(api, f"/widget/static/{name}")).status == 404


@pytest.mark.sqlite_only
@pytest.mark.parametrize("payload", XSS)
def test_whoever_says_it_a_payload_is_text(payload: str) -> None:
    line = "".join(c for c in payload if c.isprintable())
    source = Source("chk_1", "doc_1", line, 0, payload, 1, 2, 0.9, 0, 0, heading=line)
    text = f"{payload} [1]"
    citation = Citation(1, 0, min(len(payload), 9), len(text) - 3, len(text))
    template = templates_of_widget(Files("")).get_template("message.html")
    roles: tuple[MessageRole, ...] = ("user", "assistant", "operator", "system")
    views: tuple[SourcesShown, ...] = ("full", "titles")
    for role in roles:
        message = Message(
            chatbot_id="b", conversation_id="cnv_1", seq=1, id="msg_1", role=role, user_id=line, name=line, content=text,
            status="completed", in_reply_to=None, alternative=0, replaced_by=None, metadata={}, sources=(source,),
            citations=(citation,), created_at=0, updated_at=0,
        )  # fmt: skip
        for shown in views:
            html = template.render(m=widget_view(message, shown, strings("en")), t=strings("en").words)
            found = [each for each in Page(html).dangers if each != "<use>"]  # our icons; where theirs leads is told apart
            assert found == [], role
    assert len(plain_line(payload, 80)) <= 81
    assert "\n" not in plain_line(payload, 80)


# --- languages ---


@pytest.mark.sqlite_only
def test_every_language_says_everything() -> None:
    wanted = strings("en").words
    assert len(locales()) == 15
    for locale in locales():
        words = strings(locale).words
        assert words.keys() == wanted.keys(), locale
        for name, text in words.items():
            assert text.strip(), (locale, name)
            assert text.count("{n}") == wanted[name].count("{n}"), (locale, name)
            assert text.count("{name}") == wanted[name].count("{name}"), (locale, name)


@pytest.mark.sqlite_only
def test_no_string_is_left_over_or_missing() -> None:
    room = FOLDER.parent
    sources = [*room.glob("*.py"), *room.glob("static/**/*.js"), *room.glob("templates/*.html")]
    used = "".join(path.read_text(encoding="utf-8") for path in sources)
    stems = ("csat_", "note_", "line_", "status_", "contact_")
    left = [name for name in strings("en").words if name not in used and not name.startswith(stems)]
    assert left == []


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("wanted", "locale"),
    [
        (("de-AT",), "de"),
        (("xx", "fr;q=0.5, he"), "fr"),
        (("",), "en"),
        (("iw",), "he"),
        (("zh-Hant-TW",), "zh"),
        (("../en",), "en"),
    ],
)
def test_the_language_is_the_pages_or_else_the_browsers(wanted: tuple[str, ...], locale: str) -> None:
    assert strings(*wanted).locale == locale
