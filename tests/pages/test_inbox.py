"""The inbox over HTTP: what it shows, to whom, and what its script has done."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import traceback
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from gigachat_server.access.principal import local_operator
from gigachat_server.api import sse
from gigachat_server.inbox import presence
from gigachat_server.models.fake import Pause, ScriptedModel
from gigachat_server.pages.merged import merged
from gigachat_server.pages.static_files import FOLDER
from gigachat_server.records import InterceptionConfig, Membership
from tests.harness import Reply, until
from tests.inbox.clocks import SteppedClock
from tests.pages.inbox import following, operator, path, wait_for_a_human
from tests.pages.pages import MATCHING, Change, Page, Visitor, pages
from tests.pages.payloads import XSS

pytestmark = pytest.mark.sqlite_only  # the pages see nothing of the store; what they call is tested on both

ACTS: dict[str, dict[str, Any]] = {
    "say": {"content": "Hello"},
    "note": {"content": "A note"},
    "takeover": {},
    "release": {},
    "change": {"status": "closed"},
    "suggest": {},
    "fix": {"prompt": "When?", "answer": "Now."},
}


def _keys(html: str) -> list[str]:
    return re.findall(r'<li [^>]*data-key="([^"]+)"', html)


def _events(found: list[Change]) -> list[str]:
    """The lines of the thread that a stream has told of."""
    return [item["html"] for change in found if change.name == "change" for item in change.data["items"]]


def _last(found: list[Change], name: str) -> dict[str, Any]:
    return next((each.data for each in reversed(found) if each.name == name), {})


async def test_the_scripts_and_the_styles_stay_light(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        eve = await operator(site, "eve")
        loaded = re.findall(r'(?:src|href)="/static/([\w-]+\.(js|css))\?', (await eve.get("/inbox")).text)
    sizes: Counter[str] = Counter()
    for name, kind in loaded:
        sizes[kind] += len(gzip.compress((FOLDER / name).read_bytes(), 9))
    assert 5_000 < sizes["js"] <= 20_000
    assert 5_000 < sizes["css"] <= 8_000


async def test_who_waits_is_listed_longest_first_and_opened_with_all_that_was_said(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(name="Superbot")
        await site.api.call("PATCH", f"{chatbot}/users/ann", {"name": "Ann Archer", "metadata": {"plan": "Gold"}})
        for name in ("b/1", "a", "c"):
            await wait_for_a_human(site, chatbot, name, user="ann", note="About <the> bill")
        eve = await operator(site, "eve")
        listed = await eve.get("/inbox")
        assert [key.partition("/")[2] for key in _keys(listed.text)] == ["b%2F1", "a", "c"]
        assert "Ann Archer" in Page(listed.text).text
        shown = await eve.get(path(chatbot, "b/1"))
        assert shown.status == 200
        text = Page(shown.text).text
        for wanted in ("About <the> bill", "Verified by your server", "Gold", "Hello", "Hi.", "Take over", "A human is wanted"):
            assert wanted in text, wanted
        for view, count in (("open", 3), ("unassigned", 3), ("mine", 0), ("snoozed", 0), ("closed", 0)):
            assert len(_keys((await eve.get(f"/inbox?view={view}")).text)) == count, view
        assert "Nothing is yours." in (await eve.get("/inbox?view=mine")).text
        assert "Nothing found." in (await eve.get("/inbox?q=zebra")).text
        assert (await eve.get("/inbox?view=nonsense&n=x&chatbot=%00")).status == 200
        for wrong in (path(chatbot, "none"), path("/chatbots/none"), "/inbox/x", "/inbox/x/y/z", "/inbox//"):
            assert (await eve.get(wrong)).status == 404, wrong
        signed_out = await site.stranger.get(path(chatbot, "b/1"))
        assert signed_out.headers["Location"].startswith("/login?next=%2Finbox%2F")


async def test_a_member_reaches_their_own_chatbots_alone(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        ours, theirs = await site.api.chatbot(name="Ours"), await site.api.chatbot(name="Theirs")
        for each in (ours, theirs):
            await wait_for_a_human(site, each)
        ben = await operator(site, "ben", "member", chatbots={ours: "operator"})
        for query in ("", "?view=open", f"?chatbot={theirs.rpartition('/')[2]}", "?q=hello"):
            html = (await ben.get(f"/inbox{query}")).text
            assert "Theirs" not in html, query
            assert all(key.startswith(ours.rpartition("/")[2]) for key in _keys(html)), query
        assert (await ben.get(path(theirs))).status == 404
        for act, fields in ACTS.items():
            refused = await ben.send(f"/web/inbox/{act}", theirs, **fields)
            assert (refused.status, refused.code) == (404, "not_found"), act
        opened = f"open={theirs.rpartition('/')[2]}/c1"
        assert (await ben.get(f"/web/inbox/events?{opened}")).status == 404
        assert (await ben.get(f"/web/inbox/replies?chatbot={theirs.rpartition('/')[2]}")).status == 404
        async with following(ben, "view=open") as stream:
            await stream.until(lambda found: {each.name for each in found} >= {"row", "counts"})
            told = stream.named("row")[0].data
            assert [key.partition("/")[0] for key in told["order"]] == [ours.rpartition("/")[2]]
            assert len(stream.named("counts")[0].data["waits"]) == 1


async def test_viewers_and_keys_read_along(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot)
        machine = site.visitor
        shown = await machine.get(path(chatbot))
        assert "sign in as an operator" in shown.text
        for act, fields in ACTS.items():
            if act != "fix":
                refused = await machine.send(f"/web/inbox/{act}", chatbot, **fields)
                assert refused.status == 403, act
                assert "Only operators answer here" in refused.text
        viewer = await operator(site, "viv", "member", chatbots={chatbot: "viewer"})
        shown = await viewer.get(path(chatbot))
        assert 'id="composer"' not in shown.text
        assert "viewers do not answer" in shown.text
        for act, fields in ACTS.items():
            assert (await viewer.send(f"/web/inbox/{act}", chatbot, **fields)).status == 403, act
        assert (await site.api.get(f"{chatbot}/conversations/c1")).body["controlled_by"] == "bot"


async def test_of_two_operators_one_answers_and_the_other_is_told(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot)
        eve, ben = await operator(site, "eve"), await operator(site, "ben", "admin")
        said = await eve.send("/web/inbox/say", chatbot, key="k1", content="I look into it.")
        again = await eve.send("/web/inbox/say", chatbot, key="k1", content="I look into it.")
        assert (said.status, again.body) == (201, said.body)
        for act, fields in (("say", {"content": "Me too"}), ("takeover", {}), ("release", {})):
            refused = await ben.send(f"/web/inbox/{act}", chatbot, **fields)
            assert (refused.status, refused.code) == (409, "conversation_already_taken_over"), act
        assert "eve answers" in Page((await ben.get(path(chatbot))).text).text.replace(" answers", " answers")
        assert (await ben.send("/web/inbox/takeover", chatbot, force=True)).status == 204
        spoken = [(each["role"], each["user_id"]) for each in await site.api.messages(chatbot)]
        assert [each for each in spoken if each[0] == "operator"] == [("operator", "client:eve")]
        assert (await ben.send("/web/inbox/release", chatbot)).status == 204
        assert (await site.api.get(f"{chatbot}/conversations/c1")).body["controlled_by"] == "bot"


async def test_status_assignment_and_notes_are_those_of_the_api(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot)
        eve, ben = await operator(site, "eve"), await operator(site, "ben", "member", chatbots={chatbot: "operator"})
        for fields, wanted in (
            ({"status": "snoozed", "snoozed_until": "2020-01-01T00:00:00Z"}, 422),
            ({"status": "snoozed"}, 422),
            ({"assigned_to": ""}, 422),
            ({"status": "lost"}, 422),
            ({"assigned_to": "ben", "status": "closed"}, 204),
        ):
            assert (await eve.send("/web/inbox/change", chatbot, **fields)).status == wanted, fields
        stored = (await site.api.get(f"{chatbot}/conversations/c1")).body
        assert (stored["status"], stored["assigned_to"]) == ("closed", "ben")
        assert len(_keys((await ben.get("/inbox?view=closed")).text)) == 1
        assert (await eve.send("/web/inbox/note", chatbot, content="x" * 10_001)).status == 422
        note = (await eve.send("/web/inbox/note", chatbot, content="She called before.")).body["note_id"]
        shown = await ben.get(path(chatbot))
        assert "She called before." in shown.text
        assert "delete-note" not in shown.text, "it is another's"
        assert (await ben.send("/web/inbox/delete-note", chatbot, note_id=note)).status == 403
        assert (await eve.send("/web/inbox/delete-note", chatbot, note_id=note)).status == 204
        assert "She called before." not in (await ben.get(path(chatbot))).text


async def test_a_proposal_is_edited_and_sent_and_kept_as_a_fixed_answer(tmp_path: Path) -> None:
    async with pages(tmp_path, model=ScriptedModel(["Within 30 days."])) as site:
        chatbot = await site.api.chatbot(documents={"results": {"match_threshold": 1}})
        await site.api.push(chatbot, "a.md", "Lamps are made of oak.")
        await site.api.say(chatbot, "How long can I send it back?")
        eve = await operator(site, "eve")
        unanswered = (await site.api.get(f"{chatbot}/unanswered")).body
        assert len(unanswered) == 1
        assert "Nothing in the documents" in (await eve.get(path(chatbot))).text
        proposal = (await eve.send("/web/inbox/suggest", chatbot)).body["proposal_id"]

        async def is_made() -> bool:
            return 'data-do="send"' in (await eve.get(path(chatbot))).text

        await until(is_made)
        sent = await eve.send("/web/inbox/send", chatbot, proposal_id=proposal, content="Within 60 days.")
        assert sent.status == 201, sent.text
        late = await eve.send("/web/inbox/discard", chatbot, proposal_id=proposal)
        assert (late.status, late.code) == (409, "proposal_decided")
        assert (await eve.send("/web/inbox/send", chatbot, proposal_id="x")).status == 404
        last = (await site.api.messages(chatbot))[-1]
        assert (last["role"], last["content"]) == ("assistant", "Within 60 days.")
        prompt = next(each for each in await site.api.messages(chatbot) if each["role"] == "user")["id"]
        fields = {"prompt": "How long can I send it back?", "answer": "Within 60 days.", "prompt_id": prompt}
        assert (await eve.send("/web/inbox/fix", chatbot, **fields)).body == {"count": 1}
        assert (await site.api.get(f"{chatbot}/unanswered")).body == []
        assert (await eve.send("/web/inbox/fix", chatbot, **fields)).body == {"count": 0}
        await site.api.post(f"{chatbot}/canned-replies", {"shortcut": "hi", "content": "Good morning"})
        offered = (await eve.get(f"/web/inbox/replies?chatbot={chatbot.rpartition('/')[2]}")).body
        assert {(each["kind"], each["name"]) for each in offered} == {("canned", "hi"), ("fixed", fields["prompt"])}


async def test_nothing_that_anybody_wrote_runs_in_the_inbox(tmp_path: Path) -> None:
    async with pages(tmp_path, model=ScriptedModel(["\n\n".join(XSS)])) as site:
        eve, html = await operator(site, "eve"), list[str]()
        for number, payload in enumerate(XSS, 1):
            name = "".join(each for each in f"{number} {payload}" if each.isprintable())[:100]
            chatbot = await site.api.chatbot(name=name, **MATCHING)
            await site.api.push(chatbot, "a.md", payload)
            await wait_for_a_human(site, chatbot, name, user=name, note=payload[:2000])
            noted = await eve.send("/web/inbox/note", chatbot, conversation=name, content=payload)
            assert noted.status == 201, noted.text
            assert Page((await eve.get(path(chatbot, name))).text).dangers == [], payload
            if number % 50 and number < len(XSS):  # as many rows are listed
                continue
            assert Page((await eve.get("/inbox?view=open")).text).dangers == []
            async with following(eve, f"open={chatbot.rpartition('/')[2]}/{quote(name)}") as stream:
                await stream.until(lambda found: any(each.name == "row" for each in found) and len(_events(found)) >= 5)
                html += [each["html"] for each in stream.named("row")[0].data["changed"]] + _events(stream.found)
                html += [change.data[part] for change in stream.named("change") for part in ("head", "person", "proposals")]
        assert len(html) > len(XSS)
        assert Page("".join(html)).dangers == []


async def test_the_stream_brings_rows_and_the_thread_from_its_place(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot)
        eve = await operator(site, "eve")
        place = re.findall(r'data-last="(\d+)"', (await eve.get(path(chatbot))).text)[0]
        opened = f"open={chatbot.rpartition('/')[2]}/c1"
        async with following(eve, f"{opened}&after={place}") as stream:
            await stream.until(lambda found: {each.name for each in found} >= {"row", "counts"})
            assert stream.named("change") == [], "the page shows it all"
            await eve.send("/web/inbox/takeover", chatbot)
            await wait_for_a_human(site, chatbot, "c2", user="bob")
            await stream.until(lambda found: bool(_events(found)))
            assert "took over" in _events(stream.found)[0]
            await stream.until(lambda found: _last(found, "counts").get("waiting") == "2")
            await stream.until(lambda found: len(_last(found, "row")["order"]) == 2)
            order = stream.named("row")[-1].data["order"]
            assert [key.rpartition("/")[2] for key in order] == ["c1", "c2"]
            left_at = stream.named("change")[-1].place
        await eve.send("/web/inbox/note", chatbot, content="Meanwhile")
        async with following(eve, opened, place=left_at) as stream:
            await stream.until(lambda found: bool(_events(found)))
            assert [("Meanwhile" in html) for html in _events(stream.found)] == [True], "what came since, and no more"
        for number in range(110):
            await site.api.say(chatbot, f"{number}", user="ann")
        async with following(eve, opened, place="1") as stream:
            await stream.until(lambda found: any(each.name == "stale" for each in found))
            assert stream.named("change") == [], "a page is loaded anew rather than told a hundred things"


async def test_the_stream_ends_with_the_session_and_with_the_conversation(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot)
        eve = await operator(site, "eve")
        async with following(eve, f"open={chatbot.rpartition('/')[2]}/c1&after=3") as stream:
            await stream.until(lambda found: len(found) >= 2)
            await site.api.call("DELETE", f"{chatbot}/conversations/c1")
            await stream.until(lambda found: found[-1].name == "closed" or any(each.name == "closed" for each in found))
            await eve.post("/logout")
            await site.api.say(chatbot, "Hello", conversation="c3")
            await stream.until(lambda found: any(each.name == "gone" for each in found))


async def test_who_left_a_chatbot_hears_no_more_of_a_reply_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pause = Pause()
    async with pages(tmp_path, model=ScriptedModel(["Hello."], ["Public.", pause, "SECRET"])) as site:
        chatbot, services = await site.api.chatbot(), site.api.services
        await site.api.say(chatbot, "Hello")
        eve = await operator(site, "eve", "member", chatbots={chatbot: "operator"})
        async with following(eve, f"open={chatbot.rpartition('/')[2]}/c1&after=2") as stream:
            saying = asyncio.create_task(site.api.say(chatbot, "More"))
            await stream.until(lambda found: "Public." in str(found))
            keeper = local_operator(services.account.id)
            (found,) = await services.operators.list(keeper, after=None, limit=2)
            await services.operators.change(keeper, found.id, lambda draft: msgspec.structs.replace(draft, memberships=()))
            monkeypatch.setattr(sse, "PING_S", 0)  # the next check is due
            pause.resume()
            await stream.until(lambda found: any(each.name in ("closed", "gone") for each in found))
            await saying
            assert "SECRET" not in str(stream.found)


async def test_an_idle_page_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot)
        eve = await operator(site, "eve")
        monkeypatch.setattr(sse, "PING_S", 0.02)
        database, reads = site.api.services.database, 0
        read = database.read

        async def counted(body: Any) -> Any:
            nonlocal reads
            reads += any("inbox_events" in frame.filename for frame in traceback.extract_stack())
            return await read(body)

        async with following(eve, f"open={chatbot.rpartition('/')[2]}/c1&after=3") as stream:
            await stream.until(lambda found: len(found) >= 2)
            pings = -5  # by then the page has begun
            async for piece in stream.raw():
                pings += piece.count(b": ping")
                if pings >= 0:
                    monkeypatch.setattr(database, "read", counted)
                if pings >= 40:
                    break
        assert reads == 0


async def test_merged_streams_end_together() -> None:
    closed = []

    async def counting(name: str, most: int) -> Any:
        try:
            for number in range(most):
                yield f"{name}{number}"
        finally:
            closed.append(name)

    assert sorted([each async for each in merged(counting("a", 2), counting("b", 3))]) == ["a0", "a1", "b0", "b1", "b2"]
    stream = merged(counting("c", 9), counting("d", 9))
    await anext(stream)
    await stream.aclose()
    assert sorted(closed) == ["a", "b", "c", "d"]


async def test_an_operator_is_there_while_their_page_is_open_and_away_when_they_say_so(tmp_path: Path) -> None:
    clock = SteppedClock()
    async with pages(tmp_path, clock=clock) as site:
        chatbot = await site.api.chatbot()
        eve = await operator(site, "eve")
        ben = await operator(site, "ben", "member", chatbots={chatbot: "operator"})
        viewer = await operator(site, "viv", "member", chatbots={chatbot: "viewer"})

        async def there() -> list[str]:
            shown = (await site.api.get("/presence")).body["operators"]
            return [each["operator"] for each in shown if each["available"]]

        async with following(viewer) as stream:
            await stream.until(lambda found: any(each.name == "counts" for each in found))
            assert stream.named("presence") == []
        await site.api.say(chatbot, "Hello")
        await site.api.post(f"{chatbot}/conversations/c1/handoff")
        assert (await site.api.messages(chatbot))[-1]["content"] == InterceptionConfig().away_message
        async with following(eve) as stream, following(ben) as bens:
            await stream.until(lambda found: _last(found, "presence").get("there") == ["ben", "eve"])
            await bens.until(lambda found: _last(found, "presence").get("there") == ["ben", "eve"])
            await site.api.say(chatbot, "Hello", conversation="c2")
            await site.api.post(f"{chatbot}/conversations/c2/handoff")
            assert (await site.api.messages(chatbot, "c2"))[-1]["content"] == InterceptionConfig().handoff_message
            assert (await _present(ben, "away")).status == 204
            await stream.until(lambda found: _last(found, "presence")["there"] == ["eve"])
            await bens.until(lambda found: _last(found, "presence")["status"] == "away")
            assert (await _present(ben, "asleep")).status == 422
            assert (await _present(viewer, "away")).status == 403
            assert (await _present(site.visitor, "away")).status == 403, "a link is nobody's"
            assert await there() == ["eve"]
        clock.step(seconds=46)
        assert await there() == [], "no page is open any more"


async def _present(who: Visitor, status: str) -> Reply:
    sent = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json", "X-CSRF-Token": who.csrf}
    return await who.call("POST", "/web/inbox/presence", raw=json.dumps({"status": status}).encode(), headers=sent)


async def test_a_page_that_stays_open_shows_it_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "SEEN_EVERY_S", 0.01)
    async with pages(tmp_path) as site:
        eve = await operator(site, "eve")
        async with following(eve) as stream:
            await stream.until(lambda found: any(each.name == "presence" for each in found))
            first = (await site.api.get("/presence")).body["operators"][0]["seen_at"]

            async def is_seen_again() -> bool:
                return bool((await site.api.get("/presence")).body["operators"][0]["seen_at"] > first)

            await until(is_seen_again)
            assert len(stream.named("presence")) == 1, "nothing that is shown has changed"


async def test_who_comes_back_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "SEEN_EVERY_S", 1_000)  # so that nothing but a wake-up tells
    clock = SteppedClock()
    async with pages(tmp_path, clock=clock) as site:
        eve, ben = await operator(site, "eve"), await operator(site, "ben", "admin")
        async with following(eve) as first:
            await first.until(lambda found: _last(found, "presence").get("there") == ["eve"])
        clock.step(seconds=46)
        async with following(ben) as stream:
            await stream.until(lambda found: _last(found, "presence").get("there") == ["ben"])
            async with following(eve):
                await stream.until(lambda found: _last(found, "presence")["there"] == ["ben", "eve"])


async def test_who_may_no_longer_answer_is_not_told_who_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PING_S", 0.02)
    monkeypatch.setattr(presence, "SEEN_EVERY_S", 0.02)
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        ben = await operator(site, "ben", "member", chatbots={chatbot: "operator"})
        async with following(ben, "view=open") as stream:
            await stream.until(lambda found: bool(_last(found, "presence")))
            services = site.api.services
            local = local_operator(services.account.id)
            (its,) = [each for each in await services.operators.list(local, after=None, limit=9) if each.handle == "ben"]
            only_reads = (Membership(chatbot_id=chatbot.rpartition("/")[2], role="viewer"),)
            await services.operators.change(local, its.id, lambda held: msgspec.structs.replace(held, memberships=only_reads))
            await stream.until(lambda found: bool(found) and found[-1].name == "gone")
        async with following(ben, "view=open") as stream:
            await stream.until(lambda found: bool(_last(found, "counts")))
            assert stream.named("presence") == []


async def test_what_was_said_is_unread_until_its_operator_has_seen_it(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot)
        await site.api.say(chatbot, "Just a question", conversation="c2", user="bob")
        eve, ben = await operator(site, "eve"), await operator(site, "ben", "admin")

        async def unread(who: Visitor, view: str = "open") -> list[str]:
            rows = (await who.get(f"/inbox?view={view}")).text.split("<li ")[1:]
            return [_keys(f"<li {row}")[0].rpartition("/")[2] for row in rows if 'class="fresh"' in row]

        viewer = await operator(site, "viv", "member", chatbots={chatbot: "viewer"})
        assert await unread(viewer) == [], "who only reads along has no marks"
        assert await unread(eve) == ["c1"], "what the chatbot alone talks about is no news"
        last = (await site.api.messages(chatbot))[-1]["seq"]
        assert (await eve.send("/web/inbox/read", chatbot, seq=last)).status == 204
        assert await unread(eve) == []
        assert await unread(ben) == ["c1"], "each has marks of their own"
        await site.api.say(chatbot, "Is anybody there?", user="ann")
        assert await unread(eve) == await unread(eve, "waiting") == ["c1"]
        await eve.send("/web/inbox/say", chatbot, content="I am.")
        assert await unread(eve) == [], "one's own words are known"
        assert (await eve.send("/web/inbox/read", chatbot, seq=10**9)).status == 204
        await site.api.say(chatbot, "Good", user="ann")
        assert await unread(eve, "mine") == ["c1"], "a mark goes no further than what there is"
        for wrong in ({"seq": -1}, {"seq": "1"}, {}):
            assert (await eve.send("/web/inbox/read", chatbot, **wrong)).status == 422, wrong
        assert (await eve.send("/web/inbox/read", chatbot, conversation="none", seq=1)).status == 404


async def test_operators_and_end_users_see_each_other_write(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot)
        eve, ben = await operator(site, "eve"), await operator(site, "ben", "admin")
        await eve.send("/web/inbox/takeover", chatbot)
        opened = f"open={chatbot.rpartition('/')[2]}/c1"
        async with following(eve, opened) as eves, following(ben, opened) as bens:
            assert (await eve.send("/web/inbox/typing", chatbot)).status == 204
            await bens.until(lambda found: _last(found, "typing").get("names") == ["eve"])
            told = await site.api.post(f"{chatbot}/conversations/c1/typing", {"user_id": "ann"})
            assert told.status == 204, told.text
            await eves.until(lambda found: _last(found, "typing").get("names") == ["ann"])
            assert all("eve" not in each.data["names"] for each in eves.named("typing")), "nobody is told of themselves"
            await site.api.say(chatbot, "So", user="ann")
            await eves.until(lambda found: any("ann" in each.data.get("spoke", ()) for each in found))


async def test_notes_and_proposals_are_for_those_who_answer(tmp_path: Path) -> None:
    async with pages(tmp_path, model=ScriptedModel(["A proposal."])) as site:
        chatbot = await site.api.chatbot()
        await wait_for_a_human(site, chatbot)
        eve = await operator(site, "eve")
        viewer = await operator(site, "viv", "member", chatbots={chatbot: "viewer"})
        place = re.findall(r'data-last="(\d+)"', (await viewer.get(path(chatbot))).text)[0]
        async with following(viewer, f"open={chatbot.rpartition('/')[2]}/c1&after={place}") as stream:
            await eve.send("/web/inbox/note", chatbot, content="She called before.")
            await eve.send("/web/inbox/suggest", chatbot)

            async def is_made() -> bool:
                return 'data-do="send"' in (await eve.get(path(chatbot))).text

            await until(is_made)
            assert "She called before." in (await eve.get(path(chatbot))).text
            await eve.send("/web/inbox/takeover", chatbot)
            await stream.until(lambda found: any("took over" in html for html in _events(found)))
            told = json.dumps([each.data for each in stream.found]) + (await viewer.get(path(chatbot))).text
        assert "She called before." not in told
        assert "data-proposal" not in told


@pytest.mark.parametrize("is_left_another", [False, True])
async def test_who_is_no_member_any_more_hears_no_further_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_left_another: bool
) -> None:
    monkeypatch.setattr(sse, "PING_S", 0)
    pause = Pause()
    async with pages(tmp_path, model=ScriptedModel(["One", pause, " two"])) as site:
        chatbot = await site.api.chatbot()
        other = await site.api.chatbot()
        ben = await operator(site, "ben", "member", chatbots={chatbot: "operator", other: "operator"})
        left = (Membership(chatbot_id=other.rpartition("/")[2], role="operator"),) if is_left_another else ()
        sent = asyncio.create_task(site.api.say(chatbot, "Count"))
        await pause.reached.wait()
        async with following(ben, f"view=open&open={chatbot.rpartition('/')[2]}/c1") as stream:
            await stream.until(lambda found: any(each.name == "delta" for each in found))
            services = site.api.services
            local = local_operator(services.account.id)
            (its,) = [each for each in await services.operators.list(local, after=None, limit=9) if each.handle == "ben"]
            await services.operators.change(local, its.id, lambda held: msgspec.structs.replace(held, memberships=left))
            pause.resume()
            await sent
            await stream.until(lambda found: any(each.name in ("closed", "gone") for each in found))
            assert [each.data["text"] for each in stream.named("delta")] == ["One"]
