"""What other rules would have said of the calls in the journal.

The journal is folded once more, event by event; before each call's intent is folded in, the tables
are as they were when the call came, so that counts, money and labels are those of that moment.
What undoes a step of a saga is asked about as the call of its tool that it is.
Engines, tools and models are taken as they are now.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from orlop.abi.calls import Call, CallTool
from orlop.abi.errors import BadCall
from orlop.abi.events import CallEntered, Header, Snapshot
from orlop.abi.ids import DEFAULT_TENANT, CallId, Nanoseconds, Seq, TenantId
from orlop.abi.limits import DIFFERENCES_KEPT_MAX
from orlop.abi.policy import BacktestOrder, BacktestReport, Decision, Difference, PolicyRefused
from orlop.abi.sagas import SagaUndoing
from orlop.access.policy import Policy
from orlop.access.policy_cases import change
from orlop.state import codec, policy_facts
from orlop.state.core import Kernel
from orlop.state.policy_facts import Asked
from orlop.state.snapshot import restored
from orlop.state.tables import Tables
from orlop.subsystems import policies, policy

BATCH: Final = 64
"""Events at once: other calls go on in between."""


@dataclass(eq=False, slots=True)
class Sums:
    calls: int = 0
    unreadable: int = 0
    differing: int = 0
    by_change: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)
    newest: deque[Difference] = field(default_factory=lambda: deque(maxlen=DIFFERENCES_KEPT_MAX))

    def add(self, found: Difference) -> None:
        self.differing += 1
        self.by_change[change(found)] += 1
        decisive = found.now if found.now.verdict != "permit" else found.was
        self.by_rule.update(decisive.rules or ("no rule permits it",))
        self.newest.append(found)

    def report(self) -> BacktestReport:
        return BacktestReport(
            calls=self.calls,
            differing=self.differing,
            by_change=dict(self.by_change),
            by_rule=dict(self.by_rule.most_common()),
            newest=tuple(self.newest),
            unreadable=self.unreadable,
        )


async def backtest(
    kernel: Kernel, order: BacktestOrder, tenant: TenantId = DEFAULT_TENANT
) -> BacktestReport:
    """Of a tenant's calls; of everybody's, where it is the installation's set.

    Raises `BadCall` for rules that can't be used.
    """
    if order.since_ns > kernel.clock.wall_ns():
        raise BadCall("since: that is in the future")
    made = await policies.made(kernel, order.files, "a back-test")
    await kernel.journal.flush()
    tables, after = await _start(kernel, order.since_ns)
    head, sums = kernel.journal.head_seq, Sums()
    while after < head:
        batch = await kernel.journal.read(Seq(after + 1), head, limit=BATCH)
        if not batch:
            break
        for stored in batch:
            event = codec.decode(stored)
            if event is None:
                is_call = stored.header.kind == "call.entered"
                sums.unreadable += is_call and tenant in (DEFAULT_TENANT, stored.header.tenant)
                continue
            is_meant = tenant in (DEFAULT_TENANT, stored.header.tenant)
            if is_meant and stored.header.wall_ns >= order.since_ns:
                _look(kernel, made, tables, stored.header, event, sums)
            tables.apply(stored.header, event)
        after = batch[-1].header.seq
        await kernel.clock.sleep(0)
    return sums.report()


async def _start(kernel: Kernel, since_ns: Nanoseconds) -> tuple[Tables, Seq]:
    """The newest snapshot, if it is old enough; else the journal's beginning."""
    newest = await kernel.journal.latest("kernel.snapshot")
    if newest is not None and newest.header.wall_ns <= since_ns:
        event = codec.decode(newest)
        tables = restored(event) if isinstance(event, Snapshot) else None
        if tables is not None:
            return tables, newest.header.seq
    return Tables(), Seq(0)


def _look(
    kernel: Kernel, made: Policy, tables: Tables, header: Header, event: object, sums: Sums
) -> None:
    """One call: what was said of it, and what these rules say."""
    row, meant = tables.rows.get(header.process), _meant(tables, header, event)
    if row is None or meant is None:
        return
    sums.calls += 1
    was = meant.was
    for asked, now in _said(kernel, made, tables, header, meant.call, meant.labels):
        if now.verdict != was.verdict:
            sums.add(
                Difference(
                    call=meant.id,
                    pid=row.pid,
                    agent=row.name,
                    action=asked.action,
                    resource=asked.resource,
                    was=was,
                    now=now,
                    wall_ns=header.wall_ns,
                    seq=header.seq,
                )
            )
            return


@dataclass(frozen=True, slots=True)
class Meant:
    """What rules were asked of.  id: of a compensation, its step's."""

    id: CallId
    call: Call
    labels: tuple[str, ...]
    was: Decision


def _meant(tables: Tables, header: Header, event: object) -> Meant | None:
    match event:
        case CallEntered() | PolicyRefused() if header.call is not None:
            return Meant(header.call, event.body, event.labels, event.decision or Decision())
        case SagaUndoing():
            call = CallTool(tool=event.tool, arguments=event.arguments, saga=event.saga)
            was = Decision(verdict=event.verdict, rules=event.rules)
            saga = tables.sagas.rows.get(event.saga)
            steps = {step.seq: step.call for step in saga.steps} if saga is not None else {}
            id = steps.get(event.step, CallId(event.saga))
            return Meant(id, call, event.labels, was)
        case _:
            return None


def _said(
    kernel: Kernel,
    made: Policy,
    tables: Tables,
    header: Header,
    call: Call,
    labels: tuple[str, ...],
) -> Iterator[tuple[Asked, Decision]]:
    world = policy.world_of(kernel)
    row = tables.rows[header.process]
    for action, thing in policy_facts.things(tables, world, row, call):
        asked = Asked(
            tables=tables,
            row=row,
            call=call,
            action=action,
            resource=thing.id,
            labels=frozenset(labels),
            now_ns=header.wall_ns,
            world=world,
        )
        yield asked, policy.decided(kernel, made, asked, thing)[0]
