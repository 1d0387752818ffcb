"""The embedded embedding model, for real: skipped where `orlop pull minilm` has not been run."""

import asyncio
import hashlib
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pulled import weights

from orlop.abi.calls import Embed, Infer
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.replies import Embedded
from orlop.devices.embed import DIMENSIONS, MiniLM

WEIGHTS = weights("minilm")
MODEL = ModelName("minilm")


def an_engine(path: Path = WEIGHTS) -> MiniLM:
    return MiniLM(EngineName("micro"), MODEL, path)


async def embed(texts: Sequence[str], dimensions: int | None = None) -> Embedded:
    engine = an_engine()
    try:
        await engine.start()
        call = Embed(model=MODEL, inputs=tuple(texts), dimensions=dimensions)
        return await engine.embed(call, MODEL, 60.0)
    finally:
        await engine.close()


def likeness(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_texts_that_mean_the_same_lie_near_each_other() -> None:
    texts = ["I want my money back", "Please refund me", "How tall is the Eiffel tower?"]
    refund, money, tower = asyncio.run(embed(texts)).vectors
    assert likeness(refund, money) > 2 * likeness(refund, tower)
    assert len(refund) == DIMENSIONS
    assert math.isclose(likeness(refund, refund), 1.0, rel_tol=1e-5)


def test_vectors_come_in_the_order_of_their_texts_however_they_are_batched() -> None:
    texts = [f"order {number} " + "please " * (number * 7 % 23) for number in range(70)]
    together = asyncio.run(embed(texts)).vectors
    for at in (0, 33, 69):
        (alone,) = asyncio.run(embed([texts[at]])).vectors
        assert likeness(alone, together[at]) > 0.9999


def test_a_long_text_is_cut_at_256_tokens_and_so_counted() -> None:
    made = asyncio.run(embed(["word " * 5000, "", "hi"]))
    assert made.usage.input_tokens == 256 + 2 + 3
    assert len(made.vectors) == 3


def test_what_it_does_not_do_it_refuses() -> None:
    async def scenario() -> None:
        engine = an_engine()
        try:
            with pytest.raises(DeviceRefused, match="vectors, not text"):
                await engine.infer(Infer(model=MODEL, prompt="x"), MODEL, None, 1.0)
        finally:
            await engine.close()
        with pytest.raises(DeviceRefused, match="384 dimensions, not 64"):
            await embed(["x"], dimensions=64)

    asyncio.run(scenario())


def test_the_loop_goes_on_while_it_computes() -> None:
    async def scenario() -> None:
        computing = asyncio.create_task(embed(["word " * 200] * 8))
        turns = 0
        while not computing.done():
            await asyncio.sleep(0)
            turns += 1
        await computing
        assert turns > 100

    asyncio.run(scenario())


def test_a_missing_model_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = an_engine(tmp_path / "model.onnx")
        try:
            with pytest.raises(DeviceFailed, match="orlop pull minilm"):
                await engine.start()
            assert engine.card().health == "failing"
        finally:
            await engine.close()

    asyncio.run(scenario())


def test_a_file_that_is_no_model_fails_the_call(tmp_path: Path) -> None:
    async def scenario() -> None:
        for name in ("model.onnx", "tokenizer.json"):
            (tmp_path / name).write_text("{}")
        engine = an_engine(tmp_path / "model.onnx")
        try:
            await engine.start()
            with pytest.raises(DeviceFailed, match="can't be loaded"):
                await engine.embed(Embed(model=MODEL, inputs=("x",)), MODEL, 10.0)
        finally:
            await engine.close()

    asyncio.run(scenario())


def test_a_flipped_bit_in_its_weights_makes_no_vectors(tmp_path: Path) -> None:
    for file in (WEIGHTS, WEIGHTS.with_name("tokenizer.json")):
        shutil.copy(file, tmp_path)
    path = tmp_path / WEIGHTS.name
    content = bytearray(path.read_bytes())
    sha256 = hashlib.sha256(content).hexdigest()

    async def scenario() -> None:
        engine = MiniLM(EngineName("micro"), MODEL, path, sha256)
        await engine.start()
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        call = Embed(model=MODEL, inputs=("hi",))
        with pytest.raises(DeviceFailed, match="is not what it was"):
            await engine.embed(call, MODEL, 60.0)
        assert engine.card().health == "failing"
        with pytest.raises(DeviceFailed, match="is not what it was"):
            await engine.start()
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        await engine.start()
        assert (await engine.embed(call, MODEL, 60.0)).vectors
        await engine.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("first", ["", "import orlop.memory.graph; "])
def test_nothing_is_told_to_the_makers_of_the_libraries(first: str, tmp_path: Path) -> None:
    """They keep what they are going to send in the caches of whoever runs them."""
    code = f"{first}import sys, pathlib; from orlop.devices.onnx_network import load; "
    code += "load(pathlib.Path(sys.argv[1]))"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, WEIGHTS], env=env, check=True)
    assert not list(tmp_path.iterdir())
