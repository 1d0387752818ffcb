"""The shell and the SDK against a kernel as users have it: processes from start to end."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live_kernel import ORLOP, LiveKernel
from shell.attempts import attempt

AGENTS = Path(__file__).with_name("small_agents.py")
PROGRAM = (sys.executable, str(AGENTS))


def _agent(name: str, *arguments: object) -> tuple[str, ...]:
    packed = json.dumps(arguments)
    return (sys.executable, "-m", "orlop.sdk.agent", f"{AGENTS}:{name}", packed)


def _show(kernel: LiveKernel, name: str) -> dict[str, object]:
    view = json.loads(attempt(kernel.home, "show", name, "--json").stdout)
    assert isinstance(view, dict)
    return view


def _started(kernel: LiveKernel, *arguments: str) -> "subprocess.Popen[str]":
    """`orlop run` in the background, once its program has printed its first line."""
    running = subprocess.Popen(
        [*ORLOP, "run", *arguments],
        env={**os.environ, "ORLOP_HOME": str(kernel.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline()
    return running


def _rest(running: "subprocess.Popen[str]") -> tuple[str, str]:
    """What it prints from here on, and its errors, until it ends."""
    assert running.stdout is not None
    assert running.stderr is not None
    with running:
        return running.stdout.read(), running.stderr.read()


def test_what_has_ended_keeps_no_signal_from_the_others(kernel: LiveKernel) -> None:
    for name in ("first", "second"):
        attempt(kernel.home, "run", "--detach", "--name", name, "--", "sleep", "100")
    assert attempt(kernel.home, "run", "--name", "over", "--", "true").returncode == 0
    done = attempt(kernel.home, "kill", "first", "nobody", "over", "second")
    assert done.returncode == 6
    assert "no process 'nobody'" in done.stderr and "has ended already" in done.stderr
    attempt(kernel.home, "wait", "first", "second")
    assert [_show(kernel, name)["state"] for name in ("first", "second")] == ["exited", "exited"]


def test_a_program_is_run_and_its_status_is_ours(kernel: LiveKernel) -> None:
    command = 'echo "$ORLOP_PROCESS"; echo oops >&2; exit 3'
    done = attempt(kernel.home, "run", "--name", "three", "--", "sh", "-c", command)
    assert done.returncode == 3
    assert re.fullmatch(r"prc_\w+\n", done.stdout)
    assert done.stderr.startswith("oops\n")
    assert _show(kernel, "three")["status"] == 3
    assert attempt(kernel.home, "logs", "three", "--stream", "err").stderr == "oops\n"


def test_a_program_that_is_not_there_says_so(kernel: LiveKernel) -> None:
    done = attempt(kernel.home, "run", "--", "no-such-program")
    assert done.returncode == 127
    assert "no program 'no-such-program': it is neither a path nor in PATH" in done.stderr


def test_a_program_that_is_none_says_so(kernel: LiveKernel, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no program")
    done = attempt(kernel.home, "run", "--", str(tmp_path / "notes.txt"))
    assert done.returncode == 126
    assert "notes.txt' can't be started: Permission denied" in done.stderr


def test_secrets_stay_behind(kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_secret")
    done = attempt(kernel.home, "run", "-e", "COLOUR=red", "--", "env")
    assert "sk_secret" not in done.stdout
    assert "COLOUR=red\n" in done.stdout
    assert f"OPENAI_BASE_URL={kernel.url}/v1\n" in done.stdout


def test_children_inherit_folder_and_environment(kernel: LiveKernel, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import orlop\n"
        "with orlop.connect_sync() as kernel:\n"
        "    kernel.spawn(['sh', '-c', 'echo $COLOUR; pwd; id -u'], name='heir').wait()\n"
    )
    done = attempt(kernel.home, "run", "-e", "COLOUR=red", "--", sys.executable, str(script))
    assert done.returncode == 0, done.stderr
    shown = kernel.orlop("logs", "heir", "-f").splitlines()
    assert shown == ["red", os.getcwd(), str(os.getuid())]


def test_an_agent_with_children_is_shown_as_a_tree(kernel: LiveKernel) -> None:
    done = attempt(kernel.home, "run", "--name", "boss", "--", *_agent("boss", 2))
    assert done.returncode == 0, done.stderr
    assert _show(kernel, "boss")["outcome"] == "succeeded"
    tree = attempt(kernel.home, "trace", "boss").stdout.splitlines()
    assert tree[0].startswith("boss (pid ")
    assert sum("worker" in line and "(pid " in line for line in tree) == 2
    assert sum("infer fake" in line for line in tree) == 3
    assert all(word in "\n".join(tree) for word in ("sleep", "wait", "outcome"))


def test_a_resumed_agent_is_answered_from_its_record(kernel: LiveKernel) -> None:
    first = attempt(kernel.home, "run", "--name", "resumed", "--", *_agent("patient", 3, 0.0))
    again = attempt(kernel.home, "resume", "resumed")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    view = _show(kernel, "resumed")
    assert view["calls_replayed"] == view["calls"]
    assert view["incarnation"] == 2


def test_a_crashed_agent_restarts_and_goes_on(kernel: LiveKernel, tmp_path: Path) -> None:
    marker = str(tmp_path / "crashed")
    options = ("--name", "phoenix", "--restart", "on-failure")
    done = attempt(kernel.home, "run", *options, "--", *_agent("crasher", marker))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert lines[:2] == lines[2:4]
    view = _show(kernel, "phoenix")
    assert (view["calls_replayed"], view["calls"]) == (2, 5)


def test_a_replay_follows_the_record_or_shows_the_difference(
    kernel: LiveKernel, tmp_path: Path
) -> None:
    question = tmp_path / "question"
    question.write_text("one")
    assert attempt(kernel.home, "run", "--name", "r", "--", *_agent("reader", str(question))).stdout
    faithful = attempt(kernel.home, "replay", "r", "--strict")
    assert faithful.returncode == 0, faithful.stderr
    assert "2 calls came from the record" in faithful.stdout
    question.write_text("two")
    diverged = attempt(kernel.home, "replay", "r")
    assert diverged.returncode == 6
    assert '-      "content": "one"' in diverged.stderr
    assert '+      "content": "two"' in diverged.stderr


def test_a_spent_budget_ends_the_agent_with_its_reason(kernel: LiveKernel) -> None:
    done = attempt(kernel.home, "run", "--budget", "calls=2", "--", *_agent("spender"))
    assert done.returncode == 1
    assert "BudgetSpent" in done.stderr


def test_the_first_interrupt_is_passed_on(kernel: LiveKernel) -> None:
    running = _started(kernel, "--", *PROGRAM, "polite")
    running.send_signal(signal.SIGINT)
    _, error = _rest(running)
    assert running.returncode == 7, error


def test_the_second_interrupt_kills(kernel: LiveKernel) -> None:
    running = _started(kernel, "--name", "stubborn", "--", *PROGRAM, "stubborn")
    running.send_signal(signal.SIGINT)
    assert running.stdout is not None
    assert running.stdout.readline() == "no\n"
    running.send_signal(signal.SIGINT)
    _rest(running)
    assert running.returncode == 128 + signal.SIGKILL
    assert _show(kernel, "stubborn")["state"] == "exited"


def test_a_paused_process_goes_on(kernel: LiveKernel) -> None:
    running = _started(kernel, "--name", "paused", "--", *_agent("patient", 4, 0.05))
    assert attempt(kernel.home, "stop", "paused").returncode == 0
    assert _show(kernel, "paused")["state"] == "stopped"
    assert attempt(kernel.home, "cont", "paused").returncode == 0
    output, error = _rest(running)
    assert running.returncode == 0, error
    assert [line[0] for line in output.splitlines()] == ["1", "2", "3"]


def test_a_killed_process_is_waited_for(kernel: LiveKernel) -> None:
    started = attempt(kernel.home, "run", "-d", "--name", "victim", "--", "sleep", "60")
    assert started.stdout.strip().isdecimal()
    assert "victim" in attempt(kernel.home, "ps").stdout
    assert attempt(kernel.home, "kill", "victim").returncode == 0
    waited = attempt(kernel.home, "wait", "victim")
    assert waited.returncode in (128 + signal.SIGTERM, 128 + signal.SIGKILL)
    assert "victim" not in attempt(kernel.home, "ps").stdout


def test_a_kernel_that_is_killed_loses_no_line_and_no_call(kernel: LiveKernel) -> None:
    running = _started(kernel, "--name", "survivor", "--", *_agent("patient", 6, 0.3))
    info = json.loads(attempt(kernel.home, "info", "--json").stdout)
    os.kill(info["os_pid"], signal.SIGKILL)
    output, error = _rest(running)
    assert running.returncode == 0, error
    assert [line[0] for line in output.splitlines()] == ["1", "2", "3", "4", "5"]
    view = _show(kernel, "survivor")
    assert view["status"] == 0
    assert json.loads(attempt(kernel.home, "info", "--json").stdout)["epoch"] == info["epoch"] + 1
