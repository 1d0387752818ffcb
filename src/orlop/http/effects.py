"""The operators' routes for effects that nobody knows of, and for sagas."""

from orlop.abi import effects as words
from orlop.abi import sagas
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.kernel import effects
from orlop.state.core import Kernel
from orlop.subsystems import external, saga


class Effects:
    """One method a route."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def all(self, exchange: Exchange) -> None:
        await send(exchange, await effects.listed(self._kernel, exchange.tenant))

    async def settle(self, exchange: Exchange) -> None:
        order = await read(exchange, words.SettleOrder)
        id, tenant = exchange.params["ref"], exchange.tenant
        await send(exchange, await effects.settle(self._kernel, id, order, tenant))

    async def systems(self, exchange: Exchange) -> None:
        await send(exchange, external.views(self._kernel))

    async def sagas(self, exchange: Exchange) -> None:
        over = exchange.query("all", "0") != "0"
        await send(exchange, saga.listed(self._kernel, exchange.tenant, over=over))

    async def saga(self, exchange: Exchange) -> None:
        await send(exchange, saga.find(self._kernel, exchange.params["ref"], exchange.tenant))

    async def settle_saga(self, exchange: Exchange) -> None:
        order = await read(exchange, sagas.SagaOrder)
        id, tenant = exchange.params["ref"], exchange.tenant
        await send(exchange, await saga.settle(self._kernel, id, order, tenant))

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "effects"): self.all,
            ("POST", "effects", "{ref}", "settle"): self.settle,
            ("GET", "systems"): self.systems,
            ("GET", "sagas"): self.sagas,
            ("GET", "sagas", "{ref}"): self.saga,
            ("POST", "sagas", "{ref}", "settle"): self.settle_saga,
        }
