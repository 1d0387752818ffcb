"""The speed of an engine is found from what it says of its calls."""

import random

import pytest

from orlop.devices.llamacpp_speed import Learned, linear, terms
from orlop.devices.speed import GUESS, Linear

SEED = 11
TRUE = Linear(
    decode_a_s=0.012,
    decode_b_s=0.004,
    decode_c_s=2e-6,
    prefill_a_s=0.03,
    prefill_b_s=0.0025,
    prefill_c_s=4e-7,
)


def observe(learned: Learned, true: Linear, calls: int, noise: float) -> None:
    chance = random.Random(SEED)
    for _ in range(calls):
        new, prefix = chance.randint(1, 2_000), chance.choice([0, chance.randint(0, 3_000)])
        off = 1 + noise * (2 * chance.random() - 1)
        learned.prefilled(new, prefix, true.prefill_s(new, prefix) * off)
        batch, steps = chance.randint(1, 4), chance.randint(1, 100)
        context = batch * chance.randint(50, 4_000)
        learned.decoded(steps, batch, context, steps * true.decode_s(batch, context) * off)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_it_comes_to_know_an_engine_within_a_few_dozen_calls(noise: float) -> None:
    learned = Learned()
    observe(learned, TRUE, 80, noise)
    within = 0.02 + noise / 2
    for new, prefix in ((300, 0), (120, 1_500), (2_000, 0)):
        expected = TRUE.prefill_s(new, prefix)
        assert learned.speed.prefill_s(new, prefix) == pytest.approx(expected, rel=within)
    for batch, context in ((1, 1_000), (4, 8_000)):
        expected = TRUE.decode_s(batch, context)
        assert learned.speed.decode_s(batch, context) == pytest.approx(expected, rel=within)


def test_one_call_is_enough_for_the_order_of_magnitude() -> None:
    learned = Learned()
    learned.prefilled(64, 0, 64 * TRUE.prefill_b_s)
    assert learned.speed.prefill_s(64, 0) == pytest.approx(0.16, rel=0.1)
    assert 0.1 < learned.speed.prefill_s(1_000, 0) / TRUE.prefill_s(1_000, 0) < 10


def test_an_engine_that_changes_is_learned_anew() -> None:
    learned = Learned()
    observe(learned, TRUE, 80, 0.0)
    one, two, three, four, five, six = (4 * term for term in terms(TRUE))
    slow = linear((one, two, three, four, five, six))
    observe(learned, slow, 200, 0.0)
    assert learned.speed.prefill_s(500, 500) == pytest.approx(slow.prefill_s(500, 500), rel=0.1)


def test_no_term_is_ever_negative_and_nonsense_teaches_nothing() -> None:
    chance = random.Random(SEED)
    learned = Learned()
    learned.prefilled(0, 5, 1.0)
    learned.prefilled(5, 5, 0.0)
    learned.decoded(0, 1, 1, 1.0)
    assert learned.speed == GUESS
    for _ in range(300):
        learned.prefilled(chance.randint(1, 3_000), chance.randint(0, 3_000), chance.random())
        learned.decoded(chance.randint(1, 90), chance.randint(1, 8), chance.random() * 9e3, 0.5)
        assert min(terms(learned.speed)) >= 0


def test_terms_and_speed_are_the_same_thing() -> None:
    assert linear(terms(TRUE)) == TRUE
