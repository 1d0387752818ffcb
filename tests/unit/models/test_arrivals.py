"""What is learned from the times at which a model is asked for."""

import random

import pytest

from orlop.abi.limits import COLD_STARTS_KEPT
from orlop.models.arrivals import GAPS_MIN, HALF_LIFE_S, Arrivals, ColdStarts


def arrivals(times_s: list[float], burst_s: float = 1.0) -> Arrivals:
    seen = Arrivals()
    for at_s in times_s:
        seen.note(at_s, burst_s)
    return seen


def test_a_steady_stream_has_its_rate() -> None:
    seen = arrivals([at / 2 for at in range(20_000)])
    assert seen.rate(10_000.0) == pytest.approx(2.0, rel=0.01)


def test_a_model_that_is_new_has_the_rate_of_the_time_that_it_is_known() -> None:
    seen = arrivals([float(at) for at in range(100)])
    assert seen.rate(100.0) == pytest.approx(1.0, rel=0.1)
    assert arrivals([0.0]).rate(1.0) < 1 / 30


def test_the_rate_of_a_model_that_nobody_asks_for_any_more_halves() -> None:
    seen = arrivals([float(at) for at in range(5_000)])
    before = seen.rate(5_000.0)
    assert seen.rate(5_000.0 + HALF_LIFE_S) == pytest.approx(before / 2, rel=0.01)


def test_a_model_that_was_never_asked_for_has_no_rate_and_no_next_call() -> None:
    assert Arrivals().rate(1_000.0) == 0.0
    assert Arrivals().next_s() is None


def test_regular_calls_foretell_the_next_one() -> None:
    seen = arrivals([60.0 * at for at in range(30)])
    assert seen.next_s() == pytest.approx(30 * 60.0, abs=1.0)


def test_bursts_at_regular_times_count_as_one_call_each() -> None:
    seen = arrivals([60.0 * at + 0.1 * call for at in range(30) for call in range(5)])
    assert seen.next_s() == pytest.approx(30 * 60.0, abs=2.0)


def test_poisson_arrivals_foretell_nothing() -> None:
    foretold = 0
    for seed in range(50):
        chance, at_s = random.Random(seed), 0.0
        times_s = []
        for _ in range(200):
            at_s += chance.expovariate(1 / 60.0)
            times_s.append(at_s)
        foretold += arrivals(times_s).next_s() is not None
    assert foretold <= 2


def test_few_gaps_foretell_nothing() -> None:
    assert arrivals([60.0 * at for at in range(GAPS_MIN)]).next_s() is None
    assert arrivals([60.0 * at for at in range(GAPS_MIN + 1)]).next_s() is not None


def test_a_cold_start_is_the_median_of_the_newest_loads_from_there() -> None:
    starts = ColdStarts()
    assert starts.median_s("disk") is None
    for took_s in [100.0] * COLD_STARTS_KEPT + [1.0, 2.0, 3.0] * COLD_STARTS_KEPT:
        starts.note("disk", took_s)
    assert starts.median_s("disk") == 2.0
    assert starts.count("disk") == COLD_STARTS_KEPT
    assert starts.median_s("host") is None
