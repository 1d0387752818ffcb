"""The operators' routes for what processes send out, and how much of it is covered."""

from orlop.http.admin import send
from orlop.http.exchange import Exchange, Route
from orlop.kernel import coverage
from orlop.state.core import Kernel


class Egress:
    """One method a route."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def coverage(self, exchange: Exchange) -> None:
        process = self._kernel.find(exchange.params["ref"], exchange.tenant)
        await send(exchange, await coverage.of(self._kernel, process))

    async def sent(self, exchange: Exchange) -> None:
        process = self._kernel.find(exchange.params["ref"], exchange.tenant)
        await send(exchange, self._kernel.tables.egress.of(process.id))

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "processes", "{ref}", "coverage"): self.coverage,
            ("GET", "processes", "{ref}", "egress"): self.sent,
        }
