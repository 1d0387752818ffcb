"""How long is everybody without: after a kernel's death, an agent's death, a cold start?

A kernel as users start it, killed with SIGKILL under clients that retry nothing; an agent killed
with SIGKILL under `--restart on-failure`; boots from a million events; the embedded model's first
token; what the engine host's hop costs a streamed chunk.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench.report import Report, begin, finish, flags
from bench.report import kernel as inside
from orlop.abi.calls import Infer, Spawn
from orlop.abi.ids import DEFAULT_TENANT, EngineName, ModelName
from orlop.abi.messages import Message
from orlop.abi.replies import Delta
from orlop.devices.fake import FakeConfig
from orlop.devices.openai import OpenAI
from orlop.kernel import syscall
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock
from orlop.machine.settings import default_models_dir
from orlop.state.core import Kernel
from orlop.subsystems import history, lifecycle

ORLOP = (sys.executable, "-m", "orlop.shell.main")
AGENT = """
import os, sys, time, urllib.request, json
def call(n):
    asked = {"model": "fake", "messages": [{"role": "user", "content": f"{n}"}]}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    headers = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    headers["content-type"] = "application/json"
    request = urllib.request.Request(url, json.dumps(asked).encode(), headers)
    urllib.request.urlopen(request).read()
for n in range(1000):
    call(n)
    print(os.getpid(), time.time(), flush=True)
    time.sleep(0.05)
"""


@contextmanager
def up(models: Path | None = None) -> Iterator[Path]:
    """A kernel in a home of its own; with a fake engine, or with the models on a shelf."""
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as scratch:
        home = Path(scratch)
        shelf = models or home / "models"
        fake = "" if models else '[engines.fake]\ndriver = "fake"\n'
        (home / "orlop.toml").write_text(f'[models]\ndir = "{shelf}"\n{fake}')
        orlop(home, "up", "-d", "--port", "0")
        try:
            yield home
        finally:
            orlop(home, "down")


def orlop(home: Path, *words: str) -> str:
    around = {**os.environ, "ORLOP_HOME": str(home)}
    ran = subprocess.run([*ORLOP, *words], env=around, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"orlop {' '.join(words)}: {ran.stderr}")
    return ran.stdout


def info(home: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(orlop(home, "info", "--json"))
    return found


def ask(url: str, token: str, text: str) -> bool:
    """One call on a connection of its own; False where it was cut off."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"model": "fake", "messages": [{"role": "user", "content": text}]})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n"
    )
    head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    with socket.create_connection((host, int(port)), 10) as client:
        client.settimeout(10)
        client.sendall((head + body).encode())
        try:
            return client.recv(16).startswith(b"HTTP/1.1 200")
        except ConnectionResetError:
            return False


def client(url: str, key: str, stop: threading.Event, waits: list[float], ends: list[str]) -> None:
    """Ask all the time; note each wait, and each answer that did not come."""
    while not stop.is_set():
        began_s = time.perf_counter()
        try:
            if not ask(url, key, str(began_s)):
                ends.append("cut")
        except OSError:
            ends.append("refused")
        waits.append(time.perf_counter() - began_s)


