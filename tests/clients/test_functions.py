"""Functions of running programs as tools of the kernel, in programs as users write them."""

import os
import subprocess
import sys
import time
from pathlib import Path

from live_kernel import ORLOP, LiveKernel, live_kernel

PROGRAM = Path(__file__).with_name("programs") / "tools" / "functions.py"


def run(kernel: LiveKernel, folder: Path, *words: str) -> str:
    done = subprocess.run(
        [*ORLOP, "run", *words[:-1], "--", sys.executable, str(PROGRAM), str(folder), words[-1]],
        env={**os.environ, "ORLOP_HOME": str(kernel.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def notes(folder: Path) -> list[str]:
    """What was noted, each with the name of its effect."""
    return [line.split()[0] for line in (folder / "notes").read_text().splitlines()]


def test_a_programs_functions_are_tools_and_one_that_raises_fails_its_call_only(
    tmp_path: Path,
) -> None:
    with live_kernel() as kernel:
        said = run(kernel, tmp_path, "whole").splitlines()
        assert said[:2] == ["42", "noted"]
        assert said[2] == "fail E2101 fail raised ValueError: no"
        assert said[3].startswith("add E1001") and "not of type" in said[3]
        assert (
            said[4]
            == "nothing E1201 no tool 'nothing' here; there is: none; name some in orlop.toml"
        )
        assert said[5] == str([n + 2 for n in range(20)])
        assert said[6:] == ["child 0", "noted"]
        assert notes(tmp_path) == ["first", "second"]
        printed = kernel.orlop("logs", "3")
        assert "fail E2101 fail raised ValueError: child" in printed
        assert "add E1201" in printed  # Its parent does not share that one.


def test_a_program_that_is_resumed_offers_its_functions_again_and_repeats_no_effect(
    tmp_path: Path,
) -> None:
    with live_kernel() as kernel:
        said = run(kernel, tmp_path, "--restart", "on-failure", "crash").splitlines()
        assert notes(tmp_path) == ["first", "second"]
        assert "child 0" in said and (tmp_path / "crashed").exists()


def test_a_function_outlives_the_kernel_that_called_it(tmp_path: Path) -> None:
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    with live_kernel() as kernel:
        running = subprocess.Popen(
            [*ORLOP, "run", "--", sys.executable, str(program), str(tmp_path)],
            env={**os.environ, "ORLOP_HOME": str(kernel.home)},
            stdout=subprocess.PIPE,
            text=True,
        )
        give_up_s = time.monotonic() + 60
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < give_up_s, "the function was never called"
            time.sleep(0.01)
        found = kernel.orlop("info", "--json")
        os.kill(int(found.partition('"os_pid":')[2].partition(",")[0]), 9)
        (tmp_path / "go").touch()
        said, _ = running.communicate(timeout=120)
        assert running.returncode == 0 and said == "['done']\n"
        assert (tmp_path / "begun").read_text() == "x"


SLOW = """
import asyncio, sys, pathlib, orlop

folder = pathlib.Path(sys.argv[1])

async def main():
    async with orlop.connect() as kernel:
        @kernel.tool(effect="idempotent")
        async def work() -> list[str]:
            with open(folder / "begun", "a") as begun:
                begun.write("x")
            while not (folder / "go").exists():
                await asyncio.sleep(0.01)
            return ["done"]
        print(await kernel.call_tool("work"))

asyncio.run(main())
"""


def test_a_script_without_async_offers_functions_too(tmp_path: Path) -> None:
    program = tmp_path / "script.py"
    program.write_text(SCRIPT)
    with live_kernel() as kernel:
        said = subprocess.run(
            [*ORLOP, "run", "--", sys.executable, str(program)],
            env={**os.environ, "ORLOP_HOME": str(kernel.home)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert said.stdout.splitlines() == [
            "[1, 2, 3]",
            "E2101 fail raised ZeroDivisionError: division by zero",
            "asynchronous",
            "nested 7",
        ], said.stderr


SCRIPT = """
import orlop

with orlop.connect_sync() as kernel:
    @kernel.tool(effect="pure")
    def count(to: int) -> list[int]:
        return list(range(1, to + 1))

    print(kernel.call_tool("count", to=3))

    @kernel.tool
    def fail() -> float:
        return 1 / 0

    try:
        kernel.call_tool("fail")
    except orlop.KernelError as error:
        print(error.code, error.message)

    async def later() -> int:
        return 1

    try:
        kernel.tool(later)
    except orlop.KernelError as error:
        print("asynchronous" if "asynchronous" in error.message else error)

    @kernel.tool(effect="pure")
    def nested(to: int) -> str:
        return f"nested {kernel.call_tool('count', to=to)[-1]}"

    print(kernel.call_tool("nested", to=7))
"""
