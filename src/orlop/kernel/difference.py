"""A readable difference between a call and the recorded one that it should have been."""

import difflib

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import Call, Infer, call_name
from orlop.abi.egress import Fetch
from orlop.abi.errors import NotFound
from orlop.abi.hints import Hints
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.record import Recorded
from orlop.subsystems import history

LINES_MAX = 60
"""Of a difference; the rest is in the journal."""

LINE_CHARS_MAX = 240


async def difference(
    kernel: Kernel, process: Process, call: Call, expected: Recorded | None
) -> str:
    """What a person needs to see where the program left its path."""
    kind = call_name(call)
    if expected is None:
        return f"recorded: nothing more\nmade now: {kind}\n{clipped(readable(call))}"
    try:
        recorded = (await history.call_made(kernel, process.row.tenant, expected.intent)).body
    except NotFound as pruned:
        return f"recorded: event {expected.intent} ({pruned.message})\nmade now: {kind}"
    lines = difflib.unified_diff(
        readable(recorded),
        readable(call),
        f"recorded (event {expected.intent})",
        "made now",
        lineterm="",
        n=1,
    )
    text = clipped(list(lines))
    return text or "the same call, more often than it is recorded"


def readable(call: Call) -> list[str]:
    """The call as indented JSON, without what only says how it is sent."""
    bare = replace(call, hints=Hints())
    if isinstance(bare, Infer):
        bare = replace(bare, stream=False)
    if isinstance(bare, Fetch):
        bare = replace(bare, carried=())
    return msgspec.json.format(msgspec.json.encode(bare), indent=2).decode().splitlines()


def clipped(lines: list[str]) -> str:
    shown = [
        line if len(line) <= LINE_CHARS_MAX else line[:LINE_CHARS_MAX] + "…"
        for line in lines[:LINES_MAX]
    ]
    if len(lines) > LINES_MAX:
        shown.append(f"… {len(lines) - LINES_MAX} more lines")
    return "\n".join(shown)
