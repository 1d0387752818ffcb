"""Escalation: who is asked after how long, in which hours, and what follows at the end.  Pure."""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from orlop.abi.errors import Misconfigured
from orlop.abi.ids import Nanoseconds
from orlop.abi.limits import ESCALATION_STEPS_MAX
from orlop.machine.clock import NS_PER_S

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOURS: Final = re.compile(r"(?:(\w{3})(?:-(\w{3}))? )?(\d\d:\d\d)-(\d\d:\d\d)")
WEEK: Final = 8
"""Days that are looked through for the next open hour: a week, and today once more."""


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a chain, as in `{ to = ["grace"], after_s = 3600, hours = "Mon-Fri 09:00-17:00",
    zone = "Europe/Berlin" }`."""

    to: tuple[str, ...]
    """Whom to ask."""
    after_s: float = 0.0
    """Since the question was asked."""
    hours: str = ""
    """Only then, as in `Mon-Fri 09:00-17:00; Sat 10:00-12:00`: outside, the step waits for the next
    of these hours.  Empty: always."""
    zone: str = "UTC"
    """The time zone of the hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainConfig:
    """One `[escalations.NAME]` table of orlop.toml: whom questions are taken to, in turn."""

    tools: tuple[str, ...] = ()
    """The tools whose approvals follow it, with `*` for any characters; empty: all, and the
    questions that agents ask.  The first table that fits counts."""
    agents: tuple[str, ...] = ()
    """The same for the names of processes."""
    steps: tuple[Step, ...] = ()
    """In their order, as in `steps = [{ to = ["grace"] }, { to = ["ada"], after_s = 3600 }]`."""
    end: Literal["deny", "expire"] = "expire"
    """What becomes of a question that nobody answers.  Nothing is ever approved by silence."""
    end_s: float | None = None
    """After how long; by default when the question expires."""
    only: bool = False
    """Only those whom the chain has reached may answer, and operators."""


@dataclass(frozen=True, slots=True)
class Hours:
    """When somebody can be asked.  windows: by weekday, from and to; none at all: always."""

    zone: ZoneInfo
    windows: tuple[tuple[int, time, time], ...]

    def at_or_after(self, moment_ns: int) -> Nanoseconds:
        """The first moment from then on that lies within."""
        if not self.windows:
            return Nanoseconds(moment_ns)
        moment = datetime.fromtimestamp(moment_ns / NS_PER_S, self.zone)
        found: list[datetime] = []
        for ahead in range(WEEK):
            day = moment.date() + timedelta(days=ahead)
            for weekday, opens, closes in self.windows:
                if weekday != day.weekday():
                    continue
                start = datetime.combine(day, opens, self.zone)
                end = datetime.combine(day, closes, self.zone)
                if moment < end:
                    found.append(max(start, moment, key=_utc))
        first = min(found, key=_utc)
        return Nanoseconds(moment_ns) if first == moment else _ns(first)


def _utc(moment: datetime) -> datetime:
    """Two moments of one zone compare by their wall clocks, and those go back in autumn."""
    return moment.astimezone(UTC)


def _ns(moment: datetime) -> Nanoseconds:
    return Nanoseconds(round(moment.timestamp()) * NS_PER_S)


@functools.lru_cache(maxsize=256)
def read_hours(text: str, zone: str) -> Hours:
    """Raises `ValueError` that says what is wrong."""
    try:
        place = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone {zone!r}; write one as in Europe/Berlin") from None
    windows: list[tuple[int, time, time]] = []
    for part in (part.strip() for part in text.split(";") if part.strip()):
        found = HOURS.fullmatch(part)
        first = (found[1] or "mon").lower() if found else ""
        last = (found[2] or found[1] or "sun").lower() if found else ""
        if found is None or first not in DAYS or last not in DAYS:
            raise ValueError(f"hours {part!r}: write them as in Mon-Fri 09:00-17:00")
        opens, closes = time.fromisoformat(found[3]), _closing(found[4])
        if opens >= closes:
            raise ValueError(f"hours {part!r}: they end before they begin")
        day = DAYS.index(first)
        while True:
            windows.append((day, opens, closes))
            if day == DAYS.index(last):
                break
            day = (day + 1) % 7
    return Hours(place, tuple(windows))


def _closing(text: str) -> time:
    return time.max if text == "24:00" else time.fromisoformat(text)


def check(chains: Mapping[str, ChainConfig]) -> None:
    """Raises `Misconfigured`."""
    for name, chain in chains.items():
        where = f"[escalations.{name}]"
        if not chain.steps and chain.end_s is None:
            raise Misconfigured(f"{where}: needs `steps`, or at least `end_s`")
        if len(chain.steps) > ESCALATION_STEPS_MAX:
            raise Misconfigured(f"{where}: at most {ESCALATION_STEPS_MAX} steps")
        before = 0.0
        for number, step in enumerate(chain.steps, 1):
            try:
                read_hours(step.hours, step.zone)
            except ValueError as error:
                raise Misconfigured(f"{where} step {number}: {error}") from error
            if not step.to:
                raise Misconfigured(f"{where} step {number}: `to` names nobody")
            if not before <= step.after_s <= 1e9:
                raise Misconfigured(f"{where} step {number}: after_s: {before:g} or more")
            before = step.after_s


def chain_for(chains: Mapping[str, ChainConfig], tool: str, agent: str) -> str:
    """The first that fits, by name; empty: none."""
    for name, chain in chains.items():
        if fits(chain.tools, tool) and fits(chain.agents, agent):
            return name
    return ""


def fits(patterns: Sequence[str], name: str) -> bool:
    """No patterns fit everything."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def due(chain: ChainConfig, step: int, asked_ns: int) -> Nanoseconds | None:
    """When step `step` (from 0) is to be taken; None: there is no such step."""
    if step >= len(chain.steps):
        return None
    wanted = chain.steps[step]
    hours = read_hours(wanted.hours, wanted.zone)
    return hours.at_or_after(asked_ns + round(wanted.after_s * NS_PER_S))


def ends(chain: ChainConfig | None, asked_ns: int, expires_ns: int) -> Nanoseconds:
    """When nobody may answer any more."""
    if chain is None or chain.end_s is None:
        return Nanoseconds(expires_ns)
    return Nanoseconds(min(expires_ns, asked_ns + round(chain.end_s * NS_PER_S)))
