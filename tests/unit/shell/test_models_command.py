"""`orlop models`, against answers that are written down."""

import json
from pathlib import Path

import pytest
from scripted_kernel import Said, scripted_kernel

from orlop.shell.commands import run

MODEL: dict[str, object] = {
    "name": "smollm2",
    "engine": "local",
    "kind": "chat",
    "context_tokens": 8192,
    "artefact": "b179c9523d0e77",
    "path": "/shelf/smollm2.gguf",
    "input_price": 150_000_000,
    "output_price": 600_000_000,
    "moved": True,
    "device": "cpu",
    "state": "host",
    "reason": "",
    "bytes": 300 << 20,
    "cached_share": 0.98,
    "pinned": False,
    "draining": False,
    "calls_running": 0,
    "calls_waiting": 0,
    "rate": 0.05,
    "next_s": None,
    "idle_s": None,
    "stays_s": 3600.0,
    "loads": 2,
    "cold_starts": [
        {"origin": "host", "seconds": 0.354, "count": 3},
        {"origin": "disk", "seconds": 12.4, "count": 1},
    ],
}
FIXED = MODEL | {
    "name": "far",
    "engine": "vllm",
    "moved": False,
    "state": "hot",
    "bytes": 0,
    "cold_starts": [],
}


def residency(*models: dict[str, object]) -> dict[str, object]:
    pools = [
        {"device": "cpu", "held_bytes": 300 << 20, "budget_bytes": 16 << 30},
        {"device": "vllm", "held_bytes": 0, "budget_bytes": None},
    ]
    return {"models": models, "pools": pools, "evictions": 1}


def shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *models: dict[str, object]
) -> list[str]:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/models", Said(residency(*models)))
        assert run(["models", "--home", str(tmp_path)]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_list_says_where_a_model_lies_and_what_its_cold_starts_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, row, pool = shown(tmp_path, capsys, MODEL)
    for cell in ("smollm2", "host", "300.0 MiB", "3.0", "0.35 s from host, 12 s from disk", "0.15"):
        assert cell in row
    assert pool == "cpu: 300.0 MiB of 16.0 GiB for models in use"


def test_nothing_is_said_of_a_cold_start_that_was_never_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, row, _ = shown(tmp_path, capsys, FIXED)
    assert row.split()[3:8] == ["hot", "-", "0", "-", "-"]


def test_a_model_that_could_not_be_loaded_says_why_and_calls_that_wait_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = MODEL | {"reason": "local did not start: no memory", "calls_waiting": 3}
    _, row, _, why = shown(tmp_path, capsys, broken)
    assert "0+3" in row
    assert why == "smollm2: local did not start: no memory"


@pytest.mark.parametrize("word", ["load", "unload", "pin", "unpin"])
def test_an_order_is_sent_and_its_outcome_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/models", Said(residency(MODEL | {"pinned": True}, FIXED)))
        assert run(["models", word, "smollm2", "--home", str(tmp_path)]) == 0
        assert kernel.heard[-1].json() == {"order": word, "model": "smollm2"}
    assert capsys.readouterr().out == "smollm2 on local: host, pinned, 300.0 MiB\n"


def test_json_is_what_the_kernel_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/models", Said(residency(MODEL)))
        assert run(["models", "--json", "--home", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(residency(MODEL)))
