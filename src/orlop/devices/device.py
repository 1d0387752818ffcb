"""What a driver must do.

A driver turns every foreign exception into `DeviceFailed` (or `DeviceBusy`, `DeviceRefused`),
`from` the original.  Cancelling the task that runs `infer` must stop the engine's work on it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, ModelCard, ToolCard
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.replies import Delta, Embedded, Generated

__all__ = ["Embedded", "Engine", "Generated", "Sink", "Tool"]


Sink = Callable[[Delta], None]
"""Takes each delta as it comes, in order; never blocks, never raises."""


class Engine(Protocol):
    """A device that runs models."""

    @property
    def name(self) -> EngineName: ...

    @property
    def slots(self) -> int:
        """Calls that it serves at once, > 0."""
        ...

    def card(self) -> EngineCard:
        """Its state as last seen; never waits."""
        ...

    async def start(self) -> None:
        """Connect or load; returns when it can be asked.  Raises `DeviceFailed`."""
        ...

    async def models(self) -> Sequence[ModelCard]:
        """What it can run now."""
        ...

    async def infer(
        self, call: Infer, model: ModelName, sink: Sink | None, deadline_s: float
    ) -> Generated:
        """Run `model`.  With a `sink` the answer also comes in pieces.

        deadline_s: seconds that are left, > 0; retries inside the driver stay within it.
        """
        ...

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded: ...

    async def close(self) -> None: ...


class Tool(Protocol):
    """A device that acts."""

    @property
    def card(self) -> ToolCard: ...

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        """Act once; `key` names this effect for ever.  Raises `ToolFailed`, `DeviceFailed`."""
        ...

    async def happened(self, key: str) -> bool | None:
        """Whether the effect named `key` took place; None if the tool can't tell."""
        ...
