"""The Tab key, as bash asks for what it may put in."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from scripted_kernel import Said, scripted_kernel
from small_kernel import Computer, on, program

from orlop.kernel import operator
from orlop.state.core import Kernel


def offered(home: Path, line: str) -> list[str]:
    around = {
        **os.environ,
        "ORLOP_HOME": str(home),
        "_ORLOP_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "orlop.shell.main"],
        env=around,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stderr == ""
    return [one.removeprefix("plain,") for one in ended.stdout.splitlines() if one]


def views() -> list[object]:
    async def scenario(here: Computer, kernel: Kernel) -> list[object]:
        names = ("größe", "two words", "größe", "$(reboot)")
        rows = [(await program(kernel, name=name)).row for name in names]
        return [msgspec.to_builtins(operator.view(kernel, row)) for row in rows]

    return on(Computer, scenario)


@pytest.mark.parametrize("command", ["show", "kill", "trace", "rights show", "resume"])
def test_processes_are_offered_by_number_and_by_names_that_shells_take_as_they_are(
    tmp_path: Path, command: str
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/processes", Said(views()))
        assert offered(tmp_path, f"orlop {command} ") == ["2", "größe", "3", "4", "5"]
        assert offered(tmp_path, f"orlop {command} g") == ["größe"]


def test_without_a_kernel_nothing_is_offered_and_nothing_is_said(tmp_path: Path) -> None:
    assert offered(tmp_path, "orlop show ") == []


def test_commands_are_offered(tmp_path: Path) -> None:
    assert offered(tmp_path, "orlop bu") == ["budget"]
    assert "accept-loss" in offered(tmp_path, "orlop journal ")
