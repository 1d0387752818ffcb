"""A whole kernel on hardware that is not here, as orlop.toml names it; in virtual time."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace
from small_kernel import Computer, ask, on, program, result

from orlop.abi.errors import DeviceRefused, Misconfigured
from orlop.abi.hints import Hints, LatencyClass
from orlop.abi.replies import Completion
from orlop.drivers.engines import EngineConfig, Workshop, build
from orlop.kernel import syscall
from orlop.machine.settings import load
from orlop.state.core import Kernel
from orlop.state.process import Process

H200 = """
[engines.h200]
driver = "modelled"
model = "qwen-32b"
slots = {slots}
[engines.h200.modelled]
decode_ms = 20
prefill_tokens_s = 10000
memory_gb = {memory_gb}
model_gb = 65.5
kv_bytes_per_token = 262144
host_gb = 64
window_tokens = 40000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    engines: dict[str, EngineConfig] = field(default_factory=dict)


async def rehearse(here: Computer, kernel: Kernel, folder: Path, slots: int = 0) -> Process:
    path = folder / "orlop.toml"
    path.write_text(H200.format(slots=slots, memory_gb=141))
    shop = Workshop(
        clock=here.clock, chance=here.chance, models_dir=folder, folder=folder, lifeline=None
    )
    for name, config in load(path, Settings).engines.items():
        engine = build(name, config, shop)
        kernel.registry.add(engine)
        await engine.start()
        kernel.registry.learn(engine.name, await engine.models())
    return await program(kernel)


async def call(
    kernel: Kernel,
    process: Process,
    text: str,
    tokens: int = 50,
    latency_class: LatencyClass = "standard",
) -> Completion:
    hints = Hints(output_tokens=tokens, latency_class=latency_class)
    done = await result(
        syscall.enter(kernel, process, replace(ask(text, hints=hints), model="qwen-32b"))
    )
    assert isinstance(done, Completion)
    return done


def test_a_call_takes_as_long_as_it_would_and_the_next_one_finds_its_context(
    tmp_path: Path,
) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await rehearse(here, kernel, tmp_path)
        text, began_s = "x" * 80_000, here.clock.now_s()
        first = await call(kernel, process, text)
        took_s = here.clock.now_s() - began_s
        assert took_s == pytest.approx(20_000 / 10_000 + 50 * 0.022, rel=0.1)
        assert first.usage.cached_tokens == 0 and first.facts.engine == "h200"
        began_s = here.clock.now_s()
        second = await call(kernel, process, text + "y" * 400)
        assert second.usage.cached_tokens > 19_900
        assert here.clock.now_s() - began_s < 1.4
        with pytest.raises(DeviceRefused, match="takes 40000 tokens"):
            await call(kernel, process, "x" * 160_000)
        card = kernel.registry.engines[first.facts.engine].card()
        assert (card.driver, card.slots, card.continues) == ("modelled", 256, True)

    on(Computer, scenario)


def test_calls_that_come_at_once_are_no_queue_of_the_engine_and_use_all_its_seats(
    tmp_path: Path,
) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await rehearse(here, kernel, tmp_path, slots=16)
        began_s = here.clock.now_s()
        calls = [asyncio.create_task(call(kernel, process, f"n {n}")) for n in range(32)]
        await asyncio.gather(*calls)
        each_s = 50 * 0.02
        assert here.clock.now_s() - began_s == pytest.approx(2 * each_s, rel=0.15)

    on(Computer, scenario)


def test_an_interactive_call_takes_the_seat_of_a_batch_call_there(tmp_path: Path) -> None:
    async def scenario(here: Computer, kernel: Kernel) -> None:
        process = await rehearse(here, kernel, tmp_path, slots=1)
        other, began_s = await program(kernel), here.clock.now_s()
        long = asyncio.create_task(call(kernel, process, "long", 500, "batch"))
        await here.clock.sleep(1.0)
        urgent = await call(kernel, other, "urgent", 5, "interactive")
        assert urgent.facts.queue_s < 0.5
        done = await long
        assert done.facts.switched == 1 and done.usage.output_tokens == 500
        facts, took_s = done.facts, here.clock.now_s() - began_s
        assert facts.queue_s + facts.prefill_s + facts.decode_s == pytest.approx(took_s, rel=0.01)
        assert facts.decode_s > 500 * 0.02, "both times that it wrote"

    on(Computer, scenario)


def test_what_does_not_fit_or_is_not_said_is_refused_by_name(tmp_path: Path) -> None:
    shop = Workshop(
        clock=Computer().clock,
        chance=Computer().chance,
        models_dir=tmp_path,
        folder=tmp_path,
        lifeline=None,
    )
    path = tmp_path / "orlop.toml"
    whole = H200.format(slots=0, memory_gb=141)
    for text, said in (
        (H200.format(slots=0, memory_gb=48), "qwen-32b takes 65.5 GB, and the engine has 44.2 GB"),
        (whole.replace("decode_ms = 20", ""), "needs a calibration, or decode_ms"),
        (whole.replace("model_gb = 65.5", ""), "model_gb is needed"),
        ('[engines.e]\ndriver = "modelled"\n', "engines.e.modelled: memory_gb is needed"),
        (whole.replace("decode_ms = 20", 'calibration = "none.json"'), "can't be read"),
    ):
        path.write_text(text)
        ((name, config),) = load(path, Settings).engines.items()
        with pytest.raises(Misconfigured, match=said):
            build(name, config, shop)
