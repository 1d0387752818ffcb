"""A real vLLM: skipped unless ORLOP_VLLM_URL names one, or ORLOP_VLLM_VENV an environment with one.

`make test-engines` says how (docs/how-to/test-real-engines.md).  With an environment, a server is
started on the CPU with a tiny model of random weights, made on the spot.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from giving_back import goes_on_as_if_never_stopped
from msgspec.structs import replace
from patience import until

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message
from orlop.abi.replies import Delta
from orlop.devices.device import EngineLoad, Preempted, Turn
from orlop.drivers.vllm import VLLM
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock

URL, VENV = os.environ.get("ORLOP_VLLM_URL", ""), os.environ.get("ORLOP_VLLM_VENV", "")
KEY = os.environ.get("ORLOP_VLLM_KEY", "")
START_S = 300.0
pytestmark = pytest.mark.skipif(
    not URL and not VENV, reason="no vLLM: set ORLOP_VLLM_URL or ORLOP_VLLM_VENV"
)
MAKE_MODEL = Path(__file__).with_name("tiny_llama.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Its URL and its key."""
    if URL:
        yield URL, KEY
        return
    folder = tmp_path_factory.mktemp("vllm")
    python = Path(VENV) / "bin" / "python"
    subprocess.run([python, MAKE_MODEL, folder / "tiny"], check=True, capture_output=True)
    port = free_port()
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(folder / "tiny")]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--max-model-len", "2048", "--max-num-seqs", "16"]
    command += ["--enforce-eager", "--enable-prompt-tokens-details", "--api-key", "secret"]
    command += ["--scheduling-policy", "priority"]
    events = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": f"tcp://*:{free_port()}",
        "replay_endpoint": f"tcp://*:{free_port()}",
    }
    command += ["--kv-events-config", json.dumps(events)]
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}", "secret"
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends_s = time.monotonic() + START_S
    while time.monotonic() < ends_s:
        if process.poll() is not None:
            sys.stderr.write(log.read_text(errors="replace")[-4_000:])
            pytest.fail(f"vLLM ended with {process.returncode}")
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.5)
    pytest.fail(f"vLLM did not start within {START_S} s")


@asynccontextmanager
async def engine(server: tuple[str, str]) -> AsyncGenerator[tuple[VLLM, ModelName]]:
    url, key = server
    driver = VLLM(
        EngineName("v"), url, clock=SystemClock(), chance=SystemChance(), key=key, watch_s=0.1
    )
    await driver.start()
    try:
        (card, *_) = await driver.models()
        yield driver, card.name
    finally:
        await driver.close()


def ask(model: ModelName, text: str, tokens: int = 8) -> Infer:
    return Infer(
        model=model,
        messages=(Message("user", text),),
        output_tokens_max=tokens,
        sampling=Sampling(temperature=0.0),
        dialect="openai",
        extra={"ignore_eos": True},
    )


def running(load: EngineLoad | None) -> int:
    return -1 if load is None else load.running


def test_streamed_and_whole_answers_are_one_and_the_second_prompt_comes_from_the_cache(
    server: tuple[str, str],
) -> None:
    async def scenario() -> None:
        async with engine(server) as (driver, model):
            text = f"{time.time()}: " + "the parcel is late again, " * 40
            deltas: list[Delta] = []
            turn = Turn(program="prc_1", urgency=2)
            first = await driver.infer(ask(model, text), model, deltas.append, 120.0, turn)
            second = await driver.infer(ask(model, text), model, None, 120.0, turn)
            assert first.choices == second.choices
            assert "".join(delta.text for delta in deltas) == first.choices[0].message.text()
            assert first.usage.output_tokens == 8
            assert first.usage.cached_tokens < second.usage.cached_tokens

    asyncio.run(scenario())


def test_its_load_and_its_memory_are_seen_and_a_caller_that_leaves_ends_its_call(
    server: tuple[str, str],
) -> None:
    async def scenario() -> None:
        async with engine(server) as (driver, model):
            assert (driver.capacity().kv_tokens or 0) > 1_000
            for sink in (None, lambda _: None):
                call = ask(model, "tell me all", tokens=1_500)
                task = asyncio.ensure_future(driver.infer(call, model, sink, 120.0))
                await until(lambda: running(driver.load()) == 1)
                task.cancel()
                await asyncio.wait([task])
                # Idle engines are looked at less often: look now.
                while running(driver.load()) != 0:
                    await driver._watch.look()

    asyncio.run(scenario())


