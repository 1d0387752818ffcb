"""The engine model, by hand-made examples whose times can be worked out on paper."""

import math

import pytest

from orlop.devices.device import Capacity
from orlop.devices.model import EngineModel
from orlop.devices.model_calls import Ended, Job
from orlop.devices.speed import Linear

STEADY = Linear(decode_a_s=0.01, decode_b_s=0.001, prefill_a_s=0.0, prefill_b_s=0.0001)
"""A step of 10 ms and 1 ms a call; 1,000 tokens of prompt in 100 ms."""


def engine(
    kv_tokens: int = 100_000, host_tokens: int = 0, slots: int = 64, **more: int
) -> EngineModel:
    return EngineModel(
        Capacity(
            slots=slots,
            kv_tokens=kv_tokens,
            host_tokens=host_tokens,
            kv_bytes_per_token=1_000,
            restore_bytes_s=1e8,
            speed=STEADY,
        ),
        **more,
    )


def job(number: int, prompt: int, output: int, chain: str = "", **more: int) -> Job:
    prefix, urgency = more.get("prefix", 0), more.get("urgency", 0)
    chain = chain or f"c{number}"
    return Job(id=number, chain=chain, prompt=prompt, output=output, prefix=prefix, urgency=urgency)


def run(model: EngineModel) -> dict[int, Ended]:
    """To the end of all calls."""
    ended = {}
    while model.next_s() < math.inf:
        for end in model.advance(model.next_s()):
            ended[end.id] = end
        model.memory.check()
    return ended


def test_a_call_alone_takes_its_prefill_and_a_step_for_each_further_token() -> None:
    model = engine()
    model.submit(job(1, prompt=1_000, output=11), 0.0)
    end = run(model)[1]
    assert end.first_token_s == pytest.approx(0.1)
    assert end.at_s == pytest.approx(0.1 + 10 * 0.011)


def test_a_slot_keeps_one_context_and_the_one_longest_unused_gives_way() -> None:
    model = engine(slots=2, contexts_max=2)
    for number, chain in enumerate("aba", 1):
        model.submit(job(number, prompt=100, output=1, chain=chain, prefix=99), 0.0)
        run(model)
    model.submit(job(4, prompt=100, output=1, chain="c"), 0.0)
    run(model)
    assert [model.memory.resident(chain) for chain in "abc"] == [101, 0, 101]


def test_calls_together_share_each_step() -> None:
    model = engine()
    for number in (1, 2):
        model.submit(job(number, prompt=500, output=101), 0.0)
    # The first came when the engine was idle, so its prompt is a step of its own.
    ended = run(model)
    assert ended[2].at_s < 2 * (0.05 + 100 * 0.011)
    assert ended[2].at_s == pytest.approx(0.05 + 0.05 + 0.001 + 99 * 0.012 + 0.011, abs=0.03)


def test_time_that_is_skipped_is_the_time_of_all_steps() -> None:
    growing = Linear(decode_a_s=0.01, decode_c_s=1e-6, prefill_b_s=0.0001)
    model = EngineModel(Capacity(slots=4, kv_tokens=100_000, speed=growing))
    model.submit(job(1, prompt=1_000, output=501), 0.0)
    one_by_one = sum(growing.decode_s(1, 1_001 + step) for step in range(500))
    end = run(model)[1]
    assert end.at_s - end.first_token_s == pytest.approx(one_by_one, rel=1e-4)


def test_who_comes_in_the_middle_begins_with_the_next_step() -> None:
    model = engine()
    model.submit(job(1, prompt=1_000, output=1_001), 0.0)
    model.advance(0.1 + 0.011 * 5.5)
    model.submit(job(2, prompt=100, output=1), 0.1 + 0.011 * 5.5)
    ended = run(model)
    assert ended[2].began_s == pytest.approx(0.1 + 0.011 * 6)


def test_a_prompt_is_fed_in_pieces_while_others_decode() -> None:
    model = engine(step_tokens=1_000)
    model.submit(job(1, prompt=100, output=200), 0.0)
    model.advance(0.5)
    model.submit(job(2, prompt=10_000, output=1), 0.5)
    made = model.generated(1, 0.5)
    model.advance(1.2)
    assert model.generated(1, 1.2) > made + 4, "a token with each piece"
    assert run(model)[2].first_token_s > 1.4


def test_what_a_program_repeats_is_not_computed_again() -> None:
    model = engine()
    model.submit(job(1, prompt=10_000, output=10, chain="a"), 0.0)
    began_s = run(model)[1].at_s
    model.submit(job(2, prompt=10_500, output=10, chain="a", prefix=10_010), began_s)
    end = run(model)[2]
    assert end.cached == 10_010
    assert end.computed == 490


