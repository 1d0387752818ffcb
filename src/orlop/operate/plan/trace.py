"""Trace files as tasks.  A file's columns say what it is; every mistake is named with its line.

* Coding agents (`trace, agent, i, in, out, hit_prev, think, stop`): a task is what an agent does
  between two turns of its user.
* Ours (`task, at_s, gap_s, prompt, output, prefix`): one line a call, in order within a task.
* Mooncake (`timestamp, input_length, output_length, hash_ids`): blocks tell who continues whom.
* Azure (`TIMESTAMP, ContextTokens, GeneratedTokens`, CSV): calls that share nothing.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import msgspec

from orlop.abi.errors import Misconfigured
from orlop.machine.ranges import Count, Many, Seconds
from orlop.operate.plan.tasks import Arrival, Step, Task

BLOCK: Final = 512
"""Tokens of one of Mooncake's blocks."""
TOOL_S_MAX: Final = 120.0
"""Of a coding agent's recorded gap: its tools' own limit; what took longer was a person."""
PAUSE_S_MAX: Final = 600.0
"""Of a gap in a conversation."""
MODEL_TIERS: Final = {"opus": 2, "sonnet": 1, "haiku": 1}
AZURE: Final = {"TIMESTAMP", "ContextTokens", "GeneratedTokens"}
ENCODING: Final = "utf-8-sig"
"""With or without the mark that spreadsheets put first."""

Line: TypeAlias = tuple[int, str]
"""With its number."""

S = TypeVar("S", bound=msgspec.Struct)


class AgentCall(msgspec.Struct, frozen=True, rename={"prompt": "in", "output": "out"}):
    trace: str
    agent: str
    i: int
    prompt: Many
    output: Count
    t: float = 0.0
    model: str = ""
    hit_prev: Count = 0
    think: float = 0.0
    stop: str = "end_turn"
    tool_tokens: Count = 0
    system_tokens: Count = 0


class OurCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    task: str
    prompt: Many
    output: Many
    at_s: Seconds = 0.0
    gap_s: Seconds = 0.0
    prefix: Count = 0
    tool: str = ""
    tier: Count = 2
    shared: str = ""
    shared_tokens: Count = 0


class AzureCall(
    msgspec.Struct,
    frozen=True,
    rename={"at": "TIMESTAMP", "prompt": "ContextTokens", "output": "GeneratedTokens"},
):
    at: str
    prompt: Count
    output: Count


class MooncakeCall(msgspec.Struct, frozen=True):
    timestamp: float
    input_length: Many
    output_length: Many
    hash_ids: tuple[int, ...]


def read(path: Path) -> list[Arrival]:
    """Tasks by arrival, the first at 0.  Raises `Misconfigured`."""
    try:
        with (
            gzip.open(path, "rt", encoding=ENCODING)
            if path.suffix == ".gz"
            else path.open(encoding=ENCODING) as file
        ):
            numbered = enumerate(file.read().splitlines(), 1)
            lines = [(number, line) for number, line in numbered if line.strip()]
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise Misconfigured(f"{path}: can't be read: {error}") from error
    if not lines:
        raise Misconfigured(f"{path}: has no calls")
    _, first = lines[0]
    if set(first.split(",")) >= AZURE:
        found = _azure(path, lines)
    elif '"hash_ids"' in first:
        found = _mooncake(list(_rows(path, lines, MooncakeCall)))
    elif '"trace"' in first:
        found = _agents(list(_rows(path, lines, AgentCall)))
    elif '"task"' in first:
        found = _ours(path, lines, list(_rows(path, lines, OurCall)))
    else:
        raise Misconfigured(f"{path}:1: is no trace that is known; docs/how-to/plan.md lists them")
    if not found:
        raise Misconfigured(f"{path}: has no calls, only the names of its columns")
    start_s = min(arrival.at_s for arrival in found)
    moved = [Arrival(at_s=arrival.at_s - start_s, task=arrival.task) for arrival in found]
    return sorted(moved, key=lambda arrival: arrival.at_s)


def _rows(path: Path, lines: Sequence[Line], kind: type[S]) -> Iterator[S]:
    for number, line in lines:
        try:
            yield msgspec.json.decode(line, type=kind)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise Misconfigured(f"{path}:{number}: {error}") from error


def _agents(calls: Sequence[AgentCall]) -> list[Arrival]:
    agents: dict[tuple[str, str], list[AgentCall]] = defaultdict(list)
    for call in calls:
        agents[call.trace, call.agent].append(call)
    found = []
    for (trace, agent), mine in agents.items():
        mine.sort(key=lambda call: call.i)
        head = mine[0]
        begin = 0
        for end, call in enumerate(mine, 1):
            if call.stop != "tool_use" or end == len(mine):
                name = f"{trace}/{agent}/{begin}"
                task = _agent_task(name, mine[begin:end], head)
                found.append(Arrival(at_s=mine[begin].t, task=task))
                begin = end
    return found


