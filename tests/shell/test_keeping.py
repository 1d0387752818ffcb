"""Keys, schedules, the journal, and power, against a kernel as users have it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from live_kernel import LiveKernel, live_kernel
from shell.attempts import attempt

SCRIPT = """
import orlop
with orlop.connect_sync() as kernel:
    print(kernel.infer("hello", model="fake").text())
    print(len(kernel.embed(["a", "b"], model="fake-embed").vectors))
    print("".join(delta.text for delta in kernel.stream("hello", model="fake")))
    print(kernel.spawn(["sh", "-c", "exit 4"]).wait())
    try:
        kernel.infer("hello", model="no-such")
    except orlop.KernelError as error:
        print(error.code, error)
"""


def test_the_synchronous_client_makes_every_kind_of_call(kernel: LiveKernel) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "ORLOP_HOME": str(kernel.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    whole, vectors, streamed, status, error = done.stdout.splitlines()
    assert whole == streamed
    assert (vectors, status) == ("2", "4")
    assert error.startswith("E1201 ")


def test_a_key_works_until_it_is_revoked(kernel: LiveKernel) -> None:
    made = json.loads(kernel.orlop("key", "create", "short-lived", "--json"))
    script = (
        "import orlop, sys\n"
        "with orlop.connect_sync(sys.argv[1], token=sys.argv[2]) as kernel:\n"
        "    kernel.infer('hello', model='fake')\n"
    )
    command = [sys.executable, "-c", script, kernel.url, made["secret"]]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    assert made["id"] in kernel.orlop("key", "list")
    kernel.orlop("key", "revoke", made["id"])
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "Unauthenticated" in refused.stderr


def test_a_schedule_starts_its_program_and_is_removed(kernel: LiveKernel) -> None:
    kernel.orlop("schedule", "every 1s", "--name", "tick", "--", "true")
    while not any(p["name"] == "tick" for p in json.loads(kernel.orlop("ps", "-a", "--json"))):
        time.sleep(0.1)
    assert "tick" in kernel.orlop("schedule", "list")
    kernel.orlop("schedule", "remove", "tick")
    assert "tick" not in kernel.orlop("schedule", "list")


def test_a_wrong_schedule_is_refused(kernel: LiveKernel) -> None:
    refused = attempt(kernel.home, "schedule", "whenever", "--", "true")
    assert refused.returncode == 2
    assert "error E1001" in refused.stderr


def test_the_journal_is_exported_and_verified_while_the_kernel_runs(kernel: LiveKernel) -> None:
    lines = kernel.orlop("journal", "export", "--first", "1", "--last", "2").splitlines()
    assert [json.loads(line)["header"]["seq"] for line in lines] == [1, 2]
    verdict = json.loads(kernel.orlop("journal", "verify", "--json"))
    assert verdict["damage"] == []
    assert verdict["events"] >= 2


def test_doctor_finds_a_sound_kernel(kernel: LiveKernel) -> None:
    checks = {check["name"]: check for check in json.loads(kernel.orlop("doctor", "--json"))}
    assert checks["kernel"]["state"] == "ok"
    assert checks["engine fake"]["state"] == "ok"


def test_power_goes_on_once_and_off_twice() -> None:
    with live_kernel() as kernel:
        second = attempt(kernel.home, "up", "--port", "0")
        assert second.returncode == 6
        assert "is up already" in second.stderr
        assert json.loads(attempt(kernel.home, "down", "--json").stdout)["was_up"]
        assert attempt(kernel.home, "ps").returncode == 3
        twice = attempt(kernel.home, "down")
        assert (twice.returncode, twice.stdout) == (0, f"nothing runs in {kernel.home}\n")


def test_up_in_the_background_says_where_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    models = f'[models]\ndir = "{tmp_path / "none"}"\n'
    (home / "orlop.toml").write_text(models + '[engines.fake]\ndriver = "fake"\n')
    try:
        up = attempt(home, "up", "-d", "--port", "0", "--json")
        assert up.returncode == 0, up.stderr
        place = json.loads(up.stdout)
        assert place["home"] == str(home)
        assert json.loads(attempt(home, "info", "--json").stdout)["url"] == place["url"]
    finally:
        assert attempt(home, "down").returncode == 0


def test_a_wrong_setting_starts_nothing(tmp_path: Path) -> None:
    config = tmp_path / "orlop.toml"
    config.write_text("[engines.fake]\ndriverr = 'fake'\n")
    refused = attempt(tmp_path / "home", "up", "-d", "--config", str(config))
    assert refused.returncode == 2
    assert "orlop.toml:2" in refused.stderr
    assert "did you mean 'driver'?" in refused.stderr
