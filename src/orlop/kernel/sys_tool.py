"""The `call_tool` system call."""

from orlop.abi.calls import CallTool
from orlop.abi.errors import EffectUnknown
from orlop.abi.hints import Facts
from orlop.abi.replies import ToolResult
from orlop.kernel import seating
from orlop.kernel.admit import Admitted
from orlop.kernel.core import Kernel
from orlop.kernel.process import Process
from orlop.kernel.running import Running
from orlop.machine.faults import point


async def call_tool(
    kernel: Kernel, process: Process, running: Running, call: CallTool, admitted: Admitted
) -> ToolResult:
    """Act once.  A queryable tool whose earlier call was cut off is asked first."""
    tool, key = admitted.tool, running.effect
    assert tool is not None
    name = f"tool:{call.tool}"
    seating.attach_tool(kernel, name, tool.card.concurrency)
    work = seating.work(kernel, process, running, call, (name,))
    async with kernel.turns.seat(work):
        running.queue_s = kernel.clock.now_s() - work.arrived_s
        if tool.card.effect == "queryable" and admitted.was_cut_off:
            happened = await tool.happened(key)
            if happened is None:
                raise EffectUnknown(f"{call.tool} can't tell whether effect {key} happened")
            if happened:
                value: object = {"happened": True, "key": key}
                return ToolResult(value=value, facts=_facts(running))
        running.asked = True
        point("tool.before")
        limit_s = min(tool.card.timeout_s, seating.left_s(kernel, running, call))
        value = await tool.call(call.arguments, key, limit_s)
        point("tool.after")
    return ToolResult(value=value, facts=_facts(running))


def _facts(running: Running) -> Facts:
    return Facts(call=running.id, queue_s=running.queue_s)
