"""Labels of calls and of their results: the kernel's side of `access.taint`."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import CallTool, Embed, Infer
from orlop.abi.cards import ToolCard
from orlop.abi.contexts import Context
from orlop.abi.egress import Fetch, Onward
from orlop.abi.errors import NotFound
from orlop.abi.events import CallFailed, CallReturned
from orlop.abi.files import Contents, Found
from orlop.abi.labels import together
from orlop.abi.memory import Recalled
from orlop.abi.replies import Completion, Done, ToolResult
from orlop.access.taint import CLEAN, Labels, Tracker, plain, texts
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.store.journal import Part
from orlop.subsystems import history
from orlop.subsystems.described import Described

OUTCOMES: Final = ("call.returned", "call.failed")
RECENT_EVENTS: Final = 4_096
"""Events of a process, the newest, that are read again after a restart."""

UNTRUSTED = "untrusted"
WEB = "web"
OUTSIDE = "outside"


def of_card(card: ToolCard) -> Labels:
    """What a tool says has these."""
    own = frozenset(card.labels)
    return own | {UNTRUSTED} if card.trust == UNTRUSTED else own


def tracker(kernel: Kernel, process: Process) -> Tracker:
    """What is known of the process's data; until `look_up`, only which labels it has taken in."""
    if process.tracker is None:
        carried = dict(kernel.tables.policies.carried.get(process.id, {}))
        process.tracker = Tracker(carried=carried, is_blind=bool(carried))
    return process.tracker


async def look_up(kernel: Kernel, process: Process) -> Tracker:
    """After a restart of the kernel, and in a new child: what the journal and the parent know.

    Where that is too long, pruned, or gone, everything new keeps all labels.
    """
    known = tracker(kernel, process)
    if known.is_looked_up:
        return known
    known.is_looked_up = True  # Calls that come meanwhile find it blind, which is safe.
    if known.carried:
        is_whole = await _from_journal(kernel, process, known)
        parent = kernel.processes.get(process.row.parent) if process.row.parent else None
        if parent is not None:
            known.adopt(await look_up(kernel, parent))
            is_whole &= not parent.tracker.is_blind if parent.tracker is not None else False
        known.is_blind = not is_whole or (parent is None and process.row.parent is not None)
    return known


async def _from_journal(kernel: Kernel, process: Process, known: Tracker) -> bool:
    """Read the newest calls again; whether that was all of them."""
    tenant, head = process.row.tenant, kernel.journal.process_head(process.id)
    after = max(0, head - RECENT_EVENTS)
    await kernel.journal.flush()
    is_whole = after == 0
    for stored in await kernel.elders.of_process(process.id, after, kinds=OUTCOMES):
        event, call = codec.decode(stored), stored.header.call
        if event is None or call is None:
            is_whole = False
            continue
        match event:
            case CallFailed():
                known.received(frozenset(event.labels), call, event.message)
            case CallReturned(done=Completion()):
                labels = frozenset(event.labels)
                try:
                    messages = await history.messages_of(kernel, tenant, event.messages)
                except NotFound:
                    is_whole = False
                    continue
                for message, name in zip(messages, event.messages, strict=True):
                    known.answered(message, bytes.fromhex(name), labels, call)
            case CallReturned() if event.labels:
                is_whole &= not isinstance(event.done, Contents)  # Its data lies elsewhere.
                known.received(frozenset(event.labels), call, _value(event.done))
            case _:
                pass
    return is_whole


def of_call(kernel: Kernel, process: Process, running: Running, described: Described) -> Labels:
    """Where what the call is made from came from."""
    call, known = running.call, tracker(kernel, process)
    if isinstance(call, Infer):
        return _of_infer(kernel, known, running, call, described)
    if not known.carried:
        return CLEAN
    if isinstance(call, CallTool):
        return known.of_tool_call(call.tool, call.arguments)
    if isinstance(call, Embed):
        return known.of_texts(call.inputs)
    return known.all()


def _of_infer(
    kernel: Kernel, known: Tracker, running: Running, call: Infer, described: Described
) -> Labels:
    shows_results = any(m.role == "tool" or m.tool_use_id for m in call.messages)
    if not known.carried and not shows_results:
        return CLEAN
    names = [part.name for part in described.parts]
    lookup = _Tools(kernel)
    found = known.of_conversation(call.messages, names, lookup.labels, running.id)
    if isinstance(call.prompt, str):
        return found | known.of_texts((call.prompt, call.suffix))
    return found if call.prompt is None else known.all()  # Token ids are not read here.


class _Tools:
    """Labels by a tool's name, as the kernel has it or as a model is shown it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._plain: dict[str, ToolCard] = {}

    def labels(self, name: str) -> Labels | None:
        """None: no tool of the kernel's."""
        card = self._kernel.tools.card(name)
        if card is None:
            if not self._plain:
                self._plain = {plain(card.name): card for card in self._kernel.tools.cards()}
            card = self._plain.get(plain(name))
        return of_card(card) if card is not None else None


def labelled(
    kernel: Kernel,
    process: Process,
    running: Running,
    event: CallReturned | CallFailed,
    done: Done | None,
    parts: Sequence[Part],
) -> CallReturned | CallFailed:
    """The outcome with the labels of what it brings, which is known again from here on.

    What a tool says of its failure is its own words too.
    """
    known, call = tracker(kernel, process), running.call
    labels = CLEAN
    if isinstance(call, CallTool):
        card = kernel.tools.card(call.tool)
        # A trusted tool that was asked by strangers' words still says what it knows by itself; only
        # where it is told a piece of such data may it give that back in other words.
        labels |= known.of_texts(texts(call.arguments)) if known.carried else CLEAN
        labels |= of_card(card) if card is not None else CLEAN
    elif isinstance(call, Fetch):
        labels |= running.labels | {UNTRUSTED, WEB}
    elif isinstance(done, Completion):
        labels |= running.labels
    elif done is not None:
        labels |= of_read(done)
    if isinstance(event, CallFailed):
        known.received(labels, running.id, event.message)
    elif isinstance(done, Completion):
        for choice, part in zip(done.choices, parts, strict=True):
            known.answered(choice.message, part.name, labels, running.id)
    elif labels:
        # What comes in stored pieces can't be known again by what it says.
        known.is_blind |= isinstance(done, Contents) and any(one.pieces for one in done.files)
        known.received(labels, running.id, _value(done))
    return replace(event, labels=tuple(sorted(labels))) if labels else event


def kept(running: Running, given: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Of what a call writes.  given: labels that its caller has named for it."""
    return together(running.labels, given)


def of_read(done: Done) -> Labels:
    """Of what was kept, and was read."""
    match done:
        case Contents():
            return CLEAN.union(*(one.labels for one in done.files))
        case Found():
            return CLEAN.union(*(hit.labels for hit in done.hits))
        case Context():
            return frozenset(done.labels)
        case Recalled():
            return CLEAN.union(*(one.labels for one in (*done.memories, *done.stale)))
        case _:
            return CLEAN


def passing(kernel: Kernel, running: Running, piece: Onward) -> None:
    """A piece of a server's answer reaches the program before the call has ended."""
    process = kernel.processes.get(running.process)
    if process is not None:
        text = piece.decode(errors="replace") if isinstance(piece, bytes) else ""
        tracker(kernel, process).received(running.labels | {UNTRUSTED, WEB}, running.id, text)


def _value(done: Done | None) -> object:
    """What a result says."""
    return (
        done.value
        if isinstance(done, ToolResult)
        else msgspec.to_builtins(done, builtin_types=(bytes,))
    )
