"""The engine model under random load: nothing is lost, memory holds, and it serves what it can."""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from orlop.devices.device import Capacity
from orlop.devices.model import EngineModel
from orlop.devices.model_calls import Job
from orlop.devices.speed import Linear

SPEED = Linear(decode_a_s=0.01, decode_b_s=0.001, decode_c_s=1e-7, prefill_b_s=1e-5)


@given(
    seed=st.integers(0, 2**32),
    kv_tokens=st.integers(3_000, 60_000),
    host_tokens=st.sampled_from([0, 5_000, 100_000]),
    slots=st.integers(1, 20),
)
def test_every_call_ends_once_with_all_its_tokens_or_was_cancelled(
    seed: int, kv_tokens: int, host_tokens: int, slots: int
) -> None:
    draw = random.Random(seed)
    capacity = Capacity(
        slots=slots,
        kv_tokens=kv_tokens,
        host_tokens=host_tokens,
        kv_bytes_per_token=1_000,
        restore_bytes_s=1e9,
        speed=SPEED,
    )
    model = EngineModel(
        capacity,
        step_tokens=draw.choice([256, 2_048, 8_192]),
        contexts_max=draw.choice([None, slots, slots + 3]),
    )
    held: dict[str, int] = {}
    asked: dict[int, int] = {}
    ended: dict[int, int] = {}
    cancelled: set[int] = set()
    now_s = 0.0
    for number in range(60):
        now_s += draw.expovariate(5.0)
        for end in model.advance(now_s):
            assert end.id not in ended
            assert end.began_s <= end.first_token_s <= end.at_s <= now_s
            ended[end.id] = end.generated
        chain = f"c{draw.randrange(8)}"
        prefix = draw.randint(0, held.get(chain, 0))
        prompt = min(prefix + draw.randint(1, 2_000), kv_tokens - 600)
        output = draw.randint(1, 400)
        shared = draw.choice([0, min(500, prompt - 1)])
        model.submit(
            Job(
                id=number,
                chain=chain,
                prompt=prompt,
                output=output,
                prefix=min(prefix, prompt),
                shared="s" if shared else "",
                shared_tokens=shared,
                urgency=draw.choice([0.0, 1.0]),
            ),
            now_s,
        )
        held[chain] = prompt + output
        asked[number] = output
        if draw.random() < 0.2:
            victim = draw.choice(sorted(asked))
            if victim not in ended and victim not in cancelled:
                assert 0 <= model.cancel(victim, now_s) <= asked[victim]
                cancelled.add(victim)
        model.memory.check()
        assert model.running <= slots
    while model.next_s() < math.inf:
        for end in model.advance(model.next_s()):
            assert end.id not in ended
            ended[end.id] = end.generated
        model.memory.check()
    assert set(asked) - set(ended) <= cancelled
    assert all(ended[number] == asked[number] for number in ended)
    assert model.running == model.waiting == model.memory.held == 0
