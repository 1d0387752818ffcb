"""What lies in a host's slots, as a file.

A kernel that starts may find its host still running, with contexts that no snapshot has.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from orlop.devices.engine_host import HostState

log = logging.getLogger(__name__)


class Seat(Struct, frozen=True):
    """One slot, as the next kernel should know it."""

    slot: int
    id: str
    """The context's."""
    program: str
    tokens: int
    blocks: tuple[int, ...]


class _Map(Struct, frozen=True):
    """Of another host than this it says nothing."""

    pid: int
    started_s: float
    seated: tuple[Seat, ...] = ()


def read(path: Path, host: HostState) -> tuple[Seat, ...]:
    """What a kernel before us has said of this host."""
    try:
        told = msgspec.json.decode(path.read_bytes(), type=_Map)
    except (OSError, msgspec.DecodeError):
        return ()
    same = (told.pid, told.started_s) == (host.pid, host.started_s)
    return told.seated if same else ()


def write(path: Path, host: HostState, seats: Sequence[Seat]) -> None:
    """Not fsynced: after a loss of power there is no host whose slots it could tell."""
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(msgspec.json.encode(_Map(host.pid, host.started_s, tuple(seats))))
        fresh.replace(path)
    except OSError as error:
        log.warning("what lies in the slots is not noted: %s", error)
