"""Journals for tests: how to make one on each kind of tape, and what to put into it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orlop.abi.ids import DEFAULT_TENANT, CallId, ProcessId, Seq, TenantId
from orlop.abi.limits import REDO_BYTES
from orlop.machine.chance import Chance, SeededChance, SystemChance
from orlop.machine.clock import SystemClock
from orlop.machine.offload import InlineOffload, Offload, ThreadOffload
from orlop.store.home import Home
from orlop.store.journal import Draft, Journal, Part
from orlop.store.keyring import Keyring
from orlop.store.postgres import PostgresTape
from orlop.store.sqlite import SqliteTape
from orlop.store.tape import Tape
from orlop.store.volatile import VolatileTape

AGENT = ProcessId("prc_01h455vb4pex5vsknk084sn02q")


class Disk(Protocol):
    """What outlives a journal: each call of `journal` is a new life of a kernel."""

    chance: Chance

    def journal(self) -> Journal: ...

    def tape(self) -> Tape: ...


@dataclass
class SqliteDisk:
    path: Path
    chance: Chance = field(default_factory=SystemChance)
    offloads: list[Offload] = field(default_factory=list)
    redo_bytes: int = REDO_BYTES

    def tape(self) -> SqliteTape:
        return SqliteTape(Home(self.path), free_bytes_min=0, redo_bytes=self.redo_bytes)

    def journal(self) -> Journal:
        return self.journal_on(self.tape())

    def journal_on(self, tape: Tape) -> Journal:
        self.offloads.append(ThreadOffload("journal"))
        keyring = Home(self.path).keyring(self.chance)
        return Journal(tape, keyring, SystemClock(), self.chance, self.offloads[-1])

    def close(self) -> None:
        for offload in self.offloads:
            offload.close()


@dataclass
class PostgresDisk:
    """One journal, in a schema of its own, on a server that others share."""

    path: Path
    url: str
    name: str
    chance: Chance = field(default_factory=SystemChance)
    offloads: list[Offload] = field(default_factory=list)
    cluster: str = ""

    def tape(self) -> PostgresTape:
        return PostgresTape(Home(self.path), self.url, self.name, self.cluster)

    def journal(self) -> Journal:
        self.offloads.append(ThreadOffload("journal"))
        keyring = Home(self.path).keyring(self.chance)
        return Journal(self.tape(), keyring, SystemClock(), self.chance, self.offloads[-1])

    def close(self) -> None:
        for offload in self.offloads:
            offload.close()


class VolatileDisk:
    def __init__(self, seed: int = 1) -> None:
        self.chance: Chance = SeededChance(seed)
        self._keyring = Keyring.volatile(self.chance)
        self._tape = VolatileTape()

    def tape(self) -> VolatileTape:
        return self._tape

    def journal(self) -> Journal:
        return Journal(self._tape, self._keyring, SystemClock(), self.chance, InlineOffload())


@asynccontextmanager
async def opened(disk: Disk) -> AsyncGenerator[Journal]:
    """One life that ends cleanly."""
    journal = disk.journal()
    try:
        await journal.open("test", "host", 1)
        yield journal
    finally:
        await journal.close()


def intent(number: int, process: ProcessId = AGENT, parts: tuple[Part, ...] = ()) -> Draft:
    return Draft(
        process=process,
        kind="call.entered",
        body=b'{"kind":"call.entered","number":%d}' % number,
        tenant=DEFAULT_TENANT,
        parts=parts,
        call=CallId(f"cal_{number:026d}"),
        args_digest=bytes(32),
    )


def outcome(number: int, cause: int, process: ProcessId = AGENT) -> Draft:
    return Draft(
        process=process,
        kind="call.returned",
        body=b'{"kind":"call.returned","number":%d}' % number,
        tenant=DEFAULT_TENANT,
        call=CallId(f"cal_{number:026d}"),
        cause=Seq(cause),
        key=number.to_bytes(16),
    )


def message(journal: Journal, text: str, tenant: TenantId = DEFAULT_TENANT) -> Part:
    data = text.encode()
    return Part(journal.name_of(tenant, data), data)
