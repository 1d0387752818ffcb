"""Which model is loaded, which one leaves: the policy alone, on plain data."""

import math
import random
from collections.abc import Sequence

import pytest

from orlop.models.residency import (
    GIB,
    ON_DEVICE,
    TRANSITIONS,
    Drain,
    Leave,
    Load,
    Standing,
    State,
    Terms,
    cost_s,
    fewest,
    free_bytes,
    keep_alive_s,
    plan,
    price_of,
    worth,
)

NOW_S = 10_000.0
TERMS = Terms()


def model(key: str, state: State = State.HOT, size: int = 1, **how: object) -> Standing:
    settled: dict[str, object] = {"cold_s": 2.0, "used_s": NOW_S - 1.0, "hot_since_s": 0.0, **how}
    return Standing(key=key, device="cpu", state=state, bytes=size * GIB, **settled)  # type: ignore[arg-type]


def waiting(key: str, size: int = 1, **how: object) -> Standing:
    settled: dict[str, object] = {"waiting": 1, "waiting_since_s": NOW_S - 1, **how}
    return model(key, State.DISK, size, **settled)


def decide(*models: Standing, gib: int = 2, now_s: float = NOW_S) -> Sequence[object]:
    actions = plan(models, {"cpu": gib * GIB}, now_s, TERMS)
    return [(type(action), action.key) for action in actions]


def test_a_model_that_calls_wait_for_is_loaded_where_there_is_room() -> None:
    assert decide(model("a"), waiting("b")) == [(Load, "b")]


def test_without_a_budget_everything_has_room() -> None:
    assert plan([waiting("b", 1_000)], {}, NOW_S, TERMS) == (Load("b", "calls wait for it"),)


def test_the_idle_model_that_spares_the_least_waiting_leaves() -> None:
    rare, often = model("rare", rate=0.01), model("often", rate=1.0)
    assert decide(rare, often, waiting("new")) == [(Leave, "rare")]


def test_of_equally_asked_for_models_the_one_that_comes_back_sooner_leaves() -> None:
    quick, slow = (
        model("quick", rate=1.0, cold_s=0.5),
        model("slow", rate=1.0, cold_s=30.0, used_s=0.0),
    )
    assert decide(slow, quick, waiting("new")) == [(Leave, "quick")]


def test_a_large_model_leaves_before_two_small_ones_of_the_same_use() -> None:
    models = [model("large", size=4, rate=1.0), model("s1", rate=1.0), model("s2", rate=1.0)]
    assert decide(*models, waiting("new", 2), gib=6) == [(Leave, "large")]


def test_no_more_leave_than_must() -> None:
    small, large = [model(key, rate=0.1) for key in "ab"], model("large", size=4, rate=9.0)
    assert decide(*small, large, waiting("new", 4), gib=6) == [(Leave, "large")]


def test_what_leaves_already_is_waited_for() -> None:
    assert decide(model("a", State.LEAVING, 2), model("b"), waiting("new", 2), gib=3) == []


def test_a_pinned_model_never_leaves() -> None:
    assert decide(model("a", is_pinned=True, size=2), waiting("new")) == []
    assert decide(model("a", is_pinned=True, used_s=-math.inf)) == []


def test_a_busy_model_is_drained_once_it_has_had_its_turn() -> None:
    busy = model("busy", size=2, running=3, hot_since_s=NOW_S - 3.0)
    assert decide(busy, waiting("new")) == []
    assert decide(busy, waiting("new"), now_s=NOW_S + 2.0) == [(Drain, "busy")]


def test_a_drained_model_leaves_when_its_calls_have_ended() -> None:
    drained = model("busy", size=2, is_draining=True, waiting=5, waiting_since_s=NOW_S)
    assert decide(drained, waiting("new")) == [(Leave, "busy")]


def test_an_idle_model_is_taken_before_a_busy_one_is_drained() -> None:
    busy, idle = model("busy", running=1, rate=0.0), model("idle", rate=5.0)
    assert decide(busy, idle, waiting("new")) == [(Leave, "idle")]


def test_a_model_between_two_calls_of_a_burst_does_not_leave() -> None:
    between = model("a", size=2, pace_s=0.2, used_s=NOW_S - 0.3, hot_since_s=NOW_S - 1.5)
    assert decide(between, waiting("new")) == []
    assert decide(between, waiting("new"), now_s=NOW_S + 0.4) == [(Leave, "a")]


def test_a_model_in_a_burst_leaves_too_once_it_has_had_its_turn() -> None:
    between = model("a", size=2, pace_s=0.2, used_s=NOW_S, hot_since_s=NOW_S - 5.0)
    assert decide(between, waiting("new")) == [(Leave, "a")]


def test_nothing_leaves_for_a_model_that_would_not_fit_then_either() -> None:
    assert decide(model("a"), model("b", running=1, hot_since_s=NOW_S), waiting("new", 2)) == []


