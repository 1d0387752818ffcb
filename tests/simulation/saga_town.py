"""Agents with sagas, while kernels are killed under them at random moments and at fault points.

Outside of the kernel is a shop: what is booked there, and how often.  Its staff (a person) knows
what happened, and says so where the kernel does not.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from small_kernel import Computer, on, program, result

from orlop.abi.budgets import ORGANISATION
from orlop.abi.calls import CallTool
from orlop.abi.cards import Effect, ToolCard
from orlop.abi.effects import SettleOrder
from orlop.abi.errors import (
    Conflict,
    DeviceFailed,
    EffectUnknown,
    KernelError,
    NoKernel,
    ToolFailed,
)
from orlop.abi.ids import DEFAULT_TENANT, NanoDollars, ProcessId
from orlop.abi.replies import ToolResult
from orlop.abi.sagas import CloseSaga, OpenSaga, SagaBegun, SagaOrder, SagaOver, SagaView
from orlop.devices.device import Tool
from orlop.kernel import effects, syscall
from orlop.machine import faults
from orlop.state.core import Kernel
from orlop.state.running import Running
from orlop.state.saga_table import newest
from orlop.subsystems import saga

CLASSES: tuple[Effect, ...] = ("compensable", "idempotent", "queryable")
UNDO_CLASSES: tuple[Effect, ...] = ("idempotent", "queryable", "irreversible")
AGENTS = 3
STEPS_MAX = 4
PRICE = 1_000
"""Of a cancellation."""

FAULT = 0.02
"""How likely a kernel dies at each fault point that it passes."""


@dataclass(eq=False)
class Shop:
    """The truth.  An order is booked under a key; a repeat of the key is a bug, or harmless where
    the tool has promised that."""

    chance: random.Random
    booked: Counter[str] = field(default_factory=Counter)
    cancelled: Counter[str] = field(default_factory=Counter)
    keys: dict[str, str] = field(default_factory=dict)
    """What each key has done."""
    dead: bool = False
    """The kernel has been killed; what it still does reaches nobody."""

    def tools(self) -> list[Tool]:
        cards = [
            ToolCard(
                name=f"book-{effect}-{undo}",
                effect=effect,
                compensate=f"cancel-{undo}",
                compensate_with={"order": "{arguments.order}", "key": "{key}"},
            )
            for effect in CLASSES
            for undo in UNDO_CLASSES
        ]
        cards += [
            ToolCard(name=f"cancel-{undo}", effect=undo, price=NanoDollars(PRICE))
            for undo in UNDO_CLASSES
        ]
        return [Desk(self, card) for card in cards]

    async def act(self, card: ToolCard, order: str, key: str) -> None:
        """Before it acts, after it, or not at all: whatever goes wrong goes wrong there."""
        await asyncio.sleep(self.chance.uniform(0, 1))
        if self.dead:
            raise DeviceFailed("the kernel that called is gone")
        if self.chance.random() < 0.1:
            raise ToolFailed("no, not now")
        repeated = key in self.keys
        if not (repeated and card.effect == "idempotent"):
            count = self.booked if card.name.startswith("book") else self.cancelled
            count[order] += 1
        self.keys[key] = order
        await asyncio.sleep(self.chance.uniform(0, 1))
        if self.chance.random() < 0.05:
            raise DeviceFailed("no answer")


@dataclass(eq=False)
class Desk:
    shop: Shop
    card: ToolCard

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        await self.shop.act(self.card, str(arguments["order"]), key)
        return {"order": arguments["order"], "key": key}

    async def happened(self, key: str) -> bool | None:
        return key in self.shop.keys


@dataclass(eq=False)
class Told:
    """What an agent knows of one of its sagas.  orders: those whose call was answered."""

    id: str
    orders: list[str] = field(default_factory=list)
    over: SagaOver | None = None


class Town:
    """The kernel of the moment, and what was told."""

    def __init__(self, here: Computer, kernel: Kernel, shop: Shop) -> None:
        self.here = here
        self.kernel = kernel
        self.shop = shop
        self.chance = shop.chance
        self.told: list[Told] = []
        self.kills = 0
        self.asked = 0
        self.asked_people = 0
        self.sought = 0
        """Kills that are still to come."""
        self.dead: list[Kernel] = []
        self.up = asyncio.Event()
        self.up.set()
        self.struck = asyncio.Event()
        self.broken = asyncio.Event()
        """The connections to this kernel: set and replaced when it is killed."""

    def at_point(self, name: str) -> None:
        if self.sought and not self.shop.dead and self.chance.random() < FAULT:
            self.strike()

    def strike(self) -> None:
        """From here on nothing that this kernel does reaches the disk or the shop."""
        self.sought -= 1
        self.shop.dead = True
        self.here.tape.stop()
        self.up.clear()
        self.broken.set()
        self.broken = asyncio.Event()
        self.struck.set()

    async def ask(self, process: ProcessId, call: CallTool | OpenSaga | CloseSaga) -> object:
        """Until it is answered, or refused for good; a lost answer is asked for under its name."""
        self.asked += 1
        nonce, retry = str(self.asked), False
        while True:
            await self.up.wait()
            kernel = self.kernel
            try:
                caller = kernel.processes[process]
                return await self.heard(
                    syscall.enter(kernel, caller, call, retry=retry, nonce=nonce)
                )
            except (ToolFailed, EffectUnknown, Conflict):
                if kernel is self.kernel and not self.shop.dead:
                    raise
            except (KernelError, KeyError, AssertionError):
                pass
            retry = True
            await asyncio.sleep(self.chance.uniform(0.1, 0.5))

    async def heard(self, running: Running) -> object:
        """What it came to; the connection to a kernel that is killed breaks."""
        answer = asyncio.ensure_future(result(running))
        broken = asyncio.ensure_future(self.broken.wait())
        await asyncio.wait((answer, broken), return_when=asyncio.FIRST_COMPLETED)
        broken.cancel()
        if not answer.done():
            answer.cancel()
            raise NoKernel("the connection broke")
        return answer.result()

    async def agent(self, process: ProcessId, name: str) -> None:
        """A few sagas, one after another; each is committed, given up, or left to the kernel."""
        for number in range(2):
            begun = await self.ask(process, OpenSaga(name=f"{name}.{number}"))
            assert isinstance(begun, SagaBegun)
            told = Told(begun.saga)
            self.told.append(told)
            verdict = "commit" if self.chance.random() < 0.5 else "abort"
            for step in range(self.chance.randint(1, STEPS_MAX)):
                order = f"{begun.saga}.{step}"
                tool = f"book-{self.chance.choice(CLASSES)}-{self.chance.choice(UNDO_CLASSES)}"
                call = CallTool(tool=tool, arguments={"order": order}, saga=begun.saga)
                try:
                    done = await self.ask(process, call)
                    assert isinstance(done, ToolResult)
                    told.orders.append(order)
                except KernelError:
                    verdict = "abort"
                    break
            close = CloseSaga(saga=begun.saga, verdict=verdict)  # type: ignore[arg-type]
            over = await self.ask(process, close)
            assert isinstance(over, SagaOver)
            told.over = over

    async def staff(self) -> None:
        """Say what is true of each effect that the kernel does not know."""
        while True:
            await asyncio.sleep(self.chance.uniform(0, 2))
            await self.up.wait()
            kernel = self.kernel
            try:
                for view in await effects.listed(kernel):
                    happened = view.key in self.shop.keys
                    value = {"order": view.arguments["order"]} if happened else None
                    order = SettleOrder(happened=happened, person="Grace", result=value)
                    if self.is_up(kernel):
                        self.asked_people += 1
                        await effects.settle(kernel, view.id, order)
                for id in [row.id for row in saga.listed(kernel, over=False)]:
                    if self.is_up(kernel):
                        await self.look(kernel, id)
            except KernelError:
                pass

    async def look(self, kernel: Kernel, id: str) -> None:
        """Go and see what became of a compensation that nobody knows of."""
        row = saga.find(kernel, id)
        step = newest(row)
        if row.state == "stuck" and step is not None and step.state == "stuck":
            undone = f"{step.effect}.undo" in self.shop.keys
            word = SagaOrder(verdict="undone" if undone else "again", person="Grace")
            self.asked_people += 1
            await saga.settle(kernel, id, word)

    def is_up(self, kernel: Kernel) -> bool:
        """A person can't speak to a kernel that is gone."""
        return kernel is self.kernel and not self.shop.dead

    async def doom(self, kills: int) -> None:
        for _ in range(kills):
            self.sought += 1
            try:
                async with asyncio.timeout(self.chance.uniform(0.5, 6)):
                    await self.struck.wait()
            except TimeoutError:
                if not self.shop.dead:
                    self.strike()
            self.kills += 1
            self.dead.append(self.kernel)
            await self.here.crash(self.kernel)
            self.struck.clear()
            self.shop.dead = False
            self.kernel = await self.here.boot()
            self.up.set()
        self.sought = 0

    def doubled(self) -> int:
        """Bookings and cancellations that happened more than once."""
        counts = [*self.shop.booked.values(), *self.shop.cancelled.values()]
        return sum(count - 1 for count in counts if count > 1)

    def left_over(self) -> int:
        """Sagas that are half there: given up and not all undone, or committed and not whole."""
        return sum(self._is_half(row) for row in saga.listed(self.kernel, over=True))

    def _is_half(self, row: SagaView) -> bool:
        orders = [order for order in self.shop.booked if order.startswith(f"{row.id}.")]
        left = [order for order in orders if not self.shop.cancelled[order]]
        return bool(left) if row.state == "compensated" else left != orders

    def actions(self) -> int:
        return sum(self.shop.booked.values()) + sum(self.shop.cancelled.values())

    def check(self, story: str) -> None:
        """I2 for sagas: nothing is booked or cancelled twice; what was committed is there, and
        nothing of what was given up."""
        assert self.doubled() == 0, f"{story}: {self.shop.booked} {self.shop.cancelled}"
        self.check_books(story)
        for row in saga.listed(self.kernel, over=True):
            assert row.state in ("committed", "compensated"), f"{story}: {row}"
            assert not self._is_half(row), f"{story}: {row}"
        for told in self.told:
            assert told.over is not None, f"{story}: {told} was never told"
            if told.over.state == "committed":
                booked = {order for order in self.shop.booked if order.startswith(f"{told.id}.")}
                assert set(told.orders) <= booked, f"{story}: {told}"

    def check_books(self, story: str) -> None:
        """I3 for compensations: each attempt is booked once, and nothing is held any more."""
        ledger, rows = self.kernel.tables.ledger, self.kernel.tables.sagas.rows.values()
        ledger.check()
        assert not ledger.holds, f"{story}: {ledger.holds}"
        attempts = sum(step.attempts for row in rows for step in row.steps)
        spent = ledger.accounts[DEFAULT_TENANT, ORGANISATION].ever.nano_dollars
        assert spent == attempts * PRICE, f"{story}: {attempts} attempts, {spent} spent"


