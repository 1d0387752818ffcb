"""The operators' routes for the policy."""

from orlop.abi.errors import Denied
from orlop.abi.ids import DEFAULT_TENANT, TenantId
from orlop.abi.policy import BacktestOrder, CaseOrder, PolicyOrder
from orlop.access.policy_templates import TEMPLATES
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.kernel import policy_backtest
from orlop.state.core import Kernel
from orlop.subsystems import policies


def changed(exchange: Exchange) -> TenantId:
    """Whose set an order changes: `default` has none of its own, but the installation's, which is
    asked of everybody.  Raises `Denied`."""
    if exchange.tenant == DEFAULT_TENANT and not exchange.is_house:
        raise Denied("the set of tenant default is the installation's: its operator changes it")
    return exchange.tenant


class PolicyRoutes:
    """One method a route."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def show(self, exchange: Exchange) -> None:
        await send(exchange, policies.view(self._kernel, exchange.tenant))

    async def put(self, exchange: Exchange) -> None:
        order, tenant = await read(exchange, PolicyOrder), changed(exchange)
        await send(exchange, await policies.put(self._kernel, order, tenant))

    async def remove(self, exchange: Exchange) -> None:
        shadow = exchange.query("shadow", "0") != "0"
        await send(exchange, await policies.remove(self._kernel, changed(exchange), shadow=shadow))

    async def reload(self, exchange: Exchange) -> None:
        await send(exchange, await policies.reload(self._kernel))

    async def check(self, exchange: Exchange) -> None:
        order = await read(exchange, PolicyOrder)
        await send(exchange, await policies.check(self._kernel, order.files))

    async def test(self, exchange: Exchange) -> None:
        order = await read(exchange, CaseOrder)
        await send(exchange, await policies.run_cases(self._kernel, order, exchange.tenant))

    async def diff(self, exchange: Exchange) -> None:
        order = await read(exchange, PolicyOrder)
        await send(exchange, await policies.difference(self._kernel, order.files, exchange.tenant))

    async def backtest(self, exchange: Exchange) -> None:
        order = await read(exchange, BacktestOrder)
        await send(exchange, await policy_backtest.backtest(self._kernel, order, exchange.tenant))

    async def templates(self, exchange: Exchange) -> None:
        await send(exchange, dict(TEMPLATES))

    async def why(self, exchange: Exchange) -> None:
        await send(
            exchange, await policies.why(self._kernel, exchange.params["ref"], exchange.tenant)
        )

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "policy"): self.show,
            ("POST", "policy"): self.put,
            ("DELETE", "policy"): self.remove,
            ("POST", "policy", "reload"): self.reload,
            ("POST", "policy", "check"): self.check,
            ("POST", "policy", "test"): self.test,
            ("POST", "policy", "diff"): self.diff,
            ("POST", "policy", "backtest"): self.backtest,
            ("GET", "policy", "templates"): self.templates,
            ("GET", "policy", "why", "{ref}"): self.why,
        }
