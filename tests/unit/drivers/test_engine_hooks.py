"""What drivers tell their engines beside the call, and what they learn from them.

The engines are their own wire formats (`engine_surfaces`) over a fake one.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from engine_surfaces import (
    EngineSurface,
    OllamaSurface,
    SGLangSurface,
    TritonSurface,
    VLLMSurface,
)
from msgspec.structs import replace
from openai_surface import surface
from patience import until

from orlop.abi.calls import Embed, Infer, Sampling
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message
from orlop.devices.device import EngineLoad, Turn
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.devices.openai import OpenAI
from orlop.drivers.ollama import Ollama
from orlop.drivers.sglang import SGLang
from orlop.drivers.triton import Triton
from orlop.drivers.vllm import VLLM
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock

CHAT = "/v1/chat/completions"
MODEL = ModelName("fake")
NAME = EngineName("far")
CALL = Infer(model="fake", messages=(Message("user", "hello"),), dialect="openai")
MINE = Turn(program="prc_7", urgency=3)
CLOCK, CHANCE = SystemClock(), SeededChance(1)

Edge = TypeVar("Edge", bound=EngineSurface)
Driver = TypeVar("Driver", bound=OpenAI | Triton)


@asynccontextmanager
async def driven(
    edge: Callable[[FakeEngine], Edge],
    make: Callable[[str], Driver],
    config: FakeConfig | None = None,
    before: Callable[[Edge], None] = lambda _: None,
) -> AsyncGenerator[tuple[Driver, Edge]]:
    behind = FakeEngine(EngineName("f"), config or FakeConfig(), clock=CLOCK, chance=CHANCE)
    speaks = edge(behind)
    before(speaks)
    async with surface(behind, speaks.routes) as (url, _):
        engine = make(url)
        await engine.start()
        try:
            yield engine, speaks
        finally:
            await engine.close()


def vllm(url: str) -> VLLM:
    return VLLM(NAME, url, clock=CLOCK, chance=CHANCE, watch_s=0.01)


def sglang(url: str) -> SGLang:
    return SGLang(NAME, url, clock=CLOCK, chance=CHANCE, watch_s=0.01)


def ollama(url: str) -> Ollama:
    return Ollama(NAME, url, clock=CLOCK, chance=CHANCE, watch_s=0.01)


def triton(url: str) -> Triton:
    return Triton(NAME, url.removesuffix("/v1"), clock=CLOCK, chance=CHANCE)


def run(scenario: Awaitable[None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await scenario

    asyncio.run(limited())


def test_vllm_hears_whose_call_it_is_and_how_urgent() -> None:
    async def scenario() -> None:
        async with driven(VLLMSurface, vllm) as (engine, edge):
            await engine.infer(CALL, MODEL, None, 5.0, MINE)
            said = edge.last(CHAT)
            assert (said["session_id"], said["priority"]) == ("prc_7", 3)
            await engine.infer(CALL, MODEL, None, 5.0)
            assert not {"session_id", "priority"} & set(edge.last(CHAT))

    run(scenario())


def test_a_caller_can_not_put_itself_before_others_in_the_engine_s_queue() -> None:
    async def scenario() -> None:
        async with driven(VLLMSurface, vllm) as (engine, edge):
            call = replace(CALL, extra={"priority": -1000, "session_id": "theirs", "top_k": 5})
            await engine.infer(call, MODEL, None, 5.0, MINE)
            said = edge.last(CHAT)
            assert (said["session_id"], said["priority"], said["top_k"]) == ("prc_7", 3, 5)

    run(scenario())


def test_a_prefix_is_told_apart_by_whose_it_is_and_callers_can_not_say_so() -> None:
    async def scenario() -> None:
        async with driven(VLLMSurface, vllm) as (engine, edge):
            await tried(engine, edge)
        async with driven(SGLangSurface, sglang) as (engine, edge):
            await tried(engine, edge)

    async def tried(engine: OpenAI, edge: EngineSurface) -> None:
        call = replace(CALL, extra={"cache_salt": "another tenant's", "top_k": 5})
        await engine.infer(call, MODEL, None, 5.0, Turn(salt="secret"))
        assert edge.last(CHAT)["cache_salt"] == "secret"
        await engine.infer(call, MODEL, None, 5.0)
        assert "cache_salt" not in edge.last(CHAT)

    run(scenario())


@pytest.mark.parametrize("streams", [False, True])
def test_a_vllm_without_priorities_refuses_one_once_and_is_never_told_again(streams: bool) -> None:
    async def scenario() -> None:
        def before(edge: VLLMSurface) -> None:
            edge.has_priority = False

        async with driven(VLLMSurface, vllm, before=before) as (engine, edge):
            for _ in range(2):
                sink = (lambda _: None) if streams else None
                assert (await engine.infer(CALL, MODEL, sink, 5.0, MINE)).choices
            sent = [body.get("priority") for path, body in edge.asked if path == CHAT]
            assert sent == [3, None, None]
            assert edge.last(CHAT)["session_id"] == "prc_7"

    run(scenario())


def test_vllm_s_load_and_memory_are_seen_and_preemptions_count_from_the_first_look() -> None:
    async def scenario() -> None:
        async with driven(VLLMSurface, vllm, FakeConfig(decode_s=0.05, tokens=500)) as (engine, _):
            load = engine.load()
            assert load is not None
            assert (load.running, load.waiting, load.kv_usage, load.preemptions) == (0, 0, 0.25, 0)
            assert engine.capacity().kv_tokens == 16_000
            task = asyncio.ensure_future(engine.infer(CALL, MODEL, None, 60.0))
            await until(lambda: _running(engine.load()) == 1)
            task.cancel()
            await asyncio.wait([task])

    run(scenario())


def _running(load: EngineLoad | None) -> int:
    return -1 if load is None else load.running


LIES = {
    "negative": b"vllm:num_requests_running -3\nvllm:num_requests_waiting 0\n",
    "not a number": b"vllm:num_requests_running NaN\nvllm:num_requests_waiting 0\n",
    "absurd": b"vllm:num_requests_running 1e300\nvllm:num_requests_waiting 0\n",
    "half of it": b"vllm:num_requests_running 3\n",
    "garbage": b"\x00\xff<html>not here</html>" * 1000,
    "huge blocks": b'vllm:cache_config_info{num_gpu_blocks="9e99",block_size="x"} 1\n',
}


@pytest.mark.parametrize("page", LIES.values(), ids=LIES.keys())
def test_an_engine_that_lies_in_its_metrics_has_no_load_and_still_serves(page: bytes) -> None:
    async def scenario() -> None:
        def before(edge: VLLMSurface) -> None:
            edge.page = page

        async with driven(VLLMSurface, vllm, before=before) as (engine, _):
            assert engine.load() is None
            assert engine.capacity().kv_tokens is None
            assert (await engine.infer(CALL, MODEL, None, 5.0)).choices

    run(scenario())


def test_an_engine_that_begins_to_lie_loses_the_load_that_it_had() -> None:
    async def scenario() -> None:
        config = FakeConfig(decode_s=0.05, tokens=500)
        async with driven(VLLMSurface, vllm, config) as (engine, edge):
            assert engine.load() is not None
            task = asyncio.ensure_future(engine.infer(CALL, MODEL, None, 60.0))
            edge.page = LIES["negative"]
            await until(lambda: engine.load() is None)
            edge.page = b""
            await until(lambda: engine.load() is not None)
            task.cancel()
            await asyncio.wait([task])

    run(scenario())


def test_kv_usage_beyond_the_whole_is_left_out_alone() -> None:
    async def scenario() -> None:
        def before(edge: VLLMSurface) -> None:
            edge.page = edge.true_page().replace(b" 0.25", b" 17.5")

        async with driven(VLLMSurface, vllm, before=before) as (engine, _):
            load = engine.load()
            assert load is not None
            assert (load.running, load.kv_usage) == (0, None)

    run(scenario())


def test_a_vllm_that_sleeps_is_woken_by_the_next_call() -> None:
    async def scenario() -> None:
        async with driven(VLLMSurface, vllm) as (engine, edge):
            assert engine.residence.sleeps
            await engine.residence.sleep()
            assert engine.residence.resident()[MODEL].state == "asleep"
            assert edge.is_asleep
            made = await asyncio.gather(*(engine.infer(CALL, MODEL, None, 5.0) for _ in range(3)))
            assert len(made) == 3
            assert [path for path, _ in edge.asked].count("/wake_up") == 1
            assert engine.residence.resident()[MODEL].state == "hot"

    run(scenario())


def test_an_engine_that_can_not_sleep_says_what_it_would_have_to_be_started_with() -> None:
    async def scenario() -> None:
        def before(edge: VLLMSurface) -> None:
            edge.is_developed = False

        async with driven(VLLMSurface, vllm, before=before) as (engine, _):
            assert not engine.residence.sleeps
            with pytest.raises(DeviceRefused, match="enable-sleep-mode"):
                await engine.residence.sleep()
            with pytest.raises(DeviceRefused, match="one model for its whole life"):
                await engine.residence.load(MODEL)

    run(scenario())


def test_sglang_s_priorities_go_its_own_way_round() -> None:
    async def scenario() -> None:
        async with driven(SGLangSurface, sglang) as (engine, edge):
            await engine.infer(CALL, MODEL, None, 5.0, MINE)
            assert edge.last(CHAT)["priority"] == -3
        for low_first, sent in ((True, 3), (None, None)):

            def before(edge: SGLangSurface, low_first: bool | None = low_first) -> None:
                edge.info = (
                    {}
                    if low_first is None
                    else {
                        "enable_priority_scheduling": True,
                        "schedule_low_priority_values_first": low_first,
                    }
                )

            async with driven(SGLangSurface, sglang, before=before) as (engine, edge):
                await engine.infer(CALL, MODEL, None, 5.0, MINE)
                assert edge.last(CHAT).get("priority") == sent
                assert edge.last(CHAT)["session_id"] == "prc_7"

    run(scenario())


def test_sglang_is_told_to_abort_a_call_whose_caller_left() -> None:
    async def scenario() -> None:
        config = FakeConfig(decode_s=0.05, tokens=500)
        async with driven(SGLangSurface, sglang, config) as (engine, edge):
            task = asyncio.ensure_future(engine.infer(CALL, MODEL, None, 60.0, MINE))
            await until(lambda: edge.behind.running == 1)
            await until(lambda: _running(engine.load()) == 1)
            task.cancel()
            await asyncio.wait([task])
            await until(lambda: any(path == "/abort_request" for path, _ in edge.asked))
            assert edge.last("/abort_request")["rid"] == edge.last(CHAT)["rid"]

    run(scenario())


def test_sglang_s_loads_are_added_up_over_its_ranks_and_lies_are_none() -> None:
    async def scenario() -> None:
        rank: dict[str, object] = {"num_running_reqs": 2, "num_waiting_reqs": 1, "token_usage": 0.5}
        sized = rank | {"max_total_num_tokens": 1000}
        cases: list[tuple[list[object], object]] = [
            ([sized, sized], (4, 2, 0.5, 2000)),
            ([rank | {"num_running_reqs": -9}], None),
            ([rank | {"num_running_reqs": "many"}], None),
            ([], None),
        ]
        for ranks, expected in cases:

            def before(edge: SGLangSurface, ranks: list[object] = ranks) -> None:
                edge.loads = {"loads": ranks}

            async with driven(SGLangSurface, sglang, before=before) as (engine, _):
                load, tokens = engine.load(), engine.capacity().kv_tokens
                told = load and (load.running, load.waiting, load.kv_usage, tokens)
                assert told == expected

    run(scenario())


def test_ollama_s_models_are_loaded_kept_and_sent_away() -> None:
    async def scenario() -> None:
        async with driven(OllamaSurface, ollama) as (engine, edge):
            residence = engine.residence
            assert residence.resident()[MODEL].state == "disk"
            await residence.load(MODEL)
            assert edge.last("/api/generate")["keep_alive"] == -1
            (card,) = [card for card in await engine.models() if card.name == MODEL]
            assert card.context_tokens == 8192
            held = residence.resident()[MODEL]
            assert (held.state, held.device_bytes) == ("hot", 7)
            await residence.unload(MODEL)
            assert edge.loaded == {}
            with pytest.raises(DeviceRefused, match="no model 'nobody' to load; there is: fake"):
                await residence.load(ModelName("nobody"))

    run(scenario())


def test_a_call_does_not_make_ollama_forget_that_its_model_is_to_stay() -> None:
    async def scenario() -> None:
        async with driven(OllamaSurface, ollama) as (engine, edge):
            await engine.residence.load(MODEL)
            await engine.infer(CALL, MODEL, None, 5.0)
            await until(lambda: edge.loaded["fake"].startswith("2318"))

    run(scenario())


def test_triton_s_classifier_answers_with_its_label_and_how_sure_it_is() -> None:
    async def scenario() -> None:
        async with driven(TritonSurface, triton) as (engine, _):
            sure = replace(CALL, sampling=Sampling(logprobs=True, top_logprobs=2))
            for text, label in (("now!", "angry"), ("when?", "calm")):
                call = replace(sure, messages=(Message("user", text),))
                made = await engine.infer(call, ModelName("sorter"), None, 5.0)
                (choice,) = made.choices
                assert choice.message.text() == label
                assert choice.logprobs[0].top[0].token == label

    run(scenario())


def test_triton_loads_and_unloads_and_lists_what_is_ready() -> None:
    async def scenario() -> None:
        async with driven(TritonSurface, triton) as (engine, _):
            sorter = ModelName("sorter")
            await engine.residence.unload(sorter)
            assert sorter not in {card.name for card in await engine.models()}
            assert engine.residence.resident()[sorter].state == "disk"
            with pytest.raises(DeviceRefused, match="no model 'sorter'"):
                await engine.infer(CALL, sorter, None, 5.0)
            await engine.residence.load(sorter)
            assert sorter in {card.name for card in await engine.models()}

    run(scenario())


def test_vectors_that_are_none_are_the_engine_s_failure() -> None:
    async def scenario() -> None:
        async with driven(TritonSurface, triton) as (engine, edge):
            vectors = ModelName("fake-embed")
            wrong: list[list[object]] = [[], [1.0, "x"], [1.0, 2.0, 3.0]]
            for edge.wrong_data in wrong:
                with pytest.raises(DeviceFailed, match="no vector each"):
                    await engine.embed(Embed(model="fake-embed", inputs=("a", "b")), vectors, 5.0)

    run(scenario())
