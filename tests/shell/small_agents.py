"""Programs that the end-to-end tests start: agents, and things that agents do wrong."""

import os
import signal
import sys
import time
from pathlib import Path

import orlop

MODEL = "fake"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def is_first_life(marker: str) -> bool:
    """True once for each marker."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def content(path: str) -> str:
    return Path(path).read_text()


@orlop.agent
async def worker(kernel: orlop.Kernel, word: str) -> str:
    return (await kernel.infer(f"say {word}", model=MODEL)).text()


@orlop.agent
async def boss(kernel: orlop.Kernel, workers: int) -> int:
    """Starts workers, streams, sleeps, and waits for all."""
    children = [await kernel.spawn(worker, f"w{n}", name=f"worker{n}") for n in range(workers)]
    stream = kernel.stream("hello", model=MODEL)
    pieces = [delta.text async for delta in stream]
    assert "".join(pieces) == stream.completion.text()
    await kernel.sleep(0.05)
    return sum([await child.wait() for child in children])


@orlop.agent
async def patient(kernel: orlop.Kernel, steps: int, pause_s: float) -> None:
    """Prints a line a step, and takes a while."""
    for step in range(steps):
        answer = await kernel.infer(f"step {step}", model=MODEL)
        say(f"{step} {answer.text()}")
        await kernel.sleep(pause_s)


@orlop.agent
async def reader(kernel: orlop.Kernel, path: str) -> None:
    """What it asks depends on a file: not what a replay can follow."""
    say((await kernel.infer(content(path), model=MODEL)).text())


@orlop.agent
async def crasher(kernel: orlop.Kernel, marker: str) -> None:
    """Dies in its first life after two calls."""
    for step in range(4):
        say((await kernel.infer(f"step {step}", model=MODEL)).text())
        if step == 1 and is_first_life(marker):
            os._exit(9)


@orlop.agent
async def spender(kernel: orlop.Kernel) -> None:
    for number in range(5):
        await kernel.infer(f"n{number}", model=MODEL)


def polite() -> None:
    """Ends itself with 7 when it is interrupted."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
    say("ready")
    time.sleep(60)


def stubborn() -> None:
    """Ends on nothing but SIGKILL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, lambda *_: say("no"))
    say("ready")
    while True:
        time.sleep(60)


if __name__ == "__main__":
    {"polite": polite, "stubborn": stubborn}[sys.argv[1]]()