def run(seed: int, *, judged: bool = True) -> Town:
    """One town's day, from its seed."""
    chance = random.Random(seed)
    shop = Shop(chance)

    async def scenario(here: Computer, kernel: Kernel) -> Town:
        town = Town(here, kernel, shop)
        faults.install(town.at_point)
        processes = [(await program(kernel)).id for _ in range(AGENTS)]
        staff = asyncio.create_task(town.staff())
        doom = asyncio.create_task(town.doom(chance.randint(1, 8)))
        try:
            await asyncio.gather(
                *(town.agent(process, f"agent{n}") for n, process in enumerate(processes))
            )
            await doom
            for row in saga.listed(town.kernel, over=False):
                if row.state != "open":
                    await saga.ended(town.kernel, row.id)
                else:
                    # Its kernel was lost before its agent heard of it, so it has no steps.
                    assert row.steps == (), f"seed {seed}: {row}"
                    saga.decide(town.kernel, row, "abort", "nobody knows of it")
                    await saga.ended(town.kernel, row.id)
        finally:
            faults.install(None)
            staff.cancel()
        if judged:
            town.check(f"seed {seed}, {town.kills} kills")
        await here.close(town.kernel)
        return town

    return on(lambda: Computer(tools=shop.tools()), scenario, seed)