def _agent_task(name: str, calls: Sequence[AgentCall], head: AgentCall) -> Task:
    common = min(head.tool_tokens + head.system_tokens, min(call.prompt for call in calls) - 1)
    steps: list[Step] = []
    held = 0
    for call in calls:
        prefix = min(call.hit_prev, held, call.prompt - 1)
        gap_s = min(max(call.think, 0.0), TOOL_S_MAX) if steps else 0.0
        output = max(1, call.output)
        steps.append(Step(prompt=call.prompt, output=output, prefix=prefix, gap_s=gap_s))
        held = call.prompt + output
    tier = next((tier for word, tier in MODEL_TIERS.items() if word in calls[0].model), 2)
    return Task(
        name=name,
        steps=tuple(steps),
        # Equal sizes of tools and system prompt are taken for the same tools and system prompt.
        shared=f"{head.tool_tokens}+{head.system_tokens}" if common > 0 else "",
        shared_tokens=max(0, common),
        tier=tier,
        kind="sub-agent" if "." in name.split("/")[1] else "agent",
    )


def _ours(path: Path, lines: Sequence[Line], calls: Sequence[OurCall]) -> list[Arrival]:
    tasks: dict[str, list[OurCall]] = defaultdict(list)
    for (number, _), call in zip(lines, calls, strict=True):
        if call.shared_tokens >= call.prompt or call.prefix >= call.prompt:
            raise Misconfigured(f"{path}:{number}: prefix and shared_tokens are parts of prompt")
        tasks[call.task].append(call)
    return [
        Arrival(
            at_s=mine[0].at_s,
            task=Task(
                name=name,
                steps=tuple(
                    Step(
                        prompt=call.prompt,
                        output=call.output,
                        prefix=call.prefix,
                        gap_s=call.gap_s,
                        tool=call.tool,
                    )
                    for call in mine
                ),
                shared=mine[0].shared,
                shared_tokens=min([mine[0].shared_tokens, *(call.prompt - 1 for call in mine)]),
                tier=mine[0].tier,
            ),
        )
        for name, mine in tasks.items()
    ]


def _mooncake(calls: Sequence[MooncakeCall]) -> list[Arrival]:
    """A call goes on with the conversation whose last block but its own end it repeats."""
    ends: dict[int, int] = {}
    conversations: list[list[tuple[MooncakeCall, int]]] = []
    for call in calls:
        depth = next(
            (n for n in range(len(call.hash_ids), 1, -1) if call.hash_ids[n - 1] in ends), 0
        )
        if depth:
            which = ends[call.hash_ids[depth - 1]]
            conversations[which].append((call, min(depth * BLOCK, call.input_length - 1)))
        else:
            which = len(conversations)
            conversations.append([(call, 0)])
        ends.update(dict.fromkeys(call.hash_ids[1:], which))
    return [_conversation(f"conversation-{n}", mine) for n, mine in enumerate(conversations)]


def _conversation(name: str, calls: Sequence[tuple[MooncakeCall, int]]) -> Arrival:
    steps, before_s, held = [], calls[0][0].timestamp / 1e3, 0
    for call, prefix in calls:
        at_s = call.timestamp / 1e3
        steps.append(
            Step(
                prompt=call.input_length,
                output=call.output_length,
                prefix=min(prefix, held),
                gap_s=max(0.0, min(at_s - before_s, PAUSE_S_MAX)),
            )
        )
        before_s, held = at_s, call.input_length + call.output_length
    return Arrival(
        at_s=calls[0][0].timestamp / 1e3,
        task=Task(name=name, steps=tuple(steps), kind="chat"),
    )


def _azure(path: Path, lines: Sequence[Line]) -> list[Arrival]:
    found = list[Arrival]()
    rows = csv.DictReader(line for _, line in lines)
    try:
        for row in rows:
            call = msgspec.convert({name: row[name] for name in AZURE}, AzureCall, strict=False)
            at_s = datetime.fromisoformat(call.at[:26]).timestamp()
            step = Step(prompt=max(2, call.prompt), output=max(1, call.output))
            name = f"call-{len(found) + 1}"
            task = Task(name=name, steps=(step,), kind="single", tier=1)
            found.append(Arrival(at_s=at_s, task=task))
    except (ValueError, csv.Error) as error:  # msgspec's are the former.
        number, _ = lines[rows.line_num - 1]
        raise Misconfigured(f"{path}:{number}: {error}") from error
    return found
