"""Three ways to the same model: through a whole kernel, and straight to llama.cpp's server."""

import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from bench.real_load import Answer
from bench.report import powered
from orlop.abi.calls import Exit, Infer, Spawn
from orlop.abi.hints import Hints, LatencyClass
from orlop.abi.ids import DEFAULT_TENANT, EngineName, ModelName
from orlop.abi.replies import Completion, Delta
from orlop.devices import engine_host, shelf
from orlop.devices.llamacpp import LlamaCpp, LlamaCppConfig
from orlop.devices.openai import OpenAI
from orlop.drivers.engines import EngineConfig
from orlop.kernel import syscall
from orlop.machine.chance import SystemChance
from orlop.machine.clock import SystemClock
from orlop.settings import ModelsConfig, Settings
from orlop.state.core import Kernel, KernelConfig
from orlop.state.process import Process
from orlop.subsystems import lifecycle

SLOTS = 4
MODEL = ModelName("smollm2")
MODELS = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "orlop/models"
CONNECTIONS = 256
DEADLINE_S = 3_000.0


@dataclass(slots=True)
class Straight:
    """Clients that ask the server themselves, all at once, as it queues and caches by itself."""

    server: OpenAI
    model: ModelName = MODEL
    reuse: bool = True
    """False: each prompt is read whole, as engines without a prefix cache do."""

    async def ask(
        self, program: str, call: Infer, latency_class: LatencyClass = "standard"
    ) -> Answer:
        first: list[float] = []
        began_s = time.perf_counter()

        def take(delta: Delta) -> None:
            if not first:
                first.append(time.perf_counter() - began_s)

        wanted = call if self.reuse else replace(call, extra={"cache_prompt": False})
        made = await self.server.infer(wanted, self.model, take, DEADLINE_S)
        total_s = time.perf_counter() - began_s
        usage = made.usage
        said = made.choices[0].message.text()
        begun_s = first[0] if first else total_s
        return Answer(
            said, usage.input_tokens, usage.cached_tokens, usage.output_tokens, begun_s, total_s
        )

    async def end(self, program: str) -> None:
        """The server is not told."""


@dataclass(slots=True)
class Through:
    """Each program is a process of its own in one kernel, named for what kind of agent it is."""

    kernel: Kernel
    processes: dict[str, Process] = field(default_factory=dict)

    async def ask(
        self, program: str, call: Infer, latency_class: LatencyClass = "standard"
    ) -> Answer:
        process = await self._process(program)
        began_s, first_s = time.perf_counter(), 0.0
        hints = Hints(latency_class=latency_class)
        wanted = replace(call, stream=True, hints=hints)
        async for reply in syscall.enter(self.kernel, process, wanted).replies:
            if isinstance(reply, Delta):
                first_s = first_s or time.perf_counter() - began_s
            elif isinstance(reply, Completion):
                total_s = time.perf_counter() - began_s
                usage = reply.usage
                read, cached, written = (
                    usage.input_tokens,
                    usage.cached_tokens,
                    usage.output_tokens,
                )
                return Answer(reply.text(), read, cached, written, first_s or total_s, total_s)
        raise AssertionError("a call without an end")

    async def end(self, program: str) -> None:
        process = self.processes.pop(program, None)
        if process is not None:
            async for _ in syscall.enter(self.kernel, process, Exit()).replies:
                pass

    async def _process(self, program: str) -> Process:
        if program not in self.processes:
            kind, _, rest = program.partition("/")
            named = Spawn(command=(), name=kind if rest else "agent")
            made = await lifecycle.create(self.kernel, named, DEFAULT_TENANT)
            await lifecycle.start(self.kernel, made, "first")
            self.processes[program] = made
        return self.processes[program]


def weights() -> Path:
    """Raises `SystemExit` where the model is not here."""
    model = shelf.find(MODELS, MODEL)
    if model is None:
        raise SystemExit("the bench needs its model: `orlop pull smollm2`")
    return MODELS / model.path


@asynccontextmanager
async def straight(*, cache: bool, reuse: bool = True) -> AsyncIterator[Straight]:
    """llama.cpp's server with its host prompt cache, as it ships, or without."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orlop-bench-")))
        config = LlamaCppConfig(
            name=EngineName("straight"),
            model=MODEL,
            path=weights(),
            folder=folder,
            slots=SLOTS,
            moves_contexts=False,
            host_cache=cache,
        )
        clock, chance = SystemClock(), SystemChance()
        engine = LlamaCpp(config, clock=clock, chance=chance)
        stack.push_async_callback(engine.close)
        await engine.start()
        state = engine_host.read(folder / "straight.json")
        assert state is not None
        server = OpenAI(
            EngineName("server"),
            state.url,
            clock=clock,
            chance=chance,
            key=state.key,
            slots=CONNECTIONS,
        )
        stack.push_async_callback(server.close)
        await server.start()
        yield Straight(server, reuse=reuse)


@asynccontextmanager
async def through() -> AsyncIterator[Through]:
    """A whole kernel: journal on SQLite, scheduler, the embedded engine; no HTTP before it."""

    def settings(scratch: str) -> Settings:
        return Settings(
            kernel=KernelConfig(),
            models=ModelsConfig(dir=str(MODELS)),
            engines={"local": EngineConfig(driver="llamacpp", model=MODEL, slots=SLOTS)},
        )

    async with powered(settings) as kernel:
        yield Through(kernel)
