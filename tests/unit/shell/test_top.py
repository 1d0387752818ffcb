"""`orlop top`: what it shows, and how it leaves the terminal."""

import json
import os
import pty
import select
import signal
import sys
import termios
import time
from pathlib import Path

import pytest
from scripted_kernel import Said, ScriptedKernel, problem, scripted_kernel
from unit.shell.test_models_command import MODEL, residency
from unit.shell.views import view

from orlop.console.terminal import OTHER_SCREEN, OWN_SCREEN, cut_at
from orlop.shell.commands import run

ENGINE: dict[str, object] = {
    "name": "smollm2",
    "attached": True,
    "seats": 3,
    "slots": 4,
    "running": 2,
    "waiting": 7,
    "kv_used": 1200,
    "kv_tokens": 16384,
    "retained": 800,
    "budget": None,
    "resident": 2000,
    "host": 50,
    "call_s": 1.5,
    "input_tokens": 1000,
    "cached_tokens": 960,
    "output_tokens": 300,
    "wasted_tokens": 10,
    "preempted": 1,
    "calls": 12,
}
PROGRAM: dict[str, object] = {
    "program": "tsk_1",
    "tenant": "default",
    "agent": "triage",
    "state": "acting",
    "running": 0,
    "waiting": 2,
    "attained_s": 12.0,
    "remaining_s": None,
    "waited_s": 3.0,
    "context_tokens": 4096,
    "engine": "smollm2",
    "since_s": 9.0,
    "gap_s": 20.0,
}


def overview(now_s: float, started_ns: int = 1_790_000_000_000_000_000, **engine: object) -> Said:
    scheduler = {
        "policy": "programs",
        "engines": [ENGINE | engine],
        "programs": [PROGRAM],
        "waiting": {"interactive": 0, "standard": 3, "batch": 31},
        "states": {"reasoning": 4, "acting": 9, "paused": 2, "hibernated": 0},
        "programs_known": 15,
        "grants": 1204,
        "refused": 1,
        "preempted": 2,
        "promoted": 3,
        "paused": 5,
        "rank_quality": 0.5,
    }
    return Said(
        {
            "version": "0.1.0",
            "started_ns": started_ns,
            "wall_ns": 1_790_000_060_000_000_000,
            "now_s": now_s,
            "calls_in_flight": 9,
            "calls_parked": 1,
            "scheduler": scheduler,
            "residency": residency(MODEL),
            "states": {"running": 2, "exited": 0},
            "processes": [view()],
        }
    )


def once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *looks: Said, options: tuple[str, ...] = ()
) -> str:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/overview", *looks)
        assert run(["top", "--once", "--home", str(tmp_path), *options]) == 0
    return capsys.readouterr().out


def test_it_shows_queues_seats_models_programs_and_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = once(tmp_path, capsys, overview(10.0), overview(10.5))
    for part in (
        "0 interactive, 3 standard, 31 batch",
        "4 reasoning, 9 acting, 2 paused, 0 hibernated (15 known), forecasts rank 0.50",
        "1,204 let on, 3 early, 2 preempted, 1 refused, 5 contexts paused",
        "2/3 (of 4)",
        "1,200/16,384",
        "0.35 s from host, 12 s from disk",
        "cpu: 300.0 MiB of 16.0 GiB",
        "tsk_1",
        "triage",
        "python triage.py",
    ):
        assert part in shown


def test_hits_and_waste_are_shares_of_the_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = _row(once(tmp_path, capsys, overview(10.0), overview(10.5)))
    assert "96 %" in row
    assert "1 %" in row


def test_tokens_a_second_are_of_the_time_between_two_looks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = overview(14.0, input_tokens=5000, output_tokens=340)
    row = _row(once(tmp_path, capsys, overview(10.0), later)).split()
    assert "1,000" in row
    assert "10" in row


def test_a_kernel_that_started_anew_in_between_has_no_rates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = overview(0.5, started_ns=1_790_000_050_000_000_000, input_tokens=10)
    row = _row(once(tmp_path, capsys, overview(900.0), fresh)).split()
    assert row.count("-") == 2


def test_json_is_what_the_kernel_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = once(tmp_path, capsys, overview(10.0), options=("--json",))
    assert json.loads(shown)["scheduler"]["waiting"]["batch"] == 31


def test_without_a_kernel_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", "--home", str(tmp_path)]) != 0
    assert "E3003" in capsys.readouterr().err


def test_lines_are_cut_at_the_edge_and_colours_take_no_room() -> None:
    assert cut_at("\x1b[1mabcdef\x1b[0m", 3) == "\x1b[1mabc\x1b[0m"
    assert cut_at("abc", 3) == "abc"


@pytest.mark.parametrize("way", ["q", "\x03", "SIGTERM"])
def test_it_draws_in_place_and_leaves_the_terminal_as_it_was(tmp_path: Path, way: str) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/overview", overview(10.0), overview(11.0))
        shown, same = _on_a_terminal(tmp_path, kernel, way)
    assert shown.count(OTHER_SCREEN) == shown.count(OWN_SCREEN) == 1
    assert shown.index(OTHER_SCREEN) < shown.index("31 batch") < shown.index(OWN_SCREEN)
    assert same


def test_a_kernel_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as kernel:
        away = problem("E3001", "the kernel is stopping", 503, 0.1)
        kernel.says("GET /orlop/v1/overview", overview(10.0), away)
        shown, same = _on_a_terminal(tmp_path, kernel, "q", until="the kernel is away")
    assert same
    assert "the kernel is stopping" in shown


def _on_a_terminal(
    home: Path, kernel: ScriptedKernel, way: str, until: str = "31 batch"
) -> tuple[str, bool]:
    """What is drawn until `until` is seen and the user leaves; whether the modes are as before."""
    child, terminal = pty.fork()
    if not child:
        words = [sys.executable, "-m", "orlop.shell.main", "top", "--interval", "0.1"]
        os.execv(sys.executable, [*words, "--home", str(home)])
    before = termios.tcgetattr(terminal)
    shown = _until(terminal, until)
    if way == "SIGTERM":
        os.kill(child, signal.SIGTERM)
    else:
        os.write(terminal, way.encode())
    if OWN_SCREEN not in shown:
        shown += _until(terminal, OWN_SCREEN)
    same = termios.tcgetattr(terminal) == before
    os.waitpid(child, 0)
    os.close(terminal)
    assert kernel.heard
    return shown, same


def _until(terminal: int, text: str) -> str:
    """What is drawn until `text` is; it is drawn anew ten times a second, so silence is no end."""
    shown, ends_s = "", time.monotonic() + 60.0
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0.0, ends_s - time.monotonic()))
        assert ready, f"{text!r} was not drawn, but this:\n{shown[-2_000:]}"
        shown += os.read(terminal, 65_536).decode(errors="replace")
    return shown


def _row(shown: str) -> str:
    return next(line for line in shown.splitlines() if line.startswith("smollm2 ") and "%" in line)
