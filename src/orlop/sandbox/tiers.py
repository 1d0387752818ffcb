"""Which sandbox this machine really has: each tier is tried, and must hold against a program that
tries to get out.  Nothing is claimed from version numbers."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orlop.abi.errors import NotReady
from orlop.abi.sandbox import Sandbox, TierFound, WantedTier
from orlop.sandbox import bubblewrap, landlock, seccomp
from orlop.sandbox.cell import Doors, seal
from orlop.sandbox.ground import INTERPRETER
from orlop.sandbox.plan import Tier

TIERS: Final[tuple[Tier, ...]] = ("bwrap", "landlock")
"""The strongest first."""

TRIAL_S: Final = 20.0

TRIAL: Final = """
import json, os, socket, sys
secret, port, pid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def can(act):
    try:
        act()
        return True
    except OSError:
        return False
shared = os.readlink("/proc/self/ns/pid") == sys.argv[5]
def unix():
    with socket.socket(socket.AF_UNIX) as s: s.connect(sys.argv[4])
print(json.dumps({
    "a scratch folder": not can(lambda: open(os.environ["TMPDIR"] + "/x", "w").close()),
    "other files": can(lambda: open(secret)),
    "changing them": can(lambda: open(secret, "a")),
    "the network": can(lambda: socket.create_connection(("127.0.0.1", port), 2)),
    "other programs' sockets": can(unix),
    "other programs' memory": shared and can(lambda: open(f"/proc/{pid}/environ").read()),
    "signals to other programs": shared and can(lambda: os.kill(pid, 0)),
}))
"""
"""Tries what must not work; each that does is named with `true`."""


def trial(tier: Tier) -> TierFound:
    """Start a program in a sandbox of this tier and see whether it can get out."""
    if (missing := _missing(tier)) is not None:
        return TierFound(tier=tier, works=False, reason=missing)
    with tempfile.TemporaryDirectory(prefix="orlop-trial-") as folder:
        secret = Path(folder, "secret")
        secret.write_text("seen")
        path = str(Path(folder, "socket"))
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.socket(socket.AF_UNIX) as unix,
        ):
            unix.bind(path)
            unix.listen()
            words = [str(secret), str(server.getsockname()[1]), str(os.getpid()), path]
            words.append(os.readlink("/proc/self/ns/pid"))
            command = (INTERPRETER, "-I", "-S", "-c", TRIAL, *words)
            sealed = seal(Sandbox(), tier, Doors(home=Path(folder)), command, {}, "")
            return _tried(tier, sealed.command)


def _missing(tier: Tier) -> str | None:
    if sys.platform != "linux":
        return "needs Linux"
    if seccomp.column() is None:
        return f"no table of system calls for {os.uname().machine}"
    version = landlock.abi()
    if version < landlock.ABI_SCOPES and tier == "landlock":
        # Without scopes, programs outside can be signalled.
        return f"Landlock version {version} here, {landlock.ABI_SCOPES} needed (Linux 6.12)"
    if version < landlock.ABI_MIN:
        return f"Landlock version {version} here, {landlock.ABI_MIN} needed (Linux 6.2)"
    if tier == "bwrap" and bubblewrap.executable() is None:
        return "no `bwrap` on the PATH: install bubblewrap"
    return None


def _tried(tier: Tier, command: Sequence[str]) -> TierFound:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            timeout=TRIAL_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        reached = json.loads(done.stdout)
        out = [what for what, did in reached.items() if did]
    except (OSError, subprocess.TimeoutExpired) as error:
        return TierFound(tier=tier, works=False, reason=f"could not be tried: {error}")
    except ValueError:
        said = done.stderr.decode(errors="replace").strip()[-300:]
        reason = said or f"ended with status {done.returncode}"
        return TierFound(tier=tier, works=False, reason=reason)
    if out:
        return TierFound(tier=tier, works=False, reason=f"does not hold: {', '.join(out)}")
    reason = f"tried: held files, network, sockets and processes (Landlock {landlock.abi()})"
    return TierFound(tier=tier, works=True, reason=reason)


def find(wanted: WantedTier = "best") -> tuple[Tier | None, list[TierFound]]:
    """The strongest tier that works and is no weaker than wanted, and what was found on the way."""
    found: list[TierFound] = []
    for tier in TIERS:
        one = trial(tier)
        found.append(one)
        if one.works:
            return tier, found
        if wanted == tier:
            break
    return None, found


def require(wanted: WantedTier) -> Tier:
    """Raises `NotReady` with what was tried."""
    tier, found = find(wanted)
    if tier is None:
        tried = "; ".join(f"{one.tier}: {one.reason}" for one in found)
        raise NotReady(f"no sandbox works here ({tried})")
    return tier
