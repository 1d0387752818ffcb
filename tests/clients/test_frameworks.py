"""Agents of well-known frameworks, unchanged, under `orlop run`; kernel and agent are killed.

Each runs where its framework is installed: in this interpreter, or in one of the virtual
environments in the folder that ORLOP_FRAMEWORKS names (`docs/how-to/frameworks.md`).
"""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import msgspec
import psutil
import pytest
from live_kernel import ORLOP, LiveKernel, live_kernel

from orlop.abi.admin import OutputLine

EXAMPLES = Path(__file__).parents[2] / "examples" / "frameworks"
QUESTIONS = 6
GIVE_UP_S = 90.0
ANSWER = re.compile(r"(this is )?answer \d|order=\d")
QUIET = (
    "CREWAI_DISABLE_TELEMETRY=true",
    "LITELLM_LOCAL_MODEL_COST_MAP=true",
    "OTEL_SDK_DISABLED=true",
)
"""What these would ask of the network at their start."""

SLOW = """
[engines.thoughtful]
driver = "fake"
fake = { models = ["thoughtful"], embed_models = [], tokens = 4, decode_s = 0.25 }
"""


@dataclass(frozen=True, slots=True)
class Framework:
    """`asks`: what makes the fake engine answer as this agent expects."""

    script: str
    module: str
    asks: str = "[[say this is answer {number}]]"
    uses_tool: bool = True
    streams: bool = False
    """It asks for streams, and no client can take up one that broke: the program fails."""

    def question(self, number: int) -> str:
        return self.asks.replace("{number}", str(number))


FRAMEWORKS = (
    Framework("plain_openai", "openai"),
    Framework("plain_anthropic", "anthropic"),
    Framework("langgraph_agent", "langchain"),
    Framework("openai_agents", "agents"),
    Framework("crewai_agent", "crewai"),
    Framework("autogen_agent", "autogen_agentchat"),
    Framework("pydantic_ai_agent", "pydantic_ai"),
    Framework(
        "smolagents_agent",
        "smolagents",
        asks='[[tool final_answer {"answer": "answer {number}"}]]',
        uses_tool=False,
    ),
    Framework("llamaindex_agent", "llama_index", streams=True),
    Framework("litellm_client", "litellm", uses_tool=False, streams=True),
    Framework(
        "instructor_client",
        "instructor",
        asks='[[tool Order {"order": {number}}]]',
        uses_tool=False,
    ),
)


def interpreter(module: str) -> str:
    """A Python that has it; skips the test where there is none."""
    if importlib.util.find_spec(module) is not None:
        return sys.executable
    folder = os.environ.get("ORLOP_FRAMEWORKS")
    for environment in sorted(Path(folder).iterdir()) if folder else ():
        if any(environment.glob(f"lib/python*/site-packages/{module}")):
            return str(environment / "bin" / "python")
    pytest.skip(f"{module} is not installed, here or in ORLOP_FRAMEWORKS={folder or ''}")


@pytest.fixture(scope="module")
def own_kernel() -> Iterator[LiveKernel]:
    with live_kernel(SLOW) as kernel:
        yield kernel


def command(framework: Framework, model: str, questions: list[str]) -> list[str]:
    quiet = [word for setting in QUIET for word in ("--env", setting)]
    script = str(EXAMPLES / f"{framework.script}.py")
    return [*quiet, "--", interpreter(framework.module), script, model, *questions]


def answers(printed: str) -> list[str]:
    """Without the frames that CrewAI draws around what it does."""
    return [line for line in printed.splitlines() if line and line[0] not in "│╭╰"]


def told(printed: str) -> list[str]:
    """The answers of a program that was asked `QUESTIONS`, and not what it says of its errors."""
    return [line for line in printed.splitlines() if ANSWER.fullmatch(line)]


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.script)
def test_an_agent_runs_unchanged_and_its_replay_prints_the_same(
    own_kernel: LiveKernel, framework: Framework
) -> None:
    name = f"{framework.script}-once"
    question = framework.question(7)
    if framework.uses_tool:
        question = 'where? [[tool find_order {"order": 7}]]'
    ran = own_kernel.orlop("run", "--name", name, *command(framework, "fake", [question]))
    assert answers(ran)
    calls = json.loads(own_kernel.orlop("trace", name, "--json"))["calls"]
    assert [call["status"] for call in calls] == ["ok"] * (2 if framework.uses_tool else 1)
    replayed = own_kernel.orlop("replay", name, "--strict", "--output")
    assert answers(replayed)[: len(answers(ran))] == answers(ran)


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.script)
def test_an_agent_goes_on_after_its_kernel_and_then_it_are_killed(
    own_kernel: LiveKernel, framework: Framework
) -> None:
    kernel, name = own_kernel, f"{framework.script}-killed"
    questions = [framework.question(number) for number in range(QUESTIONS)]
    words = ("run", "--name", name, "--restart", "on-failure")
    run = subprocess.Popen(
        [*ORLOP, *words, *command(framework, "thoughtful", questions)],
        env={**os.environ, "ORLOP_HOME": str(kernel.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with run:
        wait_for_answers(kernel, name, 1, run)
        os.kill(int(json.loads(kernel.ask("info"))["os_pid"]), signal.SIGKILL)
        wait_for_answers(kernel, name, 3, run)
        shown = json.loads(kernel.ask(f"processes/{name}"))
        assert (shown["incarnation"] == 1) or framework.streams
        (agent,) = psutil.Process(int(shown["os_pid"])).children()
        agent.kill()
        said, _ = run.communicate(timeout=GIVE_UP_S)
    assert run.returncode == 0, said
    shown = json.loads(kernel.orlop("show", name, "--json"))
    lives = [printed(kernel, name, life) for life in range(1, int(shown["incarnation"]) + 1)]
    assert len(lives) >= 2
    assert len(lives[-1]) == QUESTIONS
    for life in lives:
        assert life == lives[-1][: len(life)]
    assert int(shown["calls_replayed"]) >= 3


def wait_for_answers(kernel: LiveKernel, name: str, count: int, run: subprocess.Popen[str]) -> None:
    """Until its newest life has printed so many."""
    give_up_s = time.monotonic() + GIVE_UP_S
    while time.monotonic() < give_up_s:
        assert run.poll() is None, run.communicate()[0]
        with contextlib.suppress(OSError, HTTPException):  # The kernel is not back yet.
            lines = kernel.ask(f"processes/{name}/logs?stream=out").splitlines()
            texts = [msgspec.json.decode(line, type=OutputLine).text for line in lines]
            if len(told("".join(texts))) >= count:
                return
        time.sleep(0.05)
    raise AssertionError(f"{name} has not printed {count} answers within {GIVE_UP_S:g} s")


def printed(kernel: LiveKernel, name: str, life: int) -> list[str]:
    words = ("logs", name, "--stream", "out", "--incarnation", str(life))
    return told(kernel.orlop(*words))
