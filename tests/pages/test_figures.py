"""The page of figures: what it draws is what the API tells, and it shows each visitor their own chatbots alone."""

from __future__ import annotations

import csv
import io
import re
from datetime import date, timedelta
from html import unescape
from pathlib import Path

import pytest

from gigachat_server.access.principal import local_operator
from gigachat_server.pages import charts
from gigachat_server.pages.charts import Series
from tests.inbox.made_days import DAY_US, MadeDays
from tests.pages.inbox import operator
from tests.pages.pages import Page, Pages, pages
from tests.pages.payloads import XSS

pytestmark = pytest.mark.sqlite_only  # the page sees nothing of the store; the figures are tested on both

TODAY = 20_800
ONE = (Series("only", "Prompts"),)
TWO = (Series("p50", "Half"), Series("p90", "Most"))


async def _busy(site: Pages, *, days: int = 60, conversations: int = 150) -> str:
    """A chatbot that people have talked to, as the API names it."""
    chatbot = await site.api.chatbot(name="Shop & Co", prices={"input": 2.5, "output": 10})
    made = MadeDays(chatbot.rpartition("/")[2], first_day=TODAY - days + 1, days=days, seed=5)
    await made.write(site.api.services.database, conversations)
    return chatbot


def _date(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


class Evening:
    """The last moment of today, or of a day before."""

    def __init__(self) -> None:
        self.day = TODAY

    def __call__(self) -> int:
        return self.day * DAY_US + DAY_US - 1


def _tiles(html: str) -> dict[str, str]:
    found = re.findall(r'<div class="tile"><dt>(.*?)</dt><dd class="figure">(.*?)</dd>', html)
    return {unescape(name): re.sub("<.*?>", "", value) for name, value in found}


def _table(html: str) -> list[list[str]]:
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("<tr>")[1:]]


@pytest.mark.parametrize("days", [7, 30, 90, 365])
async def test_the_page_says_what_the_api_says(tmp_path: Path, days: int) -> None:
    async with pages(tmp_path, clock=Evening()) as site:
        chatbot = await _busy(site)
        eve = await operator(site, "eve")
        shown = await eve.get(f"/figures?days={days}")
        assert shown.status == 200, shown.text
        assert Page(shown.text).dangers == []
        told = (await site.api.get(f"{chatbot}/figures?from={_date(TODAY - days + 1)}&to={_date(TODAY)}")).body
        total, tiles = told["total"], _tiles(shown.text)
        assert tiles["Conversations"] == f"{total['conversations']:,}"
        assert tiles["Prompts"] == f"{total['prompts']:,}"
        assert tiles["Asked for a human"] == f"{sum(total['handoffs'].values()):,}"
        assert tiles["Cost"] == f"{total['cost']:,.2f}"
        ratings = total["ratings"]
        mean = sum(int(score) * count for score, count in ratings.items()) / sum(ratings.values())
        assert tiles["Rating"] == f"{mean:.1f} of 5"
        rows = _table(shown.text)
        assert [row[0] for row in rows] == [day["day"] for day in reversed(told["days"])]
        for row, day in zip(rows, reversed(told["days"]), strict=True):
            counted = [row[1], row[3], row[7]]
            wanted = (day["conversations"], day["answered"], sum(day["handoffs"].values()))
            assert counted == [f"{each:,}" if each else "–" for each in wanted]
        columns = shown.text.split('aria-labelledby="replies-title"')[1].split("</figure>")[0].count('<g class="column">')
        assert columns == (53 if days == 365 else days), "a bar for each day, or each week of a year"


async def test_a_period_is_compared_with_the_one_before(tmp_path: Path) -> None:
    clock = Evening()
    async with pages(tmp_path, clock=clock) as site:
        chatbot = await site.api.chatbot()
        clock.day = TODAY - 7
        for number in range(4):
            await site.api.say(chatbot, "Hello", conversation=f"old{number}")
        clock.day = TODAY
        for number in range(3):
            await site.api.say(chatbot, "Hello", conversation=f"new{number}")
        eve = await operator(site, "eve")
        week, month = (await eve.get("/figures")).text, (await eve.get("/figures?days=30")).text
        assert _tiles(week)["Conversations"] == "3"
        assert "25 % less than before" in week
        assert _tiles(month)["Conversations"] == "7"
        assert "than before" not in month, "nothing happened in the 30 days before"


async def test_the_file_is_that_of_the_api(tmp_path: Path) -> None:
    async with pages(tmp_path, clock=Evening()) as site:
        chatbot = await _busy(site)
        eve = await operator(site, "eve")
        file = await eve.get("/figures?days=30&format=csv")
        assert file.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert file.headers["Content-Disposition"] == f'attachment; filename="figures-{_date(TODAY - 29)}-{_date(TODAY)}.csv"'
        api = await site.api.get(f"{chatbot}/figures?from={_date(TODAY - 29)}&to={_date(TODAY)}&format=csv")
        assert file.text == api.text
        assert len(list(csv.DictReader(io.StringIO(file.text)))) == 30


