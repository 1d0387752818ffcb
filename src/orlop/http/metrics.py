"""`/metrics` for Prometheus.  No label names a process, a program or a call: they are few."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orlop.abi.budgets import NOTHING, ORGANISATION
from orlop.abi.ids import TenantId
from orlop.abi.residency import ModelView
from orlop.http.metric_family import Family, Sample
from orlop.http.metrics_tenants import TENANTS, amounts, of_tenants
from orlop.kernel.overview import engines
from orlop.models.residency import State as Lies
from orlop.people.question_table import OPEN
from orlop.sched import view as scheduling
from orlop.state.core import Kernel
from orlop.state.process_table import State
from orlop.subsystems import models

FAMILIES: Final[Mapping[str, Family]] = {
    "orlop_ready": Family("gauge", "1 while calls are admitted."),
    "orlop_journal_head": Family("gauge", "Newest event."),
    "orlop_processes": Family("gauge", "Processes by state.", ("state",)),
    "orlop_calls_in_flight": Family("gauge", "System calls: running, parked.", ("kind",)),
    "orlop_tokens": Family(
        "counter", "Tokens of the processes in the table: input, cached, output.", ("kind",)
    ),
    "orlop_used": Family(
        "counter", "All that was ever used: calls, tokens, dollars, seconds.", ("unit",)
    ),
    "orlop_held": Family(
        "gauge", "What calls in flight hold: calls, tokens, dollars, seconds.", ("unit",)
    ),
    "orlop_programs": Family(
        "gauge", "Programs: reasoning, acting, paused, hibernated.", ("state",)
    ),
    "orlop_waiting": Family("gauge", "Calls that wait for their turn.", ("class",)),
    "orlop_decisions": Family(
        "counter", "Of the scheduler: granted, refused, preempted, promoted, paused.", ("kind",)
    ),
    "orlop_engine_ready": Family("gauge", "1 if it answers.", ("engine",)),
    "orlop_engine_running": Family("gauge", "Calls running.", ("engine",)),
    "orlop_engine_waiting": Family("gauge", "Calls that could go there and wait.", ("engine",)),
    "orlop_engine_seats": Family("gauge", "Calls that it may run now, as learned.", ("engine",)),
    "orlop_engine_kv_tokens": Family(
        "gauge",
        "Tokens of context: used by what runs, retained for programs that are away, resident on "
        "the device, on the host.",
        ("engine", "kind"),
    ),
    "orlop_engine_tokens": Family(
        "counter",
        "Tokens: input, of these cached and wasted (computed again), output.",
        ("engine", "kind"),
    ),
    "orlop_engine_calls": Family("counter", "Calls that it has served.", ("engine",)),
    "orlop_engine_preempted": Family("counter", "Calls that gave their seat back.", ("engine",)),
    "orlop_model_state": Family(
        "gauge",
        "1 for where it lies: hot, asleep, host, disk, loading, leaving.",
        ("model", "engine", "state"),
    ),
    "orlop_model_bytes": Family(
        "gauge", "Of the device's memory, when it is hot.", ("model", "engine")
    ),
    "orlop_model_calls_per_second": Family("gauge", "Of late.", ("model", "engine")),
    "orlop_model_calls_waiting": Family("gauge", "For it to be hot.", ("model", "engine")),
    "orlop_model_cold_start_seconds": Family(
        "gauge", "Median of the newest loads from there.", ("model", "engine", "origin")
    ),
    "orlop_model_loads": Family("counter", "Times that it was loaded.", ("model", "engine")),
    "orlop_model_evictions": Family("counter", "Models that left a device."),
    "orlop_model_memory_bytes": Family(
        "gauge", "Memory that models share: held, budget.", ("device", "kind")
    ),
    "orlop_policy_decisions": Family(
        "counter", "Of the policy: permit, forbid, ask.", ("verdict",)
    ),
    "orlop_policy_differing": Family(
        "gauge", "Calls that the shadow policy would have decided otherwise."
    ),
    "orlop_questions": Family("gauge", "That are open, by form and state.", ("form", "state")),
    "orlop_human_touches": Family(
        "counter", "What people have done: approval, denial, edit, takeover and so on.", ("touch",)
    ),
    "orlop_human_minutes": Family("counter", "Of people's work for agents."),
    "orlop_human_dollars": Family("counter", "What that has cost."),
    "orlop_human_decisions": Family(
        "counter",
        "Of people about calls of a tool: agreed, or overridden (denied, edited, disagreed with).",
        ("tool", "said"),
    ),
    "orlop_grants": Family("gauge", "Approvals in advance that are open."),
    "orlop_autonomy": Family(
        "gauge", "Agents and types of tasks at each level, by tool.", ("tool", "level")
    ),
    "orlop_autonomy_incidents": Family(
        "counter", "Incidents that took an agent back to its start, by tool.", ("tool",)
    ),
    **TENANTS,
    "orlop_device_share": Family(
        "gauge", "Of what it could do, what it is given; 0: drained or lost.", ("device",)
    ),
    "orlop_device_claimed": Family("gauge", "The share that claims hold.", ("device",)),
    "orlop_device_claims": Family("gauge", "Claims on it.", ("device",)),
    "orlop_device_utilisation": Family("gauge", "0 to 1.", ("device",)),
    "orlop_device_memory_used_bytes": Family("gauge", "Of its memory.", ("device",)),
    "orlop_device_memory_bytes": Family("gauge", "Its memory.", ("device",)),
    "orlop_device_temperature_celsius": Family("gauge", "Its hottest sensor.", ("device",)),
    "orlop_device_power_watts": Family("gauge", "What it draws.", ("device",)),
    "orlop_device_memory_errors": Family(
        "gauge", "That could not be corrected, since its driver was loaded.", ("device",)
    ),
}


class KernelMetrics(Collector):
    """Read from the kernel's own tables when asked; nothing is counted twice.

    tenant: of this one alone, and nothing of what all share.
    """

    def __init__(self, kernel: Kernel, tenant: TenantId | None = None) -> None:
        self._kernel = kernel
        self._tenant = tenant

    def collect(self) -> Iterable[Metric]:
        found: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, family in (FAMILIES if self._tenant is None else TENANTS).items():
            make = GaugeMetricFamily if family.kind == "gauge" else CounterMetricFamily
            found[name] = make(name, family.help, labels=family.labels)
        known = (
            samples(self._kernel)
            if self._tenant is None
            else of_tenants(self._kernel, self._tenant)
        )
        for name, labels, value in known:
            found[name].add_metric(labels, value)
        return found.values()


def samples(kernel: Kernel) -> Iterator[Sample]:
    yield from _whole(kernel)
    yield from _scheduler(kernel)
    yield from _engines(kernel)
    yield from _models(kernel)
    yield from _devices(kernel)
    yield from _policy(kernel)
    yield from _people(kernel)
    yield from of_tenants(kernel, None)


def _whole(kernel: Kernel) -> Iterator[Sample]:
    rows = list(kernel.tables.rows.values())
    yield "orlop_ready", (), float(kernel.admitting() is None)
    yield "orlop_journal_head", (), kernel.journal.head_seq
    for state in State:
        yield "orlop_processes", (state,), sum(row.state is state for row in rows)
    yield "orlop_calls_in_flight", ("running",), kernel.calls_in_flight
    yield "orlop_calls_in_flight", ("parked",), kernel.calls_parked
    yield "orlop_tokens", ("input",), sum(row.input_tokens for row in rows)
    yield "orlop_tokens", ("cached",), sum(row.cached_tokens for row in rows)
    yield "orlop_tokens", ("output",), sum(row.output_tokens for row in rows)
    ledger = kernel.tables.ledger.accounts.items()
    organisations = [account for (_, name), account in ledger if name == ORGANISATION]
    used = sum((account.ever for account in organisations), NOTHING)
    yield from amounts("orlop_used", (), used)
    yield from amounts("orlop_held", (), sum((account.held for account in organisations), NOTHING))


def _scheduler(kernel: Kernel) -> Iterator[Sample]:
    seen = scheduling.view(kernel.scheduler, kernel.clock.now_s())
    for state, count in seen.states.items():
        yield "orlop_programs", (state,), count
    for latency_class, count in seen.waiting.items():
        yield "orlop_waiting", (latency_class,), count
    yield "orlop_decisions", ("granted",), seen.grants
    yield "orlop_decisions", ("refused",), seen.refused
    yield "orlop_decisions", ("preempted",), seen.preempted
    yield "orlop_decisions", ("promoted",), seen.promoted
    yield "orlop_decisions", ("paused",), seen.paused
    for engine in engines(kernel, seen.engines):
        name = engine.name
        yield "orlop_engine_running", (name,), engine.running
        yield "orlop_engine_waiting", (name,), engine.waiting
        yield "orlop_engine_seats", (name,), engine.seats
        yield "orlop_engine_kv_tokens", (name, "used"), engine.kv_used
        yield "orlop_engine_kv_tokens", (name, "retained"), engine.retained
        yield "orlop_engine_kv_tokens", (name, "resident"), engine.resident
        yield "orlop_engine_kv_tokens", (name, "host"), engine.host
        yield "orlop_engine_tokens", (name, "input"), engine.input_tokens
        yield "orlop_engine_tokens", (name, "cached"), engine.cached_tokens
        yield "orlop_engine_tokens", (name, "wasted"), engine.wasted_tokens
        yield "orlop_engine_tokens", (name, "output"), engine.output_tokens
        yield "orlop_engine_calls", (name,), engine.calls
        yield "orlop_engine_preempted", (name,), engine.preempted


def _engines(kernel: Kernel) -> Iterator[Sample]:
    for name, engine in kernel.registry.engines.items():
        yield "orlop_engine_ready", (name,), float(engine.card().health == "ready")


def _models(kernel: Kernel) -> Iterator[Sample]:
    seen = models.view(kernel)
    for view in seen.models:
        yield from _model(view)
    yield "orlop_model_evictions", (), seen.evictions
    for pool in seen.pools:
        yield "orlop_model_memory_bytes", (pool.device, "held"), pool.held_bytes
        if pool.budget_bytes is not None:
            yield "orlop_model_memory_bytes", (pool.device, "budget"), pool.budget_bytes


def _model(view: ModelView) -> Iterator[Sample]:
    names = (view.name, view.engine)
    for state in Lies:
        yield "orlop_model_state", (*names, state), float(view.state == state)
    if not view.moved:
        return
    yield "orlop_model_bytes", names, view.bytes
    yield "orlop_model_calls_per_second", names, view.rate
    yield "orlop_model_calls_waiting", names, view.calls_waiting
    yield "orlop_model_loads", names, view.loads
    for start in view.cold_starts:
        yield "orlop_model_cold_start_seconds", (*names, start.origin), start.seconds


def _devices(kernel: Kernel) -> Iterator[Sample]:
    """What is not known of a device is left out."""
    for card in kernel.devices.cards():
        reading = card.reading
        known = {
            "share": card.share,
            "claimed": card.share_claimed,
            "claims": len(card.claims),
            "utilisation": reading.utilisation,
            "memory_used_bytes": reading.memory_used_bytes,
            "memory_bytes": reading.memory_total_bytes,
            "temperature_celsius": reading.temperature_c,
            "power_watts": reading.power_w,
            "memory_errors": reading.memory_errors,
        }
        for name, value in known.items():
            if value is not None:
                yield f"orlop_device_{name}", (card.name,), value


def _policy(kernel: Kernel) -> Iterator[Sample]:
    for verdict, count in kernel.guard.verdicts.items():
        yield "orlop_policy_decisions", (verdict,), count
    if kernel.guard.shadow is not None:
        yield "orlop_policy_differing", (), kernel.guard.differing


def _people(kernel: Kernel) -> Iterator[Sample]:
    office = kernel.office
    rows = office.questions.rows.values()
    waiting = Counter((row.form, row.state) for row in rows if row.state in OPEN)
    for (form, state), count in waiting.items():
        yield "orlop_questions", (form, state), count
    touches: Counter[str] = Counter()
    for person in office.roster.people.values():
        touches.update(person.work.touches)
    for touch, count in touches.items():
        yield "orlop_human_touches", (touch,), count
    works = [person.work for person in office.roster.people.values()]
    yield "orlop_human_minutes", (), sum(work.minutes for work in works)
    yield "orlop_human_dollars", (), sum(work.cost for work in works) / 1e9
    for tool, decisions in office.roster.decisions.items():
        yield "orlop_human_decisions", (tool, "agreed"), decisions.agreed
        yield "orlop_human_decisions", (tool, "overridden"), decisions.overridden
    yield "orlop_grants", (), len(office.grants.open(kernel.clock.wall_ns()))
    levels = Counter((row.key.tool, row.level) for row in office.autonomy.rows.values())
    for (tool, level), count in levels.items():
        yield "orlop_autonomy", (tool, level), count
    incidents: Counter[str] = Counter()
    for known in office.autonomy.rows.values():
        incidents[known.key.tool] += known.incidents
    for tool, count in incidents.items():
        yield "orlop_autonomy_incidents", (tool,), count


def registry(kernel: Kernel, tenant: TenantId | None = None) -> CollectorRegistry:
    found = CollectorRegistry(auto_describe=False)
    found.register(KernelMetrics(kernel, tenant))
    return found


def text(registered: CollectorRegistry) -> bytes:
    return generate_latest(registered)
