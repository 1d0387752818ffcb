"""How the kernel finds, starts and loses an engine host: real processes, and no model."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orlop.abi.errors import DeviceFailed
from orlop.abi.ids import EngineName, ModelName
from orlop.devices import engine_host
from orlop.devices.engine_host import HostKeeper, HostSettings, HostState
from orlop.devices.llamacpp import LlamaCpp, LlamaCppConfig
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock

SETTINGS = HostSettings(name="m", model="/nowhere/m.gguf", slots=2, context_tokens=256)
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def state_of(pid: int, settings: HostSettings = SETTINGS, url: str = "") -> HostState:
    return HostState(pid=pid, started_s=engine_host.started_s(pid), settings=settings, url=url)


def a_keeper(folder: Path) -> HostKeeper:
    return HostKeeper(EngineName("m"), SETTINGS, folder, None, SystemClock())


def an_engine(folder: Path, weights: Path, sha256: str = "") -> LlamaCpp:
    config = LlamaCppConfig(
        name=EngineName("local"), model=ModelName("m"), path=weights, folder=folder, sha256=sha256
    )
    return LlamaCpp(config, clock=SystemClock(), chance=SystemChance())


def test_a_state_is_read_as_it_was_written_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    engine_host.write(path, state_of(os.getpid(), url="http://127.0.0.1:1"))
    assert engine_host.read(path) == state_of(os.getpid(), url="http://127.0.0.1:1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "x"}', b"[]"])
def test_a_state_that_makes_no_sense_is_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.json").write_bytes(content)
    assert engine_host.read(tmp_path / "m.json") is None
    assert engine_host.read(tmp_path / "other.json") is None


def test_a_process_that_took_over_the_number_is_another() -> None:
    other = HostState(pid=os.getpid(), started_s=1.0, settings=SETTINGS)
    assert engine_host.is_alive(state_of(os.getpid()))
    assert not engine_host.is_alive(other)


def test_a_process_that_ended_is_not_alive_before_it_is_reaped_either() -> None:
    child = subprocess.Popen(SLEEP)
    state = state_of(child.pid)
    try:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not engine_host.is_alive(state)
    finally:
        child.wait()
    assert not engine_host.is_alive(state)


def test_a_host_that_runs_with_the_same_settings_is_used(tmp_path: Path) -> None:
    child = subprocess.Popen(SLEEP)
    try:
        state = state_of(child.pid, url="http://127.0.0.1:1")
        engine_host.write(tmp_path / "m.json", state)
        keeper = a_keeper(tmp_path)
        assert asyncio.run(keeper.ready()) == state
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_host_that_loads_is_waited_for_and_not_doubled(tmp_path: Path) -> None:
    child = subprocess.Popen(SLEEP)

    async def scenario() -> HostState:
        engine_host.write(tmp_path / "m.json", state_of(child.pid))
        waiting = asyncio.create_task(a_keeper(tmp_path).ready(), name="waits")
        await asyncio.sleep(0.05)
        assert not waiting.done()
        engine_host.write(tmp_path / "m.json", state_of(child.pid, url="http://127.0.0.1:1"))
        return await waiting

    try:
        assert asyncio.run(scenario()).pid == child.pid
    finally:
        child.kill()
        child.wait()


def test_a_host_that_ends_while_it_loads_tells_who_waits(tmp_path: Path) -> None:
    child = subprocess.Popen(SLEEP)

    async def scenario() -> None:
        engine_host.write(tmp_path / "m.json", state_of(child.pid))
        waiting = asyncio.create_task(a_keeper(tmp_path).ready(), name="waits")
        await asyncio.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        with pytest.raises(DeviceFailed, match="ended"):
            await waiting

    try:
        asyncio.run(scenario())
    finally:
        child.kill()
        child.wait()


def test_a_missing_model_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    engine = an_engine(tmp_path, tmp_path / "m.gguf")
    with pytest.raises(DeviceFailed, match="orlop pull m"):
        asyncio.run(engine.start())
    assert engine.card().health == "failing"


def test_a_file_that_is_no_model_fails_with_the_hosts_own_words(tmp_path: Path) -> None:
    weights = tmp_path / "m.gguf"
    weights.write_bytes(b"GGUF and then nothing that makes sense")
    engine = an_engine(tmp_path / "home", weights)
    with pytest.raises(DeviceFailed, match=r"the host of local ended: llama.cpp can't load"):
        asyncio.run(engine.start())
    state = engine_host.read(tmp_path / "home" / "local.json")
    assert state is None or not engine_host.is_alive(state)


def test_a_file_that_is_not_the_one_that_was_pulled_says_so_first(tmp_path: Path) -> None:
    weights = tmp_path / "m.gguf"
    weights.write_bytes(b"GGUF and then nothing that makes sense")
    engine = an_engine(tmp_path / "home", weights, "0" * 64)
    with pytest.raises(DeviceFailed, match=r"m\.gguf is not what it was.*`orlop pull`"):
        asyncio.run(engine.start())


def test_an_engine_that_does_not_start_is_not_started_for_each_call(tmp_path: Path) -> None:
    engine = an_engine(tmp_path, tmp_path / "m.gguf")

    async def scenario() -> None:
        for _ in range(3):
            with pytest.raises(DeviceFailed) as failure:
                await engine.start()
            assert failure.value.retry_after_s is not None
            assert 0 < failure.value.retry_after_s <= 1

    asyncio.run(scenario())
