"""The operators' routes for models and for the whole at one look."""

from orlop.abi.residency import ModelOrder
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.kernel.overview import overview
from orlop.state.core import Kernel
from orlop.subsystems import models


class Models:
    """One method a route."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._started_ns = kernel.clock.wall_ns()

    async def residency(self, exchange: Exchange) -> None:
        await send(exchange, models.view(self._kernel))

    async def order(self, exchange: Exchange) -> None:
        """Answers when it is done: a load may take as long as its engine's start."""
        await models.obey(self._kernel, await read(exchange, ModelOrder))
        await self.residency(exchange)

    async def overview(self, exchange: Exchange) -> None:
        await send(exchange, overview(self._kernel, self._started_ns))

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "models"): self.residency,
            ("POST", "models"): self.order,
            ("GET", "overview"): self.overview,
        }
