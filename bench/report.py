"""What every bench shares: its flags, its table, its JSON, and a kernel to measure."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orlop import assembly, boot
from orlop.abi.ids import EngineName
from orlop.access.principal import Tokens
from orlop.assembly import Power
from orlop.devices.fake import FakeConfig
from orlop.drivers.engines import EngineConfig
from orlop.kernel import recovery
from orlop.kernel.shutdown import shut_down
from orlop.machine.chance import SystemChance
from orlop.settings import ModelsConfig, Settings
from orlop.state.core import Kernel, KernelConfig


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.  `goal`: what the issue asks for, as text; empty where there is none."""

    name: str
    value: float
    unit: str
    goal: str = ""


@dataclass(slots=True)
class Report:
    """One bench's rows; `question` is what it answers, `expected` was written before the run."""

    question: str
    expected: str
    rows: list[Row] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, goal: str = "") -> None:
        self.rows.append(Row(name, value, unit, goal))
        print(f"  {name:<58} {value:>12,.4g} {unit:<10} {goal}", flush=True)

    def median(self, name: str, values: Sequence[float], unit: str, goal: str = "") -> float:
        value = statistics.median(values)
        self.add(name, value, unit, goal)
        return value


def flags(question: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    return parser.parse_args()


def begin(question: str, expected: str) -> Report:
    print(f"{question}\nexpected: {expected}")
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print(f"commit: {commit()}, {time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f}\n")
    report = Report(question, expected)
    report.add("the machine: 5 million additions in a Python loop", pace_s(), "s")
    return report


def pace_s() -> float:
    """How fast this machine is just now, so that figures of different hours can be compared."""
    began_s, total = time.process_time(), 0
    for number in range(5_000_000):
        total += number
    return time.process_time() - began_s


def commit() -> str:
    said = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def finish(report: Report, path: Path | None) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "question": report.question,
            "expected": report.expected,
            "commit": commit(),
            "date": time.strftime("%Y-%m-%d"),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "rows": [
                {"name": row.name, "value": row.value, "unit": row.unit, "goal": row.goal}
                for row in report.rows
            ],
        }
        path.write_text(json.dumps(document, indent=1) + "\n")


@asynccontextmanager
async def kernel(
    fake: FakeConfig, config: KernelConfig | None = None, home: Path | None = None
) -> AsyncIterator[Kernel]:
    """A kernel as `powered` has it, with one fake engine."""

    def settings(scratch: str) -> Settings:
        return Settings(
            kernel=config or KernelConfig(),
            models=ModelsConfig(dir=scratch),
            engines={"fake": EngineConfig(driver="fake", fake=fake)},
        )

    async with powered(settings, home) as built:
        yield built


@asynccontextmanager
async def powered(
    settings: Callable[[str], Settings], home: Path | None = None
) -> AsyncIterator[Kernel]:
    """A whole kernel in this process, its configured engines started: journal on SQLite, no HTTP.

    settings: given a folder that is gone afterwards.  home: by default in that folder.
    """
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as scratch:
        boot.tune()
        lifeline, end = os.pipe()
        power = Power(
            home=home or Path(scratch) / "home",
            settings=settings(scratch),
            url="http://127.0.0.1:0",
            socket_path="",
            lifeline=lifeline,
            supervisor_pid=None,
            listeners=(),
        )
        gate = assembly.gate_of(power)
        built = await assembly.build(power, Tokens.volatile(SystemChance()), gate)
        for name in power.settings.engines:
            engine = built.registry.engines[EngineName(name)]
            await engine.start()
            built.registry.learn(engine.name, await engine.models())
        await recovery.recover(built)
        try:
            yield built
        finally:
            await shut_down(built)
            await built.journal.close()
            os.close(lifeline)
            os.close(end)
