"""What does the kernel add to a model call over HTTP, and how many does it carry?

wrk drives a kernel as users start it (`orlop up`, journal durable on SQLite) in front of a mock
upstream that answers after 0, 20 and 200 ms, and the mock straight, in the same run.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.report import Report, begin, finish, flags

LATENCIES_MS = (0, 20, 200)
CLIENTS = (1, 16, 64, 256)
SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {token}"
local n = 0
request = function()
  n = n + 1
  local text = "Where is my parcel " .. n .. "?"
  wrk.body = '{{"model":"mock","messages":[' ..
    '{{"role":"system","content":"You are a support agent."}},' ..
    '{{"role":"user","content":"' .. text .. '"}}],"max_tokens":32}}'
  return wrk.format()
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw.  Times in milliseconds."""

    rate: float
    p50: float
    p99: float
    errors: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


def wrk(url: str, script: Path, clients: int, seconds: int) -> Load:
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    said = subprocess.run(
        [*command, "-s", str(script), url], capture_output=True, text=True, check=True
    ).stdout
    errors = sum(int(found) for found in re.findall(r"Non-2xx or 3xx responses: (\d+)", said))
    errors += sum(int(found) for found in re.findall(r"(?:connect|read|write|timeout) (\d+)", said))

    def at(name: str) -> float:
        found = re.search(rf"{name}%\s+([\d.]+\w+)", said)
        assert found, said
        return milliseconds(found[1])

    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate, said
    return Load(float(rate[1]), at("50"), at("99"), errors)


@contextmanager
def mock(delay_ms: int) -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.mock_upstream", str(port), str(delay_ms / 1e3)]
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@contextmanager
def kernel(upstream: str, await_intents: str) -> Iterator[tuple[str, str, psutil.Process]]:
    """Its url, a client key, and its operating-system process."""
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as home:
        models = Path(home) / "models"
        config = Path(home) / "orlop.toml"
        config.write_text(
            f'[kernel]\nawait_intents = "{await_intents}"\n[models]\ndir = "{models}"\n'
            f'[engines.mock]\nurl = "{upstream}"\nslots = 512\n'
        )
        orlop = [sys.executable, "-m", "orlop.shell.main"]
        where = ["--home", home]
        subprocess.run([*orlop, "up", "-d", "--port", "0", *where], check=True, capture_output=True)
        try:
            info = json.loads(subprocess.check_output([*orlop, "info", "--json", *where]))
            made = json.loads(subprocess.check_output([*orlop, "key", "create", "--json", *where]))
            yield info["url"], made["secret"], psutil.Process(info["os_pid"])
        finally:
            subprocess.run([*orlop, "down", *where], check=True, capture_output=True)


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(report: Report, quick: bool) -> None:
    seconds = 3 if quick else 8
    for delay_ms in LATENCIES_MS:
        for mode in ("paid", "always"):
            if mode == "always" and delay_ms:
                continue
            with (
                mock(delay_ms) as upstream,
                kernel(upstream, mode) as (url, key, process),
                tempfile.TemporaryDirectory() as folder,
            ):
                script = Path(folder) / "load.lua"
                script.write_text(SCRIPT.format(token=key))
                path = "/v1/chat/completions"
                wrk(url + path, script, 16, 2)
                for clients in CLIENTS if mode == "paid" else (1,):
                    straight = wrk(upstream + path, script, clients, seconds)
                    before_s = cpu_s(process)
                    through = wrk(url + path, script, clients, seconds)
                    used_ms = (cpu_s(process) - before_s) * 1e3 / max(1.0, through.rate * seconds)
                    tell(report, delay_ms, clients, mode, straight, through, used_ms)


def tell(
    report: Report,
    delay_ms: int,
    clients: int,
    mode: str,
    straight: Load,
    through: Load,
    used_ms: float,
) -> None:
    what = f"{delay_ms} ms, {clients} clients" + (", intent awaited" if mode == "always" else "")
    is_knee = delay_ms == 20 and clients == 256
    report.add(f"{what}: straight", straight.rate, "calls/s")
    report.add(f"{what}: through", through.rate, "calls/s", "≥ 1,500" if is_knee else "")
    goal = ""
    if clients == 1 and not delay_ms:
        goal = "≤ 1.5" if mode == "always" else "≤ 1"
    report.add(f"{what}: added p50", through.p50 - straight.p50, "ms", goal)
    report.add(f"{what}: p99 through", through.p99, "ms")
    report.add(f"{what}: CPU a call", used_ms, "ms", "≤ 0.5" if clients == 256 else "")
    if through.errors:
        report.add(f"{what}: ERRORS", through.errors, "calls", "0")


def main() -> None:
    assert __doc__
    given = flags(__doc__)
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed (Debian: apt-get install wrk)")
    report = begin(__doc__.splitlines()[0], "1,500-2,500 calls/s, 0.5 ms of CPU and 1 ms added")
    measure(report, given.quick)
    finish(report, given.json)


if __name__ == "__main__":
    main()
