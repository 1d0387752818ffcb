"""What does a model cost that is not there yet, and who else pays for it?

A kernel as users start it, with two engines of the same small model on files of their own: the time
to the first token with the model hot, in the page cache, and on the disk; calls of one model while
the other one is loaded again and again; two thousand micro inferences at once, batched, one by one,
and each alone on an idle engine.
"""

import asyncio
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.report import Report, begin, finish, flags
from bench.restart import info, orlop
from orlop.machine.settings import default_models_dir

WINDOWS = 4
"""Steady and switching, each so often, in turns."""

SWITCH_S = 4.0
"""From one load of the other model to the next."""

TRIES = 20
"""To bring the weights into the page cache, or out of it."""

KEYS = 16
"""Clients: a process may have 256 calls in flight."""

ORLOP_TOML = """
[models]
dir = "{shelf}"
memory_price = 0.0

[engines.first]
driver = "llamacpp"
model = "{first}"
slots = 2
context_tokens = 1024

[engines.second]
driver = "llamacpp"
model = "{second}"
slots = 2
context_tokens = 1024
"""
MICRO_TOML = """
[models]
dir = "{shelf}"

[engines.batched]
driver = "onnx"
model = "{weights}"

[engines.alone]
driver = "onnx"
model = "{weights}"
onnx = { batch = 1 }
"""


@dataclass(frozen=True)
class Place:
    """A kernel that runs, and how to reach it as its operator and as clients."""

    session: aiohttp.ClientSession
    url: str
    keys: list[str]
    operator: str

    async def residency(self) -> dict[str, dict[str, object]]:
        """Models by engine."""
        headers = {"authorization": f"Bearer {self.operator}"}
        async with self.session.get(f"{self.url}/orlop/v1/models", headers=headers) as answer:
            return {view["engine"]: view for view in (await answer.json())["models"]}

    async def order(self, word: str, engine: str, model: str) -> None:
        headers = {"authorization": f"Bearer {self.operator}"}
        body = {"order": word, "model": f"{engine}/{model}"}
        async with self.session.post(
            f"{self.url}/orlop/v1/models", json=body, headers=headers
        ) as answer:
            if answer.status != 200:
                raise SystemExit(f"{word} {engine}: {await answer.text()}")

    async def first_token_s(self, model: str, text: str) -> float:
        """To the first piece of a stream; the rest is read, so that nothing runs on."""
        began_s, came_s = time.perf_counter(), math.nan
        body = _chat(model, text, 2) | {"stream": True}
        async with self._post("/v1/chat/completions", body) as answer:
            async for line in answer.content:
                if line.startswith(b"data: {") and math.isnan(came_s):
                    came_s = time.perf_counter()
        return came_s - began_s

    async def answer_s(self, model: str, text: str) -> float:
        began_s = time.perf_counter()
        async with self._post("/v1/chat/completions", _chat(model, text, 8)) as answer:
            await answer.read()
        return time.perf_counter() - began_s

    async def vector_s(self, engine: str, text: str, latency_class: str, key: int = 0) -> float:
        began_s = time.perf_counter()
        body: dict[str, object] = {
            "type": "embed",
            "model": f"{engine}/model",
            "inputs": [text],
            "hints": {"latency_class": latency_class},
        }
        async with self._post("/orlop/v1/calls", body, key) as answer:
            said = await answer.read()
            assert b'"vectors"' in said, said[:300]
        return time.perf_counter() - began_s

    def _post(
        self, path: str, body: dict[str, object], key: int = 0
    ) -> "aiohttp.client._RequestContextManager":
        headers = {"authorization": f"Bearer {self.keys[key]}"}
        return self.session.post(self.url + path, json=body, headers=headers, raise_for_status=True)


def _chat(model: str, text: str, tokens: int) -> dict[str, object]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
    }


@contextmanager
def up(toml: str) -> Iterator[Path]:
    """A kernel in a home of its own; the settings' `{shelf}` is an empty folder in it."""
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as scratch:
        home = Path(scratch)
        (home / "orlop.toml").write_text(toml.replace("{shelf}", str(home / "shelf")))
        orlop(home, "up", "-d", "--port", "0")
        try:
            yield home
        finally:
            orlop(home, "down")


async def at(home: Path, keys: int, work: Callable[[Place], Awaitable[None]]) -> None:
    made = [json.loads(orlop(home, "key", "create", "--json"))["secret"] for _ in range(keys)]
    token = (home / "keys" / "operator.token").read_text().strip()
    connector, limit = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
        await work(Place(session, info(home)["url"], made, token))


def quantile(values: list[float], part: float) -> float:
    """The value that `part` of all are at most."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def read_pages(path: Path) -> None:
    """All of them into the page cache."""
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass


def forget_pages(path: Path) -> None:
    """Out of the page cache, as after a restart of the machine."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def cold_starts(report: Report, place: Place, weights: Path, rounds: int) -> None:
    """Time to the first token of a call for `second`, by where its model lay."""
    times: dict[str, list[float]] = {"hot": [], "host": [], "disk": []}
    for number in range(rounds):
        for origin, seen in times.items():
            if await brought(place, weights, origin):
                seen.append(await place.first_token_s("second/second", f"{origin} {number}"))
    for origin, seen in times.items():
        if not seen:
            print(f"  first token from {origin}: not measured, the file could not be brought there")
            continue
        report.add(f"first token, model {origin}, p50 of {len(seen)}", quantile(seen, 0.5), "s")
        report.add(f"first token, model {origin}, p95 of {len(seen)}", quantile(seen, 0.95), "s")
    print("  first token from asleep: not measured, an embedded engine does not sleep")
    for start in (await place.residency())["second"]["cold_starts"]:  # type: ignore[attr-defined]
        name = f"load from {start['origin']} as `orlop models` shows it, of {start['count']}"
        report.add(name, start["seconds"], "s")


