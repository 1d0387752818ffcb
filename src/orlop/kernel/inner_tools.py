"""Tools that code calls while it runs in another tool: each is a call of the same process.

Only those that change nothing: code that is cut off runs again from its beginning, and its inner
calls with it.
"""

from collections.abc import Mapping
from functools import partial
from typing import Protocol, runtime_checkable

from orlop.abi.calls import CallTool
from orlop.abi.errors import Denied
from orlop.abi.replies import ToolResult
from orlop.devices.device import Tool
from orlop.effects.monty import AskTool
from orlop.kernel import held_values, nested
from orlop.kernel.admit import Admitted, admit
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import policy, rights


@runtime_checkable
class Asking(Protocol):
    """A tool that calls others."""

    async def run(self, arguments: Mapping[str, object], ask: AskTool) -> object: ...


class Handler(Protocol):
    """What runs a `call_tool`."""

    async def __call__(
        self,
        kernel: Kernel,
        process: Process,
        running: Running,
        call: CallTool,
        admitted: Admitted,
    ) -> ToolResult: ...


async def call(
    kernel: Kernel,
    process: Process,
    outer: Running,
    handler: Handler,
    name: str,
    arguments: Mapping[str, object],
) -> object:
    """What the tool says.  Raises `KernelError`."""
    require_harmless(kernel.tools.find(name), outer)
    made = held_values.concealed(kernel, process, CallTool(tool=name, arguments=dict(arguments)))
    assert isinstance(made, CallTool)
    rights.check(kernel, process, made, outer.narrowing)
    running = nested.within(kernel, process, outer, made)
    running.labels = outer.labels
    policy.judge(kernel, process, running)
    admitted = admit(kernel, process, running)
    work = partial(handler, kernel, process, running, made, admitted)
    return (await nested.carried_out(kernel, process, outer, running, admitted, work)).value


def require_harmless(tool: Tool, outer: Running) -> None:
    """Raises `Denied`."""
    card = tool.card
    if isinstance(outer.call, CallTool) and card.name == outer.call.tool:
        raise Denied(f"{card.name} does not call itself")
    if card.effect != "pure" or card.approval != "never":
        raise Denied(
            f"{card.name} is {card.effect}: code calls tools that are `pure` and ask nobody; call "
            "it by itself"
        )
