"""What does a decision add to a call: rights, a policy of 100 rules, labels, the hold on a budget?

At the door, call by call, in the kernel's own loop; then through the whole door; then over HTTP
with all of it, against the same kernel with none of it.
"""

import gc
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import uvloop

from bench.http import SCRIPT, cpu_s, mock, wrk
from bench.report import Report, begin, finish, flags, kernel
from orlop.abi.budgets import AccountName, BudgetOrder, Limit
from orlop.abi.calls import Budget, CallTool, Infer, Spawn
from orlop.abi.cards import ToolCard
from orlop.abi.ids import DEFAULT_TENANT, CallId
from orlop.abi.messages import Message
from orlop.abi.replies import Delta
from orlop.access.policy_calls import targets
from orlop.access.policy_reading import read
from orlop.devices.fake import FakeConfig
from orlop.kernel import syscall
from orlop.kernel.admit import admit
from orlop.state.core import Kernel
from orlop.state.guard import opened
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import budgets, lifecycle, policies, policy, rights, tainted
from orlop.subsystems.described import describe

RIGHTS = ("model:*", "tool:shop.*", "tool:mail", "ask")
PERMIT = '@id("all") permit(principal, action, resource);\n'


def spread() -> str:
    """As a policy of a company is: 45 tools with two rules each, and nine for all calls."""
    rules = [PERMIT]
    for number in range(45):
        name = "mail" if number == 0 else f"shop.tool{number}"
        head = f'principal, action == Action::"call_tool", resource == Tool::"{name}"'
        rules.append(
            f'@id("rate-{number}") forbid({head})\n'
            f"when {{ context.calls.agent.hour >= 1000000 }};\n"
            f'@id("taint-{number}") forbid({head})\n'
            f'when {{ context.taint.contains("untrusted") }};\n'
        )
    for number in range(9):
        rules.append(
            f'@id("all-{number}") forbid(principal, action, resource)\n'
            f'when {{ context.taint.contains("secret{number}") && principal.team != "red" }};\n'
        )
    return "".join(rules)


def everywhere(name: str, when: Callable[[int], str]) -> str:
    """99 rules for every call, each with its own condition."""
    rules = [PERMIT]
    for number in range(99):
        head = f'@id("{name}-{number}") forbid(principal, action, resource)'
        rules.append(f"{head}\nwhen {{ {when(number)} }};\n")
    return "".join(rules)


def dense() -> str:
    """Every rule is for every call, and looks at a count that each call changes."""
    return everywhere("dense", lambda n: f"context.calls.agent.hour >= {1_000_000 + n}")


def worst() -> str:
    """The same, and each rule looks at four facts."""
    return everywhere(
        "worst",
        lambda n: (
            f"context.calls.agent.hour >= {1_000_000 + n} ||\n"
            f'context.taint.contains("label{n}") || context.time.weekday > 7 ||\n'
            "context.spend.agent.tokens > 1000000000"
        ),
    )


def computed() -> str:
    """The same rules compute with the count, so that no answer can be kept."""
    return everywhere("computed", lambda n: f"context.calls.agent.hour + {n} >= 1000000")


def static() -> str:
    """Rules that look at who and what alone: their answer is remembered."""
    rules = [PERMIT]
    for number in range(99):
        rules.append(
            f'@id("static-{number}") forbid(principal, action, resource)\n'
            f'when {{ principal.name like "stranger{number}*" }};\n'
        )
    return "".join(rules)


POLICIES: Mapping[str, str] = {
    "spread": spread(),
    "static": static(),
    "dense": dense(),
    "worst": worst(),
    "computed": computed(),
}


class Mail:
    """A tool that does nothing."""

    def __init__(self) -> None:
        properties = {"to": {"type": "string"}, "text": {"type": "string"}}
        self.card = ToolCard(
            name="mail",
            effect="pure",
            parameters={"type": "object", "properties": properties},
        )

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        return "sent"

    async def happened(self, key: str) -> bool | None:
        return None


