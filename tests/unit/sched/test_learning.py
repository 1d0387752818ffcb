"""What is learned of tools, of kinds of programs, of tokens: bounded, and right in the long run."""

import random

import pytest

from orlop.devices.device import Capacity
from orlop.devices.speed import Linear
from orlop.sched.estimates import Estimates
from orlop.sched.gaps import BUCKETS, PRIORS, Gap, Gaps
from orlop.sched.history import History, tau
from orlop.sched.residency import fate, host_worth
from orlop.sched.work import Used

SPEED = Linear(decode_a_s=0.02, prefill_b_s=0.0001)
HOSTED = Capacity(
    slots=8,
    kv_tokens=100_000,
    host_tokens=500_000,
    kv_bytes_per_token=100_000,
    restore_bytes_s=20e9,
    speed=SPEED,
)
"""10,000 tokens: a second to compute, 50 ms to bring back."""


def seen(gap_s: float) -> Gap:
    """A tool that always takes so long."""
    gap = Gap([0.0] * BUCKETS)
    for _ in range(20):
        gap.observe(gap_s)
    return gap


def test_the_prior_is_the_measured_distribution_of_coding_agents() -> None:
    gap = Gap(PRIORS[True])
    assert gap.returns(10.0) == pytest.approx(0.58, abs=0.12)
    assert gap.returns(152.0) == pytest.approx(0.95, abs=0.04)
    assert Gap(PRIORS[False]).returns(10.0) < 0.2, "a human takes longer than a tool"


def test_a_tool_s_own_gaps_replace_the_prior_and_change_with_it() -> None:
    gap = Gap(PRIORS[True])
    for _ in range(200):
        gap.observe(2.0)
    assert gap.expected_s(limit_s=60.0) == pytest.approx(2.0, rel=0.5)
    for _ in range(2_000):
        gap.observe(100.0)
    assert gap.expected_s() == pytest.approx(100.0, rel=0.4)


def test_who_is_away_for_long_is_away_for_longer() -> None:
    gap = Gap(PRIORS[True])
    assert gap.expected_s(60.0) > gap.expected_s(0.0)
    assert gap.expected_s(60.0, limit_s=5.0) <= 5.0
    assert gap.expected_s(1e9) > 0


def test_tools_are_forgotten_when_there_are_too_many() -> None:
    gaps = Gaps(limit=3)
    for name in "abcabd":
        gaps.of(name).observe(1.0)
    assert len(gaps) == 3


@pytest.mark.parametrize(
    ("gap_s", "pressure", "host_tokens", "expected"),
    [
        (1.0, 0.0, 0, "keep"),
        (0.2, 1.0, 0, "keep"),
        (400.0, 1.0, 0, "drop"),
        (400.0, 1.0, 500_000, "save"),
        (0.1, 1.0, 500_000, "keep"),
    ],
)
def test_the_least_waste_decides_what_becomes_of_an_idle_context(
    gap_s: float, pressure: float, host_tokens: int, expected: str
) -> None:
    capacity = Capacity(
        slots=8,
        kv_tokens=100_000,
        host_tokens=host_tokens,
        kv_bytes_per_token=100_000,
        restore_bytes_s=20e9,
        speed=SPEED,
    )
    assert fate(capacity, 10_000, seen(gap_s), 600.0, pressure) == expected


def test_a_host_tier_is_worth_what_bringing_back_saves() -> None:
    assert host_worth(HOSTED) == pytest.approx(0.95, abs=0.01)
    assert host_worth(Capacity(slots=1, kv_tokens=10, speed=SPEED)) == 0.0


def test_kendall_s_tau_of_two_orders() -> None:
    assert tau([(1, 10), (2, 20), (3, 30)]) == 1.0
    assert tau([(1, 30), (2, 20), (3, 10)]) == -1.0
    assert tau([(1, 10), (1, 20), (1, 30)]) == 0.0
    assert tau([]) == 0.0


