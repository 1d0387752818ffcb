"""The operators' routes: decode, ask the kernel, encode."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

import orlop
from orlop.abi.admin import (
    Info,
    Inventory,
    KeyOrder,
    ReplayOrder,
    ResumeOrder,
    ScheduleOrder,
    SignalOrder,
)
from orlop.abi.calls import Spawn
from orlop.abi.errors import BadCall
from orlop.abi.ids import Nanoseconds, Seq
from orlop.abi.kernels import ForgetOrder, PruneOrder
from orlop.abi.limits import NAME_CHARS_MAX, TRACE_CALLS_MAX
from orlop.hardware import probe
from orlop.http.exchange import Exchange
from orlop.http.native import NDJSON, WAIT_S_MAX
from orlop.http.place import Place
from orlop.kernel import forgetting, operator, retention
from orlop.kernel import schedule as schedules
from orlop.kernel.schedule import Schedules
from orlop.machine.settings import nearest
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import OVER
from orlop.store.output import STREAMS, Output
from orlop.subsystems import bounds, lifecycle, manifests
from orlop.wire import json_guard

T = TypeVar("T")

LOG_LOOK_S = 0.1
"""Between two looks at output that is followed."""

EXPORT_EVENTS = 1_000
"""Events read at once for an export."""


async def read(exchange: Exchange, kind: type[T]) -> T:
    """The body.  An empty one is `{}`.  Raises `BadCall` naming the field."""
    return decoded(await exchange.body() or b"{}", kind)


def decoded(body: bytes, kind: type[T]) -> T:
    """Raises `BadCall` naming the field."""
    json_guard.check(body)
    try:
        order = msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise BadCall(f"the order can't be read: {json_guard.why(error, body)}") from error
    if isinstance(order, msgspec.Struct):
        _require_known(body, order)
    return order


def _require_known(body: bytes | msgspec.Raw, order: msgspec.Struct) -> None:
    """A misspelt field is refused: an order without it would be another one."""
    fields = {field.encode_name: field.name for field in msgspec.structs.fields(order)}
    for said, value in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items():
        if said in fields:
            inner = getattr(order, fields[said])
            if isinstance(inner, msgspec.Struct):
                _require_known(value, inner)
        elif said != order.__struct_config__.tag_field:
            why = f"{said!r} is no field of it; {nearest(said, tuple(fields))}"
            raise BadCall(f"the order can't be read: {why}")


async def send(exchange: Exchange, value: object, status: int = 200) -> None:
    await exchange.send_json(status, msgspec.json.encode(value))


class Admin:
    """One method a route; `exchange.params` holds what the path names."""

    def __init__(
        self, kernel: Kernel, schedules: Schedules, place: Place, look_again: Callable[[], None]
    ) -> None:
        self._kernel = kernel
        self._schedules = schedules
        self._place = place
        self._look_again = look_again
        self._started_ns: Nanoseconds = kernel.clock.wall_ns()

    def _found(self, exchange: Exchange) -> Process:
        return self._kernel.find(exchange.params["ref"], exchange.tenant)

    async def info(self, exchange: Exchange) -> None:
        kernel, place = self._kernel, self._place
        info = Info(
            version=orlop.__version__,
            url=place.url,
            socket=place.socket_path,
            home=str(place.home),
            journal=place.journal,
            log=str(place.home / "log" / "kernel.log"),
            os_pid=place.os_pid,
            supervisor_pid=place.supervisor_pid,
            journal_id=kernel.journal.id,
            epoch=kernel.journal.epoch,
            head=kernel.journal.head_seq,
            started_ns=self._started_ns,
            ready=not missing(kernel),
            missing=tuple(missing(kernel)),
        )
        await send(exchange, info)

    async def kernels(self, exchange: Exchange) -> None:
        await send(exchange, await self._kernel.neighbours())

    async def prune(self, exchange: Exchange) -> None:
        await send(exchange, await retention.prune(self._kernel, await read(exchange, PruneOrder)))

    async def forget(self, exchange: Exchange) -> None:
        order = await read(exchange, ForgetOrder)
        await forgetting.forget(self._kernel, exchange.params["ref"], order.reason)
        await send(exchange, {})

    async def processes(self, exchange: Exchange) -> None:
        rows = sorted(self._kernel.tables.rows.values(), key=lambda row: row.pid)
        rows = [row for row in rows if row.tenant == exchange.tenant]
        if exchange.query("all", "0") == "0":
            rows = [row for row in rows if row.state not in OVER]
        await send(exchange, [operator.view(self._kernel, row) for row in rows])

    async def process(self, exchange: Exchange) -> None:
        await send(exchange, operator.view(self._kernel, self._found(exchange).row))

    async def spawn(self, exchange: Exchange) -> None:
        order = await read(exchange, Spawn)
        if not order.command:
            raise BadCall("command: what should be run?")
        process = await lifecycle.create(self._kernel, order, exchange.tenant)
        await lifecycle.start(self._kernel, process, "first")
        await send(exchange, operator.view(self._kernel, process.row), 201)

    async def signal(self, exchange: Exchange) -> None:
        order, process = await read(exchange, SignalOrder), self._found(exchange)
        await lifecycle.signal(self._kernel, process, order.signal, f"{order.signal} by operator")
        await self._kernel.journal.flush()
        await send(exchange, operator.view(self._kernel, process.row))

    async def resume(self, exchange: Exchange) -> None:
        order, process = await read(exchange, ResumeOrder), self._found(exchange)
        if order.budget is not None:
            bounds.budget(order.budget)
        await lifecycle.start(
            self._kernel,
            process,
            "resume",
            budget=order.budget,
            on_divergence=order.on_divergence,
        )
        await send(exchange, operator.view(self._kernel, process.row))

    async def replay(self, exchange: Exchange) -> None:
        order, process = await read(exchange, ReplayOrder), self._found(exchange)
        await lifecycle.start(self._kernel, process, "replay", strict=order.strict)
        await send(exchange, operator.view(self._kernel, process.row))

    async def wait(self, exchange: Exchange) -> None:
        process = self._found(exchange)
        limit_s = min(exchange.number("timeout", 30.0), WAIT_S_MAX)
        status = 200
        try:
            async with asyncio.timeout(limit_s):
                await lifecycle.ended(self._kernel, process)
        except TimeoutError:
            status = 202
        await send(exchange, operator.view(self._kernel, process.row), status)

    async def trace(self, exchange: Exchange) -> None:
        row, after = self._found(exchange).row, int(exchange.number("after", 0))
        if exchange.query("after"):
            found = await operator.trace_on(self._kernel, row, after, TRACE_CALLS_MAX)
        else:
            found = await operator.trace(self._kernel, row, TRACE_CALLS_MAX)
        await send(exchange, found)

    async def inventory(self, exchange: Exchange) -> None:
        kernel, engines = self._kernel, []
        for name, engine in kernel.registry.engines.items():
            running, waiting = kernel.scheduler.load(name)
            card = engine.card()
            engines.append(msgspec.structs.replace(card, running=running, waiting=waiting))
        inventory = Inventory(
            engines=tuple(engines),
            models=kernel.registry.cards(),
            tools=tuple(manifests.told(card) for card in kernel.tools.cards()),
            hardware=probe.hardware(),
        )
        await send(exchange, inventory)

    async def pulled(self, exchange: Exchange) -> None:
        """Models have been pulled: look at the shelf again."""
        self._look_again()
        await self.inventory(exchange)

    # Keys and schedules.

    async def keys(self, exchange: Exchange) -> None:
        await send(exchange, operator.keys(self._kernel, exchange.tenant))

    async def create_key(self, exchange: Exchange) -> None:
        order = await read(exchange, KeyOrder)
        made = await operator.create_key(
            self._kernel,
            exchange.tenant,
            order.name,
            order.team,
            rights=order.allow,
            expires_s=order.expires_s,
            is_operator=order.operator,
        )
        await send(exchange, made)

    async def revoke_key(self, exchange: Exchange) -> None:
        await operator.revoke_key(self._kernel, exchange.tenant, exchange.params["ref"])
        await send(exchange, {})

    async def schedules(self, exchange: Exchange) -> None:
        now_ns = self._kernel.clock.wall_ns()
        rows = self._kernel.tables.schedules.rows.values()
        own = [row for row in rows if row.tenant == exchange.tenant]
        await send(exchange, [schedules.view(row, now_ns) for row in own])

    async def set_schedule(self, exchange: Exchange) -> None:
        order = await read(exchange, ScheduleOrder)
        id = await self._schedules.set(exchange.tenant, order)
        row = self._kernel.tables.schedules.rows[id]
        await send(exchange, schedules.view(row, self._kernel.clock.wall_ns()), 201)

    async def remove_schedule(self, exchange: Exchange) -> None:
        await self._schedules.remove(exchange.tenant, exchange.params["ref"])
        await send(exchange, {})

    # Streams.

    async def logs(self, exchange: Exchange) -> None:
        """NDJSON of what the command printed; with `follow=1` until it has ended."""
        process = self._found(exchange)
        incarnation = int(exchange.number("incarnation", process.row.incarnation))
        folder = self._place.home / "run" / process.id / str(incarnation)
        wanted = exchange.query("stream", "all")
        names = [name for name in STREAMS if wanted in (name, "all")]
        offset = int(exchange.number("offset", 0))
        output = Output(folder, dict.fromkeys(names, offset))
        follow = exchange.query("follow", "0")
        if follow not in ("0", "1"):
            raise BadCall(f"`follow` is 0 or 1, not {follow[:NAME_CHARS_MAX]!r}")
        await exchange.start_stream([("content-type", NDJSON)])
        while exchange.is_attended:
            over = self._kernel.is_over(process.id) or process.row.incarnation != incarnation
            printed = output.more()
            for line in printed:
                await exchange.send_chunk(line)
            if not printed and (over or follow == "0"):
                break
            if not printed:
                await self._kernel.clock.sleep(LOG_LOOK_S)
        await exchange.end()

    async def export(self, exchange: Exchange) -> None:
        """NDJSON of events with their headers, decoded: a tenant's, or the whole journal."""
        journal, wanted = self._kernel.journal, exchange.query("process", "")
        process = self._kernel.find(wanted, exchange.tenant).id if wanted else None
        tenant = None if exchange.is_whole else exchange.tenant
        await journal.flush()
        first, last = max(1, int(exchange.number("first", 1))), int(exchange.number("last", 0))
        last = min(last or journal.head_seq, journal.head_seq)
        await exchange.start_stream([("content-type", NDJSON)])
        while first <= last and exchange.is_attended:
            batch = await journal.read(Seq(first), Seq(last), limit=EXPORT_EVENTS)
            for stored in batch:
                if process not in (None, stored.header.process):
                    continue
                if tenant in (None, stored.header.tenant):
                    line = {"header": stored.header, "event": codec.decode(stored)}
                    await exchange.send_chunk(msgspec.json.encode(line) + b"\n")
            first = batch[-1].header.seq + 1 if batch else last + 1
        await exchange.end()


def missing(kernel: Kernel) -> list[str]:
    """What keeps the kernel from being ready."""
    reasons = []
    if (reason := kernel.admitting() or kernel.short()) is not None:
        reasons.append(reason.message)
    if kernel.commons is not None and kernel.commons.away:
        reasons.append(f"what kernels share can't be asked for: {kernel.commons.away}")
    cards = [engine.card() for engine in kernel.registry.engines.values()]
    if cards and not any(card.health == "ready" for card in cards):
        reasons += [f"engine {card.name}: {card.reason or card.health}" for card in cards]
    return reasons
