"""Prometheus' text read for a few names, whatever else is on the page."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from orlop.abi.limits import ENGINE_METRICS_LINES_MAX
from orlop.drivers.metrics_text import bounded, read

VALUES = st.floats(min_value=0, max_value=1e9)
LABELS = st.text(max_size=12)


@given(st.dictionaries(LABELS, VALUES, max_size=4), VALUES)
def test_what_prometheus_client_writes_is_read_again(
    gauges: dict[str, float], count: float
) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("engine:running", "Calls\nthat run", ["who"], registry=registry)
    for label, value in gauges.items():
        gauge.labels(label).set(value)
    Counter("engine_preemptions", "So far", registry=registry).inc(count)
    samples = read(generate_latest(registry), ["engine:running", "engine_preemptions"])
    found = {sample.labels["who"]: sample.value for sample in samples.of("engine:running")}
    assert found == gauges
    assert samples.total("engine_preemptions", 1e12) == count


@given(st.binary(max_size=400))
def test_no_page_makes_it_raise(page: bytes) -> None:
    samples = read(page, ["a", "b"])
    assert samples.total("a", 10) is None or samples.of("a")


def test_a_number_that_can_not_be_true_is_not_known() -> None:
    for lie in ("-1", "NaN", "+Inf", "-Inf", "1e30", "many", "0x10"):
        samples = read(f'a{{rank="0"}} 3\na{{rank="1"}} {lie}\n'.encode(), ["a"])
        assert samples.total("a", 1e6) is None, lie
        assert samples.mean("a", 1e6) is None, lie
    assert read(b"a 3\n", ["a"]).total("a", 1e6) == 3
    assert read(b"a 3 1700000000\n", ["a"]).total("a", 1e6) == 3


def test_a_page_without_end_is_read_up_to_a_limit() -> None:
    page = b"x 1\n" * ENGINE_METRICS_LINES_MAX + b"a 3\n"
    assert read(page, ["a"]).total("a", 1e6) is None


def test_only_finite_numbers_within_bounds_are_numbers() -> None:
    assert bounded(3, 10) == 3.0
    for lie in (-1, 11, math.nan, math.inf, 10**400, True, None, "3"):
        assert bounded(lie, 10) is None
