"""Tools that are commands."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop

from orlop.abi.cards import ToolCard
from orlop.abi.errors import DeadlineMissed, Misconfigured, ToolFailed
from orlop.devices.shim import is_alive
from orlop.effects.command import SubprocessTool, ToolConfig
from orlop.effects.lifeline import Lifeline
from orlop.machine.clock import SystemClock
from orlop.programs import warden

T = TypeVar("T")
Runner = Callable[[Coroutine[object, object, object]], object]

LEAVES_ONE_RUNNING = """
import os, subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(left.pid)
"""
TELLS_ITS_CHILD_AND_WAITS = """
import subprocess, sys
child = subprocess.Popen(["sleep", "600"])
with open(sys.argv[1], "w") as file:
    file.write(f"{child.pid}\\n")
child.wait()
"""


def tool(folder: Path, script: str, *arguments: str, **how: object) -> SubprocessTool:
    command = (sys.executable, "-c", script, *arguments)
    card = ToolCard(name="tool", command=command, **how)  # type: ignore[arg-type]
    return SubprocessTool(card, lifeline(folder))


def lifeline(folder: Path) -> Lifeline:
    return Lifeline(folder, Path(warden.__file__), SystemClock())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_tool_that_leaves_something_running_has_done_its_work_and_that_ends_with_it(
    run: Runner, tmp_path: Path
) -> None:
    left = run(tool(tmp_path, LEAVES_ONE_RUNNING).call({}, "key", 60.0))
    assert isinstance(left, int)
    assert not is_alive(left, None)


def test_arguments_come_in_and_the_result_goes_out_with_the_effects_key(tmp_path: Path) -> None:
    script = (
        "import json, os, sys; print(json.dumps([json.load(sys.stdin), os.environ['ORLOP_KEY']]))"
    )
    value = asyncio.run(tool(tmp_path, script).call({"a": "x" * 300_000}, "key-1", 60.0))
    assert value == [{"a": "x" * 300_000}, "key-1"]


def test_a_tool_that_never_reads_its_arguments_is_not_waited_for(tmp_path: Path) -> None:
    assert asyncio.run(tool(tmp_path, "print(1)").call({"a": "x" * 300_000}, "", 60.0)) == 1


def test_the_status_of_a_tool_that_fails_and_what_it_said_are_in_the_error(tmp_path: Path) -> None:
    script = "import sys; sys.stderr.write('no such order'); sys.exit(3)"
    with pytest.raises(ToolFailed, match="status 3: no such order"):
        asyncio.run(tool(tmp_path, script).call({}, "", 60.0))


def test_a_tool_that_fails_without_an_error_is_known_by_what_it_printed(tmp_path: Path) -> None:
    script = "print('no such order'); raise SystemExit(3)"
    with pytest.raises(ToolFailed, match="status 3: no such order"):
        asyncio.run(tool(tmp_path, script).call({}, "", 60.0))


def test_a_tool_that_dies_of_a_signal_has_a_shells_status(tmp_path: Path) -> None:
    script = "import os; os.kill(os.getpid(), 11)"
    with pytest.raises(ToolFailed, match="status 139"):
        asyncio.run(tool(tmp_path, script).call({}, "", 60.0))


def test_a_tool_whose_command_does_not_exist_is_named(tmp_path: Path) -> None:
    card = ToolCard(name="absent", command=("/no/such/command",))
    with pytest.raises(ToolFailed, match=r"absent ended with status 127: .*/no/such/command"):
        asyncio.run(SubprocessTool(card, lifeline(tmp_path)).call({}, "", 60.0))


def test_pipes_of_a_tool_break_as_they_do_in_a_shell(tmp_path: Path) -> None:
    card = ToolCard(name="yes", command=("/bin/sh", "-c", "yes | head -n 1 >&2; echo 1"))
    assert asyncio.run(SubprocessTool(card, lifeline(tmp_path)).call({}, "", 60.0)) == 1


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_tool_that_takes_too_long_has_ended_with_its_children_when_its_caller_hears_it(
    run: Runner, tmp_path: Path
) -> None:
    told = tmp_path / "told"

    async def scenario() -> bool:
        call = tool(tmp_path / "t", TELLS_ITS_CHILD_AND_WAITS, str(told)).call({}, "", 2.0)
        with pytest.raises(DeadlineMissed):
            await call
        return is_alive(int(told.read_text()), None)

    assert run(scenario()) is False


def test_the_next_kernel_waits_until_nothing_of_the_last_ones_tools_runs(tmp_path: Path) -> None:
    """The lock is held by the warden alone, as after a SIGKILL of the kernel."""
    told = tmp_path / "told"
    folder = tmp_path / "tools"

    async def scenario() -> None:
        first = lifeline(folder)
        command = (sys.executable, "-c", TELLS_ITS_CHILD_AND_WAITS, str(told))
        working = await asyncio.create_subprocess_exec(
            *first.under(command), pass_fds=first.descriptors, start_new_session=True
        )
        while not (told.exists() and told.read_text().endswith("\n")):
            await SystemClock().sleep(0.01)
        child = int(told.read_text())
        os.kill(working.pid, 19)  # SIGSTOP: it can't notice yet that its kernel is gone
        first.close()
        second = lifeline(folder)
        waiting = asyncio.create_task(second.alone())
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        os.kill(working.pid, 18)
        await asyncio.wait_for(waiting, 60)
        assert not is_alive(child, None)
        await working.wait()

    asyncio.run(scenario())
    assert len(list(folder.glob("*.lock"))) == 1


def test_locks_of_kernels_that_are_gone_do_not_pile_up(tmp_path: Path) -> None:
    for _ in range(3):
        lifeline(tmp_path).close()
    assert len(list(tmp_path.glob("*.lock"))) == 1


def test_retries_of_a_tool_that_must_not_run_twice_are_refused_at_the_start() -> None:
    with pytest.raises(Misconfigured, match=r"\[tools.pay\] retries = 2: .* irreversible"):
        ToolConfig(command=("pay",), retries=2).card("pay")
    assert ToolConfig(command=("ask",), retries=2, effect="pure").card("ask").retries == 2
