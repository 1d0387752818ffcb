"""The system calls `open_saga` and `close_saga`."""

from orlop.abi.errors import BadCall, Conflict
from orlop.abi.hints import Facts
from orlop.abi.limits import PARKED_S_MAX
from orlop.abi.sagas import CloseSaga, OpenSaga, SagaBegun, SagaOver, SagaView
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import saga


async def open_saga(
    kernel: Kernel, process: Process, running: Running, call: OpenSaga
) -> SagaBegun:
    """The saga's event and the outcome are in one commit: nothing is waited for in between."""
    if not 0 < call.expires_s <= PARKED_S_MAX:
        raise BadCall(f"expires_s: more than 0 and at most {PARKED_S_MAX:g}")
    id = f"sag_{running.id.removeprefix('cal_')}"
    saga.begin(kernel, process, id, call)
    return SagaBegun(saga=id, facts=Facts(call=running.id))


async def close_saga(
    kernel: Kernel, process: Process, running: Running, call: CloseSaga
) -> SagaOver:
    """Parked: re-armed after a restart, it finds what it has decided, and waits on."""
    row = saga.own(kernel, process, call.saga)
    if row.state == "open":
        if call.verdict == "commit":
            require_ended(row)
        saga.decide(kernel, row, call.verdict, call.reason[:1_000])
    elif call.verdict == "commit" and row.state != "committed":
        why = f": {row.reason}" if row.reason else ""
        raise Conflict(f"saga {row.id} is {row.state}{why}; it can't be committed any more")
    elif call.verdict == "abort" and row.state == "committed":
        raise Conflict(f"saga {row.id} is committed; it can't be undone any more")
    over = await saga.ended(kernel, call.saga)
    undone = [step for step in over.steps if step.state == "undone"]
    undone.sort(key=lambda step: step.seq, reverse=True)
    return SagaOver(
        saga=over.id,
        state=over.state,
        undone=tuple(step.tool for step in undone),
        facts=Facts(call=running.id),
    )


def require_ended(row: SagaView) -> None:
    """Raises `Conflict` where a step still runs: nobody knows yet what would be committed."""
    for step in row.steps:
        if step.state == "begun":
            raise Conflict(f"{step.tool} still runs (call {step.call}): wait for it, then commit")
