"""What goes wrong in a town, who puts it right again, and how one day in it passes."""

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Final

from simulation.agents import POOR
from simulation.chronicle import Chronicle
from simulation.conditions import drawn
from simulation.town import Life, Town

from orlop.abi.admin import ScheduleOrder
from orlop.abi.budgets import AccountName, BudgetOrder, Limit
from orlop.abi.calls import Budget, RestartRule, Spawn
from orlop.abi.errors import KernelError
from orlop.abi.ids import DEFAULT_TENANT, NanoDollars
from orlop.kernel import operator
from orlop.kernel.shutdown import shut_down
from orlop.machine import faults
from orlop.sched.check import check as check_scheduler
from orlop.state.process import Process
from orlop.state.process_table import ALIVE, Row, State
from orlop.subsystems import budgets, lifecycle

POINTS: Final = (
    "door.entered",
    "door.durable",
    "door.done",
    "door.outcome",
    "door.told",
    "tool.before",
    "tool.after",
    "journal.commit",
    "journal.committed",
    "journal.anchored",
)

PATIENCE_S: Final = 20_000.0
"""Virtual: the longest plan sleeps a few thousand seconds."""


class Day:
    """One seed's day: people arrive, things go wrong, calm returns, all must be served."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.chronicle = Chronicle(town)
        self.condemned: set[str] = set()
        """Processes that an operator has killed: nobody waits for them."""
        self._random = town.random

    async def pass_by(self) -> str:
        """The journal's last hash."""
        town = self.town
        await town.boot()
        town.tasks.start(town.keep_up(), "the supervisor")
        town.tasks.start(self._repair(), "the operator")
        for account, limit in town.conditions.limits.items():
            await self._limit(account, limit)
        people = [asyncio.ensure_future(self._hire(n)) for n in range(town.conditions.agents)]
        people += [asyncio.ensure_future(self._client(n)) for n in range(town.conditions.clients)]
        plans = [asyncio.ensure_future(self._plan(n)) for n in range(town.conditions.schedules)]
        await self._mayhem()
        town.trouble.is_calm, town.passed_at = True, None
        town.mend_disk()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*plans)
            await self._end_schedules()
            await asyncio.gather(*people)
            while not await self._is_done():
                await town.clock.sleep(1.0)
        return await self._evening()

    # People.

    async def _hire(self, number: int) -> None:
        """`orlop run`: started once, although the kernel may be lost meanwhile."""
        name = f"a{number}"
        await self.town.clock.sleep(self._random.random() * 2)
        command = ("agent", name, str(self._random.randrange(1 << 30)), "0")
        rule: RestartRule = self._random.choice(["never", "on-failure"])
        budget = Budget(
            calls=self._random.choice([None, None, 2, 20]),
            tokens=self._random.choice([None, None, 200, 20_000]),
            nano_dollars=self._random.choice([None, None, NanoDollars(900_000)]),
            seconds=self._random.choice([None, None, None, 2.0]),
        )
        spawn = Spawn(command=command, name=name, restart=rule, budget=budget)

        async def run(life: Life) -> None:
            process = await lifecycle.create(life.kernel, spawn, DEFAULT_TENANT)
            await lifecycle.start(life.kernel, process, "first")

        while True:
            life = await self.town.up()
            if any(row.name == name for row in life.kernel.tables.rows.values()):
                return
            await self._order(life, run(life))

    async def _limit(self, account: AccountName, limit: Limit) -> None:
        """An operator's word, before anybody is hired."""
        life = await self.town.up()
        while (
            DEFAULT_TENANT,
            account.partition(":")[0],
        ) not in life.kernel.tables.ledger.templates:
            order = BudgetOrder(account=account, limit=limit)
            await self._order(life, budgets.allow(life.kernel, DEFAULT_TENANT, order))
            life = await self.town.up()
            if (DEFAULT_TENANT, account) in life.kernel.tables.ledger.accounts:
                return

    async def _client(self, number: int) -> None:
        """A program that came by itself, with a key."""
        name, town = f"c{number}", self.town
        secrets: list[str] = []

        async def key(life: Life) -> None:
            made = await operator.create_key(life.kernel, DEFAULT_TENANT, name)
            secrets.append(made.secret)

        while not secrets:
            life = await town.up()
            await self._order(life, key(life))
        awake = asyncio.Event()
        awake.set()
        fields = {"authorization": f"Bearer {secrets[0]}", "orlop-process": name}
        command = ("agent", name, str(self._random.randrange(1 << 30)), "1")
        agent = town.agent(command, fields, awake)
        assert await agent.run() in (0, POOR)
        await agent.leave()

    async def _plan(self, number: int) -> None:
        """A schedule that runs while things go wrong."""
        name = f"s{number}"
        order = ScheduleOrder(
            when=self._random.choice(["every 1s", "every 3s", "* * * * *"]),
            command=("errand",),
            name=name,
            missed=self._random.choice(["skip", "once", "all"]),
            overlap=self._random.choice(["allow", "forbid", "replace"]),
        )

        async def plan(life: Life) -> None:
            await life.schedules.set(DEFAULT_TENANT, order)

        while True:
            life = await self.town.up()
            if any(row.set.name == name for row in life.kernel.tables.schedules.rows.values()):
                return
            await self._order(life, plan(life))

    async def _end_schedules(self) -> None:
        """Else they would run for as long as the longest sleeper sleeps."""
        while (await self.town.up()).kernel.tables.schedules.rows:
            life = await self.town.up()
            for id in tuple(life.kernel.tables.schedules.rows):
                await self._order(life, life.schedules.remove(DEFAULT_TENANT, id))
            await self.town.clock.sleep(0.1)

    async def _order(self, life: Life, work: Coroutine[object, object, None]) -> None:
        """An operator's order: done, refused, or lost with the kernel."""
        if not life.power.is_on:
            work.close()
            return
        task = life.start(work)
        await asyncio.wait((task,))
        if not task.cancelled() and isinstance(task.exception(), KernelError):
            await self.town.clock.sleep(0.1)
        elif not task.cancelled():
            task.result()

    # What goes wrong.

    async def _mayhem(self) -> None:
        town = self.town
        until_s = town.clock.now_s() + town.conditions.mayhem_s
        while town.clock.now_s() < until_s:
            await town.clock.sleep(self._random.expovariate(1 / town.conditions.pause_s))
            if self._random.random() < town.conditions.disk_faults:
                self._hurt_disk()
            else:
                self._strike()

    def _strike(self) -> None:
        town, chance = self.town, self._random
        match chance.choice(["cut", "point", "point", "point", "kill", "shim", "stop", "die"]):
            case "cut":
                town.cut()
            case "point":
                town.passed_at = (chance.choice(POINTS), chance.randint(1, 10))
            case "kill" | "shim" as which:
                if alive := [each for each in town.machine.alive() if each.begun]:
                    town.kills += 1
                    victim = chance.choice(alive)
                    (town.machine.kill if which == "kill" else town.machine.kill_shim)(victim)
            case "stop":
                self._signal()
            case _:
                chance.choice(town.engines).die(chance.random())

    def _hurt_disk(self) -> None:
        planned = self.town.tape.faults
        if self._random.random() < 0.5:
            planned.commit_fails_at = self._random.randint(1, 20)
        else:
            planned.anchor_fails_at = self._random.randint(1, 20)

    def _signal(self) -> None:
        life = self.town.life
        if life is None or not life.power.is_on:
            return
        alive = [each for each in life.kernel.processes.values() if each.row.state in ALIVE]
        programs = [each for each in alive if not each.row.is_client]
        if not programs:
            return
        process = self._random.choice(programs)
        if self._random.random() < 0.1:
            self.condemned.add(process.row.name)
            name = self._random.choice(("term", "kill"))
            self.town.tasks.start(self._order(life, self._kill(life, process, name)))
        else:
            self.town.tasks.start(self._order(life, self._pause(life, process)))

    async def _kill(self, life: Life, process: Process, name: str) -> None:
        await lifecycle.signal(life.kernel, process, "kill" if name == "kill" else "term", "order")

    async def _pause(self, life: Life, process: Process) -> None:
        """A stop, and a cont that may come after a restart of the process."""
        await lifecycle.signal(life.kernel, process, "stop", "an operator's order")
        await self.town.clock.sleep(self._random.random() * 2)
        if process.row.state is State.STOPPED:
            await lifecycle.signal(life.kernel, process, "cont", "an operator's order")

    # Who puts it right.

    async def _repair(self) -> None:
        """A kernel whose journal has stopped is started again; so are processes that are down."""
        town = self.town
        while True:
            await town.clock.sleep(0.5)
            life = await town.up()
            if town.trouble.is_calm or life.kernel.journal.stopped is not None:
                town.mend_disk()
            if life.kernel.journal.stopped is not None:
                town.cut()
                continue
            for process in tuple(life.kernel.processes.values()):
                if self._needs_help(process.row) and self._random.random() < 0.3:
                    await self._order(life, lifecycle.start(life.kernel, process, "resume"))
                elif town.trouble.is_calm:
                    await self._finish(life, process)

    async def _finish(self, life: Life, process: Process) -> None:
        """Orders that were lost with a kernel are given again."""
        row = process.row
        if self._is_condemned(row) and row.state is not State.EXITED:
            await self._order(life, self._kill(life, process, "kill"))
        elif row.state is State.STOPPED:
            await self._order(life, self._go_on(life, process))

    async def _go_on(self, life: Life, process: Process) -> None:
        await lifecycle.signal(life.kernel, process, "cont", "calm has returned")

    def _needs_help(self, row: Row) -> bool:
        assert not row.divergence, f"{row.name} left its record:\n{row.divergence}"
        if row.is_client or row.schedule is not None or self._is_condemned(row):
            return False
        failed = row.state is State.EXITED and row.status not in (0, POOR)
        return failed or row.state is State.INTERRUPTED

    def _is_condemned(self, row: Row) -> bool:
        """A condemned process's descendants went with it; their names begin with its own."""
        return any(row.name == name or row.name.startswith(f"{name}.") for name in self.condemned)

    async def _is_done(self) -> bool:
        kernel = (await self.town.up()).kernel
        return kernel.journal.stopped is None and all(
            row.state is State.EXITED and not self._needs_help(row)
            for row in kernel.tables.rows.values()
            if not self._is_condemned(row) and row.schedule is None and not row.is_client
        )

    async def _evening(self) -> str:
        """Power off, as asked; then everything is looked over."""
        town = self.town
        life = await town.up()
        await town.tasks.close()
        await life.start(self._switch_off(life))
        self.chronicle.check_quiet(life)
        check_scheduler(life.kernel.scheduler, town.clock.now_s())
        assert not any(
            sum(life.kernel.scheduler.load(name)) for name in life.kernel.scheduler.stations
        )
        await town.machine.close()
        return await self.chronicle.check_all(life)

    async def _switch_off(self, life: Life) -> None:
        await shut_down(life.kernel)
        await life.kernel.journal.close()


@contextmanager
def hooked(town: Town) -> Generator[None]:
    """While inside, the town sees each fault point that is passed."""
    faults.install(town.pass_point)
    try:
        yield
    finally:
        faults.install(None)


async def day(seed: int) -> tuple[str, Town]:
    """Live through one seed's day.  Returns the journal's last hash, and the town."""
    town = Town(seed, drawn(seed))
    with hooked(town):
        return await Day(town).pass_by(), town
