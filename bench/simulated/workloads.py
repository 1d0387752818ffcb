"""The workloads of bench A: recorded tasks at random, arriving as a Poisson process.

Contexts of the Claude-Code traces are taken at a quarter of their length: they were made with
windows of 200 k to 1 M tokens, Qwen3-32B has 32 k (131 k stretched).  At that scale the work of a
task varies as it does at full length (squared coefficient of variation 5.9 against 3.1: see the
report's rows at scale 1).  Gaps are never scaled.
"""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orlop.operate.plan import trace
from orlop.operate.plan.tasks import Arrival, Step, Task, fitting, scaled

SCALE: Final = 0.25
WINDOW: Final = 131_072
MICRO_OUTPUT: Final = 48
CHARS_PER_TOKEN: Final = 4


def need(path: Path) -> Path:
    """The file, or a clear end."""
    if not path.exists():
        sys.exit(
            f"bench: {path} is absent; --data DIR names a folder with claude_code_traces/,"
            " calibration/, mooncake/, azure2023/ and bfcl/ (see docs/how-to/plan.md)"
        )
    return path


def coding_agents(data: Path, scale: float = SCALE) -> list[Task]:
    path = need(data / "claude_code_traces" / "claude_code_calls.jsonl.gz")
    return fitting([scaled(found.task, scale) for found in trace.read(path)], WINDOW)


def conversations(data: Path) -> list[Task]:
    path = need(data / "mooncake" / "conversation_trace.jsonl")
    return fitting([found.task for found in trace.read(path)], WINDOW)


def single_calls(data: Path) -> list[Task]:
    path = need(data / "azure2023" / "AzureLLMInferenceTrace_code.csv")
    return fitting([found.task for found in trace.read(path)], 60_000)


def function_calls(data: Path) -> list[Task]:
    """BFCL's multi-turn tasks: small prompts, short answers, the tools' documentation shared."""
    path = need(data / "bfcl" / "BFCL_v4_multi_turn_base.json")
    tasks = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        system = held = 2_000
        steps: list[Step] = []
        for turn in row["question"]:
            asked = sum(len(message["content"]) for message in turn) // CHARS_PER_TOKEN
            for _ in range(2):
                prompt = held + max(8, asked)
                steps.append(
                    Step(
                        prompt=prompt,
                        output=MICRO_OUTPUT,
                        prefix=held if steps else 0,
                        gap_s=1.0 if steps else 0.0,
                    )
                )
                held, asked = prompt + MICRO_OUTPUT, 120
        shared = "+".join(sorted(row["involved_classes"]))
        tasks.append(
            Task(
                name=row["id"],
                steps=tuple(steps),
                shared=shared,
                shared_tokens=system,
                tier=0,
                kind="function-calls",
            )
        )
    return tasks


def homogeneous() -> list[Task]:
    """Equal tasks, where first come first served among programs is best (SWE-bench's shape)."""
    steps, held = [], 4_000
    for number in range(20):
        prompt = held + 700
        steps.append(
            Step(
                prompt=prompt, output=220, prefix=held if number else 0, gap_s=8.0 if number else 0
            )
        )
        held = prompt + 220
    return [Task(name="equal", steps=tuple(steps), shared="equal", shared_tokens=4_000)]


def adversarial() -> list[Task]:
    """Two sizes in long runs of equals: attained service tells nothing until it is too late."""
    tasks = []
    for calls, context in ((12, 24_000), (36, 24_000)):
        steps, held = [], context
        for number in range(calls):
            prompt = held + 200
            steps.append(
                Step(
                    prompt=prompt,
                    output=300,
                    prefix=held if number else 0,
                    gap_s=3.0 if number else 0.0,
                )
            )
            held = prompt + 300
        tasks.append(Task(name=f"{calls}-calls", steps=tuple(steps)))
    return tasks


def arriving(tasks: Sequence[Task], count: int, rate: float, seed: int) -> list[Arrival]:
    """`count` tasks drawn with replacement; the draw depends on the seed, not on the rate."""
    draw = random.Random(seed)
    found, at_s = [], 0.0
    for _ in range(count):
        at_s += draw.expovariate(1.0) / rate
        found.append(Arrival(at_s=at_s, task=draw.choice(tasks)))
    return found
