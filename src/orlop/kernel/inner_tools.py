"""Tools that code calls while it runs in another tool: each is a call of the same process.

Only those that change nothing: code that is cut off runs again from its beginning, and its inner
calls with it.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from orlop.abi.calls import CallTool
from orlop.abi.errors import Denied, KernelError, Killed, a_bug
from orlop.abi.events import CallEntered, CallFailed, CallReturned
from orlop.abi.ids import Digest, Nanoseconds
from orlop.abi.replies import ToolResult
from orlop.devices.device import Tool
from orlop.effects.monty import AskTool
from orlop.kernel import held_values
from orlop.kernel.admit import Admitted, admit
from orlop.machine.clock import NS_PER_S
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
    running = Running(
        id=kernel.new_call(),
        process=process.id,
        call=made,
        digest=Digest(b""),
        started_s=kernel.clock.now_s(),
        incarnation=process.row.incarnation,
        narrowing=outer.narrowing,
        token=outer.token,
    )
    running.labels = outer.labels
    policy.judge(kernel, process, running)
    admitted = admit(kernel, process, running)
    running.seq = kernel.emit(
        process.id,
        process.row.tenant,
        CallEntered(
            incarnation=process.row.incarnation,
            body=made,
            held=admitted.hold.tokens,
            held_cost=admitted.hold.nano_dollars,
            held_ns=admitted.hold.ns,
            within=outer.id,
            token=running.token,
        ),
        call=running.id,
    ).seq
    # From here on the call has begun: it must end in the journal, exactly once.
    if admitted.durable_intent:
        await kernel.journal.durable(running.seq)
    done: ToolResult | None = None
    error: KernelError = Killed("the code that called it was ended")
    try:
        done = await handler(kernel, process, running, made, admitted)
    except KernelError as failure:
        error = failure
        raise
    except asyncio.CancelledError:
        raise
    except Exception as bug:
        error = a_bug(name, bug)
        raise
    finally:
        _conclude(kernel, process, running, admitted, done, error)
    return done.value


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


def _conclude(
    kernel: Kernel,
    process: Process,
    running: Running,
    admitted: Admitted,
    done: ToolResult | None,
    error: KernelError,
) -> None:
    ran = round(running.ran_s(kernel.clock.now_s()) * NS_PER_S)
    ran_ns = Nanoseconds(min(ran, admitted.hold.ns) if admitted.hold.ns else ran)
    event: CallReturned | CallFailed
    if done is not None:
        event = CallReturned(done=done, ran_ns=ran_ns)
    else:
        event = CallFailed(
            code=error.code, message=error.message, ran_ns=ran_ns, asked=running.asked
        )
    kernel.emit(
        process.id,
        process.row.tenant,
        event,
        call=running.id,
        cause=running.seq,
    )
