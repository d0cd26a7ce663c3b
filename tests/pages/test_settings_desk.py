"""Settings of a support team: canned replies, the hours in which people are there, and prices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path

import pytest

from tests.pages.inbox import operator
from tests.pages.pages import Page, pages
from tests.pages.payloads import XSS
from tests.pages.test_settings import fields, problem_beside, settings, stored

pytestmark = pytest.mark.sqlite_only  # the pages see nothing of the store; what they call is tested on both

HOURS = {
    "timezone": "Europe/Berlin",
    "week": {
        "mon": [{"from": "09:00", "until": "12:00"}, {"from": "13:30", "until": "17:00"}],
        "sat": [{"from": "22:00", "until": "24:00"}],
    },
    "closed_dates": ["2027-01-01", "2027-12-25"],
}


# --- canned replies ---


async def test_a_canned_reply_is_made_edited_and_deleted(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        eve = await operator(site, "eve")
        made = await eve.post(f"{here}/replies", do="save", shortcut="/Refund", content="It is on its way,\r\n{name}.")
        assert made.headers["Location"] == f"{here}/replies?done=reply-saved"
        (reply,) = (await site.api.get(f"{chatbot}/canned-replies")).body
        assert (reply["shortcut"], reply["content"]) == ("refund", "It is on its way,\n{name}.")
        shown = await eve.get(f"{here}/replies?done=reply-saved")
        assert "Saved. Operators find it" in Page(shown.text).text
        assert Page(shown.text).dangers == []
        changed = await eve.post(f"{here}/replies", do="save", id=reply["id"], shortcut="refund-status", content="Booked.")
        assert changed.status == 303
        (reply,) = (await site.api.get(f"{chatbot}/canned-replies")).body
        assert (reply["shortcut"], reply["content"]) == ("refund-status", "Booked.")
        gone = await eve.post(f"{here}/replies", do="delete", id=reply["id"])
        assert gone.headers["Location"] == f"{here}/replies?done=reply-deleted"
        assert (await site.api.get(f"{chatbot}/canned-replies")).body == []
        assert (await eve.post(f"{here}/replies", do="delete", id=reply["id"])).status == 404


@pytest.mark.parametrize(
    ("typed", "beside"),
    [
        ({"shortcut": "two words", "content": "x"}, "shortcut"),
        ({"shortcut": "", "content": "x"}, "shortcut"),
        ({"shortcut": "a" * 70, "content": "x"}, "shortcut"),
        ({"shortcut": "taken", "content": "x"}, "shortcut"),
        ({"shortcut": "TAKEN", "content": "x"}, "shortcut"),
        ({"shortcut": "fine", "content": ""}, "content"),
        ({"shortcut": "fine", "content": " \n\u200b"}, "content"),
        ({"shortcut": "fine", "content": "x" * 10_001}, "content"),
    ],
)
async def test_what_is_wrong_with_a_canned_reply_stands_beside_it(tmp_path: Path, typed: Mapping[str, str], beside: str) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        eve = await operator(site, "eve")
        held = (await site.api.post(f"{chatbot}/canned-replies", {"shortcut": "taken", "content": "Hello."})).body
        other = (await site.api.post(f"{chatbot}/canned-replies", {"shortcut": "other", "content": "Bye."})).body
        for reply_id in ("", other["id"]):
            refused = await eve.post(f"{here}/replies", None, do="save", id=reply_id, **typed)
            assert refused.status in (409, 422), refused.status
            assert problem_beside(refused.text, beside)
            assert typed["shortcut"] in unescape(refused.text)
            opened = re.findall(r"<details[^>]* open>", refused.text)
            assert len(opened) == 1, "the form that was refused, and no other"
        assert (await site.api.get(f"{chatbot}/canned-replies")).body == [other, held]


async def test_canned_replies_are_for_those_who_answer_and_of_their_chatbot(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        other, elsewhere = await settings(site)
        viewer = await operator(site, "viv", "member", chatbots={chatbot: "viewer"})
        member = await operator(site, "max", "member", chatbots={chatbot: "operator"})
        secret = (await site.api.post(f"{other}/canned-replies", {"shortcut": "secret", "content": "Of another."})).body
        assert f'href="{here}/replies"' in (await member.get(here)).text
        assert f'href="{here}/replies"' not in (await viewer.get(here)).text
        assert (await viewer.get(f"{here}/replies")).status == 403
        assert (await viewer.post(f"{here}/replies", do="save", shortcut="x", content="x")).status == 403
        assert (await member.post(f"{here}/replies", do="save", shortcut="mine", content="Hello.")).status == 303
        assert (await member.get(f"{elsewhere}/replies")).status == 404
        for wrong in ({"do": "save", "shortcut": "y", "content": "y"}, {"do": "delete"}):
            assert (await member.post(f"{here}/replies", None, **wrong, id=secret["id"])).status == 404, wrong
        assert (await member.post(f"{here}/replies", do="save", csrf="", shortcut="x", content="x")).status == 403
        assert (await member.post(f"{here}/replies", do="burn")).status == 422
        assert (await site.api.get(f"{other}/canned-replies")).body == [secret]
        assert [each["shortcut"] for each in (await site.api.get(f"{chatbot}/canned-replies")).body] == ["mine"]


async def test_many_canned_replies_come_page_by_page_and_none_of_them_runs(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        eve = await operator(site, "eve")
        for number in range(53):
            body = {"shortcut": f"r{number:02}", "content": XSS[number % len(XSS)]}
            assert (await site.api.post(f"{chatbot}/canned-replies", body)).status == 201
        first = await eve.get(f"{here}/replies")
        assert Page(first.text).dangers == []
        assert first.text.count('<li class="entry">') == 50
        further = re.search(r'href="([^"]+)">Further replies', first.text)
        assert further
        assert (await eve.get(unescape(further[1]))).text.count('<li class="entry">') == 3
        edited = await eve.post(
            f"{here}/replies", None, **{**fields(first.text.split('<li class="entry">')[1]), "content": "New."}
        )
        assert edited.status == 303
        assert (await site.api.get(f"{chatbot}/canned-replies")).body[0]["content"] == "New."


# --- hours ---


async def test_hours_are_shown_saved_and_switched_off(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site, interception={"hours": HOURS})
        before = (await stored(site, chatbot))["interception"]["hours"]
        form = fields((await site.visitor.get(f"{here}/takeover")).text)
        week = "interception.hours.week."
        assert form[week + "mon"] == "09:00–12:00, 13:30–17:00"
        assert form[week + "sat"] == "22:00–24:00"
        assert form[week + "tue"] == ""
        assert form["interception.hours.closed_dates"] == "2027-01-01\n2027-12-25"
        assert (await site.visitor.post(f"{here}/takeover", None, **form)).status == 303
        assert (await stored(site, chatbot))["interception"]["hours"] == before, "untouched, it stays"
        form = fields((await site.visitor.get(f"{here}/takeover")).text)
        typed = {week + "tue": "9-17", week + "wed": "8:30 — 12:00,13-24", "interception.hours.timezone": "Asia/Tokyo"}
        assert (await site.visitor.post(f"{here}/takeover", None, **{**form, **typed})).status == 303
        hours = (await stored(site, chatbot))["interception"]["hours"]
        assert hours["timezone"] == "Asia/Tokyo"
        assert hours["week"]["tue"] == [{"from": "09:00", "until": "17:00"}]
        assert hours["week"]["wed"] == [{"from": "08:30", "until": "12:00"}, {"from": "13:00", "until": "24:00"}]
        form = fields((await site.visitor.get(f"{here}/takeover")).text)
        del form["interception.hours"]  # a box that is not ticked
        assert (await site.visitor.post(f"{here}/takeover", None, **form)).status == 303
        assert (await stored(site, chatbot))["interception"]["hours"] is None


async def test_hours_that_are_switched_on_are_those_of_a_usual_week(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        form = fields((await site.visitor.get(f"{here}/takeover")).text)
        saved = await site.visitor.post(f"{here}/takeover", None, **{**form, "interception.hours": "true"})
        assert saved.status == 303, Page(saved.text).text
        hours = (await stored(site, chatbot))["interception"]["hours"]
        assert hours["timezone"] == "UTC"
        assert [bool(spans) for spans in hours["week"].values()] == [True] * 5 + [False] * 2, "nobody is shut out by a switch"


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("week.mon", "nine to five"),
        ("week.mon", "9"),
        ("week.mon", "25:00-26:00"),
        ("week.mon", "17:00-09:00"),
        ("week.mon", "09:00-12:00, 11:00-13:00"),
        ("week.mon", "٩-١٧"),
        ("week.fri", ", ".join(["01:00-02:00"] * 11)),
        ("timezone", "Europe/Nowhere"),
        ("timezone", ""),
        ("closed_dates", "2027-02-30"),
        ("closed_dates", "tomorrow"),
    ],
)
async def test_hours_that_cannot_be_are_said_beside_their_field(tmp_path: Path, name: str, typed: str) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site, interception={"hours": HOURS})
        before = await stored(site, chatbot)
        form = fields((await site.visitor.get(f"{here}/takeover")).text)
        refused = await site.visitor.post(f"{here}/takeover", None, **{**form, f"interception.hours.{name}": typed})
        assert refused.status == 422
        assert problem_beside(refused.text, f"interception.hours.{name}")
        assert fields(refused.text)[f"interception.hours.{name}"] == typed, "as it was typed"
        assert await stored(site, chatbot) == before


# --- prices ---


async def test_prices_are_set_and_the_figures_multiply_by_them(tmp_path: Path) -> None:
    async with pages(tmp_path) as site:
        chatbot, here = await settings(site)
        eve = await operator(site, "eve")
        assert "<dt>Tokens</dt>" not in (await eve.get("/figures")).text, "nothing has happened"
        await site.api.say(chatbot, "Hello")
        assert "<dt>Tokens</dt>" in (await eve.get("/figures")).text
        form = fields((await eve.get(f"{here}/limits")).text)
        assert (await eve.post(f"{here}/limits", None, **{**form, "prices.input": "2.5", "prices.output": "10"})).status == 303
        assert (await stored(site, chatbot))["prices"] == {"input": 2.5, "output": 10}
        assert "<dt>Cost</dt>" in (await eve.get("/figures")).text
        form = fields((await eve.get(f"{here}/limits")).text)
        refused = await eve.post(f"{here}/limits", None, **{**form, "prices.input": "-1"})
        assert problem_beside(refused.text, "prices.input")
