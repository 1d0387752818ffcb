"""Who may do what: the one place that asks, for every family of calls.

A process holds the rights in its row; a narrowed token leaves less of them.  Calls are checked at
the door by `check`: a new family says in `needs` what its calls take.  What only turns out while a
call runs (a host that a proxy is asked for) is asked with `require`.

Invariant: no process in the table holds a right that its parent there does not hold (I9).
"""

import logging
from collections.abc import Iterator, Sequence

from orlop.abi import rights
from orlop.abi.calls import Ask, Call, CallTool, Embed, Grant, Infer, Revoke, Signal, Spawn
from orlop.abi.capabilities import RightGranted, RightRefused, RightsTaken
from orlop.abi.cards import ModelCard
from orlop.abi.contexts import CompactContext
from orlop.abi.egress import Fetch
from orlop.abi.errors import Conflict, Denied, KernelError
from orlop.abi.files import FileCall
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.abi.memory import Recall
from orlop.abi.rights import Access, Family, Rights
from orlop.access.rights import Narrowing, compiled
from orlop.files.touched import touched
from orlop.state import accounts, web
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.process_table import Row

log = logging.getLogger(__name__)


def require(
    process: Process,
    family: Family,
    name: str = "",
    access: Access = "",
    *,
    narrowing: Narrowing | None = None,
) -> None:
    """Return if `process` may do this: `require(process, "file", "/notes/a", "read")`.

    narrowing: of the call at hand (`Running.narrowing`).  Costs a microsecond once it was asked
    before.  Raises `Denied` naming the right; whoever has a kernel at hand journals it (`refuse`).
    """
    if not compiled(process.row.rights).allows(family, name, access):
        raise Denied(
            f"process {process.row.pid} ({process.row.name}) has no right to "
            f"{wanted(family, name, access)}; it holds {rights.shown(process.row.rights)}"
        )
    if narrowing is not None and not narrowing.held.allows(family, name, access):
        raise Denied(
            f"this token has no right to {wanted(family, name, access)}; it was narrowed to "
            f"{rights.shown(narrowing.held.rights)}"
        )


def check(kernel: Kernel, process: Process, call: Call, narrowing: Narrowing | None) -> None:
    """At the door, before anything has changed.  Raises `Denied`, which the journal then holds."""
    if narrowing is None and compiled(process.row.rights).is_everything:
        return
    for family, names, access in needs(kernel, call):
        try:
            _any(process, family, names, access, narrowing)
        except Denied as error:
            refuse(kernel, process, error, wanted(family, names[0], access), narrowing)
            raise


def needs(kernel: Kernel, call: Call) -> Iterator[tuple[Family, tuple[str, ...], Access]]:
    """What a call takes: rights, each by one of several names for the same thing."""
    match call:
        case Infer() | Embed():
            yield "model", _called(kernel, call.model), ""
        case CallTool():
            yield "tool", (call.tool,), ""
        case Fetch():
            _, host, port = web.place(call.url)
            yield "net", (f"{host}:{port}",), ""
        case Spawn():
            yield "spawn", (call.command[0] if call.command else "",), ""
        case Signal():
            yield "signal", ("",), ""
        case Ask():
            yield "ask", ("",), ""
        case Grant() | Revoke():
            yield "grant", ("",), ""
        case _:
            if model := _assistant(call):
                yield "model", _called(kernel, model), ""
            if isinstance(call, FileCall):
                yield from (("file", (path,), access) for path, access in touched(call))


def _assistant(call: Call) -> str:
    """The model that it names to have a part of its work done; empty: none."""
    match call:
        case CompactContext():
            return call.model
        case Recall():
            return "" if call.rerank == "none" else call.rerank
        case _:
            return ""


def _called(kernel: Kernel, model: str) -> tuple[str, ...]:
    """By its alias, where it is one, and by its name."""
    meant = kernel.registry.meant(model)
    return (model,) if meant == model else (model, meant)


