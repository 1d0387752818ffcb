"""When people can be asked: hours of a week, in their time zone, across clock changes."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from orlop.abi.errors import Misconfigured
from orlop.people.chains import ChainConfig, Step, chain_for, check, due, ends, read_hours

BERLIN = ZoneInfo("Europe/Berlin")


def ns(text: str, zone: ZoneInfo = BERLIN) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("asked", "open_at"),
    [
        ("2026-03-02T10:00", "2026-03-02T10:00"),  # A Monday, within.
        ("2026-03-02T08:00", "2026-03-02T09:00"),
        ("2026-03-02T17:00", "2026-03-03T09:00"),  # The end is outside.
        ("2026-03-06T18:00", "2026-03-07T10:00"),  # Saturday has hours of its own.
        ("2026-03-07T12:00", "2026-03-09T09:00"),  # Nobody on Sunday.
        ("2026-03-28T13:00", "2026-03-30T09:00"),  # Clocks go forward on that Sunday.
        ("2026-10-24T13:00", "2026-10-26T09:00"),  # And back.
    ],
)
def test_a_moment_outside_waits_for_the_next_of_the_hours(asked: str, open_at: str) -> None:
    hours = read_hours("Mon-Fri 09:00-17:00; Sat 10:00-12:00", "Europe/Berlin")
    assert hours.at_or_after(ns(asked)) == ns(open_at)


def test_hours_without_days_are_every_day_and_none_are_always() -> None:
    assert read_hours("", "UTC").at_or_after(123) == 123
    night = read_hours("22:00-24:00", "Europe/Berlin")
    assert night.at_or_after(ns("2026-03-08T23:30")) == ns("2026-03-08T23:30")
    assert night.at_or_after(ns("2026-03-08T03:00")) == ns("2026-03-08T22:00")
    weekend = read_hours("Sat-Mon 00:00-01:00", "UTC")
    utc = ZoneInfo("UTC")
    assert weekend.at_or_after(ns("2026-03-03T00:00", utc)) == ns("2026-03-07T00:00", utc)


@pytest.mark.parametrize(
    ("hours", "zone", "said"),
    [
        ("9-17", "UTC", "Mon-Fri 09:00-17:00"),
        ("Mon 17:00-09:00", "UTC", "end before they begin"),
        ("Xyz 09:00-17:00", "UTC", "Mon-Fri 09:00-17:00"),
        ("Mon 25:00-26:00", "UTC", "hour must be"),
        ("", "Europe/Atlantis", "no time zone"),
    ],
)
def test_hours_that_are_none_are_named(hours: str, zone: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_hours(hours, zone)
    chain = ChainConfig(steps=(Step(to=("grace",), hours=hours, zone=zone),))
    with pytest.raises(Misconfigured, match=r"\[escalations\.money\] step 1"):
        check({"money": chain})


def test_chains_that_make_no_sense_are_refused() -> None:
    wrong = {
        "needs `steps`": ChainConfig(),
        "names nobody": ChainConfig(steps=(Step(to=()),)),
        "after_s": ChainConfig(steps=(Step(to=("a",), after_s=9), Step(to=("b",), after_s=8))),
        "at most": ChainConfig(steps=(Step(to=("a",)),) * 17),
    }
    for said, chain in wrong.items():
        with pytest.raises(Misconfigured, match=said):
            check({"x": chain})


def test_the_first_chain_that_fits_counts() -> None:
    chains = {
        "money": ChainConfig(tools=("pay*",), end_s=1),
        "bots": ChainConfig(agents=("bot-*",), end_s=1),
        "rest": ChainConfig(end_s=1),
    }
    assert chain_for(chains, "payout", "bot-1") == "money"
    assert chain_for(chains, "", "bot-1") == "bots"
    assert chain_for(chains, "mail", "ada") == "rest"
    assert chain_for({}, "mail", "ada") == ""


def test_steps_come_in_their_time_and_the_end_never_after_the_expiry() -> None:
    chain = ChainConfig(steps=(Step(to=("a",)), Step(to=("b",), after_s=60)), end="deny", end_s=120)
    assert [due(chain, step, 5) for step in range(3)] == [5, 5 + 60 * 10**9, None]
    assert ends(chain, 5, 10**15) == 5 + 120 * 10**9
    assert ends(chain, 5, 7) == 7
    assert ends(None, 5, 7) == 7
