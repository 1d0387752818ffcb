"""The system call table.  A call without a row here does not type-check."""

from collections.abc import Awaitable
from typing import assert_never

from orlop.abi.calls import (
    Ask,
    CallTool,
    Embed,
    Exit,
    Grant,
    Infer,
    Outcome,
    Patch,
    Progress,
    Revoke,
    Signal,
    Sleep,
    Spawn,
    Wait,
)
from orlop.abi.egress import Fetch
from orlop.abi.files import FileCall
from orlop.abi.memory import Forget, Recall, Remember
from orlop.abi.replies import Done
from orlop.abi.sagas import CloseSaga, OpenSaga
from orlop.kernel import (
    file_calls,
    sys_access,
    sys_fetch,
    sys_human,
    sys_infer,
    sys_memory,
    sys_process,
    sys_saga,
    sys_tool,
)
from orlop.kernel.admit import Admitted
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running


def dispatch(  # noqa: C901 (one row a call)
    kernel: Kernel, process: Process, running: Running, admitted: Admitted
) -> Awaitable[Done]:
    """Between entry and exit the call is its handler's."""
    call = admitted.call
    if isinstance(call, FileCall):
        return file_calls.dispatch(kernel, process, running, call)
    match call:
        case Infer():
            return sys_infer.infer(kernel, process, running, call, admitted.attempts)
        case Embed():
            return sys_infer.embed(kernel, process, running, call, admitted.cards)
        case CallTool():
            return sys_tool.call_tool(kernel, process, running, call, admitted)
        case Fetch():
            return sys_fetch.fetch(kernel, running, call, admitted)
        case Spawn():
            return sys_process.spawn(kernel, process, running, call)
        case Wait():
            return sys_process.wait(kernel, process, running, call)
        case Sleep():
            return sys_process.sleep(kernel, running, call)
        case Exit():
            return sys_process.exit(kernel, process, running, call)
        case Signal():
            return sys_process.signal(kernel, process, running, call)
        case Grant():
            return sys_access.grant(kernel, process, running, call)
        case Revoke():
            return sys_access.revoke(kernel, process, running, call)
        case Patch():
            return sys_process.patch(running)
        case Ask():
            return sys_human.ask(kernel, process, running, call)
        case OpenSaga():
            return sys_saga.open_saga(kernel, process, running, call)
        case CloseSaga():
            return sys_saga.close_saga(kernel, process, running, call)
        case Remember():
            return sys_memory.remember(kernel, process, running, call)
        case Recall():
            return sys_memory.recall(kernel, process, running, call)
        case Forget():
            return sys_memory.forget(kernel, process, running, call)
        case Progress():
            return sys_process.progress(running)
        case Outcome():
            return sys_process.outcome(kernel, process, running, call)
        case _:
            assert_never(call)
