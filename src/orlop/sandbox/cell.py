"""From what a program may touch to the command line that holds it there."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from orlop.abi.errors import NotReady
from orlop.abi.sandbox import Sandbox
from orlop.sandbox import bubblewrap
from orlop.sandbox.ground import (
    DEVICES,
    EVERYWHERE,
    INTERPRETER,
    MACHINE,
    SETTINGS,
    SOURCE,
    SYSTEM,
    covers,
    resolved,
)
from orlop.sandbox.plan import ENV, Plan, Tier

INSIDE: Final = (
    "import os, sys; sys.path.insert(0, {source!r}); "
    "from orlop.sandbox.inside import main; os._exit(main(sys.argv[1]))"
)

PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY")
TRUST_VARIABLES: Final = (
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"),
    *("NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE", "PIP_CERT"),
)
OPEN_FILES: Final = 4_096
ENV_PIECE: Final = 100_000
"""Characters of one variable; the system takes 128 KiB."""

PROCESSES: Final = 512

GATE_SOCKET: Final = "egress.sock"
GATE_TRUST: Final = "trust.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Where the kernel is, from outside.

    gate: a folder with nothing in it but the proxy's socket and the certificates to trust.
    """

    home: Path
    url: str = ""
    socket: str = ""
    gate: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What is started in the place of a command."""

    command: tuple[str, ...]
    env: Mapping[str, str]


def check(wanted: Sandbox, tier: Tier, home: Path) -> None:
    """Raises `NotReady` for what this tier can't keep."""
    if tier == "bwrap" or wanted.files == "all":
        return
    for path in (*wanted.read, *wanted.write):
        if covers(os.path.realpath(path), str(home)):
            raise NotReady(
                f"{path} has the kernel's home {home} in it, which the sandbox tier `landlock` "
                "can't hide: name narrower folders, or install bubblewrap"
            )


def seal(
    wanted: Sandbox,
    tier: Tier,
    doors: Doors,
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    *,
    credential: str = "",
) -> Sealed:
    """credential: what its proxy knows it by.  Raises `NotReady`."""
    check(wanted, tier, doors.home)
    own, everything = tier == "bwrap", wanted.files == "all"
    shared = _shared(doors, everything=everything) if own else {}
    ways = _ways(doors, shared, own=own, credential=credential)
    env = {**env, **ways.env}
    if doors.socket in shared and "ORLOP_SOCKET" in env:
        env["ORLOP_SOCKET"] = shared[doors.socket]
    reads = [] if everything else resolved([*wanted.read, *EVERYWHERE])
    writes = ["/"] if everything else resolved(wanted.write)
    reads += ways.reads
    beside = [path for path in reads if path not in writes]
    plan = Plan(
        tier=tier,
        command=tuple(command),
        cwd=cwd or "/",
        reads=() if everything else (*_ground(own), *beside),
        writes=(*writes, "/dev") if own else (*writes, *DEVICES),
        open_files=everything,
        scratch=bubblewrap.SCRATCH if own and not everything else "",
        sockets=ways.sockets,
        ports=ways.ports,
        relays=ways.relays,
        proxy_variables=PROXY_VARIABLES if doors.gate is not None else (),
        limits=_limits(wanted, own),
    )
    inside = (INTERPRETER, "-I", "-S", "-c", INSIDE.format(source=SOURCE), plan.text())
    # What starts the sandbox is outside it yet: no variable of the program's may reach it there.
    hidden_env = plan_env(env)
    if not own:
        return Sealed(command=inside, env=hidden_env)
    line = bubblewrap.arguments(
        [path for path in reads if not path.startswith(bubblewrap.INSIDE)],
        writes,
        list(shared.items()),
        str(doors.home),
        all_files=everything,
    )
    return Sealed(command=(*line, *inside), env=hidden_env)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ways:
    """How a program inside reaches the kernel and its proxy.  Paths are as it sees them."""

    sockets: tuple[str, ...]
    ports: tuple[int, ...]
    relays: tuple[tuple[int, str], ...]
    reads: tuple[str, ...]
    """The certificates that it must trust."""
    env: Mapping[str, str]


def _ways(doors: Doors, shared: Mapping[str, str], *, own: bool, credential: str) -> _Ways:
    """own: its network is its own, so that a port of the kernel's is reached by a relay."""
    socket = shared.get(doors.socket, doors.socket)
    port = urlsplit(doors.url).port if doors.url else None
    relays: list[tuple[int, str]] = []
    if own and doors.socket and port is not None:
        relays.append((port, socket))
    reads: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    if doors.gate is not None:
        gate = shared.get(str(doors.gate), str(doors.gate))
        relays.append((0, f"{gate}/{GATE_SOCKET}"))
        reads, env = (f"{gate}/{GATE_TRUST}",), _by_proxy(f"{gate}/{GATE_TRUST}", credential)
    return _Ways(
        sockets=(socket,) if socket else (),
        ports=() if own or port is None else (port,),
        relays=tuple(relays),
        reads=reads,
        env=env,
    )


def _by_proxy(trust: str, credential: str) -> dict[str, str]:
    """What tells clients of the proxy; its port is known inside only."""
    proxy = dict.fromkeys(PROXY_VARIABLES, f"http://{credential}@127.0.0.1:{{port}}")
    own = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost,::1")
    return proxy | own | dict.fromkeys(TRUST_VARIABLES, trust) | {"NODE_USE_ENV_PROXY": "1"}


def plan_env(env: Mapping[str, str]) -> dict[str, str]:
    """The program's variables as the inside finds them: in pieces that the system lets pass."""
    text = json.dumps(dict(env))
    pieces = [text[at : at + ENV_PIECE] for at in range(0, len(text), ENV_PIECE)]
    return {f"{ENV}{number}": piece for number, piece in enumerate(pieces)}


def _shared(doors: Doors, *, everything: bool) -> dict[str, str]:
    """What of the kernel's is seen inside, and where."""
    shared: dict[str, str] = {}
    if everything:  # There is no folder that could be made for it: it stays where it is.
        return {path: path for path in (doors.socket, str(doors.gate or "")) if path}
    if doors.socket:
        shared[doors.socket] = f"{bubblewrap.INSIDE}/kernel.sock"
    if doors.gate is not None:
        shared[str(doors.gate)] = f"{bubblewrap.INSIDE}/gate"
    return shared


def _ground(own: bool) -> tuple[str, ...]:
    """What each may read.  own: it has a /proc of its own; else it sees what names nobody."""
    return (*SYSTEM, *SETTINGS) if own else (*SYSTEM, *SETTINGS, *MACHINE)


def _limits(wanted: Sandbox, own: bool) -> tuple[tuple[str, int], ...]:
    """What is counted by user and not by sandbox is limited only where the user is its own."""
    limits = {"nofile": wanted.open_files or OPEN_FILES}
    if own:
        limits["nproc"] = wanted.processes or PROCESSES
    if wanted.memory_bytes is not None:
        limits["as"] = wanted.memory_bytes
    if wanted.file_bytes is not None:
        limits["fsize"] = wanted.file_bytes
    if wanted.cpu_s is not None:
        limits["cpu"] = wanted.cpu_s
    return tuple(limits.items())