def test_forecasts_of_equal_kinds_are_not_trusted_and_those_that_rank_are() -> None:
    draw = random.Random(1)
    equal, ranked = History(), History()
    for number in range(60):
        total_s = draw.expovariate(1 / 10)
        equal.ended("agent", total_s, equal.remaining_s("agent", 0.0))
        kind, scale = ("short", 1.0) if number % 2 else ("long", 50.0)
        ranked.ended(kind, scale + draw.random(), ranked.remaining_s(kind, 0.0))
    assert equal.quality < 0.2
    assert ranked.quality > 0.4


def test_what_is_left_of_a_program_is_that_of_those_who_lived_as_long() -> None:
    history = History()
    assert history.remaining_s("agent", 5.0) is None
    for total_s in (1.0, 10.0, 30.0):
        history.ended("agent", total_s, None)
    assert history.remaining_s("agent", 5.0) == pytest.approx(15.0)
    assert history.remaining_s("agent", 40.0) == pytest.approx(40.0), "as much again"


def test_an_end_costs_least_where_most_end_soon() -> None:
    history = History()
    for total_s in (1.0, 1.0, 1.0, 97.0):
        history.ended("mostly short", total_s, None)
        history.ended("long", 25.0, None)
    assert history.price_s("unknown", 0.0) is None
    # A second for each of four, and three end: though all in all they take as much as the long.
    assert history.price_s("mostly short", 0.0) == pytest.approx(4 / 3)
    assert history.price_s("long", 0.0) == 25.0
    # Who has outlived the short ones will be long, and is dearer than who began long and is near.
    assert history.price_s("mostly short", 1.0) == 96.0
    assert history.price_s("long", 20.0) == 5.0
    assert history.price_s("long", 30.0) == 30.0, "older than all: as much again"


def test_kinds_are_forgotten_when_there_are_too_many() -> None:
    history = History(limit=2)
    for agent in "abc":
        history.ended(agent, 1.0, None)
    assert history.remaining_s("a", 0.0) is None
    assert history.remaining_s("c", 0.0) is not None


def test_tokens_of_a_call_are_estimated_from_those_of_earlier_ones() -> None:
    estimates = Estimates()
    assert estimates.tokens("m", 4_000, None) == (1_000, 256)
    for _ in range(100):
        estimates.learn("m", 3_000, Used(input_tokens=1_000, output_tokens=40))
    tokens, output = estimates.tokens("m", 3_000, None)
    assert tokens == pytest.approx(1_000, rel=0.02)
    assert output == pytest.approx(40, abs=1)
    assert estimates.tokens("m", 3_000, 10)[1] == 10
    estimates.learn("m", 3_000, Used())
    assert estimates.tokens("m", 0, None)[0] == 1


def test_programs_that_began_alike_are_a_kind_of_their_own_once_enough_have_ended() -> None:
    history = History()
    for total_s in (1.0, 1.0, 1.0):
        history.ended("agent", total_s, None, head=7)
    for total_s in (40.0, 40.0, 40.0, 40.0):
        history.ended("agent", total_s, None, head=8)
    assert history.remaining_s("agent", 0.0, head=7) == pytest.approx(163 / 7), "too few are alike"
    history.ended("agent", 1.0, None, head=7)
    assert history.remaining_s("agent", 0.0, head=7) == pytest.approx(1.0)
    assert history.price_s("agent", 0.0, head=8) == pytest.approx(40.0)
    assert history.remaining_s("agent", 0.0, head=9) == pytest.approx(164 / 8), "as all of its name"


def test_kinds_by_beginning_are_forgotten_before_more_than_the_limit_are_known() -> None:
    history = History(limit=3)
    for head in range(1, 50):
        for _ in range(4):
            history.ended("agent", float(head), None, head=head)
    assert history.remaining_s("agent", 0.0, head=49) == pytest.approx(49.0)
    assert history.remaining_s("agent", 0.0, head=2) == history.remaining_s("agent", 0.0)
