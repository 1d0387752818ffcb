"""Real programs under real shims."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from orlop.abi.ids import ProcessId
from orlop.abi.sandbox import Sandbox
from orlop.devices import shim as shims
from orlop.devices.shim import Shims, is_alive
from orlop.machine.clock import SystemClock
from orlop.programs import shim

AGENT = ProcessId("prc_1")
BEARS = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


@dataclass(frozen=True)
class Row:
    id: ProcessId = AGENT
    incarnation: int = 1
    command: tuple[str, ...] = (sys.executable, "-c", BEARS)
    cwd: str = ""
    env: dict[str, str] = field(default_factory=dict)
    sandbox: Sandbox | None = None
    os_pid: int | None = None
    os_started: float | None = None


def environment(program: shims.Program) -> Mapping[str, str]:
    return {"ORLOP_PROCESS": program.id, "ORLOP_INCARNATION": str(program.incarnation)}


async def started(launcher: Shims, row: Row) -> tuple[Row, int]:
    """The row with its shim, and the process id of the command's child."""
    os_pid, os_started = await launcher.launch(row)
    row = replace(row, os_pid=os_pid, os_started=os_started)
    launcher.go(row)
    printed = launcher.folder(row) / "out"
    while not printed.read_bytes().endswith(b"\n"):  # noqa: ASYNC110 (it is another process)
        await asyncio.sleep(0.01)
    return row, int(printed.read_text())


async def gone(pid: int) -> None:
    while is_alive(pid, None):  # noqa: ASYNC110 (it is another process)
        await asyncio.sleep(0.01)


async def lost(folder: Path, lifeline: int) -> None:
    launcher = Shims(folder, Path(shim.__file__), lifeline, SystemClock(), environment)
    row, child = await started(launcher, Row())
    try:
        assert row.os_pid is not None
        os.kill(row.os_pid, signal.SIGKILL)
        await launcher.watch(row)
        assert psutil.pid_exists(child)
        launcher.signal(row, "kill")
        async with asyncio.timeout(60):
            await gone(child)
    finally:
        if psutil.pid_exists(child):
            os.kill(child, signal.SIGKILL)


async def stranger(folder: Path, lifeline: int) -> None:
    launcher = Shims(folder, Path(shim.__file__), lifeline, SystemClock(), environment)
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(600)", start_new_session=True
    )
    try:
        row = Row(os_pid=2**22 + 1, os_started=1.0)
        launcher.folder(row).mkdir(parents=True)
        (launcher.folder(row) / "command.json").write_text(json.dumps({"pid": other.pid}))
        launcher.signal(row, "kill")
        await asyncio.sleep(0.1)
        assert other.returncode is None
    finally:
        other.kill()
        await other.wait()


def test_what_a_killed_shim_leaves_behind_is_ended_before_a_second_copy_starts(
    tmp_path: Path,
) -> None:
    lifeline, end = os.pipe()
    try:
        asyncio.run(lost(tmp_path, lifeline))
    finally:
        os.close(lifeline)
        os.close(end)


def test_a_stranger_with_the_number_of_a_lost_command_is_left_alone(tmp_path: Path) -> None:
    lifeline, end = os.pipe()
    try:
        asyncio.run(stranger(tmp_path, lifeline))
    finally:
        os.close(lifeline)
        os.close(end)