def call_of(kind: str, number: int) -> CallTool | Infer:
    if kind == "tool":
        return CallTool(tool="mail", arguments={"to": "ada", "text": f"letter {number}"})
    return Infer(model="fake", messages=(Message("user", f"step {number}"),))


async def process_of(kernel: Kernel, name: str, held: tuple[str, ...]) -> Process:
    order = Spawn(command=(), name=name, allow=held, team="blue")
    process = await lifecycle.create(kernel, order, DEFAULT_TENANT)
    await lifecycle.start(kernel, process, "first")
    return process


def decide_us(kernel: Kernel, process: Process, kind: str, calls: int) -> list[float]:
    """What each call's decision takes: rights, labels, rules, what its budgets have left."""
    found = []
    for number in range(calls):
        call = call_of(kind, number)
        described = describe(kernel, process, call)
        running = Running(
            id=CallId(f"cal_{number}"),
            process=process.id,
            call=call,
            digest=described.digest,
            started_s=0.0,
        )
        began_ns = time.perf_counter_ns()
        rights.check(kernel, process, call, None)
        running.labels = tainted.of_call(kernel, process, running, described)
        policy.judge(kernel, process, running)
        admit(kernel, process, running)
        found.append((time.perf_counter_ns() - began_ns) / 1e3)
        # As the intent would: so each call meets other facts, and no answer can be kept.
        for action, name in targets(call):
            kernel.tables.policies.counts.add(
                DEFAULT_TENANT, process.row.accounts, action, name, time.time_ns() // 10**9
            )
    return found


