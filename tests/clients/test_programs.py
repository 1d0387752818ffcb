"""Programs that know nothing of the kernel, started with `orlop run`, and replayed."""

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
