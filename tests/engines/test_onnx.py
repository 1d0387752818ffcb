"""Micro models for real: MiniLM's vectors in batches, and a classifier made of a few bytes.

Skipped where `orlop pull minilm` has not been run: its tokenizer is used by both.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pulled import weights
from tiny_classifier import write_classifier

from orlop.abi.calls import Embed, Infer, Sampling
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.hints import Hints
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message, ToolSpec
from orlop.devices.device import Turn
from orlop.devices.embed import MiniLM
from orlop.drivers.onnx import Onnx, OnnxConfig
from orlop.machine.clock import SystemClock

WEIGHTS = weights("minilm")
NAME, MODEL = EngineName("micro"), ModelName("small")
FAST = OnnxConfig(interactive_s=0.0, standard_s=0.05, batch_s=0.05)


@asynccontextmanager
async def started(path: Path, config: OnnxConfig = FAST) -> AsyncGenerator[Onnx]:
    engine = Onnx(NAME, MODEL, path, config, clock=SystemClock())
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()


def sorted_by(text: str, **given: object) -> Infer:
    return Infer(model=MODEL, messages=(Message("user", text),), **given)  # type: ignore[arg-type]


def test_vectors_are_minilm_s_own_however_they_are_batched() -> None:
    async def scenario() -> None:
        texts = [f"order {number} " + "please " * (number % 9) for number in range(40)]
        reference = MiniLM(NAME, MODEL, WEIGHTS)
        await reference.start()
        together = await reference.embed(Embed(model=MODEL, inputs=tuple(texts)), MODEL, 60.0)
        await reference.close()
        async with started(WEIGHTS) as engine:
            (card,) = await engine.models()
            assert (card.kind, card.dimensions) == ("embed", 384)

            async def one(text: str) -> tuple[float, ...]:
                call = Embed(model=MODEL, inputs=(text,))
                return (await engine.embed(call, MODEL, 60.0)).vectors[0]

            made = await asyncio.gather(*map(one, texts))
            assert engine.batches <= 4
            for vector, other in zip(made, together.vectors, strict=True):
                assert vector == pytest.approx(other, abs=1e-4)
            hurried = Embed(model=MODEL, inputs=("now",), hints=Hints(latency_class="interactive"))
            before = engine.batches
            await engine.embed(hurried, MODEL, 60.0)
            assert engine.batches == before + 1

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes; a text with the word `angry` is one, every other the other."""
    folder = tmp_path_factory.mktemp("classifier")
    shutil.copy(WEIGHTS.with_name("tokenizer.json"), folder)
    write_classifier(folder / "model.onnx", folder / "tokenizer.json", "angry")
    (folder / "config.json").write_text(json.dumps({"id2label": {"0": "calm", "1": "angry"}}))
    return folder / "model.onnx"


def test_a_classifier_answers_with_the_likeliest_label(classifier: Path) -> None:
    async def scenario() -> None:
        async with started(classifier) as engine:
            (card,) = await engine.models()
            assert card.kind == "chat"
            sure = Sampling(logprobs=True, top_logprobs=2)
            for text, label in (("i am angry", "angry"), ("where is it", "calm")):
                call = sorted_by(text, sampling=sure)
                made = await engine.infer(call, MODEL, None, 30.0)
                (choice,) = made.choices
                assert choice.message.text() == label
                assert {entry.token for entry in choice.logprobs[0].top} == {"angry", "calm"}
                assert made.usage.input_tokens > 3
            turn = Turn(latency_class="batch")
            many = [f"{'angry' if n % 3 else 'glad'} {n}" for n in range(50)]
            said = await asyncio.gather(
                *(engine.infer(sorted_by(text), MODEL, None, 30.0, turn) for text in many)
            )
            labels = [made.choices[0].message.text() for made in said]
            assert labels == ["angry" if n % 3 else "calm" for n in range(50)]

    asyncio.run(scenario())


def test_what_a_classifier_can_not_do_is_refused(classifier: Path) -> None:
    async def scenario() -> None:
        async with started(classifier) as engine:
            for call in (
                sorted_by("hi", tools=(ToolSpec("look_up"),)),
                sorted_by("hi", sampling=Sampling(n=2)),
                Infer(model=MODEL, messages=(Message("system", "be kind"),)),
                Infer(model=MODEL, prompt=(1, 2)),
            ):
                with pytest.raises(DeviceRefused, match="classifier"):
                    await engine.infer(call, MODEL, None, 30.0)
            with pytest.raises(DeviceRefused, match="names classes"):
                await engine.embed(Embed(model=MODEL, inputs=("a",)), MODEL, 30.0)
        async with started(WEIGHTS) as engine:
            with pytest.raises(DeviceRefused, match="makes vectors"):
                await engine.infer(sorted_by("hi"), MODEL, None, 30.0)

    asyncio.run(scenario())


def test_files_that_are_none_and_providers_that_are_not_here_are_named(
    classifier: Path, tmp_path: Path
) -> None:
    async def scenario() -> None:
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(b"not a model")
        shutil.copy(WEIGHTS.with_name("tokenizer.json"), tmp_path)
        for path, config, said in (
            (tmp_path / "none.onnx", FAST, "none.onnx is missing"),
            (broken, FAST, "broken.onnx can't be loaded"),
            (classifier, OnnxConfig(providers=("NoSuchProvider",)), "has no NoSuchProvider"),
            (WEIGHTS, FAST, "model.onnx is not what it was"),
        ):
            sha256 = "0" * 64 if path is WEIGHTS else ""
            engine = Onnx(NAME, MODEL, path, config, clock=SystemClock(), sha256=sha256)
            with pytest.raises(DeviceFailed, match=said):
                await engine.start()
            assert engine.card().health == "failing"
            await engine.close()

    asyncio.run(scenario())
