"""What operators may ask: the process table, traces, keys."""

from hashlib import sha256

from msgspec.structs import replace

from orlop.abi.admin import KeyView, NewKey, ProcessView, Trace, TraceCall
from orlop.abi.budgets import NOTHING
from orlop.abi.calls import Ask, Call, CallTool, Embed, Infer, Spawn, call_name
from orlop.abi.egress import Fetch
from orlop.abi.errors import BadCall, NotFound, RuleForbids
from orlop.abi.events import CallEntered, CallFailed, CallReturned
from orlop.abi.files import FileCall
from orlop.abi.ids import KERNEL_PROCESS, CallId, KeyId, NanoDollars, Nanoseconds, TenantId
from orlop.abi.keys import KeyCreated, KeyRevoked
from orlop.abi.limits import EXPIRY_S_MAX
from orlop.abi.policy import PolicyRefused
from orlop.abi.questions import asked_in
from orlop.abi.rights import EVERYTHING, Rights, canonical
from orlop.files.touched import touched
from orlop.machine.clock import NS_PER_S
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import Row
from orlop.store.journal import Stored
from orlop.subsystems import bounds
from orlop.subsystems.policy import said

SECRET_BYTES = 24
"""Of a key's secret, from the operating system's entropy."""

BEGINNINGS = ("call.entered", "policy.refused")
"""Kinds of events with which a row of a trace begins."""


def view(kernel: Kernel, row: Row) -> ProcessView:
    live = kernel.processes.get(row.id)
    work = kernel.office.roster.processes.get(row.id)
    account = next(iter(kernel.tables.ledger.line(row.tenant, row.accounts)), None)
    return ProcessView(
        id=row.id,
        pid=row.pid,
        name=row.name,
        state=row.state,
        reason=row.reason,
        home=row.home or kernel.name,
        parent=row.parent,
        command=row.command,
        cwd=row.cwd,
        latency_class=row.latency_class,
        program=row.program,
        version=row.version,
        restart=row.restart,
        on_divergence=row.on_divergence,
        budget=row.budget,
        incarnation=row.incarnation,
        mode=row.mode,
        status=row.status,
        outcome=row.outcome,
        divergence=row.divergence,
        os_pid=row.os_pid,
        spawned_ns=row.spawned_ns,
        started_ns=row.started_ns,
        ended_ns=row.ended_ns,
        calls=row.calls,
        calls_in_flight=len(live.running) if live is not None else 0,
        calls_replayed=live.calls_replayed if live is not None else 0,
        input_tokens=row.input_tokens,
        cached_tokens=row.cached_tokens,
        output_tokens=row.output_tokens,
        cost=row.cost,
        team=row.team,
        used=account.ever if account is not None else NOTHING,
        progress=row.progress,
        questions=waits_for(live) if live is not None else (),
        human_minutes=work.minutes if work is not None else 0.0,
        human_cost=work.cost if work is not None else NanoDollars(0),
        rights=row.rights,
        tenant=row.tenant,
    )


def waits_for(process: Process) -> tuple[str, ...]:
    """The questions to people that its calls wait for."""
    waiting = [
        asked_in(running.id) if isinstance(running.call, Ask) and running.seq else running.waits_for
        for running in process.running.values()
    ]
    return tuple(dict.fromkeys(question for question in waiting if question))


async def trace(kernel: Kernel, row: Row, most: int | None = None) -> Trace:
    """A process, its calls in order, and its children's traces.

    most: calls in all of these together; of those that have more, `rest` tells where they go on.
    """
    await kernel.journal.flush()
    return (await _tree(kernel, row, most))[0]


async def _tree(kernel: Kernel, row: Row, most: int | None) -> tuple[Trace, int | None]:
    """Also how many calls may still be told."""
    calls, rest = await calls_of(kernel, row, 0, most)
    left = None if most is None else most - len(calls)
    children: list[Trace] = []
    for child in kernel.children(row.id):
        made, left = await _tree(kernel, child, left)
        children.append(made)
    process, below = view(kernel, row), tuple(children)
    return Trace(process=process, calls=calls, children=below, rest=rest), left


async def trace_on(kernel: Kernel, row: Row, after: int, most: int) -> Trace:
    """The calls of a process alone past `after`, where an earlier answer has ended."""
    await kernel.journal.flush()
    calls, rest = await calls_of(kernel, row, after, most)
    return Trace(process=view(kernel, row), calls=calls, rest=rest)


async def calls_of(
    kernel: Kernel, row: Row, after: int, most: int | None
) -> tuple[tuple[TraceCall, ...], int | None]:
    """Calls that began past `after` (a process sequence number), and after which more begin."""
    calls: dict[CallId, TraceCall] = {}
    async for stored in kernel.elders.past(row.id, after):
        if most is not None and len(calls) >= most and stored.header.kind in BEGINNINGS:
            await _end_all(kernel, calls)
            return tuple(calls.values()), stored.header.process_seq - 1
        _follow(calls, stored)
    return tuple(calls.values()), None


async def _end_all(kernel: Kernel, calls: dict[CallId, TraceCall]) -> None:
    """Of those that ended after the last event that was read, how."""
    for call in [call for call, row in calls.items() if row.status == "open"]:
        for stored in await kernel.elders.of_call(call):
            if stored.header.kind not in BEGINNINGS:
                _follow(calls, stored)


