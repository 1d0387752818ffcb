"""Namespaces of memory: their names, whose they are, and who may look into them.

`agents/NAME` is the agents' of that name, `teams/NAME` that team's, `process/ID` one process's for
as long as it lives.  All others are common to the tenant.  What is private may be shared.  Rights
(`memory:NAMESPACE:read`) hold for all of them, on top.
"""

from collections.abc import Callable
from typing import Final

from orlop.abi.errors import BadCall, Denied
from orlop.abi.limits import MEMORY_NAME_CHARS_MAX, MEMORY_NAMESPACES_MAX
from orlop.abi.memory import ShareAccess
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import rights

AGENTS: Final = "agents"
TEAMS: Final = "teams"
SESSION: Final = "process"
BELOW: Final = "/*"


def check(namespace: str, *, pattern: bool = False) -> None:
    """Raises `BadCall`."""
    name = namespace.removesuffix(BELOW) if pattern else namespace
    words = name.split("/")
    if len(name) > MEMORY_NAME_CHARS_MAX or not name.isprintable() or "*" in name:
        raise BadCall(
            f"namespace: at most {MEMORY_NAME_CHARS_MAX} printable characters, without `*`"
            + (" but for a last `/*`" if pattern else "")
        )
    if any(not word or word in (".", "..") or word != word.strip() for word in words):
        raise BadCall(f"namespace {name!r}: words with `/` between them, as in `desk/orders`")


def own(process: Process, namespace: str) -> str:
    """The namespace that is meant.  Raises `BadCall`."""
    if not namespace:
        name = "".join(letter if letter.isalnum() else "-" for letter in process.row.name)
        return f"{AGENTS}/{name[: MEMORY_NAME_CHARS_MAX // 2] or 'nameless'}"
    if namespace == "session":
        return f"{SESSION}/{process.id}"
    check(namespace)
    return namespace


def is_session(namespace: str) -> bool:
    return namespace.startswith(f"{SESSION}/")


def require(
    kernel: Kernel, process: Process, running: Running, namespace: str, access: ShareAccess
) -> None:
    """Raises `Denied`."""
    rights.require(process, "memory", namespace, access, narrowing=running.narrowing)
    if not _is_open(kernel, process, namespace, access):
        raise Denied(
            f"namespace {namespace} is private, and not shared with process {process.row.pid}"
            f" ({process.row.name}) for {access}ing: `orlop memory share`"
        )


def may(
    kernel: Kernel, process: Process, running: Running, namespace: str, access: ShareAccess
) -> bool:
    try:
        require(kernel, process, running, namespace, access)
    except Denied:
        return False
    return True


def readable(
    kernel: Kernel,
    process: Process,
    running: Running,
    asked: tuple[str, ...],
    below: Callable[[str], list[str]],
) -> tuple[str, ...]:
    """The namespaces of a recall, patterns written out.

    below: those that hold something and begin so.  Raises `Denied` for one that is named and may
    not be read; of a pattern, those are left out.
    """
    if not asked:
        mine, session = own(process, ""), own(process, "session")
        require(kernel, process, running, mine, "read")
        return (mine, session) if may(kernel, process, running, session, "read") else (mine,)
    found: dict[str, None] = {}
    for name in asked:
        if name == "*" or name.endswith(BELOW):
            if name != "*":
                check(name, pattern=True)
            start = "" if name == "*" else name.removesuffix("*")
            inside = [*([start[:-1]] if start else []), *below(start)]
            found |= dict.fromkeys(
                one for one in inside if may(kernel, process, running, one, "read")
            )
        else:
            meant = own(process, name)
            require(kernel, process, running, meant, "read")
            found[meant] = None
    if len(found) > MEMORY_NAMESPACES_MAX:
        raise BadCall(
            f"namespaces: {len(found)} are meant; at most {MEMORY_NAMESPACES_MAX}"
            " (MEMORY_NAMESPACES_MAX)"
        )
    return tuple(found)


def _is_open(kernel: Kernel, process: Process, namespace: str, access: ShareAccess) -> bool:
    root, _, rest = namespace.partition("/")
    owner = rest.split("/")[0]
    row = process.row
    if row.is_client and row.key_id is None:
        return True  # Who speaks through it holds the operator's token.
    agent = own(process, "").partition("/")[2]
    if root == SESSION:
        return owner == process.id
    if root not in (AGENTS, TEAMS):
        return True
    if (root == AGENTS and owner == agent) or (root == TEAMS and f"team:{owner}" in row.accounts):
        return True
    names = ("*", f"agent:{agent}", *(name for name in row.accounts if name.startswith("team:")))
    return access in kernel.tables.memory.access(row.tenant, namespace, names)
