"""When schedules are due: in order, none twice, and sanely where clocks change."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.abi.errors import BadCall
from orlop.abi.ids import Nanoseconds
from orlop.kernel.schedule import due_by
from orlop.kernel.when import When, nanoseconds, parse
from orlop.machine.clock import NS_PER_S

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
RULES = st.sampled_from(
    ["* * * * *", "*/7 * * * *", "30 2 * * *", "0 9 * * 1-5", "0 0 1 * *", "every 90s", "every 2h"]
)
MOMENTS = st.integers(1_700_000_000, 1_900_000_000).map(lambda s: Nanoseconds(s * NS_PER_S))


@given(RULES, st.sampled_from(ZONES), MOMENTS)
def test_runs_come_in_order_and_never_twice(text: str, zone: str, start: Nanoseconds) -> None:
    rule = parse(text, zone, start)
    moment = start
    for _ in range(20):
        following = rule.after(moment)
        assert following is not None and following > moment
        assert rule.after(Nanoseconds(following - NS_PER_S)) == following
        moment = following


@given(RULES, MOMENTS, st.integers(0, 200_000))
def test_what_is_due_by_now_is_all_and_only_that(
    text: str, start: Nanoseconds, seconds: int
) -> None:
    rule = parse(text, "UTC", start)
    now = Nanoseconds(start + seconds * NS_PER_S)
    due, forgotten = due_by(rule, start, now)
    assert due == sorted(set(due)) and len(due) <= 1_000
    assert all(start < moment <= now for moment in due)
    assert len(due) + forgotten == counted(rule, start, now)


def counted(rule: When, start: Nanoseconds, now: Nanoseconds) -> int:
    count, moment = 0, rule.after(start)
    while moment is not None and moment <= now:
        count, moment = count + 1, rule.after(moment)
    return count


def local(zone: str, year: int, month: int, day: int, hour: int, minute: int = 0) -> Nanoseconds:
    return nanoseconds(datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)))


def runs(rule: When, first: Nanoseconds, days: int) -> list[datetime]:
    found, moment = [], rule.after(first)
    while moment is not None and moment < first + days * 86_400 * NS_PER_S:
        found.append(datetime.fromtimestamp(moment / NS_PER_S, rule.zone))
        moment = rule.after(moment)
    return found


def test_a_time_that_the_clocks_skip_runs_at_the_change() -> None:
    begin = local("Europe/Berlin", 2026, 3, 28, 12)
    found = runs(parse("30 2 * * *", "Europe/Berlin", begin), begin, 3)
    assert [(run.day, run.hour, run.minute) for run in found] == [
        (29, 3, 0),
        (30, 2, 30),
        (31, 2, 30),
    ]


def test_a_time_that_the_clocks_repeat_runs_once() -> None:
    begin = local("Europe/Berlin", 2026, 10, 24, 12)
    found = runs(parse("30 2 * * *", "Europe/Berlin", begin), begin, 3)
    assert [(run.day, run.hour, run.minute) for run in found] == [
        (25, 2, 30),
        (26, 2, 30),
        (27, 2, 30),
    ]


@pytest.mark.parametrize("day", [(2026, 3, 29), (2026, 10, 25)])
def test_a_run_each_hour_runs_each_hour_of_a_day_that_is_longer_or_shorter(
    day: tuple[int, int, int],
) -> None:
    begin = local("Europe/Berlin", *day, 0)
    end = nanoseconds(datetime(*day, tzinfo=ZoneInfo("Europe/Berlin")) + timedelta(days=1))
    rule = parse("0 * * * *", "Europe/Berlin", begin)
    hours = (end - begin) // (3_600 * NS_PER_S)
    assert counted(rule, begin, end) == hours in (23, 25)


def test_an_interval_does_not_care_for_clocks() -> None:
    begin = local("Europe/Berlin", 2026, 3, 29, 0)
    rule = parse("every 1h", "Europe/Berlin", begin)
    assert rule.after(Nanoseconds(begin + 1)) == begin + 3_600 * NS_PER_S


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "61 * * * *", "every", "every 5", "every 0s", "every -1s", "every 9999d",
     "at", "at noon", "0 0 30 2 *"],
)  # fmt: skip
def test_what_is_never_due_is_refused(text: str) -> None:
    with pytest.raises(BadCall, match="when"):
        parse(text, "UTC", Nanoseconds(1_767_225_600 * NS_PER_S))


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(BadCall, match="zone"):
        parse("* * * * *", "Europe/Nowhere", Nanoseconds(0))
