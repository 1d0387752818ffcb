"""One account: what it may use, what it has used, what calls in flight hold.

Invariant: in each unit and in each period, used + held <= limit at the moment of each hold; so an
account is overdrawn only where an engine bills more than was held, or where a limit is lowered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from orlop.abi.budgets import NOTHING, AccountName, AccountView, Amount, Limit, Source
from orlop.abi.calls import Budget
from orlop.abi.errors import BudgetHeld, BudgetSpent, KernelError, RateReached
from orlop.abi.ids import NanoDollars, Nanoseconds
from orlop.machine.latch import Latch
from orlop.meter.period import NS, Minute, begins, ends

UNLIMITED: Final = Limit()

HELD_AGAIN_S: Final = 1.0
"""When a call that found its budget held by others may ask again; nobody knows when they end."""


@dataclass(eq=False, slots=True)
class Tally:
    """An `Amount` that is counted in place: each call changes several."""

    calls: int = 0
    tokens: int = 0
    nano_dollars: int = 0
    ns: int = 0

    def add(self, amount: Amount) -> None:
        self.calls += amount.calls
        self.tokens += amount.tokens
        self.nano_dollars += amount.nano_dollars
        self.ns += amount.ns

    def take(self, amount: Amount) -> None:
        self.calls -= amount.calls
        self.tokens -= amount.tokens
        self.nano_dollars -= amount.nano_dollars
        self.ns -= amount.ns

    def amount(self) -> Amount:
        return Amount(self.calls, self.tokens, NanoDollars(self.nano_dollars), Nanoseconds(self.ns))


def tally(amount: Amount) -> Tally:
    return Tally(amount.calls, amount.tokens, amount.nano_dollars, amount.ns)


@dataclass(eq=False, slots=True)
class Account:
    """Changed by the ledger alone."""

    name: AccountName
    label: str
    limit: Limit = UNLIMITED
    source: Source = "none"
    before: Amount = NOTHING
    """Used before this period began."""
    calls_held: int = 0
    start_ns: Nanoseconds = Nanoseconds(0)
    """Of the period that `used` is counted in."""
    until_ns: Nanoseconds | None = None
    """And when it ends; None: never."""
    minute: Minute = field(default_factory=Minute)
    rows: int = 0
    """Processes in the table that use it."""
    is_bounding: bool = False
    """What a call may use at most must be known before it begins."""
    all_used: Tally = field(default_factory=Tally)
    on_hold: Tally = field(default_factory=Tally)
    waiting: list[Latch] | None = None
    """Of calls that wait for what others give back, in their order; None: there were none yet."""

    @property
    def ever(self) -> Amount:
        return self.all_used.amount()

    @property
    def held(self) -> Amount:
        return self.on_hold.amount()

    @property
    def used(self) -> Amount:
        """In this period, as of the last `roll`."""
        return self.ever if self.start_ns == 0 else self.ever - self.before

    @property
    def is_rated(self) -> bool:
        return bool(self.limit.calls_per_minute or self.limit.tokens_per_minute)

    def hold(self, amount: Amount, second: int, now_ns: Nanoseconds) -> None:
        """A call begins, in `second`."""
        self.on_hold.add(amount)
        self.calls_held += 1
        if self.is_bounding:
            self.roll(now_ns)
            if self.is_rated:
                self.minute.add(second, amount.calls, amount.tokens)

    def settle(self, held: Amount, used: Amount, second: int, now_ns: Nanoseconds) -> None:
        """That call has ended."""
        if self.is_bounding:
            self.roll(now_ns)
        self.on_hold.take(held)
        self.calls_held -= 1
        self.all_used.add(used)
        if self.is_rated:
            self.minute.add(second, used.calls - held.calls, used.tokens - held.tokens)
        if self.waiting:
            self._tell()

    def allow(self, limit: Limit, source: Source, now_ns: Nanoseconds) -> None:
        """A new limit.  Another period than before is counted from now; `ever` from the start."""
        self.roll(now_ns)
        if limit.per != self.limit.per:
            self._begin(begins(limit.per, now_ns), limit)
        self.limit, self.source = limit, source
        self.is_bounding = limit != UNLIMITED
        self._tell()

    def _tell(self) -> None:
        """There may be room now."""
        for latch in self.waiting or ():
            latch.set()

    def _begin(self, start_ns: Nanoseconds, limit: Limit) -> None:
        self.start_ns, self.until_ns = start_ns, ends(limit.per, start_ns)
        self.before = NOTHING if limit.per == "ever" else self.ever

    def roll(self, now_ns: Nanoseconds) -> None:
        """A new period has begun, or a new second.  A clock that is set back refills nothing."""
        if self.until_ns is not None and now_ns >= self.until_ns:
            self._begin(begins(self.limit.per, now_ns), self.limit)
        self.minute.trim(now_ns // NS)

    def view(self, now_ns: Nanoseconds) -> AccountView:
        self.roll(now_ns)
        return AccountView(
            account=self.name,
            label=self.label,
            limit=self.limit,
            source=self.source,
            used=self.used,
            used_ever=self.ever,
            held=self.held,
            refills_ns=self.until_ns,
        )

    def left(self) -> Budget:
        """As of the last `roll`.  None: no limit."""
        limit, used, held = self.limit.budget, self.used, self.held
        seconds = limit.seconds
        money = _less(limit.nano_dollars, used.nano_dollars + held.nano_dollars)
        return Budget(
            calls=_less(limit.calls, used.calls + held.calls),
            tokens=_less(limit.tokens, used.tokens + held.tokens),
            nano_dollars=None if money is None else NanoDollars(money),
            seconds=None if seconds is None else max(0, _ns(seconds) - used.ns - held.ns) / NS,
        )


def _ns(seconds: float) -> int:
    return round(seconds * NS)


def _less(limit: int | None, gone: int) -> int | None:
    return None if limit is None else max(0, limit - gone)


def room(accounts: Sequence[Account], now_ns: Nanoseconds) -> Budget | None:
    """The least that any of them has left in each unit; None: none of them has a limit.

    Rolls them on.  A rate does not make a call smaller than what a whole minute allows.
    """
    least, is_bounding = Budget(), False
    for account in accounts:
        if not account.is_bounding:
            continue
        account.roll(now_ns)
        is_bounding = True
        left = account.left()
        tokens = _least(left.tokens, account.limit.tokens_per_minute)
        money = _least(least.nano_dollars, left.nano_dollars)
        least = Budget(
            calls=_least(least.calls, left.calls),
            tokens=_least(least.tokens, tokens),
            nano_dollars=None if money is None else NanoDollars(money),
            seconds=min((s for s in (least.seconds, left.seconds) if s is not None), default=None),
        )
    return least if is_bounding else None


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def require(accounts: Sequence[Account], need: Amount, now_ns: Nanoseconds) -> None:
    """Raises why a call that may use `need` can't begin; the accounts have been rolled on.

    `BudgetSpent` and `RateReached` say when there is enough again, `BudgetHeld` that calls in
    flight hold it.
    """
    for account in accounts:
        if not account.is_bounding:
            continue
        for unit in _units(account, need):
            if unit.used + unit.held + unit.need > unit.limit:
                raise _refusal(account, unit, now_ns)
        if is_too_fast(account, need):
            raise _too_fast(account, need, now_ns)


@dataclass(frozen=True, slots=True)
class _Unit:
    name: str
    limit: int
    used: int
    held: int
    need: int

    def say(self, count: int) -> str:
        match self.name:
            case "dollars":
                return f"${count / NS:,.9f}".rstrip("0").rstrip(".")
            case "seconds":
                return f"{count / NS:,.3f}".rstrip("0").rstrip(".") + " seconds"
            case name:
                return f"{count:,} {name if count != 1 else name.removesuffix('s')}"


def _units(account: Account, need: Amount) -> Iterator[_Unit]:
    limit, used, held = account.limit.budget, account.used, account.held
    if limit.calls is not None:
        yield _Unit("calls", limit.calls, used.calls, held.calls, need.calls)
    if limit.tokens is not None:
        yield _Unit("tokens", limit.tokens, used.tokens, held.tokens, need.tokens)
    if (money := limit.nano_dollars) is not None:
        yield _Unit("dollars", money, used.nano_dollars, held.nano_dollars, need.nano_dollars)
    if limit.seconds is not None:
        yield _Unit("seconds", _ns(limit.seconds), used.ns, held.ns, max(1, need.ns))


def _refusal(account: Account, unit: _Unit, now_ns: Nanoseconds) -> KernelError:
    left = max(0, unit.limit - unit.used - unit.held)
    refills_ns = account.until_ns
    per = "" if refills_ns is None else f" per {account.limit.per}"
    said = (
        f"the budget of {account.label} is {unit.say(unit.limit)}{per}: "
        f"{unit.say(unit.used)} used, "
        f"{unit.say(unit.held)} held by calls in flight ({account.calls_held}), "
        f"{unit.say(left)} left; this call may use {unit.say(unit.need)}"
    )
    if unit.held and unit.used + unit.need <= unit.limit:
        return BudgetHeld(f"{said}; what they do not use comes back", retry_after_s=HELD_AGAIN_S)
    if refills_ns is None or unit.need > unit.limit:
        return BudgetSpent(f"{said}; it does not refill" if refills_ns is None else said)
    wait_s = (refills_ns - now_ns) / NS
    return BudgetSpent(f"{said}; it refills in {wait_s:,.0f} s", retry_after_s=wait_s)


def is_too_fast(account: Account, need: Amount) -> bool:
    limit, minute = account.limit, account.minute
    calls, tokens = limit.calls_per_minute, limit.tokens_per_minute
    return (calls is not None and minute.calls + need.calls > calls) or (
        tokens is not None and minute.tokens + need.tokens > tokens
    )


def _too_fast(account: Account, need: Amount, now_ns: Nanoseconds) -> KernelError:
    limit, minute = account.limit, account.minute
    calls = _over(limit.calls_per_minute, minute.calls, need.calls)
    tokens = _over(limit.tokens_per_minute, minute.tokens, need.tokens)
    said = (
        f"{account.label} may make {_most(limit.calls_per_minute, 'calls')} and use "
        f"{_most(limit.tokens_per_minute, 'tokens')} in a minute: {minute.calls:,} calls and "
        f"{minute.tokens:,} tokens came in the last one, and this call may use {need.tokens:,}"
    )
    wait_s = minute.forgets(now_ns // NS, calls, tokens)
    if wait_s is None:
        return BudgetSpent(f"{said}, which never fits")
    return RateReached(f"{said}; there is room in {wait_s} s", retry_after_s=float(wait_s))


def _over(most: int | None, came: int, more: int) -> int:
    """By how much it is too many."""
    return 0 if most is None else max(0, came + more - most)


def _most(most: int | None, unit: str) -> str:
    return f"any number of {unit}" if most is None else f"{most:,} {unit}"
