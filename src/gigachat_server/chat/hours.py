"""When people are there to answer: the hours of a chatbot, by the clocks of its time zone.

Pure: moments come in and go out in UTC, and nothing asks what time it is. A moment lies within the hours if the date and the
time that clocks show then do. So an hour that clocks show twice counts twice, and one that they skip never comes: what opens
in the middle of it opens with the first moment after. Invariant: what is stored may be wrong or of a later version, and no
conversation fails for it: a span or a date that cannot be read is left out, and hours of an unknown time zone keep none away.
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

from gigachat_server.errors import FieldError
from gigachat_server.records import HoursConfig, OpenSpan, WeekConfig

_DAYS = WeekConfig.__struct_fields__  # Monday first, as `date.weekday` counts
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:(00)", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9+_-]*(/[A-Za-z0-9+_-]+)*", re.ASCII)
_LOOKED_AHEAD_DAYS = 500  # more than as many dates as can be closed in a row
_MINUTES_A_DAY = 24 * 60

_Spans = Sequence[tuple[int, int]]  # from and until, in minutes of the day


def is_open(hours: HoursConfig, moment: datetime) -> bool:
    zone = time_zone(hours.timezone)
    return zone is None or _is_open(hours, moment.astimezone(zone))


def next_opening(hours: HoursConfig, moment: datetime) -> datetime | None:
    """When the hours next begin, in UTC: that moment itself if it lies within them; None if they never do."""
    zone = time_zone(hours.timezone)
    if zone is None or _is_open(hours, moment.astimezone(zone)):
        return moment.astimezone(UTC)
    today = moment.astimezone(zone).date()
    for ahead in range(_LOOKED_AHEAD_DAYS):
        day = today + timedelta(days=ahead)
        # Nothing else opens than a span that begins, or clocks that are set.
        turns = (each for each in (*_beginnings(hours, day, zone), *_clock_changes(day, zone)) if each > moment)
        found = [each for each in turns if _is_open(hours, each.astimezone(zone))]
        if found:
            return min(found)
    return None


def hours_errors(hours: HoursConfig | None) -> list[FieldError]:
    """What the types alone do not tell of hours that somebody wants."""
    if hours is None:
        return []
    at = "interception.hours"
    errors = []
    if time_zone(hours.timezone) is None:
        errors.append(FieldError(f"{at}.timezone", "Must be a time zone of the IANA database, such as Europe/Berlin."))
    for day in _DAYS:
        before = 0
        for number, span in enumerate(getattr(hours.week, day)):
            from_, until = _minutes(span.from_), _minutes(span.until)
            if from_ is None or until is None or not before <= from_ < until:
                message = "Must begin before it ends, and not before the one ahead of it has ended."
                errors.append(FieldError(f"{at}.week.{day}[{number}]", message))
                break
            before = until
    for number, text in enumerate(hours.closed_dates):
        if _date(text) is None:
            errors.append(FieldError(f"{at}.closed_dates[{number}]", "Must be a date, such as 2027-12-24."))
    return errors


@functools.lru_cache(maxsize=256)
def time_zone(name: str) -> zoneinfo.ZoneInfo | None:
    """None if there is none of that name, on whichever machine: `localtime` would be another one on each."""
    if name == "localtime" or not _NAME.fullmatch(name):
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _is_open(hours: HoursConfig, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    return any(from_ <= minute < until for from_, until in _spans(hours, local.date()))


def _spans(hours: HoursConfig, day: date) -> _Spans:
    if day.isoformat() in hours.closed_dates:
        return ()
    spans: Sequence[OpenSpan] = getattr(hours.week, _DAYS[day.weekday()])
    read = ((_minutes(span.from_), _minutes(span.until)) for span in spans)
    return [(from_, until) for from_, until in read if from_ is not None and until is not None]


def _beginnings(hours: HoursConfig, day: date, zone: zoneinfo.ZoneInfo) -> Iterator[datetime]:
    """Twice where clocks show the time twice. A time that is skipped is none, but its clock change is there."""
    for from_, _ in _spans(hours, day):
        if from_ < _MINUTES_A_DAY:
            for fold in (0, 1):
                yield datetime.combine(day, time(from_ // 60, from_ % 60, fold=fold), zone).astimezone(UTC)


def _clock_changes(day: date, zone: zoneinfo.ZoneInfo) -> Iterator[datetime]:
    """The moment at which clocks are set on that day, if they are."""
    begins, ends = (datetime.combine(each, time(), zone).astimezone(UTC) for each in (day, day + timedelta(days=1)))
    before = begins.astimezone(zone).utcoffset()
    if before == ends.astimezone(zone).utcoffset():
        return
    while ends - begins > timedelta(seconds=1):
        middle = begins + timedelta(seconds=(ends - begins) // timedelta(seconds=1) // 2)
        if middle.astimezone(zone).utcoffset() == before:
            begins = middle
        else:
            ends = middle
    yield ends


def _minutes(text: str) -> int | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    return _MINUTES_A_DAY if found[3] is not None else int(found[1]) * 60 + int(found[2])


def _date(text: str) -> date | None:
    """As `_spans` writes one; ISO 8601 has other ways, which would never be found again."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if found.isoformat() == text else None
