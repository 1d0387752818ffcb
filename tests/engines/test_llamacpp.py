"""The embedded chat model, for real: skipped where `orlop pull smollm2` has not been run."""

import asyncio
import dataclasses
import hashlib
import os
import signal
from pathlib import Path

import msgspec
import pytest
from local_engine import MODEL, PATIENT_S, say, started, text, until, until_ended
from msgspec.structs import replace
from pulled import weights

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import DeadlineMissed, DeviceFailed, DeviceRefused
from orlop.abi.ids import EngineName
from orlop.abi.replies import Delta, Generated
from orlop.devices import engine_host
from orlop.devices.llamacpp import LlamaCpp
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


ENDLESS = replace(say("Tell a very long story.", 3000), extra={"ignore_eos": True})
LONG_PROMPT = say("word " * 2500)


def test_a_stream_is_its_message_and_the_engine_counts_the_tokens(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (_, engine):
            deltas: list[Delta] = []
            made = await engine.infer(say("Say hi"), MODEL, deltas.append, PATIENT_S)
            assert text(made) == "".join(delta.text for delta in deltas) != ""
            assert 0 < made.usage.output_tokens <= 8
            assert made.usage.input_tokens > 0
            assert made.prefill_s > 0
            again = await engine.infer(say("Say hi"), MODEL, None, PATIENT_S)
            assert text(again) == text(made)
            assert again.usage.cached_tokens > 0
            (card,) = await engine.models()
            assert card.context_tokens == 4096
            assert len(card.artefact) == 64

    asyncio.run(scenario())


def test_stop_seed_choices_logprobs_and_a_schema_are_honoured(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (_, engine):

            async def ask(call: Infer) -> Generated:
                return await engine.infer(call, MODEL, None, PATIENT_S)

            counting = say("Count: one two three", 20, Sampling(temperature=0.0, stop=("two",)))
            stopped = await ask(counting)
            assert "two" not in text(stopped)
            assert stopped.choices[0].finish == "stop"

            dice = say("Say anything", 12, Sampling(temperature=1.5, seed=7, n=3))
            three = await ask(dice)
            assert [choice.index for choice in three.choices] == [0, 1, 2]
            assert len({choice.message.text() for choice in three.choices}) > 1
            assert (await ask(dice)).choices == three.choices
            assert three.usage.output_tokens > 12

            sure = await ask(say("Hi", 2, Sampling(temperature=0.0, logprobs=True, top_logprobs=2)))
            first, _ = sure.choices[0].logprobs
            assert first.logprob <= 0
            assert first.top[0].token == first.token
            assert len(first.top) == 2

            form: dict[str, object] = {"name": "person", "schema": PERSON}
            wished: dict[str, object] = {"type": "json_schema", "json_schema": form}
            made = await ask(replace(say("A person, as JSON", 60), response_format=wished))
            assert set(msgspec.json.decode(text(made), type=dict[str, object])) == {"name", "age"}

            raw = Infer(model=MODEL, prompt="The capital of France is", output_tokens_max=2)
            assert "Paris" in text(await ask(replace(raw, sampling=Sampling(temperature=0.0))))

    asyncio.run(scenario())


def test_what_it_cant_do_it_refuses_with_a_reason(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (_, engine):
            bad: dict[str, object] = {"name": "x", "schema": {"type": "nonsense"}}
            for call, said in (
                (say("word " * 6000), "exceeds the available context size"),
                (
                    replace(say("x"), response_format={"type": "json_schema", "json_schema": bad}),
                    "JSON schema",
                ),
            ):
                with pytest.raises(DeviceRefused, match=said):
                    await engine.infer(call, MODEL, None, PATIENT_S)
            assert engine.card().health == "ready"

    asyncio.run(scenario())


@pytest.mark.parametrize("call", [ENDLESS, LONG_PROMPT], ids=["while decoding", "while reading"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_cancelled_call_frees_its_slot(tmp_path: Path, call: Infer, streamed: bool) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (home, engine):
            deltas: list[Delta] = []
            sink = deltas.append if streamed else None
            running = asyncio.create_task(engine.infer(call, MODEL, sink, PATIENT_S))

            async def is_running() -> bool:
                return await home.calls_running() == 1

            async def is_free() -> bool:
                return await home.calls_running() == 0

            await until(is_running)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await until(is_free)
            assert text(await engine.infer(say("Say hi"), MODEL, None, PATIENT_S))

    asyncio.run(scenario())


def test_a_deadline_ends_the_call(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (_, engine):
            with pytest.raises(DeadlineMissed, match="local's answer"):
                await engine.infer(ENDLESS, MODEL, None, 0.3)

    asyncio.run(scenario())


def test_more_calls_than_slots_are_all_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (_, engine):
            calls = (say(f"Tell me of the number {number}.") for number in range(8))
            made = await asyncio.gather(
                *(engine.infer(call, MODEL, None, PATIENT_S) for call in calls)
            )
            assert all(text(answer) for answer in made)

    asyncio.run(scenario())


def test_a_new_kernel_finds_the_host_that_the_old_one_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (home, engine):
            before = home.host()
            await engine.close()
            assert engine_host.is_alive(before)
            heir = home.engine()
            try:
                assert text(await heir.infer(say("Say hi"), MODEL, None, PATIENT_S))
                assert home.host() == before
            finally:
                await heir.close()

    asyncio.run(scenario())


def test_a_host_that_is_killed_fails_calls_that_have_told_and_the_next_call_starts_it(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (home, engine):
            before = home.host()
            told: list[list[Delta]] = [[], [], []]
            cut = [
                asyncio.create_task(engine.infer(ENDLESS, MODEL, deltas.append, PATIENT_S))
                for deltas in told
            ]

            async def have_told() -> bool:
                return all(told)

            await until(have_told)
            os.kill(before.pid, signal.SIGKILL)
            ends = await asyncio.gather(*cut, return_exceptions=True)
            assert [type(end) for end in ends] == [DeviceFailed] * 3
            assert engine.card().health == "ready", "calls for it are not turned away"
            answers = await asyncio.gather(
                *(engine.infer(say("Say hi"), MODEL, None, PATIENT_S) for _ in range(3))
            )
            assert all(text(answer) for answer in answers)
            assert home.host().pid != before.pid
            assert engine.card().health == "ready"

    asyncio.run(scenario())


def test_a_call_that_has_told_nothing_is_asked_of_the_next_host(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (home, engine):
            expected = text(await engine.infer(say("Say hi"), MODEL, None, PATIENT_S))
            before = home.host()
            os.kill(before.pid, signal.SIGKILL)
            await until_ended(before)
            began_s = asyncio.get_running_loop().time()
            idle = await engine.infer(say("Say hi"), MODEL, None, PATIENT_S)
            took_s = asyncio.get_running_loop().time() - began_s
            assert text(idle) == expected
            assert idle.prefill_s + idle.decode_s == pytest.approx(took_s, rel=0.1)

            before = home.host()
            reading = asyncio.create_task(engine.infer(LONG_PROMPT, MODEL, None, PATIENT_S))

            async def is_running() -> bool:
                return await home.calls_running() == 1

            await until(is_running)
            os.kill(before.pid, signal.SIGKILL)
            assert text(await reading)
            assert home.host().pid != before.pid

    asyncio.run(scenario())


def test_a_load_finds_out_that_the_host_is_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as (home, engine):
            before = home.host()
            os.kill(before.pid, signal.SIGKILL)
            await until_ended(before)
            assert engine.residence.resident()[MODEL].state == "disk"
            await engine.residence.load(MODEL)
            assert engine.residence.resident()[MODEL].state == "hot"
            assert home.host().pid != before.pid

    asyncio.run(scenario())


def test_a_host_ends_with_its_lifeline_or_when_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        for end in ("lifeline", "signal"):
            async with started(tmp_path / end) as (home, engine):
                state = home.host()
                await engine.close()
                if end == "signal":
                    os.kill(state.pid, signal.SIGTERM)
                    await until_ended(state)
            assert not engine_host.is_alive(state)
            assert not (tmp_path / end / "local.json").exists()

    asyncio.run(scenario())


def test_a_flipped_bit_in_its_weights_answers_nothing(tmp_path: Path) -> None:
    flipped = tmp_path / "flipped.gguf"
    content = bytearray(weights("smollm2").read_bytes())
    sha256 = hashlib.sha256(content).hexdigest()
    content[len(content) // 2] ^= 4
    flipped.write_bytes(content)

    async def scenario() -> None:
        async with started(tmp_path) as (home, _):
            config = dataclasses.replace(
                home.config, name=EngineName("flipped"), path=flipped, sha256=sha256
            )
            engine = LlamaCpp(config, clock=SystemClock(), chance=SystemChance())
            with pytest.raises(DeviceFailed, match="is not what it was"):
                await engine.infer(say("Say hi"), MODEL, None, PATIENT_S)
            await engine.close()

    asyncio.run(scenario())
