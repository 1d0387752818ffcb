"""Where programs' contexts lie, moving them, and giving a slot up in the middle: the real model."""

import asyncio
import os
import random
import signal
from pathlib import Path

import msgspec
import pytest
from local_engine import MODEL, PATIENT_S, Home, home_in, say, started, text, until, until_ended
from msgspec.structs import replace

from orlop.abi.calls import Infer, Sampling
from orlop.abi.messages import Message
from orlop.abi.replies import Delta, Generated
from orlop.devices.device import Partial, Preempted, Turn
from orlop.devices.llamacpp import LlamaCpp
from orlop.devices.snapshots import Note

SEED = 20261121
TRIES = 6
STORY = "The lighthouse keeper counts ships. " * 40
"""About 250 tokens."""

QUESTIONS = (
    "Tell me a story about a fox.",
    "Write a haiku, then explain it line by line.",
    "Repeat after me: Zürich 日本 😀 🎉 ñandú.",
    "Write a python function that adds two numbers.",
)


def agent(number: int, *more: str) -> Infer:
    """One agent's call: its own long beginning, and then turns."""
    first = Message("system", f"You are agent {number}. {STORY}")
    turns = [Message("user", "Go on.")]
    for said in more:
        turns += [Message("assistant", said), Message("user", "Go on.")]
    return replace(say("", 6), messages=(first, *turns))


async def ask(engine: LlamaCpp, call: Infer, turn: Turn) -> Generated:
    return await engine.infer(call, MODEL, None, PATIENT_S, turn)


class Preempting:
    """A call that is told to yield after so many deltas, and goes on until it is done."""

    def __init__(self, engine: LlamaCpp, call: Infer, after: list[int]) -> None:
        self.deltas: list[Delta] = []
        self.partials: list[Partial] = []
        self._engine = engine
        self._call = call
        self._after = after

    async def run(self) -> Generated:
        so_far: Partial | None = None
        for after in [*self._after, -1]:
            yield_now = asyncio.Event()
            if after == 0:
                yield_now.set()
            turn = Turn(program="p", latency_class="batch", yield_now=yield_now, so_far=so_far)
            end = len(self.deltas) + after

            def take(delta: Delta, end: int = end, event: asyncio.Event = yield_now) -> None:
                self.deltas.append(delta)
                if len(self.deltas) == end:
                    event.set()

            try:
                return await self._engine.infer(self._call, MODEL, take, PATIENT_S, turn)
            except Preempted as preempted:
                so_far = preempted.partial
                self.partials.append(so_far)
                await self._disturb()
        raise AssertionError("preempted without having been asked to")

    async def _disturb(self) -> None:
        """Somebody else has the slot meanwhile."""
        await ask(self._engine, say("Say hi", 3), Turn(program="other"))


@pytest.mark.parametrize("question", QUESTIONS, ids=["fox", "haiku", "signs", "python"])
def test_an_answer_cut_anywhere_goes_on_token_for_token(tmp_path: Path, question: str) -> None:
    async def scenario() -> None:
        async with started(tmp_path, slots=1) as (_, engine):
            call = say(question, 40)
            whole = await ask(engine, call, Turn(program="alone"))
            chance = random.Random(SEED)
            for after in ([0], [1], [chance.randint(2, 12)], [3, chance.randint(2, 8), 2]):
                for _ in range(TRIES):
                    cut = Preempting(engine, call, after)
                    made = await cut.run()
                    assert text(made) == text(whole), f"{after}: seed {SEED}"
                    # A starved test may be told the rest of an answer at once, and ask too late.
                    if len(cut.partials) == len(after):
                        break
                assert len(cut.partials) == len(after), f"{after}: seed {SEED}"
                assert "".join(delta.text for delta in cut.deltas) == text(whole)
                assert made.usage.output_tokens == whole.usage.output_tokens
                assert made.usage.input_tokens == whole.usage.input_tokens
                assert made.choices[0].finish == whole.choices[0].finish
                said = [partial.text for partial in cut.partials if partial.text]
                assert all(partial.tokens for partial in cut.partials if partial.text)
                assert all(text(whole).startswith(part) for part in said)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.0, presence_penalty=1.2, frequency_penalty=0.7),
        Sampling(temperature=0.0, stop=("the forest", "fox was")),
    ],
    ids=["penalties", "stop"],
)
def test_penalties_and_stop_words_see_over_the_cut(tmp_path: Path, sampling: Sampling) -> None:
    async def scenario() -> None:
        async with started(tmp_path, slots=1) as (_, engine):
            call = say(QUESTIONS[0], 40, sampling)
            whole = await ask(engine, call, Turn(program="alone"))
            for after in (1, 2, 4, 7):
                cut = Preempting(engine, call, [after])
                made = await cut.run()
                assert text(made) == text(whole)
                assert "".join(delta.text for delta in cut.deltas) == text(whole)
                assert made.choices[0].finish == whole.choices[0].finish

    asyncio.run(scenario())


