"""The operators' routes for memories; processes remember, recall and forget by system calls."""

import msgspec

from orlop.abi.ids import Seq
from orlop.abi.memory_orders import (
    EraseOrder,
    KindOrder,
    ReembedOrder,
    RollbackOrder,
    ShareOrder,
    SubjectOrder,
)
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.http.native import NDJSON
from orlop.kernel import memory_erasure, memory_evidence, memory_jobs, memory_orders, memory_views
from orlop.state.core import Kernel


class Memories:
    """One method a route."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def stats(self, exchange: Exchange) -> None:
        await send(exchange, await memory_views.stats(self._kernel, exchange.tenant))

    async def history(self, exchange: Exchange) -> None:
        memory, tenant = exchange.params["ref"], exchange.tenant
        await send(exchange, await memory_views.history(self._kernel, memory, tenant))

    async def why(self, exchange: Exchange) -> None:
        memory, tenant = exchange.params["ref"], exchange.tenant
        await send(exchange, await memory_evidence.why(self._kernel, memory, tenant))

    async def diff(self, exchange: Exchange) -> None:
        before, after = Seq(int(exchange.number("before", 0))), int(exchange.number("after", 0))
        last = Seq(after) if after else None
        namespace, tenant = exchange.query("namespace"), exchange.tenant
        await send(exchange, await memory_views.diff(self._kernel, namespace, before, last, tenant))

    async def rollback(self, exchange: Exchange) -> None:
        order = await read(exchange, RollbackOrder)
        await send(exchange, await memory_orders.rollback(self._kernel, order, exchange.tenant))

    async def shares(self, exchange: Exchange) -> None:
        await send(exchange, memory_orders.shares(self._kernel, exchange.tenant))

    async def share(self, exchange: Exchange) -> None:
        order = await read(exchange, ShareOrder)
        await send(exchange, await memory_orders.share(self._kernel, order, exchange.tenant))

    async def kinds(self, exchange: Exchange) -> None:
        await send(exchange, memory_orders.kinds(self._kernel, exchange.tenant))

    async def set_kind(self, exchange: Exchange) -> None:
        order = await read(exchange, KindOrder)
        await send(exchange, await memory_orders.set_kind(self._kernel, order, exchange.tenant))

    async def subjects(self, exchange: Exchange) -> None:
        order = await read(exchange, SubjectOrder)
        await send(exchange, await memory_orders.subjects(self._kernel, order, exchange.tenant))

    async def erase(self, exchange: Exchange) -> None:
        order = await read(exchange, EraseOrder)
        await send(exchange, await memory_erasure.erase(self._kernel, order, exchange.tenant))

    async def reembed(self, exchange: Exchange) -> None:
        order = await read(exchange, ReembedOrder)
        await memory_jobs.reembed(self._kernel, order.model, exchange.tenant)
        await self.stats(exchange)

    async def export(self, exchange: Exchange) -> None:
        """NDJSON of versions, in the order of their writing."""
        asked, past = exchange.query("namespace"), exchange.query("past", "0") != "0"
        vectors = exchange.query("vectors", "0") != "0"
        names = [name for name in asked.split(",") if name]
        await exchange.start_stream([("content-type", NDJSON)])
        after = 0
        while exchange.is_attended:
            rows, after = await memory_views.page(
                self._kernel, names, after, past=past, vectors=vectors, tenant=exchange.tenant
            )
            for row in rows:
                await exchange.send_chunk(msgspec.json.encode(row) + b"\n")
            if not after:
                break
        await exchange.end()

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators only."""
        return {
            ("GET", "memory"): self.stats,
            ("GET", "memories", "{ref}"): self.history,
            ("GET", "memories", "{ref}", "why"): self.why,
            ("GET", "memory", "diff"): self.diff,
            ("GET", "memory", "export"): self.export,
            ("POST", "memory", "rollback"): self.rollback,
            ("GET", "memory", "shares"): self.shares,
            ("POST", "memory", "shares"): self.share,
            ("GET", "memory", "kinds"): self.kinds,
            ("POST", "memory", "kinds"): self.set_kind,
            ("POST", "memory", "subjects"): self.subjects,
            ("POST", "memory", "erasures"): self.erase,
            ("POST", "memory", "model"): self.reembed,
        }
