"""The embedded model comes and goes, for real: skipped where it has not been pulled."""

import asyncio
import os
from pathlib import Path

import psutil
from pulled import weights

from orlop.abi.calls import Infer
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message
from orlop.devices import engine_host
from orlop.devices.llamacpp import LlamaCpp, LlamaCppConfig
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock

WEIGHTS = weights("smollm2")
MODEL = ModelName("smollm2")


def engine(folder: Path, lifeline: int) -> LlamaCpp:
    config = LlamaCppConfig(
        name=EngineName("local"),
        model=MODEL,
        path=WEIGHTS,
        folder=folder,
        slots=2,
        context_tokens=512,
        is_lazy=True,
        lifeline=lifeline,
    )
    return LlamaCpp(config, clock=SystemClock(), chance=SystemChance())


def test_it_is_started_loaded_asked_unloaded_and_loaded_by_the_next_call(tmp_path: Path) -> None:
    async def scenario(lifeline: int) -> None:
        local = engine(tmp_path, lifeline)
        residence = local.residence
        await local.start()
        assert residence.resident()[MODEL].state == "disk"
        expected = residence.resident()[MODEL].device_bytes
        assert not (tmp_path / "local.json").exists()
        (card,) = await local.models()
        assert (card.name, card.context_tokens) == (MODEL, 512)
        assert local.card().health == "ready"

        await residence.load(MODEL)
        seen = residence.resident()[MODEL]
        host = engine_host.read(tmp_path / "local.json")
        assert host is not None
        assert seen.state == "hot"
        taken = psutil.Process(host.pid).memory_info().rss
        assert 0.7 * taken <= expected <= 1.4 * taken
        assert seen.device_bytes >= expected
        await ask(local)

        await residence.unload(MODEL)
        assert residence.resident()[MODEL].state == "disk"
        assert not engine_host.is_alive(host)
        assert residence.resident()[MODEL].device_bytes == expected
        assert local.card().health == "ready"
        await ask(local)
        assert residence.resident()[MODEL].state == "hot"
        await residence.unload(MODEL)
        await local.close()

    holding, end = os.pipe()
    try:
        asyncio.run(scenario(holding))
    finally:
        os.close(holding)
        os.close(end)


def test_a_kernel_that_comes_back_finds_the_model_hot(tmp_path: Path) -> None:
    async def scenario(lifeline: int) -> None:
        before = engine(tmp_path, lifeline)
        await before.residence.load(MODEL)
        await before.close()
        after = engine(tmp_path, lifeline)
        assert after.residence.resident()[MODEL].state == "hot"
        await after.start()
        await ask(after)
        await after.residence.unload(MODEL)
        await after.close()

    holding, end = os.pipe()
    try:
        asyncio.run(scenario(holding))
    finally:
        os.close(holding)
        os.close(end)


async def ask(local: LlamaCpp) -> None:
    call = Infer(model=MODEL, messages=(Message("user", "hello"),), output_tokens_max=2)
    made = await local.infer(call, MODEL, None, 60.0)
    assert made.usage.output_tokens > 0
