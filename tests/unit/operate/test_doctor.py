"""`orlop doctor` on homes in good and in bad order."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_kernel import Said, ScriptedKernel, scripted_kernel, write_home

from orlop.operate.check import Check
from orlop.operate.doctor import examine
from orlop.sdk.operator import Operator, operator
from orlop.shell.commands import run

INFO = {
    "version": "0.1.0",
    "url": "http://127.0.0.1:1",
    "socket": "s",
    "home": "h",
    "journal": "j",
    "log": "h/log/kernel.log",
    "os_pid": 1,
    "supervisor_pid": 1,
    "journal_id": "jrn_1",
    "epoch": 1,
    "head": 9,
    "started_ns": 1,
    "ready": True,
}
TOOLS = [
    {"name": "shop.*", "state": "away", "reason": "MCP server shop: gone", "fix": "start it"},
    {"name": "shop.add", "state": "changed", "reason": "another one", "fix": "look"},
]
POLICY = {
    "digest": "ab",
    "origin": "closed",
    "files": {},
    "rules": [],
    "problem": "no rule can be read",
}
ENGINE = {"name": "local", "driver": "llamacpp", "health": "failing", "reason": "no such file"}


def _checks(home: Path, shelf: Path) -> dict[str, Check]:
    def connect() -> Operator:
        return operator(home=home, patience_s=0.0)

    return {check.name: check for check in examine(home, connect, shelf)}


def test_an_empty_machine_is_in_order_but_for_its_models(tmp_path: Path) -> None:
    checks = _checks(tmp_path / "home", tmp_path / "shelf")
    assert not [check for check in checks.values() if check.state == "fail"]
    assert checks["models"].state == "warn"
    assert "orlop pull" in checks["models"].fix
    assert checks["kernel"].fix == "orlop up -d"


def test_settings_that_no_kernel_would_start_with_fail(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(0o700)
    (home / "orlop.toml").write_text("[http]\nprot = 1\n")
    found = _checks(home, tmp_path)["settings"]
    assert found.state == "fail"
    assert "orlop.toml:2: http.prot: no such setting" in found.found


def test_an_anchor_that_can_not_be_written_fails(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(0o700)
    (home / "orlop.toml").write_text('[journal]\nanchors = ["/nowhere/at/all"]\n')
    found = _checks(home, tmp_path)
    assert found["settings"].state == "ok"
    assert found["journal anchor"].state == "fail"


def test_a_key_that_others_may_read_fails(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "operator.token"
    key.write_text("secret")
    key.chmod(0o644)
    check = _checks(tmp_path, tmp_path / "shelf")["key file"]
    assert (check.state, check.fix) == ("fail", f"chmod 600 {key}")


def test_a_model_that_was_changed_fails(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "weights.gguf").write_bytes(b"other bytes")
    entry = {
        "name": "tiny",
        "kind": "chat",
        "path": "tiny/weights.gguf",
        "sha256": "00" * 32,
        "size_bytes": 11,
        "source": "a test",
    }
    (tmp_path / "models.json").write_text(json.dumps({"version": 1, "models": [entry]}))
    check = _checks(tmp_path / "home", tmp_path)["model tiny"]
    assert check.state == "fail"
    assert "orlop pull tiny" in check.fix


def test_a_supervisor_that_is_gone_is_noticed(tmp_path: Path) -> None:
    write_home(ScriptedKernel(tmp_path))
    info = json.loads((tmp_path / "info.json").read_text())
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    (tmp_path / "info.json").write_text(json.dumps(info | {"supervisor_pid": child}))
    check = _checks(tmp_path, tmp_path / "shelf")["kernel"]
    assert check.state == "fail"
    assert "has ended" in check.found


def test_engines_of_a_running_kernel_are_looked_at(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/info", Said(INFO))
        inventory = {"engines": [ENGINE], "models": [], "tools": [], "hardware": []}
        kernel.says("GET /orlop/v1/inventory", Said(inventory))
        kernel.says("GET /orlop/v1/policy", Said(POLICY))
        kernel.says("GET /orlop/v1/tools", Said(TOOLS))
        checks = _checks(tmp_path, tmp_path / "shelf")
    assert checks["policy"].state == "fail"
    assert checks["policy"].found == "closed is in force: no rule can be read"
    assert checks["tool shop.*"].state == "fail" and checks["tool shop.*"].fix == "start it"
    assert (checks["tool shop.add"].state, checks["tool shop.add"].fix) == ("warn", "look")
    assert checks["kernel"].state == "ok"
    assert (checks["engine local"].state, checks["engine local"].found) == (
        "fail",
        "failing no such file",
    )


@pytest.mark.parametrize("change", [lambda home: home.chmod(0o755)])
def test_the_command_shows_each_check_and_its_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    change(home)
    run(["doctor", "--home", str(home)])
    assert f"warn  home: {home} is open to others\n      fix: chmod 700" in capsys.readouterr().out