async def brought(place: Place, weights: Path, origin: str) -> bool:
    """Bring the model of `second` to `origin`; False where its pages do not obey."""
    await place.order("load" if origin == "hot" else "unload", "second", "second")
    for _ in range(TRIES):
        if origin == "host":
            read_pages(weights)
        elif origin == "disk":
            forget_pages(weights)
        if _lies_there((await place.residency())["second"], origin):
            return True
        await asyncio.sleep(0.1)  # A process that has ended still lets go of its pages.
    return False


def _lies_there(lies: dict[str, object], origin: str) -> bool:
    share = lies["cached_share"]
    if origin == "hot":
        return lies["state"] == "hot"
    if lies["state"] not in ("host", "disk") or not isinstance(share, float):
        return False
    return share > 0.95 if origin == "host" else share < 0.05


async def switches(report: Report, place: Place, window_s: float) -> None:
    """Calls for `first` one after the other, while `second` comes and goes or stays away."""
    steady: list[float] = []
    switching: list[float] = []
    loads = 0
    for _ in range(WINDOWS):
        await place.order("unload", "second", "second")
        steady += await _calls(place, window_s)
        stop = asyncio.Event()
        mover = asyncio.create_task(_come_and_go(place, stop))
        switching += await _calls(place, window_s)
        stop.set()
        loads += await mover
    report.add("calls of one model, steady: p50", quantile(steady, 0.5), "s")
    report.add(f"calls of one model, steady: p99 of {len(steady)}", quantile(steady, 0.99), "s")
    report.add(f"the same while another loads {loads} times: p50", quantile(switching, 0.5), "s")
    name = f"the same while another loads {loads} times: p99 of {len(switching)}"
    report.add(name, quantile(switching, 0.99), "s")
    ratio = quantile(switching, 0.99) / quantile(steady, 0.99)
    report.add("p99 through model switches ÷ steady p99", ratio, "times", "≤ 1.2")


async def _calls(place: Place, window_s: float) -> list[float]:
    times: list[float] = []
    ends_s = time.perf_counter() + window_s
    while time.perf_counter() < ends_s:
        times.append(await place.answer_s("first/first", f"hello {len(times)}"))
    return times


async def _come_and_go(place: Place, stop: asyncio.Event) -> int:
    """Loads of the other model until told to stop."""
    loads = 0
    while not stop.is_set():
        await place.order("load", "second", "second")
        loads += 1
        await _either(stop, SWITCH_S / 2)
        await place.order("unload", "second", "second")
        await _either(stop, SWITCH_S / 2)
    return loads


async def _either(stop: asyncio.Event, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await stop.wait()
    except TimeoutError:
        return


async def micro(report: Report, place: Place, calls: int, singles: int) -> None:
    """Vectors of short texts, each a call of its own through the whole kernel."""
    for engine in ("batched", "alone"):
        await place.vector_s(engine, "warm", "standard")
    ways = (
        ("batched", "batch", "in batches"),
        ("batched", "interactive", "in batches, interactive"),
        ("alone", "interactive", "one by one"),
    )
    for engine, latency_class, what in ways:
        began_s = time.perf_counter()
        times = await asyncio.gather(
            *(
                place.vector_s(engine, f"Where is parcel {n}?", latency_class, n % KEYS)
                for n in range(calls)
            )
        )
        took_s = time.perf_counter() - began_s
        report.add(f"{calls:,} micro inferences at once, {what}: all", took_s, "s")
        report.add(f"{calls:,} micro inferences at once, {what}: rate", calls / took_s, "a second")
        report.add(f"{calls:,} micro inferences at once, {what}: p99", quantile(times, 0.99), "s")
    alone = [
        await place.vector_s("batched", f"Where is parcel {n}?", "interactive")
        for n in range(singles)
    ]
    report.add(
        f"one micro inference on an idle engine, p50 of {singles}", quantile(alone, 0.5), "s"
    )
    report.add(
        f"one micro inference on an idle engine, p99 of {singles}", quantile(alone, 0.99), "s"
    )


def main() -> None:
    given = flags(__doc__ or "")
    report = begin(
        "What does a model cost that is not there yet, and who else pays for it?",
        "hot 0.05 s, host 0.7 s, disk 1 s; p99 of others within 1.2 times; 300 vectors a second",
    )
    shelf = default_models_dir()
    chat = next((shelf / "smollm2").glob("*.gguf"), None)
    vectors = shelf / "minilm" / "model.onnx"
    if chat is None or not vectors.exists():
        raise SystemExit("pull smollm2 and minilm first: `orlop pull smollm2 minilm`")
    rounds, window_s, calls = (3, 6.0, 400) if given.quick else (20, 25.0, 2_000)
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as scratch:
        files = [Path(scratch) / f"{name}.gguf" for name in ("first", "second")]
        for file in files:
            shutil.copyfile(chat, file)
            with file.open("rb") as copied:
                os.fsync(copied.fileno())  # Pages that are not on the disk yet can't be forgotten.
        toml = ORLOP_TOML.replace("{first}", str(files[0])).replace("{second}", str(files[1]))

        async def models(place: Place) -> None:
            await place.order("load", "first", "first")
            await cold_starts(report, place, files[1], rounds)
            await switches(report, place, window_s)

        with up(toml) as home:
            asyncio.run(at(home, 1, models))

        async def vectors_of(place: Place) -> None:
            await micro(report, place, calls, 50 if given.quick else 500)

        with up(MICRO_TOML.replace("{weights}", str(vectors))) as home:
            asyncio.run(at(home, KEYS, vectors_of))
    finish(report, given.json)


if __name__ == "__main__":
    main()
