"""What is wrong with a device, by what its sensors and its calls say.  Pure functions.

A cause that mends itself (heat, full memory, slowness) takes a share of the device's work away, and
gives it back after `CLEAN_LOOKS` looks without it.  One that does not (broken memory, an operator's
order) drains the device until an operator gives it back.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

from orlop.abi.devices import DeviceHealth, Reading

CLEAN_LOOKS: Final = 3
"""Looks in a row without a cause, before what it took is given back."""

THROTTLED_LOOKS: Final = 2
"""Looks in a row that a device must be throttled: a short peak of heat is nothing."""

THROTTLED_SHARE: Final = 0.5
"""Given to a throttled device that does not tell its clock."""

SHARE_MIN: Final = 0.125
"""What a degraded device keeps, so that it can show that it has recovered."""

CORRECTED_ERRORS_MAX: Final = 100
"""Corrected memory errors between two looks; more, and the memory is likely to fail."""

SLOW_RATIO: Final = 0.5
"""Of the calibrated speed: below it, a device is slow."""

SOUND_RATIO: Final = 0.8
"""Above it, it is not slow any more."""

CALLS_JUDGED_MIN: Final = 8
"""Measured calls before anything is said of a device's speed."""

CauseKind = Literal["throttled", "memory_full", "memory_errors", "slow", "broken", "operator"]
LASTING: Final[frozenset[CauseKind]] = frozenset({"broken", "operator"})


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong.  `share`: what the device is still good for, 0 to 1."""

    kind: CauseKind
    share: float
    reason: str
    clean: int = 0
    """Looks in a row without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is known of a device's health."""

    seen: bool = True
    absence: str = ""
    """Why it is not seen."""
    causes: tuple[Cause, ...] = ()
    throttled_looks: int = 0
    memory_errors: int | None = None
    memory_errors_corrected: int | None = None
    speed: float = 1.0
    """Smoothed, of the calibrated speed."""
    calls_judged: int = 0

    @property
    def health(self) -> DeviceHealth:
        if not self.seen:
            return "lost"
        if any(cause.kind in LASTING for cause in self.causes):
            return "drained"
        return "degraded" if self.causes else "ready"

    @property
    def share(self) -> float:
        """Of what it could do, what it should be given."""
        if not self.seen:
            return 0.0
        return min((cause.share for cause in self.causes), default=1.0)

    @property
    def reason(self) -> str:
        if not self.seen:
            return self.absence
        return "; ".join(cause.reason for cause in self.causes)


HEALTHY: Final = Condition()


def looked(was: Condition, reading: Reading) -> Condition:
    """After a look that found the device."""
    throttled = was.throttled_looks + 1 if reading.throttled else 0
    now = replace(
        was,
        seen=True,
        absence="",
        throttled_looks=throttled,
        memory_errors=_known(reading.memory_errors, was.memory_errors),
        memory_errors_corrected=_known(
            reading.memory_errors_corrected, was.memory_errors_corrected
        ),
    )
    found = [*_broken(was, reading), *_corrected(was, reading)]
    if throttled >= THROTTLED_LOOKS:
        found.append(_throttling(reading))
    return _with(now, found)


def lost(was: Condition, why: str) -> Condition:
    """After a look that did not find it."""
    return replace(was, seen=False, absence=why)


def ran_full(was: Condition, said: str) -> Condition:
    """A call failed since the device had no memory left: half of what it was given is too much."""
    share = max(SHARE_MIN, _share_of(was, "memory_full") / 2)
    return _with(was, [Cause("memory_full", share, f"it ran out of memory: {said}")], age=False)


def timed(was: Condition, ratio: float) -> Condition:
    """A call ran at `ratio` > 0 of the calibrated speed."""
    if was.calls_judged:
        speed = was.speed + (min(ratio, 2.0) - was.speed) / CALLS_JUDGED_MIN
    else:
        speed = min(ratio, 2.0)
    now = replace(was, speed=speed, calls_judged=was.calls_judged + 1)
    if now.calls_judged < CALLS_JUDGED_MIN:
        return now
    if speed < SLOW_RATIO:
        reason = f"it runs at {speed:.0%} of its calibrated speed"
        return _with(now, [Cause("slow", max(SHARE_MIN, speed), reason)], age=False)
    if speed > SOUND_RATIO:
        return without(now, "slow")
    return now


def drained(was: Condition, reason: str) -> Condition:
    """An operator wants no more work on it."""
    return _with(was, [Cause("operator", 0.0, reason)], age=False)


def broke(was: Condition, reason: str) -> Condition:
    """It was drained for this reason in an earlier life of the kernel."""
    return _with(was, [Cause("broken", 0.0, reason)], age=False)


def given_back(was: Condition) -> Condition:
    """An operator says that it is sound again."""
    return replace(was, causes=(), throttled_looks=0, calls_judged=0, speed=1.0)


def without(was: Condition, kind: CauseKind) -> Condition:
    return replace(was, causes=tuple(cause for cause in was.causes if cause.kind != kind))


def _broken(was: Condition, reading: Reading) -> list[Cause]:
    if reading.memory_broken:
        return [Cause("broken", 0.0, reading.memory_broken)]
    before, now = was.memory_errors, reading.memory_errors
    if before is not None and now is not None and now > before:
        return [Cause("broken", 0.0, f"{now - before} memory errors that could not be corrected")]
    return []


def _corrected(was: Condition, reading: Reading) -> list[Cause]:
    before, now = was.memory_errors_corrected, reading.memory_errors_corrected
    if before is None or now is None or now - before <= CORRECTED_ERRORS_MAX:
        return []
    return [Cause("memory_errors", 0.5, f"{now - before} corrected memory errors since last look")]


def _throttling(reading: Reading) -> Cause:
    why, share = ", ".join(reading.throttled), reading.clock_share
    if share is None:
        return Cause("throttled", THROTTLED_SHARE, f"throttled: {why}")
    reason = f"throttled to {share:.0%} of its clock: {why}"
    return Cause("throttled", max(SHARE_MIN, min(1.0, share)), reason)


def _with(was: Condition, found: list[Cause], *, age: bool = True) -> Condition:
    """`found` goes before what was known of the same kinds; the others get a look older."""
    kinds = {cause.kind for cause in found}
    kept = []
    for cause in was.causes:
        if cause.kind in kinds:
            continue
        # Slowness ends by calls, not by looks.
        ages = age and cause.kind not in LASTING and cause.kind != "slow"
        older = replace(cause, clean=cause.clean + 1) if ages else cause
        if older.clean < CLEAN_LOOKS:
            kept.append(older)
    return replace(was, causes=(*kept, *found))


def _share_of(condition: Condition, kind: CauseKind) -> float:
    return next((cause.share for cause in condition.causes if cause.kind == kind), 1.0)


def _known(now: int | None, before: int | None) -> int | None:
    return before if now is None else now