def crash(report: Report, rounds: int) -> None:
    """Eight clients ask all the time while the kernel is killed; who is refused, who waits?"""
    longest: list[float] = []
    ends: list[str] = []
    with up() as home:
        key = json.loads(orlop(home, "key", "create", "--json"))["secret"]
        url = info(home)["url"]
        for _ in range(rounds):
            stop, waits = threading.Event(), list[float]()
            threads = [
                threading.Thread(target=client, args=(url, key, stop, waits, ends))
                for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            os.kill(int(info(home)["os_pid"]), signal.SIGKILL)
            time.sleep(3.0)
            stop.set()
            for thread in threads:
                thread.join()
            longest.append(max(waits))
    report.median("kernel killed: longest wait of 8 clients", longest, "s", "≤ 1")
    report.add("kernel killed: clients refused", ends.count("refused"), "calls", "0")
    cut = ends.count("cut") / rounds
    report.add("kernel killed: calls cut off (clients retry these)", cut, "a kill")


def agent(report: Report, rounds: int) -> None:
    """From SIGKILL of an agent to its next incarnation's first answer."""
    gaps = []
    with up() as home, tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "agent.py"
        script.write_text(AGENT)
        run = ["--detach", "--name", "victim", "--restart", "on-failure", "--", sys.executable]
        orlop(home, "run", *run, str(script))
        for _ in range(rounds):
            lines = printed(home, lambda lines: len(lines) >= 5)
            killed_s, pid = time.time(), int(lines[-1].split()[0])
            os.kill(pid, signal.SIGKILL)
            after = printed(
                home, lambda lines, old=pid: bool(lines) and int(lines[0].split()[0]) != old
            )
            gaps.append(float(after[0].split()[1]) - killed_s)
            time.sleep(1.0)
            orlop(home, "kill", "victim")
            time.sleep(0.5)
            orlop(home, "run", *run, str(script))
    report.median("agent killed: to its first answer again", gaps, "s", "< 0.5")


def printed(home: Path, enough: object) -> list[str]:
    """The newest incarnation's lines once there are enough."""
    assert callable(enough)
    for _ in range(400):
        folders = sorted((home / "run").glob("*/*"), key=lambda path: path.stat().st_ctime)
        newest = folders[-1] / "out" if folders else None
        lines = newest.read_text().splitlines() if newest is not None and newest.exists() else []
        if enough(lines):
            return lines
        time.sleep(0.05)
    raise TimeoutError("the agent printed nothing")


async def many_events(kernel: Kernel, events: int, each: int) -> None:
    """A journal of so many events, by processes of `each` events."""
    made = 0
    while made < events:
        process = await lifecycle.create(kernel, Spawn(command=(), name="past"), DEFAULT_TENANT)
        await lifecycle.start(kernel, process, "first")
        for start in range(0, each // 2, 64):
            batch = [
                syscall.enter(
                    kernel,
                    process,
                    Infer(model="fake", messages=(Message("user", f"{made} {start} {number}"),)),
                )
                for number in range(min(64, each // 2 - start))
            ]
            for running in batch:
                async for reply in running.replies:
                    assert not isinstance(reply, Delta)
        made += each
        lifecycle.end(kernel, process, 0, "done")
    await kernel.journal.flush()


async def boots(report: Report, events: int, rounds: int) -> None:
    fake = FakeConfig(slots=64, tokens=2)
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as scratch:
        home = Path(scratch) / "home"
        async with inside(fake, home=home) as built:
            await many_events(built, events, 3_000)
            process = next(iter(built.processes.values()))
            took = []
            for _ in range(2 * rounds + 1):
                began_s = time.perf_counter()
                past = await history.read_past(built, process)
                took.append(time.perf_counter() - began_s)
            assert len(past.calls) >= 1_400
            report.median(
                "one process of 3,000 events read back", [s * 1e3 for s in took], "ms", "< 50"
            )
        times = []
        for _ in range(rounds):
            began_s = time.perf_counter()
            async with inside(fake, home=home):
                times.append(time.perf_counter() - began_s)
    report.median(f"boot from {events:,} events with snapshot", times, "s", "≤ 2")


def first_token(report: Report, rounds: int) -> None:
    """`orlop up` on the embedded model, to the first token of a stream."""
    shelf = default_models_dir()
    if not (shelf / "smollm2").exists():
        print("  smollm2 is not pulled: the embedded model's start is not measured")
        return
    times = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        with up(shelf) as home:
            key = json.loads(orlop(home, "key", "create", "--json"))["secret"]
            url = info(home)["url"]
            from openai import OpenAI as Client  # A heavy import, outside of what is measured.

            client = Client(base_url=f"{url}/v1", api_key=key, max_retries=5)
            stream = client.chat.completions.create(
                model="smollm2",
                messages=[{"role": "user", "content": "Say hello."}],
                max_tokens=4,
                stream=True,
            )
            next(iter(stream))
            times.append(time.perf_counter() - began_s)
            stream.close()
    report.median("start of the system to the first token of smollm2", times, "s", "≤ 3")


async def hop(report: Report, chunks: int, rounds: int) -> None:
    """What the driver spends on a chunk that a server on loopback sends as fast as it can."""
    piece = {"choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]}
    line = f"data: {json.dumps({'id': 'x', 'model': 'm', 'created': 1, **piece})}\n\n".encode()
    end = json.dumps({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if asked.startswith(b"GET"):
            listed = b'{"data": [{"id": "m"}]}'
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n%b" % (len(listed), listed))
            return writer.close()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        )
        for _ in range(chunks):
            writer.write(line)
            await asyncio.sleep(0)
        writer.write(f"data: {end}\n\ndata: [DONE]\n\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = OpenAI(
        EngineName("hop"), f"http://127.0.0.1:{port}", clock=SystemClock(), chance=SystemChance()
    )
    await engine.start()
    call = Infer(model="m", messages=(Message("user", "go"),), stream=True)
    costs = []
    for _ in range(rounds):
        seen: list[Delta] = []
        began_s = time.perf_counter()
        await engine.infer(call, ModelName("m"), seen.append, 60.0)
        costs.append((time.perf_counter() - began_s) / chunks * 1e3)
        assert len(seen) == chunks
    await engine.close()
    server.close()
    report.median("the engine host's hop, a streamed chunk", costs, "ms", "≤ 0.1")


def main() -> None:
    assert __doc__
    given = flags(__doc__)
    report = begin(__doc__.splitlines()[0], "a kernel back in 0.5-1 s, an agent in 0.3 s, 2 s cold")
    rounds = 2 if given.quick else 5
    uvloop.run(hop(report, 5_000, rounds))
    crash(report, rounds)
    agent(report, rounds)
    uvloop.run(boots(report, 60_000 if given.quick else 1_000_000, min(rounds, 3)))
    first_token(report, min(rounds, 3))
    finish(report, given.json)


if __name__ == "__main__":
    main()
