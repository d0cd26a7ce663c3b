"""The settings pages over HTTP: each section, what each role sees and may do there, and what hostile input comes to."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.access.principal import local_operator
from gigachat_server.models.fake import ScriptedModel
from gigachat_server.pages.views import shown_score
from gigachat_server.records import Chatbot
from tests.harness import Reply
from tests.operators import add_operator, session_of
from tests.pages.pages import Page, Pages, Visitor, pages
from tests.pages.payloads import XSS

pytestmark = pytest.mark.sqlite_only  # the pages see nothing of the store; what they call is tested on both

HOURS = "We are open from 9 to 5, Monday to Friday.\n\nOn Saturdays we are open from 10 to 2."
READ = ("", "/knowledge", "/relevance", "/answers", "/unanswered")
RUN = ("/persona", "/takeover", "/limits", "/compare", "/access")


async def settings(site: Pages, **config: Any) -> tuple[str, str]:
    """A chatbot, as the API and as the pages name it."""
    chatbot = await site.api.chatbot(**config)
    return chatbot, "/settings/" + chatbot.rpartition("/")[2]


async def stored(site: Pages, chatbot: str) -> dict[str, Any]:
    body: dict[str, Any] = (await site.api.get(chatbot)).body
    return body


async def record(site: Pages, chatbot: str) -> Chatbot:
    services = site.api.services
    return await services.chatbots.find(local_operator(services.account.id), chatbot.rpartition("/")[2])


def fields(html: str, form: str = "data-guard") -> dict[str, str]:
    """What a browser would send of the page's first form of that kind, untouched."""
    start = html.index("<form", html.rindex("<form", 0, html.index(form)))
    body = html[start : html.index("</form>", start)]
    found: dict[str, str] = {}
    for tag in re.findall(r"<input [^>]*>", body):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        is_off = 'type="checkbox"' in tag and " checked" not in tag
        if name and not is_off:
            found[name[1]] = unescape(value[1] if value else "")
    for name_, content in re.findall(r'<textarea [^>]*name="([^"]+)"[^>]*>\n(.*?)</textarea>', body, re.S):
        found[name_] = unescape(content)
    for name_, options in re.findall(r'<select [^>]*name="([^"]+)"[^>]*>(.*?)</select>', body, re.S):
        chosen = re.search(r'<option value="([^"]*)" selected', options) or re.search(r'<option value="([^"]*)"', options)
        found[name_] = unescape(chosen[1]) if chosen else ""
    return found


def problem_beside(html: str, name: str) -> str:
    """What stands beside that field."""
    named = re.search(rf'name="{re.escape(name)}"[^>]*aria-invalid="true" aria-describedby="([^"]+)"', html)
    assert named, f"nothing is wrong with {name}"
    found = re.search(rf'id="{named[1]}">([^<]*)<', html)
    assert found
    return unescape(found[1])


async def upload(
    visitor: Visitor, path: str, name: str, content: bytes, *, csrf: str | None = None, site_of: str = "same-origin"
) -> Reply:
    head = f'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n{name}\r\n'
    head += '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\nContent-Type: text/plain\r\n\r\n'
    sent = {"Content-Type": "multipart/form-data; boundary=x", "Sec-Fetch-Site": site_of}
    sent["X-CSRF-Token"] = visitor.csrf if csrf is None else csrf
    raw = head.encode() + content + b"\r\n--x--\r\n"
    return await visitor.call("POST", f"/web{path}/files", raw=raw, headers=sent)


async def read(site: Pages, chatbot: str) -> None:
    """All its documents are ready, or have failed."""
    for document in (await site.api.get(f"{chatbot}/documents")).body:
        told = await site.api.get(f"{chatbot}/documents/{document['id']}", headers={"Accept": "text/event-stream"})
        assert told.events[-1][0] in ("done", "error"), told.text


# --- knowledge ---


