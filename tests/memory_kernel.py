"""A small kernel that keeps memories, in virtual time, all of it in RAM."""

from dataclasses import dataclass, field

from small_kernel import Computer, result

from orlop.abi.memory import (
    Forget,
    Forgotten,
    Item,
    MemoryCall,
    MemoryId,
    MemoryReply,
    Recall,
    Recalled,
    Remember,
    Remembered,
    Target,
)
from orlop.kernel import syscall
from orlop.memory.memories import Memories, MemoryConfig, build
from orlop.state.core import Kernel
from orlop.state.process import Process


@dataclass(eq=False, kw_only=True)
class MemoryComputer(Computer):
    memory: MemoryConfig = field(default_factory=MemoryConfig)

    async def boot(self) -> Kernel:
        kernel = await super().boot()
        kernel.memories = build(kernel.journal, self.clock, None, self.memory)
        kernel.projections = (kernel.memories.projection,)
        kernel.tasks.start(kernel.memories.projection.run(), "memory")
        return kernel


@dataclass(frozen=True, slots=True)
class Mind:
    """A process that remembers."""

    kernel: Kernel
    process: Process

    @property
    def memories(self) -> Memories:
        assert self.kernel.memories is not None
        return self.kernel.memories

    async def do(self, call: MemoryCall) -> MemoryReply:
        done = await result(syscall.enter(self.kernel, self.process, call))
        assert isinstance(done, MemoryReply)
        return done

    async def remember(self, text: str, namespace: str = "", **how: object) -> MemoryId:
        return (await self.write(text, namespace, **how)).written[0].memory

    async def write(self, text: str, namespace: str = "", **how: object) -> Remembered:
        item = Item(text=text, **how)  # type: ignore[arg-type]
        done = await self.do(Remember(items=(item,), namespace=namespace))
        assert isinstance(done, Remembered)
        return done

    async def recall(self, query: str = "", **how: object) -> Recalled:
        done = await self.do(Recall(query=query, **how))  # type: ignore[arg-type]
        assert isinstance(done, Recalled)
        return done

    async def texts(self, query: str = "", **how: object) -> list[str]:
        return [memory.text for memory in (await self.recall(query, **how)).memories]

    async def forget(self, memory: MemoryId, version: int = 0) -> Forgotten:
        done = await self.do(Forget(targets=(Target(memory, version),)))
        assert isinstance(done, Forgotten)
        return done
