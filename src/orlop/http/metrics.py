"""`/metrics` for Prometheus.  No label is a process, a task or a call: cardinality is bounded."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orlop.kernel.core import Kernel
from orlop.kernel.process import State


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


def registry(kernel: Kernel) -> CollectorRegistry:
    found = CollectorRegistry(auto_describe=False)
    found.register(KernelMetrics(kernel))
    return found


def text(registered: CollectorRegistry) -> bytes:
    return generate_latest(registered)
