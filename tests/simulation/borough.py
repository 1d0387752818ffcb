"""Tenants that share a kernel, and agents who try all names that anybody has: I6.

What a tenant says holds its mark.  Names of files, pipes and namespaces are the same everywhere,
and ids are drawn from those of everybody.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from file_kernel import FileComputer
from small_kernel import result

from orlop.abi.calls import (
    Ask,
    Call,
    CallTool,
    Grant,
    Infer,
    Revoke,
    Signal,
    Sleep,
    Spawn,
    Wait,
)
from orlop.abi.contexts import OpenContext, SaveContext
from orlop.abi.errors import KernelError, NotFound
from orlop.abi.events import Event, Header
from orlop.abi.files import (
    ChangeFiles,
    FileRead,
    FileWrite,
    ListFiles,
    Put,
    ReadFiles,
    SearchFiles,
    Take,
    WriteFiles,
)
from orlop.abi.hints import Hints
from orlop.abi.ids import DEFAULT_TENANT, CallId, ProcessId, Seq, TenantId
from orlop.abi.memory import Forget, Item, MemoryId, Recall, Remember, Target
from orlop.abi.messages import Message
from orlop.abi.processes import ProcessSpawned
from orlop.abi.questions import AnswerOrder
from orlop.abi.sagas import CloseSaga, OpenSaga
from orlop.abi.tenants import TenantOrder
from orlop.kernel import syscall
from orlop.memory.memories import MemoryConfig, build
from orlop.people import answering, asking
from orlop.people.house import Speaker
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import ALIVE
from orlop.subsystems import lifecycle, saga, tenants

ACME, ZETA = TenantId("acme"), TenantId("zeta")
TENANTS = (DEFAULT_TENANT, ACME, ZETA)
PATHS = ("/notes.txt", "/plans/a.txt", "/plans/b.txt")
PIPES = ("/in", "/out")
PLACES = ("common/town", "notes")
WAIT_S = 0.2
PATIENCE_S = 3.0


def mark(tenant: TenantId) -> str:
    """What all that it says holds, and nothing that others say."""
    return f"mark-of-{tenant}"


@dataclass(eq=False, kw_only=True)
class Computer(FileComputer):
    """With memories too."""

    async def boot(self) -> Kernel:
        kernel = await super().boot()
        kernel.memories = build(kernel.journal, self.clock, None, MemoryConfig())
        kernel.projections = (*kernel.projections, kernel.memories.projection)
        kernel.tasks.start(kernel.memories.projection.run(), "memory")
        return kernel


@dataclass(eq=False, slots=True)
class Borough:
    """`known`: ids that anybody has been told of."""

    here: Computer
    kernel: Kernel
    chance: random.Random
    known: dict[str, list[str]] = field(default_factory=dict)
    answered: int = 0
    refused: int = 0
    dead: list[Kernel] = field(default_factory=list)

    async def settle(self) -> None:
        for tenant in TENANTS[1:]:
            await tenants.create(self.kernel, TenantOrder(name=tenant, sandbox=None))
        await self.people()

    async def people(self) -> None:
        """Somebody in each tenant who is there for the whole life."""
        for tenant in TENANTS:
            name = f"agent {mark(tenant)}"
            process = await lifecycle.create(self.kernel, Spawn(command=(), name=name), tenant)
            await lifecycle.start(self.kernel, process, "first")

    def of(self, tenant: TenantId) -> list[Process]:
        return [
            process
            for process in self.kernel.processes.values()
            if process.row.tenant == tenant and process.row.state in ALIVE
        ]

    def some(self, kind: str, fallback: str) -> str:
        """An id that anybody has."""
        return self.chance.choice(self.known.get(kind) or [fallback])

    def call(self, tenant: TenantId) -> Call:
        said, chance = f"{mark(tenant)} {self.chance.random()}", self.chance
        path, pipe, place = chance.choice(PATHS), chance.choice(PIPES), chance.choice(PLACES)
        process = ProcessId(self.some("process", "prc_0"))
        call = CallId(self.some("call", "cal_0"))
        memory = MemoryId(self.some("memory", "mem_0"))
        soon = Hints(deadline_s=WAIT_S)
        choices: Sequence[Call] = (
            Infer(model="fake", messages=(Message("user", said),)),
            WriteFiles(files=(FileWrite(path=path, data=said.encode()),)),
            ReadFiles(files=(FileRead(path=path),)),
            ListFiles(path="/", deep=True),
            SearchFiles(text="mark of town", path="/"),
            ChangeFiles(action=chance.choice(["delete", "copy", "move"]), path=path, to="/moved"),
            Put(pipe=pipe, data=said.encode()),
            Take(pipe=pipe, hints=soon),
            Remember(namespace=place, items=(Item(text=said, key=chance.choice(["", "k"])),)),
            Recall(namespaces=(place,), query=chance.choice(["", "mark"])),
            Recall(memory=memory),
            Forget(targets=(Target(memory, 0),)),
            SaveContext(path="/context", call=call),
            OpenContext(path="/context"),
            Ask(text=said, hints=soon),
            Spawn(command=("agent", said), name=f"child {mark(tenant)}"),
            Wait(process=process, hints=soon),
            Signal(process=process, signal=chance.choice(["term", "stop", "cont"])),
            Grant(process=process, right="model"),
            Revoke(process=process, right="tool"),
            OpenSaga(name=said),
            CloseSaga(saga=self.some("saga", "sag_0"), verdict="commit"),
            CallTool(tool=f"{process}.lookup", arguments={"text": said}),
            Sleep(seconds=0.1),
        )
        return chance.choice(choices)

    async def step(self) -> None:
        """A call of anybody's; nothing that is told holds what another tenant has said."""
        tenant = self.chance.choice(TENANTS)
        process = self.chance.choice(self.of(tenant) or [None])
        if process is None:
            return
        call = self.call(tenant)
        running = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                running = syscall.enter(self.kernel, process, call)
                done = await result(running)
            self.answered += 1
            told = msgspec.json.encode(done)
            self.learn(done)
        except KernelError as error:
            self.refused += 1
            told = error.message.encode()
        except TimeoutError:  # Its process is stopped, or it waits for what never comes.
            assert running is not None
            running.leave()
            return
        self.require_own(tenant, told, type(call).__name__)

    def learn(self, done: object) -> None:
        """Everybody hears of every id."""
        facts = getattr(done, "facts", None)
        self.known.setdefault("call", []).append(str(getattr(facts, "call", "cal_0")))
        for kind, name in (("process", "process"), ("saga", "saga")):
            if (id := getattr(done, name, None)) is not None:
                self.known.setdefault(kind, []).append(str(id))
        for one in getattr(done, "written", ()):
            self.known.setdefault("memory", []).append(str(one.memory))

    async def operate(self) -> None:
        """An operator of a tenant, with anybody's ids."""
        tenant = self.chance.choice(TENANTS)
        kernel, reference = self.kernel, self.some("process", "prc_0")
        speaker = Speaker("", "operator", tenant)
        rows = tuple(kernel.office.questions.rows.values())
        try:
            if rows and self.chance.random() < 0.5:
                row = self.chance.choice(rows)
                order = AnswerOrder(verdict="answer", answer=f"{mark(tenant)} says so")
                await answering.answer(kernel, row.id, order, speaker)
                assert row.tenant == tenant, "answered another tenant's question"
            elif self.chance.random() < 0.3:
                id = self.some("saga", "sag_0")
                assert saga.find(kernel, id, tenant).tenant == tenant
            else:
                found = kernel.find(reference, tenant)
                assert found.row.tenant == tenant, "found another tenant's process"
        except NotFound as error:
            self.require_own(tenant, error.message.encode(), "an operator's order")
        except KernelError:
            self.refused += 1
        told = msgspec.json.encode(asking.listed(kernel, tenant, closed=True))
        self.require_own(tenant, told, "the list of questions")

    def require_own(self, tenant: TenantId, told: bytes, what: str) -> None:
        for other in TENANTS:
            if other != tenant:
                assert mark(other).encode() not in told, f"{what} of {tenant} told {told[:300]!r}"

    async def die(self) -> None:
        """At any moment: what was not on the disk is lost."""
        if self.chance.random() < 0.3:
            self.kernel.snapshot()
        self.dead.append(self.kernel)
        await self.here.crash(self.kernel)
        self.kernel = await self.here.boot()
        if len(self.kernel.tables.tenants.rows) < len(TENANTS):
            missing = [one for one in TENANTS if one not in self.kernel.tables.tenants.rows]
            for tenant in missing:
                order = TenantOrder(name=tenant, sandbox=None)
                await tenants.create(self.kernel, order)
        await self.people()

    async def live(self, steps: int) -> None:
        for _ in range(steps):
            dice = self.chance.random()
            if dice < 0.02:
                await self.die()
            elif dice < 0.15:
                await self.operate()
            else:
                await asyncio.gather(*(self.step() for _ in range(self.chance.randint(1, 4))))


class Notary:
    """I6, by the journal alone: whose every event is, and what is said in it."""

    def __init__(self) -> None:
        self.of: dict[ProcessId, TenantId] = {}
        self.events = 0

    def read(self, header: Header, event: Event | None, body: bytes) -> None:
        if isinstance(event, ProcessSpawned):
            self.of[header.process] = header.tenant
            if event.parent is not None:
                assert self.of[event.parent] == header.tenant, "a child of another tenant"
        if header.process in self.of:
            assert self.of[header.process] == header.tenant, f"event {header.seq}"
        if header.kind == "kernel.snapshot":
            return  # Of all of them, sealed with the installation's key; shown to nobody.
        self.events += 1
        for other in TENANTS:
            if other != header.tenant:
                assert mark(other).encode() not in body, f"event {header.seq}: {body[:300]!r}"


async def notarised(kernel: Kernel) -> Notary:
    await kernel.journal.flush()
    notary = Notary()
    for stored in await kernel.journal.read(Seq(1), limit=1_000_000):
        notary.read(stored.header, codec.decode(stored), stored.body or b"")
    return notary
