"""The operators' routes for budgets."""

from urllib.parse import unquote

from orlop.abi.budgets import BudgetOrder
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.state.core import Kernel
from orlop.subsystems import budgets


class Budgets:
    """One method a route; `exchange.params` holds what the path names."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def table(self, exchange: Exchange) -> None:
        everything = exchange.query("all", "0") != "0"
        await send(exchange, budgets.view(self._kernel, exchange.tenant, everything=everything))

    async def account(self, exchange: Exchange) -> None:
        reference = unquote(exchange.params["ref"])
        await send(exchange, budgets.one(self._kernel, exchange.tenant, reference))

    async def allow(self, exchange: Exchange) -> None:
        await budgets.allow(self._kernel, exchange.tenant, await read(exchange, BudgetOrder))
        await self.table(exchange)

    async def remove(self, exchange: Exchange) -> None:
        await budgets.remove(self._kernel, exchange.tenant, unquote(exchange.params["ref"]))
        await self.table(exchange)

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "budgets"): self.table,
            ("POST", "budgets"): self.allow,
            ("GET", "budgets", "{ref}"): self.account,
            ("DELETE", "budgets", "{ref}"): self.remove,
        }
