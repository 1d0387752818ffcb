"""Does a budget hold: 200 callers at once from 4 processes, and the kernel killed under them?

A round gives a team a budget in one unit and lets everybody call until the kernel says that it is
spent.  Meanwhile the kernel is killed with SIGKILL again and again; its supervisor starts the next.
What was spent is what the provider has billed, in books that no kill reaches.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.report import Report, begin, finish
from orlop.operate.up import CRASHES_MAX, CRASHES_WITHIN_S

QUESTION = "How much is spent beyond a budget, with 200 callers and a kernel that is killed?"
EXPECTED = (
    "nothing, in any unit; up to the holds of the calls that each kill cuts off stays unspent"
)
ORLOP = (sys.executable, "-m", "orlop.shell.main")
PROCESSES = 4
CALLERS = 50
PRICES = (1_000, 4_000)
"""Nano-dollars a token, input and output."""
OUTPUT_TOKENS = 64
SPENT = "E1302"
ROUND_S_MAX = 240.0
STRIKE_S_MAX = 20.0
"""How long the next kill waits for its share of the budget to be spent: some is lost with each."""

SILENCE_S_MAX = 60.0
"""How long a caller asks a kernel that is not there."""


@dataclass(frozen=True, slots=True)
class Round:
    unit: str
    flag: str
    limit: float


def rounds(calls: int) -> list[Round]:
    """As many calls in each, about."""
    return [
        Round("calls", "--calls", calls),
        Round("tokens", "--tokens", calls * 80),
        Round("dollars", "--usd", calls * 180e-6),
    ]


def orlop(home: Path, *words: str) -> str:
    around = {**os.environ, "ORLOP_HOME": str(home)}
    ran = subprocess.run([*ORLOP, *words], env=around, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"orlop {' '.join(words)}: {ran.stderr}")
    return ran.stdout


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def up(port: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as scratch:
        home = Path(scratch)
        (home / "orlop.toml").write_text(
            f'[models]\ndir = "{home}/models"\n'
            "[models.prices.billed]\ninput = 1.0\noutput = 4.0\n"
            f'[engines.provider]\nurl = "http://127.0.0.1:{port}/v1"\npaid = true\nslots = 256\n'
        )
        orlop(home, "up", "-d", "--port", "0")
        try:
            yield home
        finally:
            orlop(home, "down")


async def caller(http: aiohttp.ClientSession, url: str, key: str, name: str) -> None:
    """Calls until it is told that the budget is spent; everything else may be better next time."""
    number, heard_s = 0, time.monotonic()
    while True:
        number += 1
        body = {
            "model": "billed",
            "max_tokens": OUTPUT_TOKENS,
            "messages": [{"role": "user", "content": f"{name} {number} where is my parcel?"}],
        }
        headers = {"authorization": f"Bearer {key}"}
        try:
            async with http.post(f"{url}/v1/chat/completions", json=body, headers=headers) as reply:
                heard_s = time.monotonic()
                if SPENT in await reply.text():
                    return
                if reply.status != 200:
                    await asyncio.sleep(0.2)
        except (aiohttp.ClientError, TimeoutError) as error:
            if time.monotonic() - heard_s > SILENCE_S_MAX:
                raise SystemExit(f"no kernel for {SILENCE_S_MAX:g} s: {error}") from error
            await asyncio.sleep(0.05)


async def client(url: str, key: str, name: str) -> None:
    limit = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(
        timeout=limit, connector=aiohttp.TCPConnector(limit=0)
    ) as http:
        callers = (caller(http, url, key, f"{name} {which}") for which in range(CALLERS))
        await asyncio.gather(*callers)


def spend(home: Path, port: int, url: str, it: Round, kills: int, deaths: deque[float]) -> int:
    """Everybody calls until all is spent.  Returns how often the kernel was killed meanwhile.

    deaths: when it was killed, in all rounds.
    """
    orlop(home, "budget", "set", f"team:{it.unit}", it.flag, f"{it.limit:.10g}")
    key = json.loads(orlop(home, "key", "create", "--team", it.unit, "--json"))["secret"]
    command = [sys.executable, "-m", "bench.budgets", "--client", url, key, it.unit]
    clients = [subprocess.Popen([*command, str(number)]) for number in range(PROCESSES)]
    try:
        return watched(home, port, it, kills, clients, deaths)
    finally:  # However it went, nobody calls on.
        for each in clients:
            each.kill()
            each.wait()


def watched(
    home: Path,
    port: int,
    it: Round,
    kills: int,
    clients: Sequence[subprocess.Popen[bytes]],
    deaths: deque[float],
) -> int:
    """Kill the kernel until all clients have been told that the budget is spent."""
    killed, began_s = 0, time.monotonic()
    while any(each.poll() is None for each in clients):
        if time.monotonic() - began_s > ROUND_S_MAX:
            raise SystemExit(f"{it}: not spent in time\n{orlop(home, 'budget', '--all')}")
        if killed < kills:
            pid = int(json.loads(orlop(home, "info", "--json"))["os_pid"])
            killed += strike(port, it, (killed + 1) / (kills + 1), pid, clients, deaths)
        time.sleep(0.1)
    if any(each.returncode for each in clients):
        raise SystemExit("a client failed")
    return killed


def strike(
    port: int,
    it: Round,
    share: float,
    pid: int,
    clients: Sequence[subprocess.Popen[bytes]],
    deaths: deque[float],
) -> bool:
    """SIGKILL to the kernel once `share` of the budget is spent: in the middle of calls.

    The supervisor gives up on a kernel that dies too often, and then nobody is ever told that the
    budget is spent: so one death less than that, within its time.
    """
    give_up_s = time.monotonic() + STRIKE_S_MAX
    while billed(port, it.unit) < share * it.limit or is_too_often(deaths):
        if all(each.poll() is not None for each in clients) or time.monotonic() > give_up_s:
            return False
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    deaths.append(time.monotonic())
    return True


def is_too_often(deaths: deque[float]) -> bool:
    """Whether the supervisor would give up after one death more."""
    lately_s = time.monotonic() - CRASHES_WITHIN_S - 1.0
    return sum(death > lately_s for death in deaths) >= CRASHES_MAX - 1


def billed(port: int, unit: str) -> float:
    """In the round's own unit."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/bill") as answer:
        calls, given, written = json.load(answer).get(unit, (0, 0, 0))
    spent = {
        "calls": calls,
        "tokens": given + written,
        "dollars": (given * PRICES[0] + written * PRICES[1]) / 1e9,
    }
    return float(spent[unit])


