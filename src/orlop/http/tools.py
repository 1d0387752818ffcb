"""The operators' routes for tools: what there is, what has changed, what is agreed to."""

from orlop.abi.tools import TrustOrder
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.state.core import Kernel
from orlop.subsystems import manifests


class Tools:
    """One method a route."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def all(self, exchange: Exchange) -> None:
        await send(exchange, manifests.views(self._kernel, exchange.tenant))

    async def one(self, exchange: Exchange) -> None:
        await send(exchange, manifests.view(self._kernel, exchange.params["ref"], exchange.tenant))

    async def trust(self, exchange: Exchange) -> None:
        order = await read(exchange, TrustOrder)
        name = exchange.params["ref"]
        await send(exchange, await manifests.trust(self._kernel, name, order.digest))

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "tools"): self.all,
            ("GET", "tools", "{ref}"): self.one,
            ("POST", "tools", "{ref}", "trust"): self.trust,
        }
