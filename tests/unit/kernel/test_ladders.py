"""What becomes of a call that can't be served as it was asked for."""

import asyncio

import pytest
from msgspec.structs import replace
from small_kernel import Computer, on, program, result

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall, DeviceFailed, Exhausted, TooLittleTime
from orlop.abi.hints import Hints, Step
from orlop.abi.ids import EngineName, ModelName, NanoDollars
from orlop.abi.messages import Message
from orlop.abi.replies import Completion
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.kernel import syscall
from orlop.models.ladder import LadderConfig
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import forms

STEPS: tuple[Step, ...] = ("shrink", "down", "defer")


def computer() -> Computer:
    return Computer(engine_config=FakeConfig(models=("big",), slots=1, decode_s=0.1, tokens=100))


async def with_small(here: Computer, kernel: Kernel, decode_s: float = 0.001) -> None:
    """A second engine that is a hundred times as fast, and a ladder over both."""
    config = FakeConfig(models=("small",), slots=1, decode_s=decode_s, tokens=100)
    small = FakeEngine(EngineName("second"), config, clock=here.clock, chance=here.chance)
    kernel.registry.add(small)
    await small.start()
    kernel.registry.learn(small.name, await small.models())
    kernel.ladders = {"smart": LadderConfig(rungs=("big", "small"), shrink_min=0.25, defer_s=60)}


def call(model: str = "smart", **hints: object) -> Infer:
    told = Hints(**hints)  # type: ignore[arg-type]
    return Infer(model=model, messages=(Message("user", "hello"),), hints=told)


async def asked(kernel: Kernel, process: Process, wanted: Infer) -> Completion:
    done = await result(syscall.enter(kernel, process, wanted))
    assert isinstance(done, Completion)
    return done


async def experienced(kernel: Kernel, process: Process) -> None:
    """Both engines are known by calls that ran there."""
    for model in ("big", "small"):
        for _ in range(8):
            await asked(kernel, process, call(model))


def test_the_best_model_serves_while_it_can_and_nothing_is_said_of_rungs() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await with_small(here, kernel)
        done = await asked(kernel, await program(kernel), call())
        assert (done.facts.model, done.facts.rung) == ("big", "")

    on(computer, scenario)


def test_the_next_model_serves_where_the_best_one_is_away_and_the_reply_says_why() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await with_small(here, kernel)
        here.engine.die(1e6)
        process = await program(kernel)
        done = await asked(kernel, process, call())
        assert done.facts.model == "small"
        assert done.facts.rung.startswith("down to small: no engine can serve big")
        with pytest.raises(DeviceFailed, match="no engine can serve big"):
            await asked(kernel, process, call(ladder=()))

    on(computer, scenario)


def test_without_a_ladder_a_call_whose_last_token_can_t_come_in_time_is_refused_at_once() -> None:
    """A hundred tokens take ten seconds; the first one comes at once."""

    async def scenario(here: Computer, kernel: Kernel) -> None:
        await with_small(here, kernel)
        process = await program(kernel)
        await experienced(kernel, process)
        before, began_s = here.engine.computed, here.clock.now_s()
        said = (
            r"an answer of 100 tokens would end in 10\.. s.* an idle engine would be too late, too"
        )
        with pytest.raises(TooLittleTime, match=said) as no:
            await asked(kernel, process, call("big", deadline_s=6.0, output_tokens=100))
        assert (no.value.retry, no.value.retry_after_s) == (False, None)
        assert (here.engine.computed, here.clock.now_s()) == (before, began_s)
        with pytest.raises(Exhausted, match="an answer of 50 tokens"):
            await asked(kernel, process, call("big", deadline_s=4.0))
        done = await asked(kernel, process, call("big", deadline_s=12.0, output_tokens=100))
        assert done.facts.rung == ""
        # Batch work is not refused for being late, and who names no deadline is patient.
        late = call("big", deadline_s=12.0, latency_class="batch", output_tokens=1_000)
        assert (await asked(kernel, process, late)).facts.model == "big"

    on(computer, scenario)


def test_an_answer_is_made_as_short_as_the_time_that_is_left() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await with_small(here, kernel)
        process = await program(kernel)
        await experienced(kernel, process)
        done = await asked(kernel, process, call(deadline_s=5.0, output_tokens=100))
        assert done.facts.model == "big"
        assert 25 <= done.usage.output_tokens <= 50
        assert done.facts.rung == f"shrunk to {done.usage.output_tokens} tokens"

    on(computer, scenario)


def test_one_that_would_be_too_short_is_the_next_models() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await with_small(here, kernel)
        process = await program(kernel)
        await experienced(kernel, process)
        done = await asked(kernel, process, call(deadline_s=1.0))
        assert (done.facts.model, done.usage.output_tokens) == ("small", 100)
        assert done.facts.rung.startswith("down to small: big would need about")

    on(computer, scenario)


def test_what_nobody_can_do_in_time_is_done_later_where_the_caller_allows_it() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await with_small(here, kernel, decode_s=0.1)
        process = await program(kernel)
        await experienced(kernel, process)
        with pytest.raises(TooLittleTime, match="big would need about"):
            await asked(kernel, process, call(deadline_s=1.0))
        began_s = asyncio.get_running_loop().time()
        done = await asked(kernel, process, call(deadline_s=1.0, ladder=STEPS))
        assert asyncio.get_running_loop().time() - began_s > 9.0
        assert (done.facts.model, done.usage.output_tokens) == ("big", 100)
        assert done.facts.rung.startswith("deferred: big would need about")

    on(computer, scenario)


def test_clients_see_a_ladder_as_a_model() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        await with_small(here, kernel)
        assert ModelName("smart") in {card.name for card in forms.listed(kernel)}

    on(computer, scenario)


def test_a_caller_says_what_it_is_willing_to_spend() -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        cards = await here.engine.models()
        priced = [
            replace(card, paid=True, is_priced=True, output_price=100_000_000) for card in cards
        ]
        kernel.registry.learn(here.engine.name, priced)
        process = await program(kernel)
        done = await asked(kernel, process, call("big", cost_max=NanoDollars(2_000)))
        assert done.usage.output_tokens == 20
        with pytest.raises(BadCall, match=r"hints\.cost_max: big may cost 100"):
            await asked(kernel, process, call("big", cost_max=NanoDollars(99)))

    on(computer, scenario)
