"""What every program needs to run at all, and what is never granted: the paths of a sandbox."""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import orlop

SOURCE: Final = str(Path(orlop.__file__).parents[1])
"""Where the inside is imported from; programs that use our SDK need it too."""

INTERPRETER: Final = os.path.realpath(sys.executable)

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")

SETTINGS: Final = tuple(
    f"/etc/{name}"
    for name in (
        *("alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies"),
        *("debian_version", "fonts", "gai.conf", "group", "host.conf", "hosts", "inputrc"),
        *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias", "localtime", "magic"),
        *("mime.types", "networks", "nsswitch.conf", "os-release", "passwd", "pki/ca-trust"),
        *("pki/tls/certs", "pki/tls/openssl.cnf", "protocols", "python3", "python3.11"),
        *("resolv.conf", "services", "shells", "ssl/certs", "ssl/openssl.cnf", "terminfo"),
        *("timezone",),
    )
)
"""Of /etc, what is nobody's secret."""

DEVICES: Final = tuple(
    f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
)

MACHINE: Final = tuple(
    f"/proc/{name}"
    for name in ("cpuinfo", "meminfo", "stat", "loadavg", "filesystems", "version", "uptime", "sys")
)
"""Of /proc, what is about the machine and not about other processes."""


EVERYWHERE: Final = (SOURCE, sys.base_prefix)
"""What each sandbox sees, since its inside starts there."""


def runtime(command: str, env: Mapping[str, str]) -> list[str]:
    """Where its own files lie: its executable, its interpreter, its virtual environment.

    Only for who is trusted to name them: a command is a path, and its folder is given away.
    """
    found: list[str] = []
    if venv := env.get("VIRTUAL_ENV"):
        found.append(venv)
    path = shutil.which(command, path=env.get("PATH")) or command
    while path and len(found) < 16:
        prefix = os.path.dirname(os.path.dirname(path))
        if os.path.basename(os.path.dirname(path)) == "bin" and is_narrow(prefix):
            found.append(prefix)
        elif os.path.exists(path):
            found.append(path)
        if not os.path.islink(path):
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    return found


def is_narrow(folder: str) -> bool:
    """Whether it may be granted without being named: no root, no home, nothing above one."""
    own = os.path.expanduser("~")
    wide = {"/", own, os.path.join(own, ".local")}
    return folder not in wide and not covers(folder, own)


def covers(folder: str, path: str) -> bool:
    """Whether `path` is `folder`, or below it."""
    return folder == "/" or path == folder or path.startswith(folder.rstrip("/") + "/")


def resolved(paths: Iterable[str]) -> list[str]:
    """Where they really are, each once, the outer ones first; what is not there is left out."""
    real = {os.path.realpath(path) for path in paths if os.path.exists(path)}
    return sorted(real, key=lambda path: (path.count("/"), path))
