"""A hand-over: all that a person needs to take a case over, as one document."""

from collections.abc import Sequence

from msgspec.structs import replace

from orlop.abi.calls import CallTool, Infer
from orlop.abi.errors import NotFound
from orlop.abi.events import CallEntered, CallFailed, CallReturned
from orlop.abi.ids import CallId, Seq, TenantId
from orlop.abi.limits import CASE_EFFECTS_MAX, CASE_MESSAGES_MAX
from orlop.abi.messages import Message
from orlop.abi.people import CaseEffect, CaseFile
from orlop.abi.replies import ToolResult
from orlop.kernel import operator
from orlop.people import asking
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process_table import Row
from orlop.store.journal import Stored
from orlop.subsystems import history


async def of(kernel: Kernel, question: str, tenant: TenantId) -> CaseFile:
    """Raises `NotFound`."""
    asked = asking.find(kernel, question, tenant)
    row = kernel.tables.rows.get(asked.process)
    if row is None:
        raise NotFound(f"the process of {question} is no longer in the table; see the journal")
    trace = await operator.trace(kernel, row)
    stored = await kernel.elders.of_process(row.id)
    messages, left_out = await conversation(kernel, row, stored)
    others = asking.listed(kernel, tenant, closed=True)
    return CaseFile(
        question=asked,
        process=trace.process,
        conversation=messages,
        left_out=left_out,
        calls=trace.calls,
        effects=effects(stored),
        questions=tuple(one for one in others if one.process == row.id and one.id != asked.id),
        grants=tuple(
            grant
            for grant in kernel.office.grants.open(kernel.clock.wall_ns())
            if (grant.tenant, grant.agent) == (tenant, row.name)
        ),
    )


async def conversation(
    kernel: Kernel, row: Row, stored: Sequence[Stored]
) -> tuple[tuple[Message, ...], int]:
    """Of the newest model call, answered if there is one; and how many are left out."""
    newest: Seq | None = None
    answered: Seq | None = None
    open_calls: dict[CallId, Seq] = {}
    for item in stored:
        event, call = codec.decode(item), item.header.call
        if isinstance(event, CallEntered) and isinstance(event.body, Infer) and call is not None:
            newest = open_calls[call] = item.header.seq
        elif isinstance(event, CallReturned) and call in open_calls:
            answered = open_calls[call]
    if newest is None:
        return (), 0
    messages = await history.conversation(
        kernel, row.tenant, newest if answered is None else answered, reply=answered is not None
    )
    return tuple(messages[-CASE_MESSAGES_MAX:]), max(0, len(messages) - CASE_MESSAGES_MAX)


def effects(stored: Sequence[Stored]) -> tuple[CaseEffect, ...]:
    """The calls of tools in their order, with what came of them."""
    found: dict[CallId, CaseEffect] = {}
    for item in stored:
        event, call = codec.decode(item), item.header.call
        if call is None:
            continue
        if isinstance(event, CallEntered) and isinstance(event.body, CallTool):
            found[call] = CaseEffect(
                call=call,
                tool=event.body.tool,
                arguments=event.body.arguments,
                status="open",
                cleared_by=event.cleared_by,
                at_ns=item.header.wall_ns,
            )
        elif call in found and isinstance(event, CallReturned):
            value = event.done.value if isinstance(event.done, ToolResult) else None
            found[call] = replace(found[call], status="ok", result=value)
        elif call in found and isinstance(event, CallFailed):
            found[call] = replace(found[call], status=event.code, result=event.message)
    return tuple(found.values())[-CASE_EFFECTS_MAX:]
