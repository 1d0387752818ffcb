"""The installation's routes for its tenants."""

from orlop.abi.tenants import TenantOrder, TenantRemoval
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.state.core import Kernel
from orlop.subsystems import tenants


class TenantRoutes:
    """One method a route."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def all(self, exchange: Exchange) -> None:
        removed = exchange.query("all", "0") != "0"
        await send(exchange, tenants.listed(self._kernel, removed=removed))

    async def one(self, exchange: Exchange) -> None:
        await send(exchange, tenants.one(self._kernel, exchange.params["ref"]))

    async def create(self, exchange: Exchange) -> None:
        order = await read(exchange, TenantOrder)
        await send(exchange, await tenants.create(self._kernel, order), 201)

    async def remove(self, exchange: Exchange) -> None:
        order = await read(exchange, TenantRemoval)
        name = exchange.params["ref"]
        await send(exchange, await tenants.remove(self._kernel, name, order.reason))

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "tenants"): self.all,
            ("POST", "tenants"): self.create,
            ("GET", "tenants", "{ref}"): self.one,
            ("POST", "tenants", "{ref}", "remove"): self.remove,
        }
