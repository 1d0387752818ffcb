"""Agents that follow a plan whatever happens, and tell the witness what they were told."""

import asyncio
from contextlib import suppress
from typing import Final
from zlib import crc32

from simulation.client import Client
from simulation.plans import Plan, Step
from simulation.power import LoopClock
from simulation.witness import Witness

from orlop.abi.calls import (
    Call,
    CallTool,
    Embed,
    Exit,
    Infer,
    Outcome,
    Sampling,
    Sleep,
    Spawn,
    Wait,
)
from orlop.abi.errors import (
    Broken,
    BudgetSpent,
    Conflict,
    DeadlineMissed,
    DeviceFailed,
    DeviceRefused,
    Diverged,
    EffectUnknown,
    Exhausted,
    Killed,
    RateReached,
)
from orlop.abi.hints import Hints, LatencyClass
from orlop.abi.messages import Message
from orlop.abi.replies import Completion, Done, Spawned
from orlop.machine.chance import Chance

CLASSES: Final[tuple[LatencyClass, ...]] = ("interactive", "standard", "batch")

POOR = 3
"""The status of an agent whose budget is spent."""

TRIES_MAX = 400
"""Of one step: more, and somebody is starving."""

TRY_AGAIN = (DeviceFailed, DeviceRefused, DeadlineMissed, Exhausted, Killed)
"""What may be better next time.  (A `BudgetSpent` never is.)"""


class Agent:
    """name: its command's, unique in the town.  awake: set while no SIGSTOP holds it."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        client: Client,
        witness: Witness,
        chance: Chance,
        awake: asyncio.Event,
    ) -> None:
        self._name = name
        self._plan = plan
        self._client = client
        self._witness = witness
        self._chance = chance
        self._awake = awake
        self._clock = LoopClock()
        self._talk: list[Message] = [Message("system", f"You are {name}.")]

    async def run(self) -> int:
        """Its exit status."""
        for group in self._plan.groups:
            await self._think()
            told = await asyncio.gather(
                *(self._step(step) for step in group), return_exceptions=True
            )
            for one in told:
                if isinstance(one, BudgetSpent):
                    return POOR
                if isinstance(one, BaseException):
                    raise one
                self._talk += one
        return 0

    async def leave(self) -> None:
        """A client that came with a key says when it is done."""
        with suppress(Conflict):  # Where the answer was lost: it has ended already.
            await self._ask("", Exit())

    async def _think(self) -> None:
        await self._clock.sleep(self._plan.think_s * self._chance.uniform())
        await self._awake.wait()

    async def _step(self, step: Step) -> list[Message]:
        """What the step adds to the conversation."""
        match step.kind:
            case "infer" | "stream":
                talk = (*self._talk, Message("user", f"{step.name}, please"))
                done = await self._ask(step.name, self._infer(step, talk))
                assert isinstance(done, Completion)
                return [talk[-1], done.choices[0].message]
            case "embed":
                await self._ask(step.name, Embed(model="vectors", inputs=(step.name, "and more")))
            case "tool":
                await self._act(step.name, CallTool(tool=step.what, arguments={"order": step.name}))
            case "twice":
                await self._twice(step, CallTool(tool=step.what, arguments={"order": step.name}))
            case "sleep":
                await self._ask(step.name, Sleep(seconds=step.seconds))
            case "spawn":
                await self._spawn(step)
            case "outcome":
                await self._ask(step.name, Outcome(status="succeeded", note=step.name))
            case "nothing":
                await self._think()
        return []

    def _infer(self, step: Step, talk: tuple[Message, ...]) -> Infer:
        return Infer(
            model=self._plan.model,
            messages=talk,
            sampling=Sampling(n=step.choices),
            output_tokens_max=20,
            stream=step.kind == "stream",
            hints=Hints(latency_class=CLASSES[crc32(step.name.encode()) % len(CLASSES)]),
        )

    async def _act(self, name: str, call: CallTool) -> None:
        try:
            await self._ask(name, call)
        except EffectUnknown:
            self._witness.unknown.add(name)

    async def _twice(self, step: Step, call: CallTool) -> None:
        """The same effect twice, and meant."""
        answered = self._witness.twice[step.name]
        _, lost = await self._insist(call)
        _, lost_too = await self._insist(call)
        answered.append(not (lost or lost_too))

    async def _spawn(self, step: Step) -> None:
        seed, depth = step.what.split()
        command = ("agent", step.name, seed, depth)
        call = Spawn(command=command, name=step.name, restart="on-failure")
        spawned = await self._ask(step.name, call)
        assert isinstance(spawned, Spawned)
        await self._ask(f"{step.name} waits", Wait(process=spawned.process))

    async def _ask(self, name: str, call: Call) -> Done:
        """One step's answer, the same however often it is asked for."""
        done, _ = await self._insist(call)
        if name:
            self._witness.told(name, call, done)
        return done

    async def _insist(self, call: Call) -> tuple[Done, bool]:
        """Until it succeeds; whether an answer was lost on the way."""
        lost = False
        for _ in range(TRIES_MAX):
            await self._awake.wait()
            try:
                done, again = await self._client.ask(call)
                return done, lost or again
            except BudgetSpent:
                raise
            except (Broken, Diverged) as error:
                raise AssertionError(f"{self._name}: {error.code} {error.message}") from error
            except TRY_AGAIN as error:
                lost = True
                longest_s = 60.0 if isinstance(error, RateReached) else 1.0
                await self._clock.sleep(min(error.retry_after_s or 0.05, longest_s))
        raise AssertionError(f"{self._name} was refused {TRIES_MAX} times: {call}")