def _follow(calls: dict[CallId, TraceCall], stored: Stored) -> None:
    """One event of the process."""
    if (call := stored.header.call) is not None:
        match event := codec.decode(stored):
            case CallEntered():
                calls[call] = _entered(stored, event, call)
            case None if stored.header.kind == "call.entered":
                calls[call] = _pruned(stored, call)
            case None if call in calls:
                status = "ok" if stored.header.kind == "call.returned" else "failed"
                calls[call] = replace(calls[call], status=status)
            case PolicyRefused():
                calls[call] = _refused(stored, event, call)
            case CallReturned() | CallFailed() if call in calls:
                calls[call] = _ended(calls[call], stored, event)
            case _:
                pass


def _entered(stored: Stored, event: CallEntered, call: CallId) -> TraceCall:
    return TraceCall(
        call=call,
        seq=stored.header.seq,
        kind=call_name(event.body),
        what=what(event.body),
        status="open",
        incarnation=event.incarnation,
        start_ns=stored.header.wall_ns,
        cleared_by=event.cleared_by,
    )


def _pruned(stored: Stored, call: CallId) -> TraceCall:
    return TraceCall(
        call=call,
        seq=stored.header.seq,
        kind="call",
        what="(no longer kept)",
        status="open",
        incarnation=0,
        start_ns=stored.header.wall_ns,
    )


def _refused(stored: Stored, event: PolicyRefused, call: CallId) -> TraceCall:
    """A rule has kept it from beginning."""
    return TraceCall(
        call=call,
        seq=stored.header.seq,
        kind=call_name(event.body),
        what=what(event.body),
        status=RuleForbids.code,
        incarnation=0,
        start_ns=stored.header.wall_ns,
        message=said(event.action, event.resource, event.decision),
    )


def _ended(call: TraceCall, stored: Stored, event: CallReturned | CallFailed) -> TraceCall:
    seconds = (stored.header.wall_ns - call.start_ns) / NS_PER_S
    if isinstance(event, CallFailed):
        return replace(call, status=event.code, seconds=seconds, message=event.message)
    facts = event.done.facts
    return replace(
        call,
        status="ok",
        seconds=seconds,
        load_s=facts.load_s,
        queue_s=facts.queue_s,
        prefill_s=facts.prefill_s,
        decode_s=facts.decode_s,
        input_tokens=facts.usage.input_tokens,
        cached_tokens=facts.usage.cached_tokens,
        output_tokens=facts.usage.output_tokens,
        cost=facts.cost,
        engine=facts.engine,
    )


def what(call: Call) -> str:
    """The model, the tool, the command, or the file."""
    match call:
        case Infer() | Embed():
            return call.model
        case CallTool():
            return call.tool
        case Fetch():
            return f"{call.method} {call.url}"
        case Spawn():
            return " ".join(call.command)
        case _:
            if not isinstance(call, FileCall):
                return ""
            named = [path for path, _ in touched(call)]
            return named[0] + (f" and {len(named) - 1} more" if len(named) > 1 else "")


async def create_key(
    kernel: Kernel,
    tenant: TenantId,
    name: str,
    team: str = "",
    *,
    rights: Rights = EVERYTHING,
    expires_s: float | None = None,
    is_operator: bool = False,
) -> NewKey:
    """A client key; the journal holds its digest only.  Raises `BadCall`."""
    await kernel.alone()
    kernel.tables.tenants.require_open(tenant)
    bounds.name("name", name)
    bounds.name("team", team)
    rights = canonical(rights)
    expires_ns = expiry(kernel, expires_s)
    secret = "orlk_" + kernel.chance.token(SECRET_BYTES).hex()
    id = kernel.new_key()
    event = KeyCreated(key_id=id, name=name, secret_digest=digest_of(secret), team=team)
    event = replace(event, rights=rights, expires_ns=expires_ns, operator=is_operator)
    await kernel.journal.durable(kernel.emit(KERNEL_PROCESS, tenant, event).seq)
    return NewKey(id=id, name=name, secret=secret)


def expiry(kernel: Kernel, expires_s: float | None) -> Nanoseconds | None:
    """Raises `BadCall`."""
    if expires_s is None:
        return None
    if not 0 < expires_s <= EXPIRY_S_MAX:
        raise BadCall(f"expires_s: more than 0 and at most {EXPIRY_S_MAX:g}, not {expires_s:g}")
    return Nanoseconds(kernel.clock.wall_ns() + round(expires_s * NS_PER_S))


async def revoke_key(kernel: Kernel, tenant: TenantId, id: str) -> None:
    """Raises `NotFound`."""
    await kernel.alone()
    row = kernel.tables.keys.rows.get(KeyId(id))
    if row is None or row.tenant != tenant:
        raise NotFound(f"no key {id!r}; `orlop key list` lists all")
    header = kernel.emit(KERNEL_PROCESS, tenant, KeyRevoked(key_id=KeyId(id)))
    await kernel.journal.durable(header.seq)


def keys(kernel: Kernel, tenant: TenantId) -> list[KeyView]:
    return [
        KeyView(
            id=key.id,
            name=key.name,
            team=key.team,
            created_ns=key.created_ns,
            rights=key.rights,
            expires_ns=key.expires_ns,
            tenant=key.tenant,
            operator=key.operator,
        )
        for key in kernel.tables.keys.rows.values()
        if key.tenant == tenant
    ]


def digest_of(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