async def test_a_file_is_sent_shown_and_followed_until_it_is_ready(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        sent = await upload(site.visitor, here, "help/opening hours.md", HOURS.encode())
        assert sent.status == 202, sent.text
        document_id = sent.body["id"]
        assert "help/opening hours.md" in Page(sent.body["html"]).text
        assert f'data-id="{document_id}"' in sent.body["html"]
        await read(site, chatbot)
        shown = (await site.visitor.get(f"/web{here}/state?documents={document_id},{'0' * 8}&sites=")).body
        assert "data-live" not in shown["documents"][document_id]
        assert "Ready" in Page(shown["documents"][document_id]).text.title()
        listed = await site.visitor.get(f"{here}/knowledge")
        assert "help/opening hours.md" in Page(listed.text).text
        gone = await site.visitor.post(f"{here}/knowledge", do="delete", id=document_id)
        assert gone.headers["Location"] == f"{here}/knowledge?done=document-deleted"
        assert (await site.visitor.get(f"/web{here}/state?documents={document_id}")).body["documents"] == {document_id: None}
        assert (await site.api.get(f"{chatbot}/documents")).body == []


async def test_a_file_needs_the_token_of_its_session_our_origin_and_a_name(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        for wrong in ({"csrf": ""}, {"csrf": "x" * 43}, {"site_of": "cross-site"}):
            refused = await upload(site.visitor, here, "a.txt", b"Nine.", **wrong)
            assert (refused.status, refused.body["code"]) == (403, "forbidden"), wrong
        assert (await upload(site.visitor, here, "", b"Nine.")).status == 422
        assert (await upload(site.stranger, here, "a.txt", b"Nine.", csrf="x")).status == 401
        plain = await site.visitor.post(f"/web{here}/files", name="a.txt")
        assert plain.status == 415
        assert (await site.api.get(f"{chatbot}/documents")).body == []


async def test_a_large_file_is_taken_and_a_larger_one_refused_before_it_is_read(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        _, here = await settings(site)
        line = b"The answer to question %d is in the manual.\n" % 7
        taken = await upload(site.visitor, here, "10 MB.txt", line * (10 * 1024 * 1024 // len(line)))
        assert taken.status == 202, taken.text
        refused = await upload(site.visitor, here, "30 MB.txt", b"x" * (30 * 1024 * 1024))
        assert (refused.status, refused.body["code"]) == (413, "payload_too_large")


async def test_a_text_is_pasted_and_one_that_says_nothing_is_shown_again(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        for typed, wrong in (({"name": "hours", "content": " \n "}, "content"), ({"name": "  ", "content": "Nine."}, "name")):
            refused = await site.visitor.post(f"{here}/knowledge", None, do="paste", **typed)
            assert refused.status == 422
            assert problem_beside(refused.text, wrong)
            assert 'id="paste" data-open role="dialog"' in refused.text
        assert ">\nNine.</textarea>" in refused.text
        made = await site.visitor.post(f"{here}/knowledge", do="paste", name="hours", content="Nine\r\nto five.")
        assert made.headers["Location"].endswith("?done=pasted")
        await read(site, chatbot)
        (document,) = (await site.api.get(f"{chatbot}/documents")).body
        assert (await site.api.get(f"{chatbot}/documents/{document['id']}")).body["content"] == "Nine\nto five."
        long = await site.visitor.post(f"{here}/knowledge", do="paste", name="long", content="Wörter. " * 100_000)
        assert long.status == 303, "longer than other forms may be"


async def test_a_site_is_added_crawled_again_and_removed_and_a_bad_address_is_said_beside_it(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        form = {"kind": "site", "depth": "2", "max_pages": "50", "recrawl_hours": "", "include": "/help/*\n", "exclude": ""}
        for url, field, told in (("ftp://example.com", "url", "http"), ("", "url", ""), ("https://example.com", "depth", "")):
            sent = {**form, "url": url} | ({"depth": "many"} if field == "depth" else {})
            refused = await site.visitor.post(f"{here}/knowledge", None, do="site", **sent)
            assert refused.status == 422, url
            assert told in problem_beside(refused.text, field)
        made = await site.visitor.post(f"{here}/knowledge", None, do="site", url="https://example.com/", **form)
        assert made.headers["Location"].endswith("?done=site-added")
        again = await site.visitor.post(f"{here}/knowledge", None, do="site", url="https://example.com/", **form)
        assert again.status == 409
        assert "already" in problem_beside(again.text, "url")
        (added,) = (await site.api.get(f"{chatbot}/sites")).body
        assert (added["depth"], added["max_pages"], added["include"], added["recrawl_hours"]) == (2, 50, ["/help/*"], None)
        shown = await site.visitor.get(f"{here}/sites/{added['id']}")
        assert "https://example.com/" in Page(shown.text).text
        state = (await site.visitor.get(f"/web{here}/state?sites={added['id']}")).body
        assert "https://example.com/" in state["sites"][added["id"]]
        assert (await site.visitor.post(f"{here}/knowledge", do="crawl", id=added["id"])).status == 303
        assert (await site.visitor.post(f"{here}/knowledge", do="remove", id=added["id"])).status == 303
        assert (await site.api.get(f"{chatbot}/sites")).body == []
        assert (await site.visitor.get(f"{here}/sites/{added['id']}")).status == 404


async def test_documents_are_told_apart_by_what_became_of_them(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        await site.api.push(chatbot, "good.txt", "Nine.")
        await upload(site.visitor, here, "broken.docx", b"PK\x03\x04" + b"\0\1" * 500)
        await read(site, chatbot)
        failed = Page((await site.visitor.get(f"{here}/knowledge?show=failed")).text).text
        assert "broken.docx" in failed
        assert "good.txt" not in failed
        assert (await site.visitor.get(f"{here}/knowledge?show=all+of+them")).status == 422


# --- relevance ---


async def test_a_threshold_is_tried_before_it_is_saved(tmp_path: Path) -> None:
    threshold = "documents.results.match_threshold"
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site, documents={"results": {"when_nothing_matches": "refuse", "match_threshold": 0.5}})
        await site.api.push(chatbot, "hours.md", HOURS)
        form = fields((await site.visitor.get(f"{here}/relevance")).text)
        assert form[threshold] == "0.5"
        query = {"do": "ask", "query": "When are you open on Saturdays?"}
        tried = await site.visitor.post(f"{here}/relevance", None, **{**form, **query, threshold: "0"})
        assert "Answered from 1 passage" in Page(tried.text).text
        (score,) = re.findall(r"<strong>([\d.]+)</strong>", tried.text)
        found = (await site.api.get(f"{chatbot}/retrieve?query=When+are+you+open+on+Saturdays%3F")).body["passages"]
        assert score == shown_score(found[0]["score"])
        assert f"Why {score}" in Page(tried.text).text
        refused = await site.visitor.post(f"{here}/relevance", None, **{**form, **query, threshold: "1"})
        assert "Refused" in Page(refused.text).text
        assert f"The best passage has {score}, less than 1.00." in Page(refused.text).text
        model = {**form, **query, threshold: "1", "documents.results.when_nothing_matches": "model"}
        assert "the model answers by itself" in Page((await site.visitor.post(f"{here}/relevance", None, **model)).text).text
        talk = await site.visitor.post(f"{here}/relevance", None, **{**form, "do": "ask", "query": "Hello!"})
        assert "Small talk" in Page(talk.text).text
        assert (await stored(site, chatbot))["documents"]["results"]["match_threshold"] == 0.5, "trying saves nothing"

        saved = await site.visitor.post(f"{here}/relevance", None, **{**form, "do": "save", threshold: "0.61"})
        assert saved.headers["Location"] == f"{here}/relevance?done=saved"
        assert "Saved." in Page((await site.visitor.get(saved.headers["Location"])).text).text
        results = (await stored(site, chatbot))["documents"]["results"]
        assert (results["match_threshold"], results["when_nothing_matches"]) == (0.61, "refuse")


async def test_a_fixed_answer_is_what_a_test_says(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        made = await site.api.post(f"{chatbot}/fixed-answers", {"prompts": ["Who are you?"], "answer": "Superbot <b>."})
        assert made.status == 201
        form = fields((await site.visitor.get(f"{here}/relevance")).text)
        tried = await site.visitor.post(f"{here}/relevance", None, **{**form, "do": "ask", "query": "who are you"})
        assert "Answered by a fixed answer" in Page(tried.text).text
        assert "Superbot &lt;b&gt;." in tried.text


async def test_what_is_wrong_stands_beside_its_field_with_what_was_typed(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        form = fields((await site.visitor.get(f"{here}/relevance")).text)
        for name, typed in (
            ("documents.results.match_threshold", "1.5"),
            ("documents.results.match_threshold", "nan"),
            ("documents.results.match_threshold", '"><script>'),
            ("documents.results.match_count", "2.5"),
            ("documents.results.match_count", ""),
            ("documents.results.when_nothing_matches", "shout"),
            ("documents.results.refusal", "x" * 2001),
        ):
            for do in ("save", "ask"):
                refused = await site.visitor.post(f"{here}/relevance", None, **{**form, "do": do, "query": "Hours?", name: typed})
                assert refused.status == 422, (name, typed)
                assert problem_beside(refused.text, name)
                assert not Page(refused.text).dangers
                assert typed[:20] in unescape(refused.text) or name.endswith("matches")
        empty = await site.visitor.post(f"{here}/relevance", None, **{**form, "do": "ask", "query": " "})
        assert problem_beside(empty.text, "query")
        assert await stored(site, chatbot) == {**await stored(site, chatbot)}


async def test_two_who_change_a_chatbot_at_once_do_not_undo_each_other(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        form = fields((await site.visitor.get(f"{here}/persona")).text)
        patched = await site.api.call("PATCH", chatbot, {"response": {"temperature": 0.1}})
        assert patched.status == 200
        late = {**form, "response.system_persona": "You are <b>brief</b>.", "do": "save"}
        told = await site.visitor.post(f"{here}/persona", None, **late)
        assert told.status == 409
        assert "Somebody else changed" in Page(told.text).text
        assert (await stored(site, chatbot))["response"]["temperature"] == 0.1
        again = fields(told.text)
        assert again["response.system_persona"] == "You are <b>brief</b>."
        assert (await site.visitor.post(f"{here}/persona", None, **again, do="save")).status == 303
        assert (await stored(site, chatbot))["response"]["system_persona"] == "You are <b>brief</b>."


@pytest.mark.parametrize("section", ["relevance", "persona", "takeover", "limits"])
async def test_a_form_that_nobody_touched_changes_nothing(tmp_path: Path, section: str) -> None:
    rare = {
        "response": {"system_persona": "Line one.\nLine two.\n", "omit": ["tools"], "temperature": 0.123456, "model": "small"},
        "limits": {"user": None, "key": {"quota": 7, "window_s": 70}},
        "interception": {"mode": "takeover", "release_after_minutes": 30, "handoff": True},
        "documents": {"results": {"refusal": "  No.\n", "match_threshold": 0.333333, "fixed_answer_threshold": 0.9}},
    }
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site, **rare)
        before = await stored(site, chatbot)
        form = fields((await site.visitor.get(f"{here}/{section}")).text)
        crlf = {name: value.replace("\n", "\r\n") for name, value in form.items()}  # as browsers send it
        saved = await site.visitor.post(f"{here}/{section}", None, **{**crlf, "do": "save"})
        assert saved.status == 303, Page(saved.text).text
        after = await stored(site, chatbot)
        assert {**after, "updated_at": ""} == {**before, "updated_at": ""}


async def test_limits_are_switched_off_and_on(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        form = fields((await site.visitor.get(f"{here}/limits")).text)
        del form["limits.user"]  # a box that is not ticked
        assert (await site.visitor.post(f"{here}/limits", None, **{**form, "do": "save"})).status == 303
        limits = (await stored(site, chatbot))["limits"]
        assert limits["user"] is None
        assert limits["address"]["quota"] == 60
        form = fields((await site.visitor.get(f"{here}/limits")).text)
        form |= {"limits.user": "true", "limits.user.quota": "5", "limits.user.window_s": "50", "limits.budgets.users.turns": "9"}
        assert (await site.visitor.post(f"{here}/limits", None, **{**form, "do": "save"})).status == 303
        limits = (await stored(site, chatbot))["limits"]
        assert limits["user"] == {"quota": 5, "window_s": 50}
        assert limits["budgets"]["users"]["turns"] == 9
        form = fields((await site.visitor.get(f"{here}/limits")).text)
        wrong = await site.visitor.post(f"{here}/limits", None, **{**form, "limits.user.quota": "0"})
        assert problem_beside(wrong.text, "limits.user.quota")


# --- fixed answers and unanswered prompts ---


async def test_a_fixed_answer_is_made_edited_switched_off_and_deleted(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        for typed, wrong in (
            ({"prompts": "", "answer": "Yes."}, "prompts"),
            ({"prompts": "Really?\n...", "answer": "Yes."}, "prompts"),
            ({"prompts": "Really?", "answer": " \n"}, "answer"),
        ):
            refused = await site.visitor.post(f"{here}/answers", None, do="save", is_enabled="true", **typed)
            assert refused.status == 422
            assert problem_beside(refused.text, wrong)
        made = await site.visitor.post(
            f"{here}/answers", None, do="save", prompts=" Really?\r\n\r\nIs it so?", answer="Yes.\r\nIt is.", is_enabled="true"
        )
        assert made.headers["Location"].endswith("?done=answer-saved")
        (stored_answer,) = (await site.api.get(f"{chatbot}/fixed-answers")).body
        assert (stored_answer["prompts"], stored_answer["answer"]) == (["Really?", "Is it so?"], "Yes.\nIt is.")
        answer_id = stored_answer["id"]
        for form, is_enabled in (({"do": "off"}, False), ({"do": "on"}, True)):
            assert (await site.visitor.post(f"{here}/answers", None, id=answer_id, **form)).status == 303
            (stored_answer,) = (await site.api.get(f"{chatbot}/fixed-answers")).body
            assert (stored_answer["is_enabled"], stored_answer["answer"]) == (is_enabled, "Yes.\nIt is.")
        edit = {"do": "save", "id": answer_id, "prompts": "Sure?", "answer": "<b>No.</b>"}
        assert (await site.visitor.post(f"{here}/answers", None, **edit)).status == 303
        (stored_answer,) = (await site.api.get(f"{chatbot}/fixed-answers")).body
        assert (stored_answer["prompts"], stored_answer["answer"], stored_answer["is_enabled"]) == (
            ["Sure?"],
            "<b>No.</b>",
            False,
        )
        assert "&lt;b&gt;No." in (await site.visitor.get(f"{here}/answers")).text
        assert (await site.visitor.post(f"{here}/answers", do="delete", id=answer_id)).status == 303
        for do in ("delete", "on", "save"):
            gone = await site.visitor.post(f"{here}/answers", do=do, id=answer_id, prompts="Sure?", answer="No.")
            assert gone.status == 404, do
        assert (await site.visitor.post(f"{here}/answers", do="sing")).status == 422


async def test_a_group_is_answered_once_for_all_and_another_dismissed(tmp_path: Path) -> None:
    model = ScriptedModel(["Sorry, I don't know how to help with that."])
    async with pages(tmp_path, model=model) as site:
        chatbot, here = await settings(site)
        for number, prompt in enumerate(
            ("Can I pay by invoice?", "can I pay by invoice", "Is there a shop in Lyon?", "Who wrote it?")
        ):
            await site.api.say(chatbot, prompt, conversation=f"c{number}")
        shown = await site.visitor.get(f"{here}/unanswered")
        groups = {unescape(text): group for group, text in re.findall(r'<h2 id="group-([\w-]+)"><bdi>([^<]*)<', shown.text)}
        assert set(groups) == {"can I pay by invoice", "Is there a shop in Lyon?", "Who wrote it?"}
        invoice, lyon, wrote = groups["can I pay by invoice"], groups["Is there a shop in Lyon?"], groups["Who wrote it?"]
        empty = await site.visitor.post(f"{here}/unanswered", do="fixed_answer", id=invoice, answer=" ")
        assert empty.status == 422
        assert problem_beside(empty.text, "answer")
        answered = await site.visitor.post(f"{here}/unanswered", do="fixed_answer", id=invoice, answer="Yes, you can.")
        assert answered.headers["Location"].endswith("?done=answered")
        (fixed,) = (await site.api.get(f"{chatbot}/fixed-answers")).body
        assert (fixed["prompts"], fixed["answer"]) == (["Can I pay by invoice?"], "Yes, you can.")
        again = await site.visitor.post(f"{here}/unanswered", do="fixed_answer", id=invoice, answer="No, you cannot.")
        assert again.status == 409
        assert "before" in Page(again.text).text
        assert (await site.visitor.post(f"{here}/unanswered", do="document", id=lyon, answer="Yes, in Lyon.")).status == 303
        await read(site, chatbot)
        assert [each["state"] for each in (await site.api.get(f"{chatbot}/documents")).body] == ["ready"]
        assert (await site.visitor.post(f"{here}/unanswered", do="dismiss", id=wrote)).status == 303
        assert "Nothing is open" in Page((await site.visitor.get(f"{here}/unanswered")).text).text
        assert "Who wrote it?" in Page((await site.visitor.get(f"{here}/unanswered?state=dismissed")).text).text
        assert (await site.visitor.post(f"{here}/unanswered", do="dismiss", id="x")).status == 404


# --- comparing ---


async def test_a_draft_is_compared_with_what_was_said_and_published(tmp_path: Path) -> None:
    threshold = "documents.results.match_threshold"
    async with pages(tmp_path) as site:
        results = {"match_threshold": 0, "when_nothing_matches": "refuse"}
        chatbot, here = await settings(site, documents={"results": results})
        await site.api.push(chatbot, "hours.md", HOURS)
        await site.api.say(chatbot, "When are you open on Saturdays? <b>")
        relevance = fields((await site.visitor.get(f"{here}/relevance")).text)
        draft = await site.visitor.post(f"{here}/compare", None, **{**relevance, threshold: "1", "do": "draft"})
        assert "Differs from what is published in: Threshold." in Page(draft.text).text
        form = fields(draft.text)
        assert form[threshold] == "1"
        ran = await site.visitor.post(f"/web{here}/replay", None, **{**form, "limit": "10"})
        assert [name for name, _ in ran.events] == ["start", "turn", "done"]
        assert ran.events[1][1]["changed"] == "now_unanswered"
        assert not Page(ran.events[1][1]["html"]).dangers
        assert "When are you open on Saturdays? <b>" in Page(ran.events[1][1]["html"]).text
        assert (await stored(site, chatbot))["documents"]["results"]["match_threshold"] == 0
        assert (await site.visitor.post(f"/web{here}/replay", None, **{**form, "limit": "1000"})).status == 422
        assert (await site.visitor.post(f"/web{here}/replay", None, **{**form, "limit": "10", "csrf": "x"})).status == 403
        wrong = await site.visitor.post(f"/web{here}/replay", None, **{**form, threshold: "2", "limit": "10"})
        assert (wrong.status, wrong.fields) == (422, {threshold})
        assert (await site.visitor.post(f"{here}/compare", None, **form, do="save")).headers["Location"].endswith("?done=saved")
        published = (await stored(site, chatbot))["documents"]["results"]
        assert (published["match_threshold"], published["when_nothing_matches"]) == (1, "refuse")


# --- access ---


async def test_a_widget_key_is_made_changed_and_revoked_and_its_tag_is_there_to_copy(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        form = fields((await site.visitor.get(f"{here}/access")).text)
        assert form["do"] == "widget"
        for hostnames in ("", "https://www.example.com/", "a b"):
            refused = await site.visitor.post(f"{here}/access", None, **{**form, "name": "Shop", "hostnames": hostnames})
            assert refused.status == 422, hostnames
            assert problem_beside(refused.text, "hostnames")
        new = {**form, "name": "Shop <b>", "hostnames": "www.example.com\n*.example.org", "settings.sources": "none"}
        assert (await site.visitor.post(f"{here}/access", None, **new)).status == 303
        shown = await site.visitor.get(f"{here}/access")
        (key,) = await site.api.services.widget_keys.list(
            local_operator(site.api.services.account.id), await record(site, chatbot)
        )
        tag = unescape(re.findall(rf'<pre id="tag-{key.id}"[^>]*>(.*?)</pre>', shown.text, re.S)[0])
        assert f'src="{site.visitor.url}/widget.js"' in tag
        assert f'data-key="{key.key}"' in tag
        assert (key.hostnames, key.settings.sources, key.is_enabled) == (("www.example.com", "*.example.org"), "none", True)
        change = {**new, "id": key.id, "hostnames": "shop.example.com"}
        del change["is_enabled"]
        assert (await site.visitor.post(f"{here}/access", None, **change)).status == 303
        (key,) = await site.api.services.widget_keys.list(
            local_operator(site.api.services.account.id), await record(site, chatbot)
        )
        assert (key.hostnames, key.is_enabled) == (("shop.example.com",), False)
        assert (await site.visitor.post(f"{here}/access", do="revoke-widget", id=key.id)).status == 303
        assert (await site.visitor.post(f"{here}/access", do="revoke-widget", id=key.id)).status == 404
        assert "Not on a site yet" in Page((await site.visitor.get(f"{here}/access")).text).text


async def test_an_identity_keys_secret_is_shown_once_with_what_signs(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        _, here = await settings(site)
        form = {"do": "identity", "name": "shop", "algorithm": "HS256", "public_key": "", "sources": "titles"}
        made = await site.visitor.post(f"{here}/access", None, **form)
        assert made.status == 201
        secret = re.findall(r'<pre id="secret"[^>]*>(gcs_[\w-]+)</pre>', made.text)[0]
        assert 'algorithm="HS256"' in unescape(made.text)
        listed = await site.visitor.get(f"{here}/access")
        assert "shop" in Page(listed.text).text
        assert secret not in listed.text
        refused = await site.visitor.post(f"{here}/access", None, **{**form, "algorithm": "EdDSA", "public_key": "<PEM>"})
        assert refused.status == 422
        assert problem_beside(refused.text, "public_key")
        key_id = re.findall(r'name="do" value="revoke-identity">\s*<input type="hidden" name="id" value="([^"]+)"', listed.text)[
            0
        ]
        assert (await site.visitor.post(f"{here}/access", do="revoke-identity", id=key_id)).status == 303
        assert (await site.visitor.post(f"{here}/access", do="revoke-identity", id=key_id)).status == 404


async def test_where_a_chatbot_may_be_reached_from_is_checked(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        form = fields((await site.visitor.get(f"{here}/access")).text, 'value="places"')
        wrong = await site.visitor.post(f"{here}/access", None, **{**form, "restrictions.ip_addresses": "10.0.0.0/8\nhome"})
        assert wrong.status == 422
        assert problem_beside(wrong.text, "restrictions.ip_addresses")
        good = {**form, "restrictions.ip_addresses": "10.0.0.0/8\n\n127.0.0.1"}
        assert (await site.visitor.post(f"{here}/access", None, **good)).status == 303
        assert (await stored(site, chatbot))["restrictions"]["ip_addresses"] == ["10.0.0.0/8", "127.0.0.1"]


# --- the list and the overview ---


async def test_a_chatbot_is_named_renamed_and_deleted_with_its_name(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        assert "four steps" in Page((await site.visitor.get("/settings")).text).text
        refused = await site.visitor.post("/settings", name="   ")
        assert refused.status == 422
        made = await site.visitor.post("/settings", name=" Superbot ")
        assert made.status == 303
        here = made.headers["Location"].partition("?")[0]
        assert "Give it documents" in Page((await site.visitor.get(made.headers["Location"])).text).text
        assert (await site.visitor.post(here, name="\u202e")).status == 422
        assert (await site.visitor.post(here, name="Hal <i>9000</i>")).headers["Location"] == f"{here}?done=saved"
        assert "Hal <i>9000</i>" in Page((await site.visitor.get("/settings")).text).text
        assert (await site.visitor.post(f"{here}/delete", name="hal")).status == 422
        assert (await site.visitor.get(here)).status == 200
        gone = await site.visitor.post(f"{here}/delete", name="Hal <i>9000</i>")
        assert gone.headers["Location"] == "/settings?done=chatbot-deleted"
        assert (await site.visitor.get(here)).status == 404


async def test_the_list_says_how_each_chatbot_is_doing(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site, interception={"handoff_when_asked": True})
        await site.api.push(chatbot, "hours.md", HOURS)
        await upload(site.visitor, here, "broken.docx", b"PK\x03\x04" + b"\0\1" * 500)
        await read(site, chatbot)
        await site.api.say(chatbot, "I want to talk to a human, please.")
        shown = Page((await site.visitor.get("/settings")).text).text
        for told in ("1 document", "1 failed", "1 waiting"):
            assert told in shown
        assert "1 visitor waits for a human" in Page((await site.visitor.get(here)).text).text


# --- who may what ---


async def test_each_role_sees_what_it_may_do_and_is_refused_the_rest(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        foreign, there = await settings(site, name="Theirs")
        await site.api.push(chatbot, "hours.md", HOURS)
        for role in ("operator", "viewer"):
            made = await add_operator(site.api.services, role, chatbots={chatbot: role})
            someone = site.stranger
            someone.cookie = await session_of(site.api.services, made)
            someone.csrf = re.findall(r'name="csrf" value="([\w-]+)"', (await someone.get("/profile")).text)[0]
            for section in READ:
                page = await someone.get(here + section)
                assert page.status == 200, (role, section)
                for hidden in RUN:
                    assert f"{here}{hidden}" not in page.text, (role, section, hidden)
            for section in RUN:
                assert (await someone.get(here + section)).status == 403, (role, section)
                assert (await someone.get(there + section)).status in (403, 404)
            for section in READ:
                assert (await someone.get(there + section)).status == 404, "a foreign one looks like none"
            knowledge = (await someone.get(f"{here}/knowledge")).text
            assert 'id="drop"' not in knowledge
            assert 'value="delete"' not in knowledge
            assert (await upload(someone, here, "a.txt", b"Nine.")).status == 403
            for do in ("paste", "site", "split", "delete", "crawl", "remove"):
                assert (await someone.post(f"{here}/knowledge", do=do)).status == 403
            tried = await someone.post(
                f"{here}/relevance",
                None,
                **{"do": "ask", "query": "Open on Saturdays?", "documents.results.match_threshold": "0"},
            )
            assert "Answered from" in Page(tried.text).text, "whoever may read documents may search them"
            searched = (await someone.get(f"{here}/relevance")).text
            assert ">Save<" not in searched
            form = {"version": str((await record(site, chatbot)).updated_at), "documents.results.match_threshold": "0"}
            assert (await someone.post(f"{here}/relevance", None, do="save", **form)).status == 403
            for path in (here, f"{here}/delete", "/settings"):
                assert (await someone.post(path, name="Mine")).status == 403
            listed = Page((await someone.get("/settings")).text).text
            assert "Superbot" in listed
            assert "Theirs" not in listed
            assert "New chatbot" not in listed
        assert (await stored(site, chatbot))["documents"]["results"]["match_threshold"] == 0.78
        assert (await stored(site, foreign))["name"] == "Theirs"


async def test_every_form_needs_the_token_of_its_session(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        before = await stored(site, chatbot)
        paths = [here + section for section in ("", "/delete", "/knowledge", "/relevance", *READ[3:], *RUN)]
        for path in ("/settings", *paths):
            for wrong in ("", "x" * 43):
                refused = await site.visitor.post(path, name="Superbot", csrf=wrong)
                assert refused.status == 403, path
            foreign = await site.visitor.post(path, {"Sec-Fetch-Site": "cross-site"}, name="Superbot")
            assert foreign.status == 403, path
            assert (await site.stranger.post(path, name="x")).status in (303, 403), path
        assert await stored(site, chatbot) == before


async def test_nothing_of_a_name_or_a_text_becomes_markup(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        payload = "".join(XSS[:12])[:200]
        chatbot, here = await settings(site, name=payload)
        await site.api.push(chatbot, payload, f"We are open. {payload}")
        await site.api.post(f"{chatbot}/fixed-answers", {"prompts": [payload], "answer": payload})
        for section in (*READ, *RUN):
            page = await site.visitor.get(here + section)
            assert page.status == 200, section
            assert not Page(page.text).dangers, section
        form = fields((await site.visitor.get(f"{here}/relevance")).text)
        tried = await site.visitor.post(
            f"{here}/relevance",
            None,
            **{**form, "do": "ask", "query": "open? " + payload, "documents.results.match_threshold": "0"},
        )
        assert not Page(tried.text).dangers
        assert not Page((await site.visitor.get("/settings")).text).dangers


async def test_addresses_that_name_nothing_are_not_found(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        _, here = await settings(site)
        none = (
            "/settings/",
            "/settings/x",
            "/settings/x/knowledge",
            "/settings/%7Bchatbot_id%7D",
            "/settings/{chatbot_id}/access",
        )
        for path in (f"{here}/nothing", f"{here}/", f"{here}/sites/x", *none):
            assert (await site.visitor.get(path)).status == 404, path
        assert (await site.visitor.post(f"{here}/knowledge", do="delete", id="x")).status == 404
        assert (await site.visitor.post(f"{here}/knowledge", do="fly")).status == 422
        signed_out = await site.stranger.get(f"{here}/knowledge")
        assert signed_out.headers["Location"] == f"/login?next={here.replace('/', '%2F')}%2Fknowledge"
        assert json.dumps(signed_out.status) == "303"
