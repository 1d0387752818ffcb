"""What `orlop` needs to know of a system that runs, or to end it; quick to import."""

import fcntl
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from orlop.abi.admin import HomeInfo
from orlop.abi.errors import NotReady
from orlop.machine.plain_clock import now_s, pause

PORT: Final = 7411
"""Where nobody says otherwise; if it is taken, any free one."""

DATABASE_S: Final = 60.0
"""How long `orlop up -d` waits for a database that holds the journal, where nobody says."""

LOCK: Final = "supervisor.lock"
"""In a home: held by its supervisor, and holds its process id."""


def holder(home: Path) -> int | None:
    """The supervisor that runs in `home`, or None: a number in a file alone may be a stranger's."""
    try:
        handle = os.open(home / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        said = os.pread(handle, 32, 0).strip()
        return int(said) if said.isdigit() else None
    else:
        return None
    finally:
        os.close(handle)


def read_info(home: Path) -> HomeInfo | None:
    try:
        return msgspec.json.decode((home / "info.json").read_bytes(), type=HomeInfo)
    except (OSError, msgspec.DecodeError):
        return None


def answers(path: str) -> bool:
    """Whether a kernel behind the socket answers `/health` now."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
            client.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            return client.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


def down(home: Path, timeout_s: float) -> int:
    """Stop the system in `home` and wait until it is gone.  Raises `NotReady` if it does not go."""
    home = home.expanduser().resolve()
    had_info = (home / "info.json").exists()
    give_up_s = now_s() + timeout_s
    while now_s() < give_up_s:
        supervisor = holder(home)
        if supervisor is None:
            (home / "info.json").unlink(missing_ok=True)
            return 0
        with suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGTERM)
        if had_info and not (home / "info.json").exists():
            return 0
        pause(0.05)
    raise NotReady(f"supervisor {holder(home)} is still there after {timeout_s:g} s")