def test_priorities_are_taken_or_left_and_the_call_is_answered(server: tuple[str, str]) -> None:
    async def scenario() -> None:
        async with engine(server) as (driver, model):
            turns = [Turn(program=f"prc_{n}", urgency=n % 3) for n in range(12)]
            made = await asyncio.gather(
                *(driver.infer(ask(model, "hello"), model, None, 120.0, turn) for turn in turns)
            )
            assert [generated.usage.output_tokens for generated in made] == [8] * len(turns)

    asyncio.run(scenario())


def test_it_says_whose_context_it_holds_and_when_it_has_forgotten_all(
    server: tuple[str, str],
) -> None:
    pytest.importorskip("zmq")

    async def scenario() -> None:
        async with engine(server) as (driver, model):
            if not driver.card().kv_events:
                pytest.skip("this server publishes no KV events")
            await until(lambda: driver.card().kv_events == "heard")
            told: dict[str, tuple[int, int]] = {}

            def hears(name: str) -> bool:
                held = driver.holdings()
                assert held is not None
                told.update(held.contexts)
                return name in told

            text = f"{time.time()}: " + "the parcel is late again, " * 40
            turn = Turn(program="prc_31")
            made = await driver.infer(ask(model, text), model, None, 120.0, turn)
            await until(lambda: hears("prc_31"))
            tokens = made.usage.input_tokens + made.usage.output_tokens
            device, anywhere = told["prc_31"]
            assert device == anywhere and tokens - 129 <= device < tokens
            # Another program that begins alike shares what lies there, and goes on by itself.
            longer = Turn(program="prc_32")
            more = text + "and once more, " * 60
            await driver.infer(ask(model, more), model, None, 120.0, longer)
            await until(lambda: hears("prc_32"))
            assert told["prc_32"][0] > device
            await driver.server.look("reset_prefix_cache", 10.0, method="POST", body=b"{}")
            # It publishes with its next step.
            await driver.infer(ask(model, "hello"), model, None, 120.0, Turn(program="prc_33"))
            await until(lambda: bool((held := driver.holdings()) and held.is_cleared))

    asyncio.run(scenario())


@pytest.mark.parametrize("stops_after", [0, 1, 2, 5, 11])
def test_a_call_that_gives_its_seat_back_says_in_the_end_what_it_would_have_said(
    server: tuple[str, str], stops_after: int
) -> None:
    async def scenario() -> None:
        async with engine(server) as (driver, model):
            assert driver.card().continues

            async def meanwhile() -> None:
                while running(driver.load()) != 0:  # It has noticed.
                    await driver._watch.look()
                call = ask(model, "something else", tokens=20)
                await driver.infer(call, model, None, 120.0, Turn(program="other"))

            call = ask(model, "Tell me of the sea, café and 海. Use emojis 🌊.", tokens=160)
            await goes_on_as_if_never_stopped(driver, call, model, stops_after, meanwhile)

    asyncio.run(scenario())


def test_of_a_call_that_nobody_limits_the_rest_is_as_long_as_it_would_have_been(
    server: tuple[str, str],
) -> None:
    """A server's own default for token ids is short."""

    async def scenario() -> None:
        async with engine(server) as (driver, model):
            (card,) = await driver.models()
            assert card.context_tokens is not None
            one, many = [
                (await driver.infer(ask(model, "sea " * words, 1), model, None, 120.0)).usage
                for words in (1, 101)
            ]
            each = (many.input_tokens - one.input_tokens) // 100
            words = (card.context_tokens - one.input_tokens - 100) // each
            call = replace(ask(model, "sea " * words), output_tokens_max=None)
            stop, read = asyncio.Event(), list[Delta]()

            def take(delta: Delta) -> None:
                read.append(delta)
                stop.set()

            with pytest.raises(Preempted) as stopped:
                await driver.infer(call, model, take, 300.0, Turn(yield_now=stop))
            so_far = stopped.value.partial
            turn = Turn(yield_now=asyncio.Event(), so_far=so_far)
            made = await driver.infer(call, model, take, 300.0, turn)
            used = made.usage.input_tokens + made.usage.output_tokens
            assert used == card.context_tokens
            assert made.choices[0].finish == "length"

    asyncio.run(scenario())


def test_it_sleeps_and_is_woken_by_a_call_with_the_same_answer(server: tuple[str, str]) -> None:
    async def scenario() -> None:
        async with engine(server) as (driver, model):
            if not driver.residence.sleeps:
                with pytest.raises(DeviceRefused):
                    await driver.residence.sleep()
                return
            before = await driver.infer(ask(model, "who are you?"), model, None, 120.0)
            await driver.residence.sleep()
            assert driver.residence.resident()[model].state == "asleep"
            after = await driver.infer(ask(model, "who are you?"), model, None, 120.0)
            assert after.choices == before.choices
            assert driver.residence.resident()[model].state == "hot"

    asyncio.run(scenario())