def test_what_cant_go_on_runs_to_its_end_but_yields_while_its_prompt_is_read(
    tmp_path: Path,
) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"age": {"type": "integer", "maximum": 99, "minimum": 10}},
        "required": ["age"],
        "additionalProperties": False,
    }
    wished: dict[str, object] = {
        "type": "json_schema",
        "json_schema": {"name": "age", "schema": schema},
    }

    async def scenario() -> None:
        async with started(tmp_path, slots=1) as (_, engine):
            for call in (
                replace(say("An age, as JSON", 30), response_format=wished),
                say("Say anything", 12, Sampling(temperature=1.2, seed=7)),
                say("Say anything", 12, Sampling(temperature=0.0, logprobs=True)),
            ):
                whole = await ask(engine, call, Turn(program="alone"))
                late = Preempting(engine, call, [2])
                assert text(await late.run()) == text(whole)
                assert late.partials == []
                early = Preempting(engine, call, [0])
                assert text(await early.run()) == text(whole)
                assert early.partials == [Partial()]

    asyncio.run(scenario())


def test_a_partial_without_token_ids_is_gone_on_with_from_its_text(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path, slots=1) as (_, engine):
            call = say(QUESTIONS[0], 24)
            whole = await ask(engine, call, Turn(program="p"))
            head = text(whole)[: text(whole).index(" ", 30)]
            turn = Turn(program="p", so_far=Partial(head, (), 3))
            deltas: list[Delta] = []
            made = await engine.infer(call, MODEL, deltas.append, PATIENT_S, turn)
            assert text(made) == text(whole)
            assert head + "".join(delta.text for delta in deltas) == text(whole)

    asyncio.run(scenario())


