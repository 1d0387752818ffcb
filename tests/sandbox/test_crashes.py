"""Kernels that are killed while programs in sandboxes ask servers outside."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from https_server import HOST, outside
from live_kernel import live_kernel
from live_sandbox import needs_sandbox, python, ran

pytestmark = needs_sandbox

PATIENCE_S = 60.0

PAYS = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1] + "/pay", data=b"10")
try:
    print(urllib.request.urlopen(request, timeout=30).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


def wait_for(path: Path) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < give_up_s, f"{path} never came"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("point", "sent", "told"),
    [("door.entered", 1, "answer"), ("fetch.before", 0, "E1205"), ("fetch.after", 1, "E1205")],
)
def test_a_payment_is_not_sent_twice_whenever_the_kernel_is_killed(
    point: str, sent: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tmp_path / "faults"
    plan.write_text(f"{point}:1\n\n\n\n")
    monkeypatch.setenv("ORLOP_FAULT", f"@{plan}")
    folder = tmp_path / "own"
    folder.mkdir()
    with outside(tmp_path) as server:
        config = f'[egress]\ncertificates = "{server.authority}"\n'
        with live_kernel(config) as kernel:
            net = ("--sandbox", "--net", f"{HOST}:{server.port}", "--restart", "on-failure")
            done = ran(kernel, folder, *net, "--name", "payer", *python(PAYS, server.url))
            assert told in done.stdout, done.stdout + done.stderr
            assert server.seen.count("POST /pay 10") == sent
            row = json.loads(kernel.orlop("show", "payer", "--json"))
            assert row["incarnation"] > 1


def test_a_program_that_outlives_its_kernel_reaches_the_next_one_through_its_sandbox(
    tmp_path: Path,
) -> None:
    script = """
import os, signal, time, orlop
kernel = orlop.connect_sync()
print(bool(kernel.infer("one", model="fake").text()), flush=True)
open("ready", "w").close()
while not os.path.exists("go"):
    time.sleep(0.05)
print(bool(kernel.infer("two", model="fake").text()), flush=True)
import urllib.request
print(urllib.request.urlopen(os.environ["SERVER"] + "/look").status, flush=True)
"""
    folder = tmp_path / "own"
    folder.mkdir()
    with outside(tmp_path) as server:
        config = f'[egress]\ncertificates = "{server.authority}"\n'
        with live_kernel(config) as kernel:
            net = ("--sandbox", "--net", f"{HOST}:{server.port}", "--write", str(folder))
            words = (*net, "-d", "--name", "survivor", "--env", f"SERVER={server.url}")
            assert ran(kernel, folder, *words, *python(script)).returncode == 0
            wait_for(folder / "ready")
            info = json.loads(kernel.orlop("info", "--json"))
            os.kill(info["os_pid"], signal.SIGKILL)
            kernel.orlop("ps")  # It waits for the next kernel.
            (folder / "go").touch()
            kernel.orlop("wait", "survivor")
            assert kernel.orlop("logs", "survivor").split() == ["True", "True", "200"]
