"""Programs that know nothing of the kernel, started with `orlop run`, and replayed."""

import json
import sys
from pathlib import Path

import pytest
from live_kernel import LiveKernel

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))
PASSED_ON = ("--env", "OPENAI_AGENTS_DISABLE_TRACING=1")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_runs_unmodified_and_its_replay_prints_the_same(
    session_kernel: LiveKernel, program: Path
) -> None:
    kernel, name = session_kernel, program.stem
    printed = kernel.orlop("run", "--name", name, *PASSED_ON, "--", sys.executable, str(program))
    assert printed.strip()
    replayed = kernel.orlop("replay", name, "--strict", "--output")
    assert printed.strip() in replayed


def test_a_program_that_fails_in_the_middle_gets_its_finished_answers_again(
    session_kernel: LiveKernel, tmp_path: Path
) -> None:
    program = str(Path(__file__).parent / "programs" / "failing" / "once.py")
    kernel, mark = session_kernel, str(tmp_path / "failed")
    command = ("--name", "once", "--restart", "on-failure", "--", sys.executable, program, mark)
    kernel.orlop("run", *command)
    first = kernel.orlop("logs", "once", "--stream", "out", "--incarnation", "1").splitlines()
    second = kernel.orlop("logs", "once", "--stream", "out", "--incarnation", "2").splitlines()
    assert len(first) > 10
    assert second[: len(first)] == first
    assert len(second) > len(first)
    shown = json.loads(kernel.orlop("show", "once", "--json"))
    assert shown["incarnation"] == 2
    assert shown["calls_replayed"] == 3
