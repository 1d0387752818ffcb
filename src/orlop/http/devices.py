"""The operators' routes for devices, claims on them, and the forms that models come in."""

from orlop.abi.cards import Measured
from orlop.abi.devices import ClaimPlacement, DeviceTable, DrainOrder
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.state.core import Kernel
from orlop.subsystems import claims, devices, forms


class Devices:
    """One method a route; `exchange.params` holds what the path names."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def table(self, exchange: Exchange) -> None:
        await send(exchange, DeviceTable(devices=self._kernel.devices.cards()))

    async def device(self, exchange: Exchange) -> None:
        await send(exchange, self._kernel.devices.card(exchange.params["ref"]))

    async def drain(self, exchange: Exchange) -> None:
        order = await read(exchange, DrainOrder)
        await devices.drain(self._kernel, exchange.params["ref"], order)
        await self.device(exchange)

    async def restore(self, exchange: Exchange) -> None:
        await devices.restore(self._kernel, exchange.params["ref"])
        await self.device(exchange)

    async def claim(self, exchange: Exchange) -> None:
        placement = await read(exchange, ClaimPlacement)
        process = self._kernel.find(placement.process, exchange.tenant)
        claim = await claims.claim(self._kernel, process, placement.order)
        await send(exchange, claim, 201)

    async def release(self, exchange: Exchange) -> None:
        claim = claims.find(self._kernel, exchange.params["ref"])
        claims.release(self._kernel, claim.id, "by an operator")
        await self._kernel.journal.flush()
        await send(exchange, {})

    async def cards(self, exchange: Exchange) -> None:
        await send(exchange, forms.views(self._kernel))

    async def card(self, exchange: Exchange) -> None:
        await send(exchange, forms.view(self._kernel, exchange.params["ref"]))

    async def measured(self, exchange: Exchange) -> None:
        said = await read(exchange, Measured)
        await forms.measure(self._kernel, said)
        await send(exchange, forms.view(self._kernel, said.card))

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "devices"): self.table,
            ("GET", "devices", "{ref}"): self.device,
            ("POST", "devices", "{ref}", "drain"): self.drain,
            ("POST", "devices", "{ref}", "restore"): self.restore,
            ("POST", "claims"): self.claim,
            ("DELETE", "claims", "{ref}"): self.release,
            ("GET", "cards"): self.cards,
            ("GET", "cards", "{ref}"): self.card,
            ("POST", "cards"): self.measured,
        }
