"""The command line of `bwrap`: namespaces, and a file system of only what is granted."""

import os
import shutil
from collections.abc import Sequence
from typing import Final

from orlop.sandbox.ground import SETTINGS, SYSTEM, covers

INSIDE: Final = "/run/orlop"
"""Where a cell finds what is the kernel's."""

SCRATCH: Final = "/tmp"
SCRATCH_BYTES: Final = 1 << 30


def executable() -> str | None:
    return shutil.which("bwrap")


def arguments(
    reads: Sequence[str],
    writes: Sequence[str],
    shared: Sequence[tuple[str, str]],
    hidden: str,
    *,
    all_files: bool = False,
) -> list[str]:
    """shared: what of the kernel is seen, with its place inside.  hidden: the kernel's home."""
    line = [executable() or "bwrap", "--unshare-all", "--unshare-user", "--disable-userns"]
    line += ["--die-with-parent", "--hostname", "cell"]
    if all_files:
        return _all_files(line, shared, hidden)
    line += _system()
    binds = [("--ro-bind", path) for path in reads] + [("--bind", path) for path in writes]
    for how, path in sorted(binds, key=lambda bind: (bind[1].count("/"), bind[0] == "--bind")):
        line += [how, path, path]
    line += ["--size", str(SCRATCH_BYTES), "--tmpfs", SCRATCH]
    for how, path in binds:
        if covers(SCRATCH, path) and path != SCRATCH:  # Covered by the new folder just now.
            line += [how, path, path]
    line += ["--tmpfs", "/run"]
    line += ["--proc", "/proc", "--dev", "/dev"]
    if any(covers(path, hidden) for path in (*reads, *writes)):
        line += ["--tmpfs", hidden]
    for path, place in shared:
        line += ["--ro-bind", path, place]
    return [*line, "--"]


def _all_files(line: list[str], shared: Sequence[tuple[str, str]], hidden: str) -> list[str]:
    """The machine as it is, but for the kernel's home and the network."""
    line = [*line, "--dev-bind", "/", "/", "--proc", "/proc", "--tmpfs", hidden]
    for path, place in shared:
        if covers(hidden, path):
            line += ["--ro-bind", path, place]
    return [*line, "--"]


def _system() -> list[str]:
    """The system's folders; where they are links (as /bin often is), the same links."""
    line: list[str] = []
    for path in SYSTEM:
        if os.path.islink(path):
            line += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            line += ["--ro-bind", path, path]
    for path in SETTINGS:
        line += ["--ro-bind-try", path, path]
    return line
