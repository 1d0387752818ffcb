"""The supervisor and whoever ends it, with real processes in the place of kernels."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from orlop.abi.admin import HomeInfo
from orlop.abi.errors import Conflict
from orlop.http.place import HttpConfig
from orlop.operate import running, up

SUPERVISOR = """
import signal, sys, time
from pathlib import Path
from orlop.http.place import HttpConfig
from orlop.operate import up

def stubborn(arguments):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("up", flush=True)
    time.sleep(600)

up.boot.main = stubborn
up.STOP_S = 0.5
home = Path(sys.argv[1])
(home / "log").mkdir()
sys.exit(up.Supervisor(home, up.listen(home, HttpConfig(), 0), None, []).run())
"""


def test_a_kernel_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path)], start_new_session=True
    )
    log = tmp_path / "log" / "kernel.log"
    try:
        while not log.exists() or log.read_text() != "up\n":
            assert supervisor.poll() is None
            time.sleep(0.02)
        (kernel,) = psutil.Process(supervisor.pid).children()
        supervisor.terminate()
        assert supervisor.wait(30) == 0
        assert not kernel.is_running()
    finally:
        supervisor.kill()
        supervisor.wait()


def test_down_ends_no_stranger_who_has_the_number_of_a_dead_supervisor(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        info = HomeInfo(
            url="http://127.0.0.1:1",
            socket=str(tmp_path / "kernel.sock"),
            home=str(tmp_path),
            supervisor_pid=stranger.pid,
            version="0",
        )
        (tmp_path / "info.json").write_bytes(msgspec.json.encode(info))
        assert running.down(tmp_path, 5.0) == 0
        assert stranger.poll() is None
        assert not (tmp_path / "info.json").exists()
    finally:
        stranger.kill()
        stranger.wait()


def test_down_ends_a_supervisor_whose_notes_can_not_be_read(tmp_path: Path) -> None:
    program = "import sys, time; from orlop.operate import up; from pathlib import Path\n"
    program += "up.lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None and supervisor.stdout.readline() == b"held\n"
        (tmp_path / "info.json").write_text("garbage")
        assert running.down(tmp_path, 30.0) == 0
        assert supervisor.wait(30) == -signal.SIGTERM
    assert not (tmp_path / "info.json").exists()


def test_a_home_is_held_as_long_as_its_lock(tmp_path: Path) -> None:
    handle = up.lock(tmp_path)
    try:
        assert running.holder(tmp_path) == os.getpid()
    finally:
        os.close(handle)
    assert running.holder(tmp_path) is None


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_an_address_that_is_not_ours_is_said(tmp_path: Path, host: str) -> None:
    with pytest.raises(Conflict, match="can't be listened on"):
        up.listen(tmp_path, HttpConfig(host=host), None)


def test_the_house_starts_no_thread_when_it_is_imported() -> None:
    """A kernel is a copy of its supervisor, and a thread is not copied."""
    count = "import orlop.operate.up, psutil; print(psutil.Process().num_threads())"
    threads = subprocess.run([sys.executable, "-c", count], capture_output=True, check=True)
    assert int(threads.stdout) == 1


def test_what_only_some_kernels_use_is_not_loaded_by_all() -> None:
    program = "import sys, orlop.operate.up\nprint(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"aiohttp", "numpy", "psycopg", "rich"} & set(ended.stdout.split())
