"""The demo, small and on engines of arithmetic: six agents through a crash, end to end."""

import json
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "examples" / "support_desk" / "demo.py"
DEMO_S = 240.0
"""It gives up by itself; this is for a demo that does not."""


def demo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEMO_S,
        check=False,
    )


def still_running(folder: Path) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if str(folder) in str(p.info)]


def test_the_demo_survives_its_crashes_and_leaves_nothing_running(tmp_path: Path) -> None:
    folder, figures = tmp_path / "desk", tmp_path / "figures.json"
    done = demo("--fake", "--tickets=6", f"--folder={folder}", f"--json={figures}")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(figures.read_text())
    assert report["tickets_finished"] == 6
    assert report["effects"] == report["orders_decided_once"] == 6
    assert report["attempts"] >= 6
    assert report["agents_restarted"] >= 1
    assert report["calls_from_journal"] >= 1
    assert report["refused"] == 0
    assert report["journal_events"] > 0
    assert "an engine of arithmetic has made them" in done.stdout and "SmolLM2" not in done.stdout
    assert still_running(folder) == []


def test_a_demo_that_fails_says_why_and_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    done = demo("--fake", "--tickets=4", f"--folder={folder}", "--engine=nonsense")
    assert done.returncode == 1
    assert "--engine nonsense: write NAME=URL" in done.stderr
    assert still_running(folder) == []