def _any(
    process: Process,
    family: Family,
    names: tuple[str, ...],
    access: Access,
    narrowing: Narrowing | None,
) -> None:
    """By the first of the names that is allowed.  Raises what was said of the first."""
    first: Denied | None = None
    for name in names:
        try:
            return require(process, family, name, access, narrowing=narrowing)
        except Denied as error:
            first = first or error
    if first is not None:
        raise first


def usable(
    process: Process, narrowing: Narrowing | None, cards: Sequence[ModelCard]
) -> Sequence[ModelCard]:
    """Of models, those that the caller may ask."""
    held = compiled(process.row.rights)
    if held.is_everything and narrowing is None:
        return cards
    lists = [held] if narrowing is None else [held, narrowing.held]
    return [card for card in cards if all(one.allows("model", card.name) for one in lists)]


def wanted(family: Family, name: str, access: Access) -> str:
    """As it would be written."""
    shown = name[:NAME_CHARS_MAX]
    return family + (f":{shown}" if shown else "") + (f":{access}" if access else "")


def refuse(
    kernel: Kernel,
    process: Process,
    error: KernelError,
    right: str = "",
    narrowing: Narrowing | None = None,
) -> None:
    """Count a refusal, and journal it: at most so many a minute of one process."""
    process.refused += 1
    is_writable = kernel.journal.stopped is None
    if not process.refusals.tell(kernel.clock.wall_ns(), is_writable=is_writable):
        return
    event = RightRefused(
        right=right,
        incarnation=process.row.incarnation,
        reason=error.message[:1_000],
        token=narrowing.token if narrowing is not None else "",
        unsaid=process.refusals.untold,
    )
    process.refusals.untold = 0
    try:
        kernel.emit(process.id, process.row.tenant, event)
    except KernelError as failure:  # The caller is to hear why he is refused, not this.
        log.warning("a refusal of process %d is not journaled: %s", process.row.pid, failure)


# Giving and taking.


def effective(process: Process, narrowing: Narrowing | None) -> Rights:
    """What the caller may pass on."""
    held = process.row.rights
    return held if narrowing is None else rights.both(held, narrowing.held.rights)


def give(kernel: Kernel, target: Process, right: str, held: Rights, by: str) -> None:
    """One right more for `target`.  Raises `Denied` where the giver or its parent lacks it."""
    (text,) = rights.narrowed(held, (right,), by) or ("",)
    parent = kernel.tables.rows.get(target.row.parent) if target.row.parent is not None else None
    if text and parent is not None and not rights.covers(parent.rights, text):
        raise Denied(
            f"process {parent.pid}, the parent of process {target.row.pid}, does not hold "
            f"{text!r}: nobody holds more than his parent"
        )
    rights.canonical((*target.row.rights, text))  # Raises at RIGHTS_MAX.
    # From here on only the journal can fail.
    if text and not rights.covers(target.row.rights, text):
        kernel.emit(target.id, target.row.tenant, RightGranted(right=text, by=by))


def take(kernel: Kernel, target: Process, right: str, by: str) -> None:
    """Take `right` from `target` and from all its descendants, who have it from there.

    Afterwards nothing of it is allowed.  Raises `Conflict` where a wider right would still allow
    some of it.
    """
    scope = rights.read(right)
    for text in rights.without(target.row.rights, right):
        if rights.overlaps(rights.read(text), scope):
            raise Conflict(
                f"process {target.row.pid} holds {text!r}, which reaches beyond {right!r}: "
                "revoke that, and grant what it is to keep"
            )
    if rights.without(target.row.rights, right) == target.row.rights:
        raise Conflict(f"process {target.row.pid} does not hold {right!r}")
    # From here on only the journal can fail; those below first, so that none ever holds more.
    for row in sorted(below(kernel, target), key=lambda row: -len(row.accounts)):
        lost = tuple(text for text in row.rights if scope.covers(rights.read(text)))
        if lost:
            kernel.emit(row.id, row.tenant, RightsTaken(rights=lost, by=by))


def below(kernel: Kernel, process: Process) -> list[Row]:
    """The process and its descendants, also those whose parents have left the table."""
    own = accounts.of_process(process.id)
    return [row for row in kernel.tables.rows.values() if own in row.accounts]
