"""A rule that counts holds under any interleaving, and across kills of the kernel.

Agents call a tool as often as they can; the rule lets the organisation make so many calls an hour.
What counts is what the tool has done, whatever the kernel remembers of it.
"""

import asyncio
import os
from collections.abc import Mapping
from random import Random

import pytest
from simulation_loop import simulate
from small_kernel import Computer, program, result

from orlop.abi.calls import CallTool
from orlop.abi.cards import ToolCard
from orlop.abi.errors import KernelError, RuleForbids
from orlop.abi.policy import PolicyOrder
from orlop.kernel import syscall
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import policies

SEEDS = int(os.environ.get("ORLOP_SEEDS", "20"))
HOUR_S = 3_600.0
RULES = """
@id("all") permit(principal, action, resource);
@id("few") forbid(principal, action == Action::"call_tool", resource == Tool::"act")
when {{ context.calls.organisation.hour >= {most} }};
@id("own") forbid(principal, action == Action::"call_tool", resource == Tool::"act")
when {{ context.calls.agent.hour >= {own} }};
"""


class Act:
    """When it acted, and for whom."""

    def __init__(self, seconds: float) -> None:
        self.card = ToolCard(name="act", effect="irreversible", concurrency=64)
        self.seconds = seconds
        self.done: list[tuple[float, str]] = []

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        self.done.append((asyncio.get_running_loop().time(), str(arguments["who"])))
        await asyncio.sleep(self.seconds)
        return "done"

    async def happened(self, key: str) -> bool | None:
        return None


async def caller(kernel: Kernel, process: Process, who: str, seed: int, refused: list[str]) -> None:
    """Calls for two hours."""
    random = Random(seed)
    for number in range(60):
        await asyncio.sleep(random.uniform(0, 240))
        call = CallTool(tool="act", arguments={"who": who, "number": number, "seed": seed})
        try:
            await result(syscall.enter(kernel, process, call))
        except RuleForbids as error:
            refused.append(error.message)
        except KernelError:
            return  # The kernel is gone.


def most_in_an_hour(moments: list[float]) -> int:
    """In any hour at all."""
    ordered = sorted(moments)
    return max(
        (sum(start <= moment < start + HOUR_S for moment in ordered) for start in ordered),
        default=0,
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_hour_has_more_calls_than_its_rule_allows(seed: int) -> None:
    random = Random(seed)
    most, own = random.randint(3, 12), random.randint(1, 6)
    act = Act(random.choice([0.0, 1.0, 400.0]))
    agents = [f"agent-{number}" for number in range(random.randint(1, 4))]

    refused: list[str] = []

    async def town() -> None:
        here, lives = Computer(tools=[act]), list[Kernel]()
        for life in range(3):
            kernel = await here.boot()
            lives.append(kernel)  # What a crash leaves behind is not collected before the end.
            if life == 0:
                files = {"rules.cedar": RULES.format(most=most, own=own)}
                await policies.put(kernel, PolicyOrder(files=files))
            callers = [
                asyncio.ensure_future(
                    caller(
                        kernel,
                        await program(kernel, name=name),
                        name,
                        random.getrandbits(32),
                        refused,
                    )
                )
                for name in agents
                for _ in range(random.randint(1, 3))
            ]
            await asyncio.sleep(random.uniform(600, 9_000))
            for task in callers:
                task.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            if life == 2:
                await here.close(kernel)
                return
            if random.random() < 0.5:
                kernel.snapshot()
            await here.crash(kernel)

    simulate(seed, town())
    said = f"seed {seed}: {most} an hour, {own} each, {agents}, {act.seconds} s a call"
    assert act.done and refused, said
    assert most_in_an_hour([moment for moment, _ in act.done]) <= most, said
    for name in agents:
        assert most_in_an_hour([moment for moment, who in act.done if who == name]) <= own, said
