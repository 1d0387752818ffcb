"""Where the kernel is, and who calls it: from arguments, the environment, or a kernel's home.

This is the one place of user space that reads `ORLOP_*`.
"""

import os
import select
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from orlop.abi.admin import HomeInfo
from orlop.abi.errors import BadCall, NoKernel, Unauthenticated

INFO_FILE = "info.json"
OPERATOR_TOKEN_FILE = "keys/operator.token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One kernel as one caller sees it."""

    token: str
    socket: str = ""
    """A Unix socket; goes before `url`."""
    url: str = ""
    program: str = ""
    """With a key: names the task and the process that the calls belong to, so that they can be
    resumed.  A process that the kernel started is named by its token."""
    process: str = ""
    tenant: str = ""
    """With the operator's token: within which tenant.  Empty: the one that the token is of."""

    def __str__(self) -> str:
        return self.socket or self.url


def default_home() -> Path:
    """`$ORLOP_HOME`, else `~/.orlop`."""
    return Path(os.environ.get("ORLOP_HOME") or Path.home() / ".orlop")


def find(
    url: str = "",
    *,
    token: str = "",
    home: Path | None = None,
    program: str = "",
    process: str = "",
    tenant: str = "",
) -> Place:
    """The kernel meant: at `url`, else in `home`, else the environment's, else the default home's.

    A `url` alone takes its token from the environment.  Raises `NoKernel`, `Unauthenticated`.
    """
    if url:
        known = token or os.environ.get("ORLOP_TOKEN", "")
        place = Place(url=url.rstrip("/"), token=known)
    elif home is None and (os.environ.get("ORLOP_SOCKET") or os.environ.get("ORLOP_URL")):
        place = _from_environment(os.environ, token)
    else:
        place = _from_home(home or default_home(), token)
    tenant = tenant or os.environ.get("ORLOP_TENANT", "")
    said = program + process + tenant
    if not said.isascii() or not said.isprintable():
        raise BadCall(
            f"program {program!r}, process {process!r}, tenant {tenant!r}: printable ASCII"
        )
    if not place.token:
        raise Unauthenticated(f"no token for the kernel at {place}: ORLOP_TOKEN is not set")
    return Place(
        token=place.token,
        socket=place.socket,
        url=place.url,
        program=program,
        process=process,
        tenant=tenant,
    )


def person_token(environ: Mapping[str, str] = os.environ) -> str:
    """Of the person who sits here, as `orlop people add` has shown it; empty: none was given."""
    return environ.get("ORLOP_PERSON_TOKEN", "")


def is_process(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this program was started by a kernel."""
    return bool(environ.get("ORLOP_PROCESS"))


def read_home(home: Path) -> HomeInfo:
    """What the supervisor wrote down.  Raises `NoKernel`."""
    path = home / INFO_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=HomeInfo)
    except FileNotFoundError as error:
        raise NoKernel(f"no kernel runs in {home} (it has no {INFO_FILE})") from error
    except (OSError, msgspec.DecodeError) as error:
        raise NoKernel(f"{path} can't be read: {error}") from error


def runs(pid: int) -> bool:
    """Whether that process has not ended; one whose parent has not looked yet has."""
    try:
        if sys.platform != "linux":
            os.kill(pid, 0)
            return True
        process = os.pidfd_open(pid)
    except PermissionError:
        return True
    except OSError:
        return False
    try:
        return not select.select([process], [], [], 0)[0]
    finally:
        os.close(process)


def _from_environment(environ: Mapping[str, str], token: str) -> Place:
    """A process inside a sandbox may be given a URL and a socket that it can't reach."""
    socket = environ.get("ORLOP_SOCKET", "")
    url = environ.get("ORLOP_URL", "").rstrip("/")
    if url and not Path(socket).exists():
        socket = ""
    return Place(socket=socket, url=url, token=token or environ.get("ORLOP_TOKEN", ""))


def _from_home(home: Path, token: str) -> Place:
    info = read_home(home)
    return Place(socket=info.socket, url=info.url, token=token or _operator_token(home))


def _operator_token(home: Path) -> str:
    path = home / OPERATOR_TOKEN_FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise Unauthenticated(f"the operator's token can't be read: {error}") from error
