"""The oracles: what must be true of the journal, the world and the kernel, whatever went wrong.

Safety: I1 told is told for ever; I2 no effect twice; I3 no budget exceeded; I4 one outcome a call;
I8 the chain verifies and never loses its past; I9 nobody does what he may not.  Liveness (I5) is in
`mayhem`: everybody is served.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from simulation.books import Books
from simulation.register import Register
from simulation.town import Life, Town
from simulation.witness import said

from orlop.abi.budgets import NOTHING, AccountName
from orlop.abi.calls import CallTool, Infer, is_parked
from orlop.abi.events import CallEntered, CallFailed, CallReturned, Event, Header
from orlop.abi.ids import DEFAULT_TENANT, CallId, ScheduleId, Seq
from orlop.abi.processes import ProcessSpawned
from orlop.abi.replies import Completion
from orlop.abi.schedules import ScheduleFired, ScheduleSet
from orlop.kernel import recovery
from orlop.kernel.when import parse
from orlop.machine.offload import InlineOffload
from orlop.state import codec
from orlop.state.running import Phase
from orlop.state.tables import Tables
from orlop.store.audit import Audit
from orlop.store.journal import Journal


@dataclass(frozen=True, slots=True)
class Made:
    """One call of the journal: its intent, and how it ended."""

    header: Header
    entered: CallEntered
    outcomes: list[tuple[Header, CallReturned | CallFailed]]


class Chronicle:
    """Looks the journal over at the end of the day."""

    def __init__(self, town: Town) -> None:
        self._town = town

    def check_quiet(self, life: Life) -> None:
        """I10: nothing is left in any queue; every call that was given out has ended."""
        kernel = life.kernel
        assert kernel.calls_in_flight == 0 and kernel.calls_parked == 0
        assert all(not process.running for process in kernel.processes.values())
        assert all(running.phase is Phase.ENDED for running in life.entered)
        assert len(kernel.tasks) == 0
        for device in [*kernel.registry.engines, *(f"tool:{c.name}" for c in kernel.tools.cards())]:
            assert kernel.scheduler.load(device) == (0, 0), device
        for engine in self._town.engines:
            assert engine.running == 0 and engine.running_peak <= engine.slots
        assert not kernel.tables.ledger.holds, "something is held in the evening"
        for account in kernel.tables.ledger.accounts.values():
            assert account.calls_held == 0 and account.held == NOTHING, account

    async def check_all(self, last: Life) -> str:
        """The journal's last hash."""
        town = self._town
        finding = Audit(town.tape, town.keyring.verifier, whole=True, progress=None).run()
        assert not finding.damage, finding.damage
        journal = Journal(town.tape, town.keyring, town.clock, town.chance, InlineOffload())
        await journal.open("simulation", "coroner", 0)
        try:
            return await self._check(journal, last)
        finally:
            await journal.close()

    async def _check(self, journal: Journal, last: Life) -> str:
        stored = await journal.read(Seq(1), limit=1_000_000)
        events = [(item.header, event) for item in stored if (event := codec.decode(item))]
        assert len(events) == len(stored)
        calls = self._calls(events)
        await self._check_tables(journal, events, last)
        await self._check_told(journal, calls)
        self._check_budgets(events, calls, last)
        self._check_effects()
        self._check_schedules(events)
        assert Register(()).read(events).checked or not calls, "I9: somebody did what he may not"
        return stored[-1].header.hash.hex()

    def _calls(self, events: Sequence[tuple[Header, Event]]) -> dict[Seq, Made]:
        """I4: exactly one outcome a call; calls that are parked may be open."""
        calls: dict[CallId, Made] = {}
        for header, event in events:
            if isinstance(event, CallEntered):
                assert header.call is not None and header.call not in calls
                calls[header.call] = Made(header, event, [])
            elif isinstance(event, CallReturned | CallFailed):
                assert header.call is not None
                made = calls[header.call]
                assert header.cause == made.header.seq
                made.outcomes.append((header, event))
        for call, made in calls.items():
            fewest = 0 if is_parked(made.entered.body) else 1
            assert fewest <= len(made.outcomes) <= 1, (call, made)
        return {made.header.seq: made for made in calls.values()}

    async def _check_tables(
        self, journal: Journal, events: Sequence[tuple[Header, Event]], last: Life
    ) -> None:
        """The live tables, and the newest snapshot with its tail, are the fold of the journal."""
        whole = Tables()
        for header, event in events:
            whole.apply(header, event)
        booted, _ = await recovery.read_tables(journal)
        for tables in (booted, whole, last.kernel.tables):
            tables.ledger.roll(self._town.clock.wall_ns())
        assert differences(booted, whole) == []
        assert differences(last.kernel.tables, whole) == []

    async def _check_told(self, journal: Journal, calls: dict[Seq, Made]) -> None:
        """I1: what an agent was told is in the journal; and it was not computed again since."""
        told = self._town.witness.steps
        outcomes = {header.seq: event for made in calls.values() for header, event in made.outcomes}
        for name, said_then in told.items():
            event = outcomes.get(said_then.seq)
            assert isinstance(event, CallReturned), f"{name} was told event {said_then.seq}"
            done = event.done
            if isinstance(done, Completion):
                names = [bytes.fromhex(name) for name in event.messages]
                parts = [await journal.part(DEFAULT_TENANT, name) for name in names]
                done, _ = codec.restore(event, [codec.message(part) for part in parts])
            assert said(done) == said_then.answer, name
            if isinstance(said_then.call, Infer):
                paid = self._town.paid_for(said_then.call)
                assert paid == said_then.paid, f"{name} was computed again after it was told"

    def _check_budgets(
        self, events: Sequence[tuple[Header, Event]], calls: dict[Seq, Made], last: Life
    ) -> None:
        """I3, I11: what each account used is within its budget, and as the ledger has it.

        Nor have engines done more for anybody than that.
        """
        books = Books(events)
        ledger = last.kernel.tables.ledger
        ledger.check()
        for made in calls.values():
            books.book(made.header, made.entered, [event for _, event in made.outcomes])
        for name, used in books.used.items():
            limit, account = books.limits.get(name), ledger.accounts[DEFAULT_TENANT, name]
            assert account.ever == used, (
                f"{name}: {account.ever} in the ledger, {used} in the calls"
            )
            if limit is not None:
                books.require_within(name, limit)
        for process, row in last.kernel.tables.rows.items():
            bill, own = self._town.bills[row.name], AccountName(f"process:{process}")
            used = ledger.accounts[DEFAULT_TENANT, own].ever
            if books.is_limited(process):
                assert bill.calls <= used.calls, f"{row.name}: {bill}, and the ledger has {used}"
                assert bill.tokens <= used.tokens, f"{row.name}: {bill}, and the ledger has {used}"

    def _check_effects(self) -> None:
        """I2: no effect twice; what was told is done; an effect that is not known was said so."""
        world, witness = self._town.world, self._town.witness
        for order, times in world.done.items():
            if order in witness.twice:
                continue
            effect = world.kinds[order]
            assert times == 1 or effect == "pure", f"{order} ({effect}) happened {times} times"
        for order, answered in witness.twice.items():
            keys = len(world.keys[order])
            assert bool(answered) <= keys <= 2 and world.done[order] == keys, order
            sure = bool(answered) and all(answered)
            assert keys == 2 or not sure, f"{order} was asked for twice and happened once"
        for name, told in witness.steps.items():
            if isinstance(told.call, CallTool):
                assert world.done[name] >= 1, f"{name} was told done, and is not"

    def _check_schedules(self, events: Sequence[tuple[Header, Event]]) -> None:
        """Each run that was due is decided once, in order, and none is forgotten."""
        rules: dict[ScheduleId, ScheduleSet] = {}
        decided: defaultdict[ScheduleId, list[tuple[int, int]]] = defaultdict(list)
        for _, event in events:
            match event:
                case ScheduleSet():
                    rules[event.schedule] = event
                case ProcessSpawned() if event.schedule is not None and event.due_ns is not None:
                    decided[event.schedule].append((event.due_ns, 1))
                case ScheduleFired():
                    decided[event.schedule].append((event.due_ns, event.runs))
                case _:
                    pass
        for id, made in decided.items():
            due = [due_ns for due_ns, _ in made]
            assert due == sorted(set(due)), "a run was decided twice, or out of order"
            rule = parse(rules[id].when, rules[id].zone, rules[id].start_ns)
            moment, count = rules[id].start_ns, 0
            while (following := rule.after(moment)) is not None and following <= due[-1]:
                moment, count = following, count + 1
            assert count == sum(runs for _, runs in made), "a run was forgotten, or made up"


def _shape(tables: Tables) -> tuple[object, ...]:
    """All of it, the order of its rows included."""
    return (
        tables.next_pid,
        list(tables.rows.values()),
        list(tables.keys.rows.values()),
        list(tables.schedules.rows.values()),
        list(tables.calls.open.values()),
        list(tables.exited),
        msgspec.to_builtins(tables.ledger.state()),
    )


def differences(one: Tables, other: Tables) -> list[tuple[object, object]]:
    """What two tables do not share."""
    pairs = zip(_shape(one), _shape(other), strict=True)
    return [pair for pair in pairs if pair[0] != pair[1]]
