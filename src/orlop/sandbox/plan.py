"""What the inside is told, as JSON: from the kernel that builds the cell to the program that is it.

Standard library only: it is read where a program starts.
"""

import json
from collections.abc import Mapping
from typing import Literal, NamedTuple

Tier = Literal["bwrap", "landlock"]

ENV = "ORLOP_CELL_ENV_"
"""Begins the names of variables, numbered from 0, in which the program's own lie, as JSON."""


class Plan(NamedTuple):
    """One program's cell.  Paths are as the program sees them."""

    tier: Tier
    command: tuple[str, ...]
    cwd: str = ""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    open_files: bool = False
    """Files are as they are outside: only the network is closed."""
    scratch: str = ""
    """A folder for what need not last; made by the inside where it is not there yet."""
    sockets: tuple[str, ...] = ()
    """Unix sockets, and folders with sockets, that it may connect to."""
    ports: tuple[int, ...] = ()
    """Of 127.0.0.1, that it may connect to; only where the network is not its own."""
    relays: tuple[tuple[int, str], ...] = ()
    """Ports that the inside listens on, each with the Unix socket that it leads to; 0: any port."""
    proxy_variables: tuple[str, ...] = ()
    """Environment variables in which `{port}` is the last relay's port."""
    limits: tuple[tuple[str, int], ...] = ()
    """Names of `resource.RLIMIT_…` in lower case, with their values."""

    def text(self) -> str:
        return json.dumps(self._asdict(), separators=(",", ":"))


def read_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The program's variables.  Raises `ValueError`."""
    pieces: list[str] = []
    while (piece := environ.get(f"{ENV}{len(pieces)}")) is not None:
        pieces.append(piece)
    told: dict[str, str] = json.loads("".join(pieces) or "{}")
    return told


def read(text: str) -> Plan:
    """Raises `ValueError`, `TypeError` for what is no plan."""
    told = json.loads(text)
    for name, value in told.items():
        if isinstance(value, list):
            told[name] = tuple(tuple(one) if isinstance(one, list) else one for one in value)
    return Plan(**told)
