"""Which action of the policy a call is, and on what."""

from typing import assert_never

from orlop.abi.calls import (
    Ask,
    Call,
    CallTool,
    Embed,
    Exit,
    Grant,
    Infer,
    Outcome,
    Patch,
    Revoke,
    Signal,
    Sleep,
    Spawn,
    Wait,
)
from orlop.abi.egress import Fetch
from orlop.abi.files import (
    ChangeFiles,
    ListFiles,
    Put,
    ReadFiles,
    SearchFiles,
    Take,
    WatchFiles,
    WriteFiles,
)
from orlop.abi.sagas import CloseSaga, OpenSaga
from orlop.kernel.outside import place

Targets = tuple[tuple[str, str], ...]
"""Actions, each with the name of the thing that it is done to."""


def target(call: Call) -> tuple[str, str] | None:
    """The action and the name of the thing; None: the process's own affair, no rule is asked.

    A call without a row here does not type-check.
    """
    match call:
        case Infer():
            return "infer", call.model
        case Embed():
            return (("embed", call.model),)
        case Fetch():
            _, host, _ = place(call.url)
            return (("net", host),)
        case CallTool():
            return "call_tool", call.tool
        case Spawn():
            return "spawn", call.name or (call.command[0] if call.command else "")
        case Signal():
            return "signal", call.process
        case Ask():
            return "ask", "anyone"
        case Wait() | Exit() | Sleep() | Patch() | Outcome():
            return None
        case Grant() | Revoke() | OpenSaga() | CloseSaga():
            return None  # Of what it may do already: narrowed, or put together.
        case _:
            assert_never(call)