async def test_each_sees_the_chatbots_that_are_theirs(tmp_path: Path) -> None:
    async with pages(tmp_path, clock=Evening()) as site:
        assert "No chatbot yet" in (await site.visitor.get("/figures")).text
        theirs, other = await site.api.chatbot(name="Theirs"), await site.api.chatbot(name="Secret")
        eve = await operator(site, "eve")
        viewer = await operator(site, "viv", "member", chatbots={theirs: "viewer"})
        nobody = await operator(site, "nob", "member", chatbots={})
        assert "Secret" in (await eve.get("/figures")).text
        shown = await viewer.get("/figures")
        assert "Theirs" in shown.text
        assert "Secret" not in shown.text
        for hidden in (other, "/chatbots/none", f"{theirs}x"):
            address = f"/figures?chatbot={hidden.rpartition('/')[2]}"
            assert (await viewer.get(address)).status == (await viewer.get(f"{address}&format=csv")).status == 404
        assert (await nobody.get("/figures")).status == 403
        assert (await site.stranger.get("/figures?days=30")).headers["Location"] == "/login?next=%2Ffigures%3Fdays%3D30"


async def test_what_it_could_not_answer_is_there_and_nothing_of_it_runs(tmp_path: Path) -> None:
    config = {"documents": {"results": {"when_nothing_matches": "refuse"}}}
    async with pages(tmp_path) as site:
        chatbot = await site.api.chatbot(name=XSS[0][:200], **config)
        for number, payload in enumerate(XSS):
            await site.api.say(chatbot, payload, conversation=f"c{number}")
        for _ in range(len(XSS)):
            await site.api.say(chatbot, "Do you sell gift cards?", conversation="gift")
        eve = await operator(site, "eve")
        shown = await eve.get("/figures")
        assert Page(shown.text).dangers == []
        missed = re.search(r'<ol class="missed">(.*?)</ol>', shown.text, re.S)
        assert missed
        assert missed[1].split("<li>")[1].startswith("<bdi>Do you sell gift cards?</bdi>"), "the largest group first"
        services = site.api.services
        found = await services.chatbots.find(local_operator(services.account.id), chatbot.rpartition("/")[2])
        assert f'href="/settings/{found.id}/unanswered"' in shown.text


@pytest.mark.parametrize("wrong", ["days=8", "days=-1", "days=%00", "days=7&format=xml", "days=", "format=csv%00"])
async def test_what_makes_no_sense_shows_the_week(tmp_path: Path, wrong: str) -> None:
    async with pages(tmp_path) as site:
        await site.api.chatbot()
        eve = await operator(site, "eve")
        shown = await eve.get(f"/figures?{wrong}")
        assert shown.status == 200
        assert 'days=7" aria-current="true"' in shown.text


# --- drawing ---


@pytest.mark.parametrize("most", [0, 1, 2, 3, 7, 10, 11, 99, 100, 101, 4_999, 5_001, 123_456_789])
def test_the_scale_of_counts_is_whole_and_reaches_the_most(most: int) -> None:
    scale = charts.counts(most)
    assert scale.top >= max(most, 1)
    assert scale.step == int(scale.step)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 5
    assert len({each.text for each in ticks}) == len(ticks), "no two ticks say the same"


@pytest.mark.parametrize("most", [1e-7, 0.003, 0.05, 0.3, 1, 7.5, 12_345.67])
def test_the_scale_of_money_has_as_many_decimals_as_it_needs(most: float) -> None:
    scale = charts.amounts(most)
    assert scale.top >= most * (1 - 1e-9)
    assert len({each.text for each in scale.ticks()}) == len(scale.ticks())


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0"),
        (80, "80 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (1_540, "1.5 s"),
        (90_000, "1.5 min"),
        (3_600_000, "1 h"),
        (2.5 * 86_400_000, "2.5 d"),
    ],
)
def test_a_duration_is_said_in_its_own_unit(ms: float, words: str) -> None:
    assert charts.duration(ms) == words


@pytest.mark.parametrize("most", [1, 90, 1_000, 47_000, 59_999, 3_000_000, 80_000_000, 10**11])
def test_the_scale_of_durations_reaches_the_longest(most: float) -> None:
    scale = charts.durations(most)
    assert scale.top >= most
    assert len(scale.ticks()) <= 5


def test_bars_stand_on_each_other_and_fill_what_they_count() -> None:
    chart = charts.bars(TWO, ["1 Jan", "2 Jan"], [[30, 10], [0, 0]], charts.counts(40))
    full, empty = chart.columns
    assert [(each.name, each.y + each.height) for each in full.parts] == [("p50", chart.bottom), ("p90", full.parts[0].y)]
    assert sum(each.height for each in full.parts) == pytest.approx(charts.HEIGHT)
    assert empty.parts == []
    assert [each.text for each in full.told] == ["30", "10"]


def test_what_is_not_0_can_be_seen() -> None:
    chart = charts.bars(ONE, ["1 Jan", "2 Jan"], [[1], [100_000]], charts.counts(100_000))
    assert chart.columns[0].parts[0].height >= 1


def test_a_line_breaks_where_nothing_was_measured() -> None:
    chart = charts.lines(TWO, ["1", "2", "3", "4"], [(1, 2), (1, 2), (None, None), (3, 4)], charts.durations(4))
    assert [(each.name, each.x1, each.x2) for each in chart.strokes] == [("p50", 12.5, 37.5), ("p90", 12.5, 37.5)]
    assert chart.columns[2].parts == []
    assert charts.lines(TWO, ["1"], [(None, None)], charts.durations(0)).is_empty


@pytest.mark.parametrize("count", [1, 7, 30, 90, 365])
def test_labels_have_room(count: int) -> None:
    chart = charts.bars(ONE, [str(each) for each in range(count)], [[1]] * count, charts.counts(1))
    assert len(chart.labels) <= 7
    assert all(0 < each.x < 100 for each in chart.labels)
    assert len([each for each in chart.labels if not each.is_minor]) <= 4
