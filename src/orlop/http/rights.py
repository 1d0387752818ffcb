"""The operators' routes for rights and tokens, and the one that gives a process its token anew."""

import msgspec

from orlop.abi.capabilities import RevokeOrder, RightsOrder, RightsView, RotateOrder, TokenOrder
from orlop.abi.errors import Denied
from orlop.abi.rights import EVERYTHING
from orlop.access.capability import Capabilities
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import rights, tokens


class RightsRoutes:
    """One method a route."""

    def __init__(self, kernel: Kernel, capabilities: Capabilities) -> None:
        self._kernel = kernel
        self._capabilities = capabilities

    async def show(self, exchange: Exchange) -> None:
        await self._send(exchange, self._found(exchange))

    async def grant(self, exchange: Exchange) -> None:
        order, process = await self._order(exchange)
        rights.give(self._kernel, process, order.right, EVERYTHING, "an operator")
        await self._send(exchange, process)

    async def revoke(self, exchange: Exchange) -> None:
        order, process = await self._order(exchange)
        rights.take(self._kernel, process, order.right, "an operator")
        await self._send(exchange, process)

    async def read_token(self, exchange: Exchange) -> None:
        order = await read(exchange, TokenOrder)
        await send(
            exchange, tokens.view(self._kernel, self._capabilities, order.token, exchange.tenant)
        )

    async def revoke_token(self, exchange: Exchange) -> None:
        order = await read(exchange, RevokeOrder)
        await send(
            exchange,
            await tokens.revoke(self._kernel, self._capabilities, order, exchange.tenant),
        )

    async def revoked_tokens(self, exchange: Exchange) -> None:
        await send(exchange, tokens.revoked(self._kernel, exchange.tenant))

    async def keys(self, exchange: Exchange) -> None:
        await send(exchange, tokens.signing_keys(self._capabilities))

    async def rotate(self, exchange: Exchange) -> None:
        order = await read(exchange, RotateOrder)
        await send(exchange, await tokens.rotate(self._kernel, self._capabilities, order), 201)

    async def renew(self, kernel: Kernel, process: Process, exchange: Exchange) -> None:
        """`POST /orlop/v1/token`, for processes and for clients with a key: a capability of the
        caller's own process, with the rights that it holds now, signed with the newest key."""
        if exchange.narrowing is not None:
            raise Denied("a token that was narrowed is not made whole again: ask with the first")
        token = self._capabilities.make(process.row, kernel.clock.wall_ns())
        await send(exchange, TokenOrder(token=token), 201)

    async def _order(self, exchange: Exchange) -> tuple[RightsOrder, Process]:
        return await read(exchange, RightsOrder), self._found(exchange)

    def _found(self, exchange: Exchange) -> Process:
        return self._kernel.find(exchange.params["ref"], exchange.tenant)

    async def _send(self, exchange: Exchange, process: Process) -> None:
        await self._kernel.journal.flush()
        row = process.row
        view = RightsView(
            process=row.id, pid=row.pid, name=row.name, rights=row.rights, refused=process.refused
        )
        await exchange.send_json(200, msgspec.json.encode(view))

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "processes", "{ref}", "rights"): self.show,
            ("POST", "processes", "{ref}", "grant"): self.grant,
            ("POST", "processes", "{ref}", "revoke"): self.revoke,
            ("POST", "tokens", "read"): self.read_token,
            ("POST", "tokens", "revoke"): self.revoke_token,
            ("GET", "tokens", "revoked"): self.revoked_tokens,
            ("GET", "tokens", "keys"): self.keys,
            ("POST", "tokens", "rotate"): self.rotate,
        }
