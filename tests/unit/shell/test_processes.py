"""Commands about processes, against written-down answers."""

import json
from pathlib import Path

import pytest
from scripted_kernel import Said, problem, scripted_kernel
from unit.shell.views import ended, view

from orlop.shell.commands import run

PS = "GET /orlop/v1/processes"
SHOW = "GET /orlop/v1/processes/7"


def test_ps_lists_what_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(PS, Said([view(), view(pid=12, name="", state="stopped", calls_in_flight=0)]))
        assert run(["ps", "--home", str(tmp_path)]) == 0
    title, first, second = capsys.readouterr().out.splitlines()
    assert title.split() == [
        *("PID", "NAME", "STATE", "CLASS", "CALLS", "TOKENS", "COST", "AGE", "WHY", "COMMAND")
    ]
    assert first.split()[:7] == ["7", "triage", "running", "standard", "3+1", "1,234", "$0.00042"]
    assert second.split()[:4] == ["12", "-", "stopped", "standard"]
    assert kernel.heard[0].path == "/orlop/v1/processes?all=0"


def test_ps_gives_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(PS, Said([view()]))
        assert run(["ps", "--all", "--json", "--home", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == [view()]
    assert kernel.heard[0].path.endswith("?all=1")


def test_show_tells_all_about_a_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(SHOW, Said(view(reason="stopped by operator")))
        assert run(["show", "7", "--home", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "running (stopped by operator)" in shown
    assert "3 of 10 calls" in shown
    assert "1,200 in (1,000 cached), 34 out" in shown
    assert "4711" in shown


def test_of_a_process_that_has_ended_no_pid_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(SHOW, Said(ended(0)))
        assert run(["show", "7", "--home", str(tmp_path)]) == 0
    assert "4711" not in capsys.readouterr().out


def test_an_unknown_process_is_exit_code_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says(SHOW, problem("E1201", "there is no process 7", 404))
        assert run(["show", "7", "--home", str(tmp_path)]) == 4
    error = capsys.readouterr().err.splitlines()
    assert error[0] == "error E1201 NotFound: there is no process 7"
    assert error[1].startswith("  fix: Check the name.")
    assert error[2] == "  more: orlop explain E1201"


def test_without_a_kernel_the_fix_is_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ps", "--home", str(tmp_path)]) == 3
    assert "orlop up -d" in capsys.readouterr().err


def test_errors_are_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ps", "--json", "--home", str(tmp_path)]) == 3
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "E3003"


def test_kill_stop_and_cont_send_their_signals(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/processes/7/signal", Said(view()))
        for command in (["kill"], ["kill", "-s", "term"], ["stop"], ["cont"]):
            assert run([*command, "7", "--home", str(tmp_path)]) == 0
    assert [heard.json()["signal"] for heard in kernel.heard] == ["kill", "term", "stop", "cont"]


def test_wait_gives_the_status_of_the_first_that_failed(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/processes/7/wait", Said(view(), 202), Said(ended(0)))
        kernel.says("GET /orlop/v1/processes/8/wait", Said(ended(-9)))
        assert run(["wait", "7", "8", "--home", str(tmp_path)]) == 137
