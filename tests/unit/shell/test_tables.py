"""Commands about models, keys, schedules, the journal and errors."""

import json
from pathlib import Path

import pytest
from scripted_kernel import Said, scripted_kernel

from orlop.abi.errors import BY_CODE
from orlop.shell.commands import run

SCHEDULE = {
    "id": "sch_1",
    "name": "nightly",
    "when": "0 3 * * *",
    "zone": "UTC",
    "missed": "once",
    "overlap": "forbid",
    "command": ["report"],
    "next_ns": 1_790_000_000_000_000_000,
    "last_ns": None,
    "runs": 4,
    "skipped": 1,
}
INVENTORY = {
    "engines": [{"name": "local", "driver": "llamacpp", "slots": 4, "health": "ready"}],
    "models": [],
    "tools": [{"name": "order", "effect": "idempotent", "description": "look an order up"}],
    "hardware": [{"id": "cpu0", "kind": "cpu", "name": "A CPU", "memory_bytes": 2**34}],
}

DEVICES = {
    "devices": [
        {"name": "cpu0", "class": "cpu", "reading": {"memory_total_bytes": 2**34}},
        {
            "name": "nvidia0",
            "class": "gpu",
            "attributes": {"model": "H200", "hbm_gb": 150.8, "features": ["sm_90"]},
            "health": "degraded",
            "share": 0.4,
            "reason": "device nvidia0 is throttled",
            "claims": [{"id": "clm_1", "device": "nvidia0", "process": "prc_1", "share": 0.25}],
        },
    ]
}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("devices", "local   llamacpp  ready    0/4"),
        ("devices", "16.0 GiB"),
        ("devices", "nvidia0"),
        ("devices", "device nvidia0 is throttled"),
    ],
)
def test_the_inventory_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, expected: str
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/inventory", Said(INVENTORY))
        kernel.says("GET /orlop/v1/devices", Said(DEVICES))
        assert run([command, "--home", str(tmp_path)]) == 0
    assert expected in capsys.readouterr().out


def test_all_that_is_known_of_a_device_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/devices/nvidia0", Said(DEVICES["devices"][1]))
        assert run(["devices", "show", "nvidia0", "--home", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for expected in ("hbm_gb    150.8", "features  sm_90", "clm_1: 0.25 by prc_1"):
        assert expected in printed


def test_a_device_is_drained_and_given_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drained = {"name": "nvidia0", "class": "gpu", "health": "drained", "reason": "a new fan"}
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/devices/nvidia0/drain", Said(drained))
        kernel.says("POST /orlop/v1/devices/nvidia0/restore", Said({**drained, "health": "ready"}))
        home = ["--home", str(tmp_path)]
        assert run(["devices", "drain", "nvidia0", "--reason", "a new fan", *home]) == 0
        assert run(["devices", "restore", "nvidia0", *home]) == 0
    assert capsys.readouterr().out == "nvidia0 is drained: a new fan\nnvidia0 is ready: a new fan\n"


def test_a_claim_prints_its_name_and_what_it_got(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    granted = {"id": "clm_1", "device": "cpu0", "process": "prc_1", "cores": [2, 3]}
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/claims", Said(granted, 201))
        asked = ["devices", "claim", "agent", 'class == "cpu"', "--cores", "2"]
        assert run([*asked, "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "clm_1 cpu0 cores 2,3\n"


def test_a_new_key_is_printed_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted_kernel(tmp_path) as kernel:
        made = {"id": "key_1", "name": "ci", "secret": "orl_abc"}
        kernel.says("POST /orlop/v1/keys", Said(made, 201))
        assert run(["key", "create", "ci", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "orl_abc\n"


def test_a_key_is_revoked_by_its_id(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("DELETE /orlop/v1/keys/key_1", Said({}))
        assert run(["key", "revoke", "key_1", "--home", str(tmp_path)]) == 0


def test_a_schedule_needs_no_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--name", "nightly", "--missed", "all", "--zone", "Europe/Berlin"]
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/schedules", Said(SCHEDULE, 201))
        home = ["--home", str(tmp_path)]
        assert run(["schedule", "0 3 * * *", *options, *home, "--", "report", "--all"]) == 0
    order = kernel.heard[0].json()
    assert (order["when"], order["command"]) == ("0 3 * * *", ["report", "--all"])
    assert (order["missed"], order["zone"]) == ("all", "Europe/Berlin")
    assert capsys.readouterr().out.startswith("nightly: next at ")


def test_schedules_are_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/schedules", Said([SCHEDULE]))
        kernel.says("DELETE /orlop/v1/schedules/nightly", Said({}))
        assert run(["schedule", "list", "--home", str(tmp_path)]) == 0
        assert run(["schedule", "remove", "nightly", "--home", str(tmp_path)]) == 0
    assert "nightly  0 3 * * *  UTC" in capsys.readouterr().out


def test_the_journal_is_exported_as_it_comes(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        events = ({"header": {"seq": 1}}, {"header": {"seq": 2}})
        kernel.says("GET /orlop/v1/journal/export", Said(lines=events))
        assert run(["journal", "export", "--first", "1", "--home", str(tmp_path)]) == 0
    assert [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()] == list(events)


@pytest.mark.parametrize("code", BY_CODE)
def test_every_error_is_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", code]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"{code} {BY_CODE[code].__name__}\n")
    assert BY_CODE[code].fix in page


def test_errors_are_explained_by_name_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "budgetspent", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == "E1302"


def test_an_unknown_code_is_not_found() -> None:
    assert run(["explain", "E7777"]) == 4


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_ORLOP_COMPLETE" in capsys.readouterr().out
