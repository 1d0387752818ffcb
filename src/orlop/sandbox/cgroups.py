"""Control groups: what all processes of a sandbox may have together, where this user may say so.

Version 2 is one hierarchy; of version 1, `memory` and `pids` are one each.  A group is made before
its program starts, which enters it as its first act; empty ones are removed when the next is made.
Whether the limits hold is tried, as with everything here.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orlop.abi.errors import NotReady
from orlop.sandbox.ground import INTERPRETER

PREFIX: Final = "orlop-cell-"
NEEDED: Final = frozenset({"memory", "pids"})
ENTER: Final = (
    'count=$1; shift; while [ "$count" -gt 0 ]; do echo $$ >"$1" || exit 126; shift; '
    'count=$((count - 1)); done; exec "$@"'
)
FILES: Final[Mapping[str, str]] = {
    "memory.max": "ram",
    "memory.swap.max": "none",
    "memory.oom.group": "whole",
    "memory.limit_in_bytes": "ram",
    "memory.memsw.limit_in_bytes": "ram",
    "pids.max": "processes",
}
"""What is written into which file of a group, if it has that file."""

OLD_S: Final = 60.0
"""A group that is empty this long after it was made will not be entered any more."""

TRIAL_BYTES: Final = 64 << 20
TRIAL_PROCESSES: Final = 24
TRIAL_S: Final = 20.0
HOG: Final = f"held = bytearray({4 * TRIAL_BYTES}); print('held')"
FORK: Final = (
    "import subprocess, sys\n"
    "started = []\n"
    "try:\n"
    f"    for _ in range({4 * TRIAL_PROCESSES}):\n"
    "        started.append(subprocess.Popen(['/bin/sleep', '20']))\n"
    "    print('held')\n"
    "finally:\n"
    "    for one in started:\n"
    "        one.kill()\n"
)


@dataclass(frozen=True, slots=True)
class Groups:
    """bases: where groups are made, one place a hierarchy."""

    version: int
    bases: tuple[Path, ...]

    def entered(
        self, ram_bytes: int | None, processes: int | None, command: Sequence[str]
    ) -> tuple[str, ...]:
        """`command`, which enters a group of its own first.  Raises `NotReady`."""
        said = {
            "ram": str(ram_bytes) if ram_bytes is not None else "",
            "processes": str(processes) if processes is not None else "",
            "none": "0" if ram_bytes is not None else "",
            "whole": "1" if ram_bytes is not None else "",
        }
        entrances: list[str] = []
        try:
            for base in self.bases:
                group = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
                _tidy(base, group)
                if not (group / "cgroup.procs").exists():
                    group.rmdir()
                    raise NotReady(f"{base} is no place for control groups")
                for file, which in FILES.items():
                    if said[which] and (group / file).exists():
                        (group / file).write_text(said[which])
                entrances.append(str(group / "cgroup.procs"))
        except OSError as error:
            raise NotReady(f"a control group can't be made: {error}") from error
        return ("/bin/sh", "-c", ENTER, "enter", str(len(entrances)), *entrances, *command)


@dataclass(frozen=True, slots=True)
class Found:
    """groups: None where limits on whole sandboxes can't be kept here.  reason: what was tried."""

    groups: Groups | None
    reason: str

    def require(self) -> Groups:
        """Raises `NotReady`."""
        if self.groups is None:
            raise NotReady(f"`ram_bytes` needs control groups, and {self.reason}")
        return self.groups


def find() -> Found:
    """Look for a place, make a group there, and see whether it holds."""
    tried: list[str] = []
    for groups in _places():
        wrong = _trial(groups)
        if not wrong:
            return Found(groups, f"tried: version {groups.version} held RAM and processes")
        tried.append(f"version {groups.version}: {wrong}")
    return Found(None, "; ".join(tried) or "there are none with `memory` and `pids` here")


def _places() -> Iterator[Groups]:
    own = _own()
    mounts = _mounts()
    for kind, _, root, point in mounts:
        if kind == "cgroup2":
            here = _below(point, root, own.get("", "/"))
            # Where the kernel's own group has processes, limits are set beside it, not below.
            for base in dict.fromkeys((here, here.parent)):
                if (base / "cgroup.procs").exists():
                    yield Groups(2, (base,))
    first = {
        controller: _below(point, root, own[controller])
        for kind, options, root, point in mounts
        for controller in sorted(NEEDED & set(options))
        if kind == "cgroup" and controller in own
    }
    if first.keys() >= NEEDED:
        yield Groups(1, tuple(dict.fromkeys(first[controller] for controller in sorted(NEEDED))))


def _own() -> dict[str, str]:
    """This process's group, by controller; of version 2 under the empty name."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                found[controller] = path
    return found


def _mounts() -> list[tuple[str, Sequence[str], str, str]]:
    """Kind, options, root and place of each hierarchy."""
    found: list[tuple[str, Sequence[str], str, str]] = []
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            kind, _, options = right.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                _, _, _, root, point, *_ = left.split(" ")
                found.append((kind, options.split(","), root, point))
    return found


def _below(point: str, root: str, own: str) -> Path:
    inner = own[len(root) :] if root != "/" and own.startswith(root) else own
    return Path(point) / inner.lstrip("/")


def _trial(groups: Groups) -> str:
    """What is wrong; empty: the limits hold."""
    base = groups.bases[0]
    if groups.version == 2:
        with suppress(OSError):
            control = os.open(base / "cgroup.subtree_control", os.O_WRONLY)
            os.write(control, b"+memory +pids")
            os.close(control)
    for script in (HOG, FORK):
        try:
            command = groups.entered(
                TRIAL_BYTES, TRIAL_PROCESSES, (INTERPRETER, "-I", "-S", "-c", script)
            )
            done = subprocess.run(
                command, capture_output=True, env={}, timeout=TRIAL_S, check=False
            )
        except (NotReady, OSError, subprocess.TimeoutExpired) as error:
            return str(getattr(error, "message", error))
        if b"held" in done.stdout:
            return "a group's limit does not hold"
    return _sanity(groups)


def _sanity(groups: Groups) -> str:
    """A program that stays within its limits must run."""
    command = groups.entered(TRIAL_BYTES, TRIAL_PROCESSES, ("/bin/echo", "runs"))
    done = subprocess.run(command, capture_output=True, env={}, timeout=TRIAL_S, check=False)
    said = done.stderr.decode(errors="replace").strip()[-200:]
    return "" if b"runs" in done.stdout else said or "nothing runs in a group"


def _tidy(base: Path, newest: Path) -> None:
    """Remove those that are empty; one that was made just now may not have been entered yet."""
    now_s = newest.stat().st_ctime
    for group in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if group != newest and now_s - group.stat().st_ctime > OLD_S:
                group.rmdir()