def test_the_call_that_waits_longest_comes_first() -> None:
    early, late = waiting("z", waiting_since_s=1.0), waiting("a", waiting_since_s=2.0)
    assert decide(late, early, gib=1) == [(Load, "z")]


def test_an_idle_model_stays_until_holding_it_has_cost_what_loading_it_costs() -> None:
    terms = Terms(patience_s=2.0, memory_price=0.001)
    one = model("a", cold_s=5.0, size=4)
    assert cost_s(5.0, terms) == 8.0
    stays_s = keep_alive_s(one, terms.memory_price / GIB, terms)
    assert stays_s == pytest.approx(2_000.0)
    for idle_s, expected in ((stays_s - 1, ()), (stays_s + 1, ("a",))):
        actions = plan([one], {"cpu": 8 * GIB}, one.used_s + idle_s, terms)
        assert tuple(action.key for action in actions) == expected


def test_memory_that_costs_nothing_is_held_for_ever() -> None:
    terms = Terms(memory_price=0.0)
    assert plan([model("a", used_s=-1e12)], {"cpu": GIB}, NOW_S, terms) == ()


def test_memory_is_dearer_while_a_model_that_is_asked_for_finds_no_room() -> None:
    outside = model("out", State.DISK, 2, rate=1.0)
    hot = model("in", size=1, used_s=NOW_S - 100.0)
    cheap = price_of("cpu", [hot, outside], 4 * GIB, TERMS)
    dear = price_of("cpu", [hot, outside], 1 * GIB, TERMS)
    assert cheap == TERMS.memory_price / GIB
    assert dear == worth(outside, TERMS) > cheap
    assert decide(hot, outside, gib=2) == [(Leave, "in")]


def test_a_foreseen_call_finds_its_model_hot() -> None:
    soon = model("a", State.DISK, cold_s=4.0, next_s=NOW_S + 5.0)
    assert decide(soon) == [(Load, "a")]
    assert decide(model("a", State.DISK, cold_s=4.0, next_s=NOW_S + 60.0)) == []


def test_a_call_that_was_foreseen_and_did_not_come_loads_nothing() -> None:
    assert decide(model("a", State.DISK, cold_s=4.0, next_s=NOW_S - 60.0)) == []


def test_a_forecast_takes_no_place_of_a_model_that_is_worth_more() -> None:
    hot = model("hot", size=2, rate=1.0)
    assert decide(hot, model("a", State.DISK, next_s=NOW_S, rate=0.5)) == []
    assert decide(hot, model("a", State.DISK, next_s=NOW_S, rate=5.0)) == [(Leave, "hot")]


def test_an_idle_model_is_held_for_a_call_that_is_foreseen_soon() -> None:
    terms = Terms(memory_price=0.001)
    stays_s = keep_alive_s(model("a"), terms.memory_price / GIB, terms)
    used_s = NOW_S - stays_s - 10
    held = model("a", used_s=used_s, next_s=NOW_S + stays_s / 2)
    assert plan([held], {}, NOW_S, terms) == ()
    assert plan([model("a", used_s=used_s)], {}, NOW_S, terms) != ()


def test_enough_is_taken_from_the_front_and_nothing_that_is_not_needed() -> None:
    small, large = model("small", size=1), model("large", size=5)
    assert fewest([small, large], 5 * GIB) == [large]
    assert fewest([small, large], 6 * GIB) == [small, large]
    assert fewest([small, large], 7 * GIB) == []


def test_every_state_can_be_left_and_reached() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert set(TRANSITIONS.values()) == set(State)


def moved(one: Standing, state: State, now_s: float) -> Standing:
    """`one` after a change, with its clocks set."""
    fields = {name: getattr(one, name) for name in one.__dataclass_fields__}
    fields |= {"state": state, "is_draining": False}
    if state is State.HOT:
        fields |= {"hot_since_s": now_s, "used_s": now_s, "waiting_since_s": now_s}
    return Standing(**fields)


def test_whoever_waits_is_served_and_no_device_is_overfilled() -> None:
    """Random models, all of them asked for without end, on a device that holds only some."""
    for seed in range(200):
        chance = random.Random(seed)
        budgets = {"cpu": 8 * GIB}
        models = {
            key: waiting(
                key,
                chance.randint(1, 8),
                cold_s=chance.uniform(0.1, 5.0),
                rate=chance.uniform(0.0, 2.0),
                waiting_since_s=0.0,
            )
            for key in "abcdef"
        }
        served: set[str] = set()
        for second in range(400):
            now_s = float(second)
            for action in plan(list(models.values()), budgets, now_s, TERMS):
                one = models[action.key]
                after = State.HOT if isinstance(action, Load) else State.DISK
                models[action.key] = moved(one, after, now_s)
            assert free_bytes("cpu", models.values(), budgets) >= 0, seed
            served |= {one.key for one in models.values() if one.state in ON_DEVICE}
        assert served == set(models), f"seed {seed}: never loaded {set(models) - served}"
