"""The operators' routes for budgets."""

from urllib.parse import unquote

from orlop.abi.budgets import ORGANISATION, BudgetOrder
from orlop.abi.errors import Denied
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.state.core import Kernel
from orlop.subsystems import budgets


def require_own(exchange: Exchange, account: str) -> None:
    """What a tenant may use at most is not its own word.  Raises `Denied`."""
    if account == ORGANISATION and not exchange.is_house:
        raise Denied(
            f"the account {ORGANISATION} of {exchange.tenant} is the installation's to limit; "
            "teams, agents, tasks and processes are yours"
        )


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
        order = await read(exchange, BudgetOrder)
        require_own(exchange, order.account)
        await budgets.allow(self._kernel, exchange.tenant, order)
        await self.table(exchange)

    async def remove(self, exchange: Exchange) -> None:
        reference = unquote(exchange.params["ref"])
        require_own(exchange, reference)
        await budgets.remove(self._kernel, exchange.tenant, reference)
        await self.table(exchange)

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "budgets"): self.table,
            ("POST", "budgets"): self.allow,
            ("GET", "budgets", "{ref}"): self.account,
            ("DELETE", "budgets", "{ref}"): self.remove,
        }
