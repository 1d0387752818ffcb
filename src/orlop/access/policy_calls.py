"""Which actions of the policy a call is, and on what."""

from typing import assert_never
from urllib.parse import urlsplit

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
    Progress,
    Revoke,
    Signal,
    Sleep,
    Spawn,
    Wait,
)
from orlop.abi.contexts import CompactContext, OpenContext, SaveContext
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

Targets = tuple[tuple[str, str], ...]
"""Actions, each with the name of the thing that it is done to."""


def targets(  # noqa: C901 (one row a call)
    call: Call, agent: str = "", process: str = ""
) -> Targets:
    """None for the process's own affairs: no rule is asked of them.

    agent, process: the caller's name and id.  A call without a row here does not type-check.
    """
    match call:
        case Infer():
            return (("infer", call.model),)
        case Embed():
            return (("embed", call.model),)
        case Fetch():
            return (("net", host_of(call.url)),)
        case CallTool():
            return (("call_tool", call.tool),)
        case Spawn():
            return (("spawn", call.name or (call.command[0] if call.command else "")),)
        case Signal():
            return (("signal", call.process),)
        case Ask():
            return (("ask", "anyone"),)
        case WriteFiles():
            read = tuple(("read", one.onto) for one in call.files if one.onto)
            return (*(("write", one.path) for one in call.files), *read)
        case ReadFiles():
            return tuple(("read", one.path) for one in call.files)
        case ListFiles() | WatchFiles() | SearchFiles():
            return (("list" if not isinstance(call, SearchFiles) else "read", call.path),)
        case SaveContext() | CompactContext():
            model = call.model if isinstance(call, CompactContext) else ""
            return (("write", call.path), *((("infer", model),) if model else ()))
        case OpenContext():
            return (("read", call.path),)
        case Put() | Take():
            return (("pipe", call.pipe),)
        case ChangeFiles():
            return _changes(call)
        case Remember() | Forget():
            action = "remember" if isinstance(call, Remember) else "forget"
            return ((action, space(call.namespace, agent, process)),)
        case Recall():
            asked = call.namespaces or ("", "session")
            return tuple(("recall", space(name, agent, process)) for name in asked)
        case Wait() | Exit() | Sleep() | Patch() | Progress() | Outcome():
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


def host_of(url: str) -> str:
    """The server that a URL names; a URL that names none is refused before anybody is asked."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def space(namespace: str, agent: str, process: str) -> str:
    """The namespace of memory that is meant."""
    if namespace == "session":
        return f"process/{process}"
    return namespace or f"agents/{agent}"


def owner_of(action: str, name: str) -> tuple[str, str] | None:
    """The agent or team that a file or a namespace of memory belongs to; None: nobody alone."""
    words = name.strip("/").split("/")
    if len(words) < 2:
        return None
    match action, words[0]:
        case (("remember" | "recall" | "forget"), "agents"):
            return "Agent", words[1]
        case (("remember" | "recall" | "forget"), "teams"):
            return "Team", words[1]
        case (("read" | "write" | "list" | "pipe" | "share"), "home"):
            return "Agent", words[1].replace("%2E.", "..").replace("%2F", "/").replace("%25", "%")
        case _:
            return None