def test_each_program_finds_its_context_although_there_are_more_programs_than_slots(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with started(tmp_path, slots=2) as (_, engine):
            first = [await ask(engine, agent(n), Turn(program=f"p{n}")) for n in range(5)]
            for number, made in enumerate(first):
                call = agent(number, text(made))
                again = await ask(engine, call, Turn(program=f"p{number}"))
                assert again.usage.cached_tokens >= made.usage.input_tokens - 1
            capacity = engine.capacity()
            assert capacity.continues
            assert capacity.moves_contexts
            assert capacity.kv_bytes_per_token == 23040 + capacity.kv_bytes_per_token % 23040
            assert capacity.host_tokens > 5 * first[0].usage.input_tokens
            assert capacity.restore_bytes_s > 0
            assert capacity.speed.prefill_s(300, 0) > capacity.speed.prefill_s(10, 290) > 0

    asyncio.run(scenario())


def test_a_new_program_begins_with_what_another_has_computed_of_the_same_prompt(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with started(tmp_path, slots=2) as (_, engine):
            made = await ask(engine, agent(1), Turn(program="first"))
            other = replace(agent(1), messages=(agent(1).messages[0], Message("user", "Stop.")))
            forked = await ask(engine, other, Turn(program="second"))
            assert forked.usage.cached_tokens > 0.9 * made.usage.input_tokens
            foreign = await ask(engine, agent(1), Turn(program="third", salt="5527"))
            assert foreign.usage.cached_tokens == 0, "another tenant is told by the time it takes"
            again = await ask(engine, agent(1, text(made)), Turn(program="first"))
            assert again.usage.cached_tokens >= made.usage.input_tokens - 1

    asyncio.run(scenario())


def test_the_kernel_s_orders_save_and_drop_are_obeyed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path, slots=2) as (home, engine):
            contexts = engine.contexts
            assert contexts is not None
            assert await contexts.save("nobody") == 0
            await contexts.drop("nobody")
            made = await ask(engine, agent(1), Turn(program="p"))
            saved = await contexts.save("p")
            assert saved == made.usage.input_tokens + made.usage.output_tokens - 1
            await ask(engine, agent(2), Turn(program="q"))
            await contexts.drop("p")
            again = await ask(engine, agent(1), Turn(program="p"))
            assert again.usage.cached_tokens < 0.1 * made.usage.input_tokens
            assert text(again) == text(made)
            await contexts.drop("p")
            await contexts.drop("q")
            assert not list(home.ram_folder().glob("*.kv"))

    asyncio.run(scenario())


async def killed(home: Home, engine: LlamaCpp) -> None:
    """As if the power had gone: the kernel says nothing any more, and the host ends at once."""
    state = home.host()
    os.kill(state.pid, signal.SIGKILL)
    await until_ended(state)
    await engine.close()


async def saved_context(home: Home) -> Generated:
    """One program's context, saved; then kernel and host are killed."""
    engine = home.engine(slots=2)
    await engine.start()
    made = await ask(engine, agent(1), Turn(program="p"))
    contexts = engine.contexts
    assert contexts is not None
    assert await contexts.save("p") > 0
    await killed(home, engine)
    return made


def note_in(folder: Path) -> tuple[Path, Note]:
    (path,) = folder.glob("*.json")
    return path, msgspec.json.decode(path.read_bytes(), type=Note)


def test_a_saved_context_outlives_kernel_and_host(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with home_in(tmp_path) as home:
            made = await saved_context(home)
            engine = home.engine(slots=2)
            try:
                again = await ask(engine, agent(1, text(made)), Turn(program="p"))
                assert again.usage.cached_tokens >= made.usage.input_tokens - 1
            finally:
                await engine.close()

    asyncio.run(scenario())


def test_slots_are_known_to_the_next_kernel_while_the_host_lives(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with home_in(tmp_path) as home:
            engine = home.engine(slots=2)
            made = await ask(engine, agent(1), Turn(program="p"))
            await engine.close()
            heir = home.engine(slots=2)
            try:
                await ask(heir, agent(2), Turn(program="q"))
                again = await ask(heir, agent(1, text(made)), Turn(program="p"))
                assert again.usage.cached_tokens >= made.usage.input_tokens - 1
            finally:
                await heir.close()

    asyncio.run(scenario())


def test_a_flipped_bit_means_computing_again_and_the_same_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with home_in(tmp_path) as home:
            made = await saved_context(home)
            note_path, note = note_in(home.ram_folder())
            file = note_path.with_suffix(".kv")
            data = bytearray(file.read_bytes())
            data[random.Random(SEED).randrange(len(data))] ^= 0x10
            file.write_bytes(data)
            engine = home.engine(slots=2)
            try:
                again = await ask(engine, agent(1), Turn(program="p"))
                assert again.usage.cached_tokens == 0
                assert text(again) == text(made)
                assert not file.exists()
            finally:
                await engine.close()
            assert note.tokens > 250

    asyncio.run(scenario())


def test_a_context_of_another_model_or_other_settings_is_never_restored(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with home_in(tmp_path) as home:
            made = await saved_context(home)
            folder = home.ram_folder()
            # The same weights with another size of context: other settings, by their fingerprint.
            engine = home.engine(slots=2, context_tokens=2048)
            try:
                again = await ask(engine, agent(1), Turn(program="p"))
                assert again.usage.cached_tokens == 0
                assert text(again) == text(made)
                assert not list(folder.glob("*.kv"))
            finally:
                await engine.close()

    asyncio.run(scenario())


def test_both_tiers_keep_within_their_bounds(tmp_path: Path) -> None:
    each = 10_000_000
    """Bytes of one agent's context, about."""

    async def scenario() -> None:
        bounds = {"ram_bytes": 2 * each, "disk_bytes": 3 * each}
        async with started(tmp_path, slots=1, **bounds) as (home, engine):
            ram, disk = home.ram_folder(), tmp_path / "local.contexts"
            for number in range(8):
                await ask(engine, agent(number), Turn(program=f"p{number}"))
                assert size_of(ram) <= bounds["ram_bytes"] + each
                assert size_of(disk) <= bounds["disk_bytes"] + each
            contexts = engine.contexts
            assert contexts is not None
            await contexts.save("p7")
            await asyncio.sleep(0)
            assert size_of(disk) > 0
            again = await ask(engine, agent(5), Turn(program="p5"))
            assert again.usage.cached_tokens > 250
            residence = engine.residence
            await residence.unload(MODEL)
            assert size_of(ram) == size_of(disk) == 0

    asyncio.run(scenario())


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.kv") if not path.is_symlink())


def test_a_prompt_is_not_read_while_an_interactive_call_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path, slots=2) as (home, engine):
            await ask(engine, say("Say hi"), Turn(program="warm"))
            long = say("word " * 2000, 4)
            deltas: list[Delta] = []
            turn = Turn(program="batch", latency_class="batch")
            batch = asyncio.create_task(engine.infer(long, MODEL, deltas.append, PATIENT_S, turn))

            async def is_reading() -> bool:
                return await home.calls_running() > 0

            await until(is_reading)
            for number in range(3):
                urgent = Turn(program=f"chat {number}", latency_class="interactive")
                made = await ask(engine, say(f"What is {number}?", 12), urgent)
                assert text(made)
                assert not deltas, "the long prompt was read to its end first"
            whole = await batch
            assert text(whole) == "".join(delta.text for delta in deltas) != ""
            assert whole.usage.input_tokens > 2000
            assert whole.usage.cached_tokens > 0, "what was read before is not read again"

    asyncio.run(scenario())


def test_a_host_that_dies_costs_time_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path, slots=2) as (home, engine):
            made = await ask(engine, agent(1), Turn(program="p"))
            contexts = engine.contexts
            assert contexts is not None
            await contexts.save("p")
            await ask(engine, agent(2), Turn(program="unsaved"))
            os.kill(home.host().pid, signal.SIGKILL)
            again = await ask(engine, agent(1, text(made)), Turn(program="p"))
            assert again.usage.cached_tokens >= made.usage.input_tokens - 1
            other = await ask(engine, agent(2), Turn(program="unsaved"))
            assert other.usage.input_tokens > 250

    asyncio.run(scenario())
