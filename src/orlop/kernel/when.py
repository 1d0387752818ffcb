"""When a schedule's runs are due.  Pure: the same text, zone and moment give the same answer."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from orlop.abi.errors import BadCall
from orlop.abi.ids import Nanoseconds
from orlop.machine.clock import NS_PER_S

UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
EVERY_S_MIN: Final = 1
"""The shortest interval, in seconds: a schedule is no loop."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 (datetime.UTC reads worse)


@dataclass(frozen=True, slots=True)
class When:
    """A parsed rule.  Exactly one of `cron`, `every_ns`, `at_ns` is given."""

    zone: ZoneInfo
    cron: str = ""
    every_ns: Nanoseconds | None = None
    at_ns: Nanoseconds | None = None
    start_ns: Nanoseconds = Nanoseconds(0)
    """`every` counts from here."""

    def after(self, moment_ns: Nanoseconds) -> Nanoseconds | None:
        """The first run that is due later than `moment_ns`; None: no more."""
        if self.at_ns is not None:
            return self.at_ns if self.at_ns > moment_ns else None
        if self.every_ns is not None:
            passed = max(0, moment_ns - self.start_ns) // self.every_ns
            return Nanoseconds(self.start_ns + (passed + 1) * self.every_ns)
        local = moment(moment_ns).astimezone(self.zone)
        return nanoseconds(next(CronSim(self.cron, local)))

    def skippable(self, decided_ns: Nanoseconds, now_ns: Nanoseconds, kept: int) -> int:
        """Runs between the two moments that need not be walked through one by one."""
        if self.every_ns is None:
            return 0
        return max(0, (now_ns - max(decided_ns, self.start_ns)) // self.every_ns - kept)

    def later(self, moment_ns: Nanoseconds, runs: int) -> Nanoseconds:
        """`moment_ns` and that many intervals more."""
        return Nanoseconds(moment_ns + runs * (self.every_ns or 0))


def parse(text: str, zone: str, start_ns: Nanoseconds) -> When:
    """`*/5 * * * *`, `cron …`, `every 90s`, or `at 2027-01-01T09:00`.

    Raises `BadCall` naming what is wrong.
    """
    try:
        place = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadCall(f"zone: no time zone {zone!r}; write one as in Europe/Berlin") from None
    word, _, rest = text.strip().partition(" ")
    if word == "every":
        return When(place, every_ns=_interval(rest.strip()), start_ns=start_ns)
    if word == "at":
        return When(place, at_ns=_date(rest.strip(), place))
    cron = rest.strip() if word == "cron" else text.strip()
    try:
        next(CronSim(cron, moment(start_ns).astimezone(place)))
    except CronSimError as error:
        raise BadCall(
            f"when: {text!r} is neither cron ({error}), nor 'every 90s', nor 'at 2027-01-01T09:00'"
        ) from error
    except StopIteration:
        raise BadCall(f"when: {text!r} is never due") from None
    return When(place, cron=cron)


def _interval(text: str) -> Nanoseconds:
    unit = UNITS.get(text[-1:])
    try:
        seconds = float(text[:-1]) * unit if unit is not None else float("nan")
    except ValueError:
        seconds = float("nan")
    if not EVERY_S_MIN <= seconds <= 366 * 86_400:
        raise BadCall(f"when: 'every {text}': write a number and s, m, h or d, from 1s to 366d")
    return Nanoseconds(int(seconds * NS_PER_S))


def _date(text: str, zone: ZoneInfo) -> Nanoseconds:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise BadCall(f"when: 'at {text}': write a date as in 2027-01-01T09:00") from None
    return nanoseconds(date if date.tzinfo is not None else date.replace(tzinfo=zone))


def moment(ns: Nanoseconds) -> datetime:
    """UTC, to the microsecond."""
    return EPOCH + timedelta(microseconds=ns // 1_000)


def nanoseconds(date: datetime) -> Nanoseconds:
    return Nanoseconds((date - EPOCH) // timedelta(microseconds=1) * 1_000)
