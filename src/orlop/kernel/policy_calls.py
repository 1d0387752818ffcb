"""Which actions of the policy a call is, and on what."""

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
from orlop.abi.memory import Forget, Recall, Remember
from orlop.abi.sagas import CloseSaga, OpenSaga
from orlop.kernel.outside import place

OWN_MEMORY = "own"
"""What a call means that names no namespace."""

Targets = tuple[tuple[str, str], ...]
"""Actions, each with the name of the thing that it is done to."""


def targets(call: Call) -> Targets:  # noqa: C901 (one row a call)
    """None for the process's own affairs: no rule is asked of them.

    A call without a row here does not type-check.
    """
    match call:
        case Infer():
            return (("infer", call.model),)
        case Embed():
            return (("embed", call.model),)
        case Fetch():
            _, host, _ = place(call.url)
            return (("net", host),)
        case CallTool():
            return (("call_tool", call.tool),)
        case Spawn():
            return (("spawn", call.name or (call.command[0] if call.command else "")),)
        case Signal():
            return (("signal", call.process),)
        case Ask():
            return (("ask", "anyone"),)
        case WriteFiles():
            return tuple(("write", one.path) for one in call.files)
        case ReadFiles():
            return tuple(("read", one.path) for one in call.files)
        case ListFiles() | WatchFiles() | SearchFiles():
            return (("list" if not isinstance(call, SearchFiles) else "read", call.path),)
        case Put() | Take():
            return (("pipe", call.pipe),)
        case ChangeFiles():
            return _changes(call)
        case Remember() | Forget():
            return ((str(call.__struct_config__.tag), call.namespace or OWN_MEMORY),)
        case Recall():
            return tuple(("recall", name) for name in call.namespaces or (OWN_MEMORY,))
        case Wait() | Exit() | Sleep() | Patch() | Outcome():
            return ()
        case Grant() | Revoke() | OpenSaga() | CloseSaga():
            return ()  # Of what it may do already: narrowed, or put together.
        case _:
            assert_never(call)


def _changes(call: ChangeFiles) -> Targets:
    match call.action:
        case "copy":
            return ("read", call.path), ("write", call.to)
        case "move":
            return ("write", call.path), ("write", call.to)
        case "snapshot":
            return (("read", call.path),)
        case "share":
            return (("share", call.path),)
        case _:
            return (("write", call.path),)
