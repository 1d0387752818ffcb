"""The `call_tool` system call."""

from contextlib import AsyncExitStack
from functools import partial

from msgspec.structs import replace

from orlop.abi.calls import CallTool
from orlop.abi.errors import (
    BadCall,
    DeadlineMissed,
    DeviceBusy,
    DeviceFailed,
    EffectUnknown,
    KernelError,
    ResultWrong,
)
from orlop.abi.hints import Facts
from orlop.abi.ids import NanoDollars
from orlop.abi.limits import TOOL_RETRY_DELAY_S
from orlop.abi.replies import ToolResult
from orlop.devices.device import Tool
from orlop.effects.asking import ASKER
from orlop.kernel import effects, held_values, inner_tools
from orlop.kernel.admit import Admitted
from orlop.kernel.inner_tools import Asking
from orlop.machine.clock import deadline
from orlop.machine.faults import point
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import external, questions, seating


async def call_tool(
    kernel: Kernel, process: Process, running: Running, call: CallTool, admitted: Admitted
) -> ToolResult:
    """Act once; what is held outside is seen by the tool alone."""
    opened = held_values.opened(kernel, process, call)
    try:
        done = await act(kernel, process, running, opened.call, admitted)
    except KernelError as error:
        raise held_values.cleaned(error, opened.secrets) from None
    return replace(done, value=held_values.hidden(kernel, process, opened, done.value))


async def act(
    kernel: Kernel, process: Process, running: Running, call: CallTool, admitted: Admitted
) -> ToolResult:
    """The call itself.  A queryable tool whose earlier call was cut off is asked first.

    Arguments that break the tool's schema are refused here and not at the door, so that the journal
    holds the refusal.
    """
    tool = admitted.tool
    assert tool is not None
    schemas = kernel.tools.schemas(call.tool)
    if wrong := schemas.arguments.wrong(call.arguments):
        raise BadCall(f"arguments of {call.tool}: {wrong}")
    if admitted.settled is not None:
        known = await effects.result(kernel, admitted.settled)
        return ToolResult(value=known, facts=_facts(running))
    if running.taken is not None:  # A person has done it, and says what came of it.
        return ToolResult(value=running.taken.result, edited=running.edited, facts=_facts(running))
    arrived_s = kernel.clock.now_s()
    while True:
        await external.turn(kernel, tool.card, seating.left_s(kernel, running, call))
        try:
            return await once(kernel, process, running, call, admitted, arrived_s)
        except DeviceBusy as error:
            if not external.again(kernel, running, call, tool.card, error):
                raise


async def once(
    kernel: Kernel,
    process: Process,
    running: Running,
    call: CallTool,
    admitted: Admitted,
    arrived_s: float,
) -> ToolResult:
    """In a seat of the tool's.  arrived_s: since when it waits."""
    tool, key = admitted.tool, running.effect
    assert tool is not None
    schemas = kernel.tools.schemas(call.tool)
    async with AsyncExitStack() as held:
        for name, concurrency in seating.places(kernel, tool.card):
            seating.attach_tool(kernel, name, concurrency)
            work = seating.work(kernel, process, running, call, (name,))
            await held.enter_async_context(kernel.turns.seat(work))
        running.queue_s = kernel.clock.now_s() - arrived_s
        if tool.card.effect == "queryable" and admitted.was_cut_off:
            happened = await tool.happened(key)
            if happened is None:
                raise EffectUnknown(f"{call.tool} can't tell whether effect {key} happened")
            if happened:
                value: object = {"happened": True, "key": key}
                return ToolResult(value=value, facts=_facts(running))
        running.ask(kernel.clock.now_s())
        if tool.card.server:
            ASKER.set(partial(questions.elicit, kernel, process, running))
        point("tool.before")
        value = await answer(kernel, process, running, call, tool)
        point("tool.after")
    if wrong := schemas.results.wrong(value):
        raise ResultWrong(f"{call.tool} has run, and its result breaks its schema: {wrong}")
    cost = NanoDollars(tool.card.price * running.tries)
    facts = replace(_facts(running), cost=cost)
    return ToolResult(value=value, edited=running.edited, facts=facts)


async def answer(
    kernel: Kernel, process: Process, running: Running, call: CallTool, tool: Tool
) -> object:
    """What the tool says.  A failed call is made again as its card allows, while there is time."""
    retry = 0
    while True:
        try:
            limit_s = min(tool.card.timeout_s, seating.left_s(kernel, running, call))
            running.tries += 1
            if isinstance(tool, Asking):
                ask = partial(inner_tools.call, kernel, process, running, call_tool)
                async with deadline(limit_s, tool.card.name):
                    return await tool.run(call.arguments, ask)
            return await tool.call(call.arguments, running.effect, limit_s)
        except (DeviceFailed, DeadlineMissed):
            delay_s = TOOL_RETRY_DELAY_S * 2.0**retry
            late = seating.left_s(kernel, running, call) <= delay_s
            if late or retry >= tool.card.retries or not is_repeatable(tool):
                raise
        retry += 1
        await kernel.clock.sleep(delay_s)


def is_repeatable(tool: Tool) -> bool:
    """Whether a second execution does no harm, whatever became of the first."""
    return tool.card.effect in ("pure", "idempotent")


def _facts(running: Running) -> Facts:
    return Facts(call=running.id, queue_s=running.queue_s)