async def through_us(kernel: Kernel, process: Process, kind: str, calls: int) -> list[float]:
    """CPU of whole calls, one after another, in groups of 20."""
    found = []
    for group in range(calls // 20):
        began_s = time.process_time()
        for number in range(20):
            running = syscall.enter(kernel, process, call_of(kind, group * 20 + number))
            async for reply in running.replies:
                assert not isinstance(reply, Delta)
        found.append((time.process_time() - began_s) / 20 * 1e6)
    return found


async def at_the_door(report: Report, quick: bool) -> None:
    calls = 400 if quick else 4_000
    async with kernel(FakeConfig(slots=8, tokens=1)) as built:
        built.tools.put(Mail())
        bare = await process_of(built, "bare", ("*",))
        governed = await process_of(built, "governed", RIGHTS)
        limit = Limit(budget=Budget(calls=10**9, tokens=10**12))
        order = BudgetOrder(account=AccountName("agent:governed"), limit=limit)
        await budgets.allow(built, DEFAULT_TENANT, order)
        for kind in ("tool", "model"):
            decide_us(built, bare, kind, 50)
            built.guard.put(opened())
            nothing = statistics.median(decide_us(built, bare, kind, calls))
            report.add(f"{kind} call, nothing set: decided in", nothing, "µs")
            for name, text in POLICIES.items():
                built.guard.put(await policies.made(built, {"rules.cedar": text}, "bench"))
                decide_us(built, governed, kind, 5)
                gc.collect()
                took = sorted(decide_us(built, governed, kind, calls))
                added = statistics.median(took) - nothing
                report.add(f"{kind} call, {name}: added p50", added, "µs", "< 150")
                report.add(f"{kind} call, {name}: p99", took[len(took) * 99 // 100], "µs")
        limited = await process_of(built, "limited", RIGHTS)
        order = BudgetOrder(account=AccountName("agent:limited"), limit=limit)
        await budgets.allow(built, DEFAULT_TENANT, order)
        await budgets.remove(built, DEFAULT_TENANT, "agent:governed")
        await whole(report, built, (bare, governed, limited), calls)


async def whole(
    report: Report, built: Kernel, processes: tuple[Process, Process, Process], calls: int
) -> None:
    """The CPU of a whole call, by turns with and without, so that the machine's moods cancel.

    A budget costs more than its arithmetic: its hold is on the disk before the call runs.
    """
    strict = await policies.made(built, {"rules.cedar": POLICIES["spread"]}, "bench")
    for kind in ("tool", "model"):
        took: list[list[float]] = [[], [], []]
        for _ in range(5):
            for number, process in enumerate(processes):
                built.guard.put(strict if number else opened())
                took[number] += await through_us(built, process, kind, max(100, calls // 10))
        nothing, ruled, limited = map(_median, took)
        report.add(f"{kind} call through the door, nothing set: CPU", nothing, "µs")
        report.add(f"{kind} call, rights and policy: CPU added", ruled - nothing, "µs", "< 150")
        report.add(f"{kind} call, a budget's durable hold too: CPU added", limited - nothing, "µs")


def _median(values: list[float]) -> float:
    return statistics.median(values)


def reading(report: Report) -> None:
    """How long a reload takes, beside the loop."""
    for name, text in POLICIES.items():
        began_s = time.perf_counter()
        found = read({"rules.cedar": text}, lambda tool: None)
        assert found.is_usable
        report.add(
            f"{name}: 100 rules read and checked", (time.perf_counter() - began_s) * 1e3, "ms"
        )


@contextmanager
def served(upstream: str, *, governed: bool) -> Iterator[tuple[str, str, psutil.Process]]:
    """A kernel as users start it: its url, a key, its process."""
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as home:
        folder = Path(home) / "policy"
        folder.mkdir()
        (folder / "rules.cedar").write_text(POLICIES["spread"])
        config = Path(home) / "orlop.toml"
        rules = f'[policy]\ndir = "{folder}"\n' if governed else ""
        config.write_text(
            f'[models]\ndir = "{home}/models"\n{rules}'
            f'[engines.mock]\nurl = "{upstream}"\nslots = 512\n'
        )
        orlop = [sys.executable, "-m", "orlop.shell.main"]
        where = ["--home", home]
        subprocess.run([*orlop, "up", "-d", "--port", "0", *where], check=True, capture_output=True)
        try:
            if governed:
                most = ["organisation", "--calls", "1000000000", "--tokens", "1000000000000"]
                command = [*orlop, "budget", "set", *most, *where]
                subprocess.run(command, check=True, capture_output=True)
            info = json.loads(subprocess.check_output([*orlop, "info", "--json", *where]))
            made = json.loads(subprocess.check_output([*orlop, "key", "create", "--json", *where]))
            yield info["url"], made["secret"], psutil.Process(info["os_pid"])
        finally:
            subprocess.run([*orlop, "down", *where], check=True, capture_output=True)


def over_http(report: Report, quick: bool) -> None:
    seconds = 3 if quick else 8
    for governed in (False, True):
        with (
            mock(0) as upstream,
            served(upstream, governed=governed) as (url, key, process),
            tempfile.TemporaryDirectory() as folder,
        ):
            script = Path(folder) / "load.lua"
            script.write_text(SCRIPT.format(token=key))
            path = "/v1/chat/completions"
            wrk(url + path, script, 16, 2)
            before_s = cpu_s(process)
            load = wrk(url + path, script, 64, seconds)
            used_s = cpu_s(process) - before_s
            what = "governed" if governed else "nothing set"
            report.add(f"HTTP, 64 clients, {what}", load.rate, "calls/s")
            goal = "≥ 1,500" if governed else ""
            report.add(
                f"HTTP, 64 clients, {what}: a core", load.rate * seconds / used_s, "calls/s", goal
            )
            report.add(f"HTTP, 64 clients, {what}: p50", load.p50, "ms")
            if load.errors:
                report.add(f"HTTP, {what}: ERRORS", load.errors, "calls", "0")


def main() -> None:
    assert __doc__
    given = flags(__doc__)
    report = begin(
        __doc__.splitlines()[0], "60-90 µs for what a company would write, 150 µs at the worst"
    )
    reading(report)
    uvloop.run(at_the_door(report, given.quick))
    if shutil.which("wrk") is None:
        print("HTTP is left out: wrk is not installed (Debian: apt-get install wrk)")
    else:
        over_http(report, given.quick)
    finish(report, given.json)


if __name__ == "__main__":
    main()
