"""An embedded engine as a kernel would have it, for tests with the real model."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import msgspec
from pulled import weights

from orlop.abi.calls import Infer, Sampling
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.messages import Message
from orlop.abi.replies import Generated
from orlop.devices import engine_host
from orlop.devices.engine_host import HostState
from orlop.devices.llamacpp import LlamaCpp, LlamaCppConfig
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock

MODEL = ModelName("smollm2")
PATIENT_S = 120.0


def say(text: str, tokens: int = 8, sampling: Sampling | None = None) -> Infer:
    return Infer(
        model=MODEL,
        messages=(Message("user", text),),
        output_tokens_max=tokens,
        sampling=sampling or Sampling(temperature=0.0),
        dialect="openai",
    )


@dataclass(frozen=True)
class Home:
    """Where one engine's host lives, and the pipe that keeps it alive."""

    folder: Path
    lifeline: int
    config: LlamaCppConfig = field(init=False)

    def __post_init__(self) -> None:
        config = LlamaCppConfig(
            name=EngineName("local"),
            model=MODEL,
            path=weights("smollm2"),
            folder=self.folder,
            lifeline=self.lifeline,
        )
        object.__setattr__(self, "config", config)

    def engine(
        self,
        slots: int = 4,
        context_tokens: int = 4096,
        ram_bytes: int | None = None,
        disk_bytes: int | None = None,
    ) -> LlamaCpp:
        """As a kernel that starts would make it."""
        config = replace(
            self.config,
            slots=slots,
            context_tokens=context_tokens,
            ram_bytes=ram_bytes,
            disk_bytes=disk_bytes,
        )
        return LlamaCpp(config, clock=SystemClock(), chance=SystemChance())

    def host(self) -> HostState:
        state = engine_host.read(self.folder / "local.json")
        assert state is not None
        return state

    def ram_folder(self) -> Path:
        return Path(self.host().settings.slot_folder)

    async def calls_running(self) -> int:
        """As llama.cpp itself counts them."""
        state = self.host()
        headers = {"authorization": f"Bearer {state.key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{state.url}/slots") as response,
        ):
            slots = msgspec.json.decode(await response.read(), type=list[dict[str, object]])
        return sum(slot["is_processing"] is True for slot in slots)


@asynccontextmanager
async def home_in(folder: Path) -> AsyncGenerator[Home]:
    """A home with a supervisor's pipe; when the test ends, nothing of it runs on."""
    lifeline, end = os.pipe()
    try:
        yield Home(folder, lifeline)
    finally:
        state = engine_host.read(folder / "local.json")
        os.close(end)
        os.close(lifeline)
        await until_ended(state)


@asynccontextmanager
async def started(
    folder: Path, slots: int = 4, ram_bytes: int | None = None, disk_bytes: int | None = None
) -> AsyncGenerator[tuple[Home, LlamaCpp]]:
    """And its engine."""
    async with home_in(folder) as home:
        engine = home.engine(slots, ram_bytes=ram_bytes, disk_bytes=disk_bytes)
        try:
            await engine.start()
            yield home, engine
        finally:
            await engine.close()


async def until_ended(state: HostState | None) -> None:
    while state is not None and engine_host.is_alive(state):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.02)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not await true():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


def text(made: Generated) -> str:
    return made.choices[0].message.text()
