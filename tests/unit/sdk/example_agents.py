"""Agents that the tests start as processes."""

import orlop


@orlop.agent
async def greeter(kernel: orlop.Kernel, name: str, times: int = 1) -> str:
    """Asks a model to greet."""
    answer = await kernel.infer(f"Greet {name}", model="small")
    return answer.text() * times


@orlop.agent
async def loser(kernel: orlop.Kernel) -> None:
    raise ValueError("nothing works")


@orlop.agent
async def modest(kernel: orlop.Kernel) -> str:
    await kernel.outcome("abandoned", "by hand, please")
    return "ignored"
