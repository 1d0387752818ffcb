"""`/metrics` for Prometheus.  No label is a process, a task or a call: cardinality is bounded."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orlop.kernel.core import Kernel
from orlop.kernel.process import State

DEVICE_GAUGES: Final = {
    "share": "Of what it could do, what it is given; 0 where it is drained or lost.",
    "claimed": "The share that claims hold.",
    "claims": "Claims on it.",
    "utilisation": "0 to 1.",
    "memory_used_bytes": "Of its memory.",
    "memory_bytes": "Its memory.",
    "temperature_celsius": "Its hottest sensor.",
    "power_watts": "What it draws.",
    "memory_errors": "That could not be corrected, since its driver was loaded.",
}


class KernelMetrics(Collector):
    """Read from the kernel's own tables when asked; nothing is counted twice."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def collect(self) -> Iterable[Metric]:
        kernel, rows = self._kernel, list(self._kernel.tables.rows.values())
        processes = GaugeMetricFamily("orlop_processes", "Processes by state.", labels=["state"])
        for state in State:
            processes.add_metric([state], sum(row.state is state for row in rows))
        yield processes
        calls = GaugeMetricFamily("orlop_calls_in_flight", "System calls by kind.", labels=["kind"])
        calls.add_metric(["running"], kernel.calls_in_flight)
        calls.add_metric(["parked"], kernel.calls_parked)
        yield calls
        tokens = CounterMetricFamily(
            "orlop_tokens", "Tokens of the processes in the table.", labels=["kind"]
        )
        tokens.add_metric(["input"], sum(row.input_tokens for row in rows))
        tokens.add_metric(["cached"], sum(row.cached_tokens for row in rows))
        tokens.add_metric(["output"], sum(row.output_tokens for row in rows))
        yield tokens
        yield GaugeMetricFamily(
            "orlop_journal_head", "Newest event.", value=kernel.journal.head_seq
        )
        yield GaugeMetricFamily(
            "orlop_ready", "1 while calls are admitted.", value=float(kernel.admitting() is None)
        )
        yield from self._engines()
        yield from self._devices()

    def _engines(self) -> Iterable[Metric]:
        running = GaugeMetricFamily("orlop_engine_running", "Calls running.", labels=["engine"])
        waiting = GaugeMetricFamily("orlop_engine_waiting", "Calls waiting.", labels=["engine"])
        ready = GaugeMetricFamily("orlop_engine_ready", "1 if it answers.", labels=["engine"])
        for name, engine in self._kernel.registry.engines.items():
            busy, queued = self._kernel.scheduler.load(name)
            running.add_metric([name], busy)
            waiting.add_metric([name], queued)
            ready.add_metric([name], float(engine.card().health == "ready"))
        return running, waiting, ready

    def _devices(self) -> Iterable[Metric]:
        """What is not known of a device is left out."""
        gauges = {
            name: GaugeMetricFamily(f"orlop_device_{name}", text, labels=["device"])
            for name, text in DEVICE_GAUGES.items()
        }
        for card in self._kernel.devices.cards():
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
                    gauges[name].add_metric([card.name], value)
        return gauges.values()


def registry(kernel: Kernel) -> CollectorRegistry:
    found = CollectorRegistry(auto_describe=False)
    found.register(KernelMetrics(kernel))
    return found


def text(registered: CollectorRegistry) -> bytes:
    return generate_latest(registered)