def measure(report: Report, calls: int, kills: int) -> None:
    port = free_port()
    provider = subprocess.Popen([sys.executable, "-m", "bench.billing_provider", str(port)])
    try:
        with up(port) as home:
            url = str(json.loads(orlop(home, "info", "--json"))["url"])
            deaths: deque[float] = deque(maxlen=CRASHES_MAX)
            for it in rounds(calls):
                killed = spend(home, port, url, it, kills, deaths)
                spent = billed(port, it.unit)
                booked = json.loads(orlop(home, "budget", "show", f"team:{it.unit}", "--json"))
                used = booked["used"]
                said = {
                    "calls": used["calls"],
                    "tokens": used["tokens"],
                    "dollars": used["nano_dollars"] / 1e9,
                }[it.unit]
                over = max(0.0, round(spent - it.limit, 9))
                report.add(f"budget in {it.unit}: kernel killed", killed, "times")
                report.add(f"budget in {it.unit}: the limit", it.limit, it.unit)
                report.add(f"budget in {it.unit}: billed by the provider", spent, it.unit)
                report.add(f"budget in {it.unit}: overshoot", over, it.unit, "exactly 0")
                report.add(f"budget in {it.unit}: booked beyond the bill", said - spent, it.unit)
                if over or said < spent - 1e-9:
                    raise SystemExit(f"{it}: billed {spent}, booked {said}")
    finally:
        provider.terminate()
        provider.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--quick", action="store_true", help="fewer calls, for a first look")
    parser.add_argument("--json", type=Path, help="write rows of name, value, unit, goal here")
    parser.add_argument("--client", nargs=4, metavar=("URL", "KEY", "ROUND", "NUMBER"))
    given = parser.parse_args()
    if given.client:
        url, key, unit, number = given.client
        asyncio.run(client(url, key, f"{unit} {number}"))
        return
    report = begin(QUESTION, EXPECTED)
    calls, kills = (400, 2) if given.quick else (1_200, 7)
    measure(report, calls, kills)
    finish(report, given.json)


if __name__ == "__main__":
    main()
