"""Hours: when people are there by the clocks of a time zone, also on the days on which clocks are set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gigachat_server.chat.hours import hours_errors, is_open, next_opening
from gigachat_server.records import HoursConfig, OpenSpan, WeekConfig
from tests.harness import gigachat

_DAYS = WeekConfig.__struct_fields__


def hours(timezone: str, days: str, *spans: str, closed: tuple[str, ...] = ()) -> HoursConfig:
    """The same spans on each of these days, such as `mon tue`, or `*` for every day."""
    each = tuple(OpenSpan(from_=span.partition("-")[0], until=span.partition("-")[2]) for span in spans)
    named = _DAYS if days == "*" else days.split()
    return HoursConfig(timezone=timezone, week=WeekConfig(**dict.fromkeys(named, each)), closed_dates=closed)


OFFICE = hours("Europe/Berlin", "mon tue wed thu fri", "09:00-12:30", "13:30-18:00", closed=("2027-05-06",))
ALL_DAY = hours("Europe/Berlin", "*", "00:00-24:00", closed=("2027-12-25", "2027-12-26"))
NIGHT = hours("Europe/Berlin", "*", "02:15-05:00")  # clocks skip 02:00 to 03:00 on 2027-03-28, and repeat it on 2027-10-31
TO_HALF_PAST_TWO = hours("Europe/Berlin", "*", "00:00-02:30")
NEW_YORK = hours("America/New_York", "sun", "01:30-03:00")  # skips 2 to 3 on 2027-03-14, repeats 1 to 2 on 2027-11-07
LORD_HOWE = hours("Australia/Lord_Howe", "*", "01:45-03:00")  # by half an hour: 2027-04-04 and 2027-10-03
KATHMANDU = hours("Asia/Kathmandu", "mon", "09:00-17:00")
SANTIAGO = hours("America/Santiago", "sun", "00:00-08:00")  # at midnight: there is no 00:00 on 2027-09-05
SAMOA = hours("Pacific/Apia", "fri sat", "09:00-17:00")  # had no Friday, 2011-12-30
NEVER = hours("Europe/Berlin", "*")

# The hours, a moment in UTC, whether they are open then, and when they next open, in UTC (None: never; `=`: now).
CASES: list[tuple[HoursConfig, str, bool, str | None]] = [
    (OFFICE, "2027-01-04T08:00", True, "="),  # 09:00 in winter
    (OFFICE, "2027-01-04T07:59", False, "2027-01-04T08:00"),
    (OFFICE, "2027-07-05T07:00", True, "="),  # 09:00 in summer
    (OFFICE, "2027-07-05T06:59", False, "2027-07-05T07:00"),
    (OFFICE, "2027-01-04T11:29", True, "="),
    (OFFICE, "2027-01-04T11:30", False, "2027-01-04T12:30"),  # an end belongs to the break
    (OFFICE, "2027-01-04T17:00", False, "2027-01-05T08:00"),
    (OFFICE, "2027-01-08T17:00", False, "2027-01-11T08:00"),  # over the weekend
    (OFFICE, "2027-03-26T17:00", False, "2027-03-29T07:00"),  # over the weekend on which summer begins
    (OFFICE, "2027-10-29T16:00", False, "2027-11-01T08:00"),  # and ends
    (OFFICE, "2027-05-06T09:00", False, "2027-05-07T07:00"),  # a closed date
    (OFFICE, "2027-05-05T23:00", False, "2027-05-07T07:00"),  # 01:00 on it
    (ALL_DAY, "2027-06-01T21:59", True, "="),
    (ALL_DAY, "2027-06-01T22:00", True, "="),  # 24:00 is 00:00 of the next day
    (ALL_DAY, "2027-12-24T22:59", True, "="),
    (ALL_DAY, "2027-12-24T23:00", False, "2027-12-26T23:00"),
    (ALL_DAY, "2027-12-26T22:59", False, "2027-12-26T23:00"),
    (ALL_DAY, "2027-03-28T01:00", True, "="),  # while clocks are set
    (NIGHT, "2027-03-27T01:15", True, "="),
    (NIGHT, "2027-03-28T00:59", False, "2027-03-28T01:00"),  # 02:15 never comes: the first moment after is 03:00
    (NIGHT, "2027-03-28T01:00", True, "="),
    (NIGHT, "2027-03-28T03:00", False, "2027-03-29T00:15"),
    (NIGHT, "2027-10-31T00:14", False, "2027-10-31T00:15"),
    (NIGHT, "2027-10-31T00:59", True, "="),
    (NIGHT, "2027-10-31T01:00", False, "2027-10-31T01:15"),  # it is 02:00 again
    (NIGHT, "2027-10-31T01:15", True, "="),
    (TO_HALF_PAST_TWO, "2027-10-31T00:29", True, "="),
    (TO_HALF_PAST_TWO, "2027-10-31T00:30", False, "2027-10-31T01:00"),  # and open again, since it is 02:00 again
    (TO_HALF_PAST_TWO, "2027-10-31T01:30", False, "2027-10-31T23:00"),
    (TO_HALF_PAST_TWO, "2027-03-28T01:00", False, "2027-03-28T22:00"),  # 03:00, half an hour early
    (NEW_YORK, "2027-03-14T06:30", True, "="),
    (NEW_YORK, "2027-03-14T07:00", False, "2027-03-21T05:30"),  # 03:00, after half an hour instead of one and a half
    (NEW_YORK, "2027-11-07T05:29", False, "2027-11-07T05:30"),
    (NEW_YORK, "2027-11-07T06:00", False, "2027-11-07T06:30"),  # 01:00 again
    (LORD_HOWE, "2027-04-03T14:50", True, "="),  # 01:50 in summer, an offset of 11 hours
    (LORD_HOWE, "2027-04-03T15:00", False, "2027-04-03T15:15"),  # set back by half an hour to 01:30
    (LORD_HOWE, "2027-10-02T15:29", True, "="),  # 01:59
    (LORD_HOWE, "2027-10-02T15:30", True, "="),  # 02:30
    (LORD_HOWE, "2027-10-02T16:00", False, "2027-10-03T14:45"),
    (KATHMANDU, "2027-01-04T03:14", False, "2027-01-04T03:15"),  # an offset of 05:45
    (KATHMANDU, "2027-01-04T11:15", False, "2027-01-11T03:15"),
    (SANTIAGO, "2027-09-05T03:59", False, "2027-09-05T04:00"),  # 23:59 on Saturday is followed by 01:00 on Sunday
    (SANTIAGO, "2027-09-05T04:00", True, "="),
    (SAMOA, "2011-12-30T03:00", False, "2011-12-30T19:00"),  # Thursday 17:00 there; the next day is Saturday, 09:00
    (NEVER, "2027-01-04T08:00", False, None),
    (hours("Atlantis/Capital", "mon", "09:00-17:00"), "2027-01-03T08:00", True, "="),  # of another version's database
    (hours("UTC", "mon", "25:00-26:00", "9-17", "10:00-11:00"), "2027-01-04T09:00", False, "2027-01-04T10:00"),
]


@pytest.mark.parametrize(("when", "moment", "is_there", "opens"), CASES)
def test_hours_go_by_the_clocks_of_their_zone(when: HoursConfig, moment: str, is_there: bool, opens: str | None) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert is_open(when, at) is is_there
    expected = at if opens == "=" else None if opens is None else datetime.fromisoformat(opens).replace(tzinfo=UTC)
    assert next_opening(when, at) == expected


@pytest.mark.parametrize("when", [OFFICE, ALL_DAY, NIGHT, TO_HALF_PAST_TWO, NEW_YORK, LORD_HOWE, SANTIAGO])
@pytest.mark.parametrize(
    "around", ["2027-03-14", "2027-03-28", "2027-04-04", "2027-09-05", "2027-10-03", "2027-10-31", "2027-11-07"]
)
def test_the_next_opening_is_the_first_open_minute(when: HoursConfig, around: str) -> None:
    """Minute by minute, over the days on which clocks are set."""
    first = datetime.fromisoformat(around).replace(tzinfo=UTC) - timedelta(hours=26)
    minutes = [first + timedelta(minutes=n) for n in range(52 * 60)]
    opens: datetime | None = None
    for moment in reversed(minutes):
        if is_open(when, moment):
            opens = moment
        if opens is not None and (moment.minute % 15 == 0 or opens - moment < timedelta(minutes=3)):
            assert next_opening(when, moment) == opens


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        (
            {"timezone": "Europe/Berlin", "week": {"mon": [{"from": "09:00", "until": "24:00"}]}, "closed_dates": ["2028-02-29"]},
            set(),
        ),
        ({"week": {"mon": [{"from": "09:00", "until": "12:00"}, {"from": "12:00", "until": "13:00"}]}}, set()),
        (None, set()),
        ({"timezone": "Mars/Olympus"}, {"interception.hours.timezone"}),
        ({"timezone": "localtime"}, {"interception.hours.timezone"}),
        ({"timezone": "../../etc/passwd"}, {"interception.hours.timezone"}),
        ({"timezone": "America"}, {"interception.hours.timezone"}),
        ({"timezone": ""}, {"interception.hours.timezone"}),
        ({"week": {"mon": [{"from": "9:00", "until": "10:00"}]}}, {"interception.hours.week.mon[0].from"}),
        ({"week": {"mon": [{"from": "24:00", "until": "24:00"}]}}, {"interception.hours.week.mon[0].from"}),
        ({"week": {"mon": [{"from": "23:00", "until": "24:30"}]}}, {"interception.hours.week.mon[0].until"}),
        ({"week": {"tue": [{"from": "10:00", "until": "10:00"}]}}, {"interception.hours.week.tue[0]"}),
        ({"week": {"tue": [{"from": "22:00", "until": "06:00"}]}}, {"interception.hours.week.tue[0]"}),
        (
            {"week": {"sun": [{"from": "09:00", "until": "12:00"}, {"from": "11:59", "until": "13:00"}]}},
            {"interception.hours.week.sun[1]"},
        ),
        ({"week": {"sunday": []}}, {"interception.hours.week"}),
        ({"closed_dates": ["2027-02-29"]}, {"interception.hours.closed_dates[0]"}),
        ({"closed_dates": ["24.12.2027"]}, {"interception.hours.closed_dates[0]"}),
        ({"closed_dates": ["2027-12-24", "20271224"]}, {"interception.hours.closed_dates[1]"}),
        ({"closed_dates": ["2027-W51-5"]}, {"interception.hours.closed_dates[0]"}),
    ],
)
async def test_hours_are_checked_on_the_wire(tmp_path: Path, wanted: Any, fields: set[str]) -> None:
    async with gigachat(tmp_path) as api:
        made = await api.post("/chatbots", {"name": "x", "interception": {"hours": wanted}})
        chatbot = await api.chatbot()
        changed = await api.call("PATCH", chatbot, {"interception": {"hours": wanted}})
        if fields:
            assert (made.status, changed.status) == (422, 422)
            assert made.fields == changed.fields, (made.fields, changed.fields)
            assert all(any(found.startswith(field) or field.startswith(found) for found in made.fields) for field in fields)
        else:
            assert (made.status, changed.status) == (201, 200), made.text + changed.text
            assert changed.body["interception"]["hours"] == made.body["interception"]["hours"]


def test_stored_hours_are_never_an_error() -> None:
    assert hours_errors(OFFICE) == []
    odd = msgspec.structs.replace(OFFICE, closed_dates=("2027-99-99", "", "x"))
    assert is_open(odd, datetime(2027, 5, 6, 9, tzinfo=UTC))
