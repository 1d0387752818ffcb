"""`orlop run`, `resume`, `replay` and `logs`, against written-down answers."""

import json
import os
from pathlib import Path

import pytest
from scripted_kernel import Said, problem, scripted_kernel
from unit.shell.views import ended, view

from orlop.shell.commands import run

SPAWN = "POST /orlop/v1/processes"
ROOT = "/orlop/v1/processes/prc_7"


def _line(stream: str, offset: int, text: str) -> dict[str, object]:
    return {"stream": stream, "offset": offset, "text": text}


def test_run_shows_the_output_and_ends_with_the_programs_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(SPAWN, Said(view(), 201))
        kernel.says(f"GET {ROOT}/logs", Said(lines=(_line("out", 3, "hi\n"), _line("err", 1, "!"))))
        kernel.says(f"GET {ROOT}/wait", Said(ended(3, reason="exited")))
        status = run(["run", "--home", str(tmp_path), "--name", "x", "--", "sh", "-c", "exit 3"])
    assert status == 3
    shown = capsys.readouterr()
    assert shown.out == "hi\n"
    assert shown.err.startswith("!process 7 ended with 3 (exited)")
    spawn = kernel.heard[0].json()
    assert spawn["command"] == ["sh", "-c", "exit 3"]
    assert spawn["cwd"] == os.getcwd()
    assert kernel.heard[1].path.endswith("incarnation=1")


def test_the_commands_own_options_are_its_own(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(SPAWN, Said(view(), 201))
        assert run(["run", "-d", "--home", str(tmp_path), "tool", "--json", "-d"]) == 0
    assert kernel.heard[0].json()["command"] == ["tool", "--json", "-d"]


def test_every_option_of_run_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    options = ["--class", "batch", "--budget", "calls=5,tokens=900", "--restart", "on-failure"]
    options += ["--on-divergence", "continue", "--program", "desk", "--version", "2", "-e", "A=b"]
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(SPAWN, Said(view(), 201))
        assert run(["run", *options, "--detach", "--home", str(tmp_path), "--", "agent"]) == 0
    assert capsys.readouterr().out == "7\n"
    spawn = kernel.heard[0].json()
    assert spawn["latency_class"] == "batch"
    assert spawn["budget"] == {"calls": 5, "tokens": 900}
    assert spawn["restart"] == "on-failure"
    assert spawn["on_divergence"] == "continue"
    assert (spawn["program"], spawn["version"]) == ("desk", "2")
    environment = spawn["env"]
    assert isinstance(environment, dict)
    assert environment["A"] == "b"
    assert "OPENAI_API_KEY" not in environment


def test_a_wrong_budget_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", "--budget", "money=3", "--home", str(tmp_path), "--", "agent"]) == 2
    assert "'money=3': write calls=N" in capsys.readouterr().err


def test_a_kernel_that_restarts_in_between_shows_no_byte_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Said(lines=(_line("out", 2, "ab"), _line("out", 4, "cd")), cut=True)
    second = Said(lines=(_line("out", 3, "abc"), _line("out", 6, "def")))
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(SPAWN, Said(view(), 201))
        kernel.says(f"GET {ROOT}/logs", first, second)
        kernel.says(f"GET {ROOT}", problem("E3001", "starting", 503, 0.01), Said(view()))
        kernel.says(f"GET {ROOT}/wait", Said(ended(0)))
        assert run(["run", "--home", str(tmp_path), "--", "agent"]) == 0
    assert capsys.readouterr().out == "abcdef"


def test_a_process_that_restarts_is_followed_into_its_next_incarnation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(SPAWN, Said(view(), 201))
        logs = (Said(lines=(_line("out", 2, "1\n"),)), Said(lines=(_line("out", 2, "2\n"),)))
        kernel.says(f"GET {ROOT}/logs", *logs)
        kernel.says(f"GET {ROOT}/wait", Said(view(), 202), Said(ended(0, incarnation=2)))
        kernel.says(f"GET {ROOT}", Said(view(incarnation=2)))
        assert run(["run", "--home", str(tmp_path), "--", "agent"]) == 0
    assert capsys.readouterr().out == "1\n2\n"
    paths = [heard.path for heard in kernel.heard if "/logs" in heard.path]
    assert [path[-1] for path in paths] == ["1", "2"]


def test_json_output_is_a_line_a_piece_and_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(SPAWN, Said(view(), 201))
        kernel.says(f"GET {ROOT}/logs", Said(lines=(_line("out", 3, "hi\n"),)))
        kernel.says(f"GET {ROOT}/wait", Said(ended(0)))
        assert run(["run", "--json", "--home", str(tmp_path), "--", "agent"]) == 0
    piece, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert piece == _line("out", 3, "hi\n")
    assert end["status"] == 0


def test_resume_may_change_budget_and_rule(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/processes/7/resume", Said(view(incarnation=2)))
        options = ["--budget", "calls=99", "--on-divergence", "continue", "-d"]
        assert run(["resume", "7", *options, "--home", str(tmp_path)]) == 0
    assert kernel.heard[0].json() == {"on_divergence": "continue", "budget": {"calls": 99}}


def test_a_replay_that_diverges_is_exit_code_6_and_shows_the_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/processes/7/replay", Said(view(mode="replay")))
        kernel.says(f"GET {ROOT}/wait", Said(ended(-15, divergence="-one\n+two")))
        assert run(["replay", "7", "--strict", "--home", str(tmp_path)]) == 6
    assert kernel.heard[0].json() == {"strict": True}
    assert "\n-one\n+two\n" in capsys.readouterr().err


def test_a_faithful_replay_says_what_came_from_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/processes/7/replay", Said(view(mode="replay")))
        kernel.says(f"GET {ROOT}/wait", Said(view(), 202), Said(ended(0, calls_replayed=3)))
        kernel.says(f"GET {ROOT}", Said(view(calls_replayed=1)))
        assert run(["replay", "7", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("3 calls came from the record\n")


def test_a_replay_says_what_of_the_record_it_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/processes/7/replay", Said(view(mode="replay")))
        kernel.says(f"GET {ROOT}/wait", Said(ended(0, calls=3, calls_replayed=1)))
        assert run(["replay", "7", "--home", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "1 call came from the record; 2 more in it were cut off, or not made" in said


def test_logs_show_one_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/processes/7/logs", Said(lines=(_line("err", 2, "x\n"),)))
        assert run(["logs", "7", "--stream", "err", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "x\n"
    assert "stream=err" in kernel.heard[0].path