def test_a_prompt_that_departs_from_the_context_is_a_hit_up_to_there_only() -> None:
    model = engine()
    model.submit(job(1, prompt=10_000, output=10, chain="a"), 0.0)
    run(model)
    model.submit(job(2, prompt=10_000, output=10, chain="a", prefix=4_000), 50.0)
    assert run(model)[2].cached == 4_000
    model.submit(job(3, prompt=10_500, output=10, chain="a", prefix=10_010), 100.0)
    assert run(model)[3].cached == 10_010, "the new context is there, not the old"


def test_a_shared_beginning_is_computed_once() -> None:
    model = engine()
    for number in (1, 2):
        shared = Job(
            id=number, chain=f"c{number}", prompt=5_000, output=1, shared="sys", shared_tokens=4_000
        )
        model.submit(shared, 0.0)
    ended = run(model)
    assert ended[1].computed + ended[2].computed == 6_000


def test_the_context_longest_unused_goes_first_and_its_end_before_its_beginning() -> None:
    model = engine(kv_tokens=25_000)
    for number, chain in enumerate("ab", 1):
        model.submit(job(number, prompt=10_000, output=1, chain=chain), 10.0 * number)
        run(model)
    model.submit(job(3, prompt=10_000, output=1, chain="c"), 30.0)
    run(model)
    assert model.memory.resident("b") == 10_001
    assert 4_000 < model.memory.resident("a") < 6_000


def test_the_head_of_the_queue_waits_for_room_and_all_behind_it() -> None:
    model = engine(kv_tokens=20_000)
    model.submit(job(1, prompt=12_000, output=100), 0.0)
    model.submit(job(2, prompt=12_000, output=1), 0.0)
    model.submit(job(3, prompt=100, output=1), 0.0)
    ended = run(model)
    assert ended[2].began_s >= ended[1].at_s
    assert ended[3].began_s >= ended[2].began_s


def test_the_more_urgent_go_first_once_there_is_room() -> None:
    model = engine(slots=1)
    model.submit(job(1, prompt=100, output=10), 0.0)
    model.submit(job(2, prompt=100, output=10, urgency=5), 0.0)
    model.submit(job(3, prompt=100, output=10, urgency=1), 0.0)
    ended = run(model)
    assert ended[3].at_s < ended[2].at_s


def test_a_token_without_room_throws_the_last_comer_out_and_it_ends_all_the_same() -> None:
    model = engine(kv_tokens=10_000)
    for number in (1, 2):
        model.submit(job(number, prompt=4_000, output=2_500), 0.0)
    ended = run(model)
    assert ended[1].preemptions == 0
    assert ended[2].preemptions >= 1
    assert ended[2].generated == 2_500
    assert ended[2].computed > 4_000


def test_contexts_come_back_from_host_ram_at_the_links_speed() -> None:
    model = engine(kv_tokens=15_000, host_tokens=100_000)
    for number, chain in enumerate("ab", 1):
        model.submit(job(number, prompt=10_000, output=1, chain=chain), 10.0 * number)
        run(model)
    held = model.memory.resident("a")
    model.submit(job(3, prompt=10_100, output=1, chain="a", prefix=10_001), 30.0)
    end = run(model)[3]
    assert end.cached == held
    assert end.restored == 10_001 - held
    assert end.computed == 99
    assert end.first_token_s == pytest.approx(30 + end.restored * 1_000 / 1e8 + 0.01, abs=0.01)


def test_a_cancelled_call_tells_what_it_had_and_leaves_its_context() -> None:
    model = engine()
    model.submit(job(1, prompt=1_000, output=1_000, chain="a"), 0.0)
    model.advance(2.0)
    made = model.cancel(1, 2.0)
    assert not run(model)
    assert made == 1 + math.ceil(1.9 / 0.011)
    assert model.running == 0
    model.submit(job(2, prompt=1_000 + made, output=1, chain="a", prefix=1_000 + made), 5.0)
    assert run(model)[2].computed == 1


@pytest.mark.parametrize("when", [0.01, 0.05])
def test_a_call_may_be_cancelled_while_it_waits_or_loads_its_prompt(when: float) -> None:
    model = engine(slots=1)
    model.submit(job(1, prompt=1_000, output=5), 0.0)
    model.submit(job(2, prompt=1_000, output=5), 0.0)
    model.cancel(1, when)
    model.cancel(2, when)
    assert not run(model)
    assert model.memory.held == 0


def test_what_can_never_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="never fit"):
        engine(kv_tokens=1_000).submit(job(1, prompt=990, output=100), 0.0)


def test_an_engine_that_was_lost_has_nothing() -> None:
    model = engine(host_tokens=10_000)
    model.submit(job(1, prompt=1_000, output=5, chain="a"), 0.0)
    run(model)
    model.submit(job(2, prompt=1_000, output=500), 10.0)
    model.fail(11.0)
    assert model.next_s() == math.inf
    model.submit(job(3, prompt=1_100, output=5, chain="a", prefix=1_005), 12.0)
    assert run(model)[3].computed == 1_100
