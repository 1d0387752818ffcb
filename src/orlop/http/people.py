"""The people themselves, what they allow in advance, and how far agents are trusted."""

from typing import Final

from msgspec.structs import replace

from orlop.abi.autonomy import IncidentOrder, LevelOrder
from orlop.abi.grants import GrantOrder, GrantRevokeOrder
from orlop.abi.ids import ProcessId
from orlop.abi.people import PeopleView, PersonOrder, ProcessWork, TouchOrder, Work
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange, Route
from orlop.http.questions import speaker_of
from orlop.people import granting, staff, trust
from orlop.state.core import Kernel

DIGITS_SHOWN: Final = 8
"""Of a token's digest: enough to tell two apart."""


class People:
    """One method a route."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def people(self, exchange: Exchange) -> None:
        roster, rows = self._kernel.office.roster, self._kernel.tables.rows
        known = [
            (row, work)
            for id, work in roster.processes.items()
            if (row := rows.get(id)) is not None and row.tenant == exchange.tenant
        ]
        view = PeopleView(
            people=tuple(
                replace(person, secret_digest=person.secret_digest[:DIGITS_SHOWN])
                for person in roster.of(exchange.tenant)
            ),
            processes=tuple(
                ProcessWork(process=row.id, pid=row.pid, name=row.name, work=work)
                for row, work in known
            ),
        )
        await send(exchange, view)

    async def add(self, exchange: Exchange) -> None:
        order = await read(exchange, PersonOrder)
        await send(exchange, await staff.add(self._kernel, order.name, exchange.tenant), 201)

    async def remove(self, exchange: Exchange) -> None:
        await staff.remove(self._kernel, exchange.params["ref"], exchange.tenant)
        await send(exchange, {})

    async def note(self, exchange: Exchange) -> None:
        order = await read(exchange, TouchOrder)
        row = self._kernel.find(order.process, exchange.tenant).row
        person = staff.require(self._kernel, speaker_of(exchange), order.person)
        await staff.touched(
            self._kernel, row.id, row.tenant, order.touch, person, order.minutes, order.note
        )
        await send(exchange, self._work(row.id))

    def _work(self, process: ProcessId) -> Work:
        return self._kernel.office.roster.processes.get(process, Work())

    async def grants(self, exchange: Exchange) -> None:
        closed = exchange.query("all", "0") != "0"
        await send(exchange, granting.listed(self._kernel, exchange.tenant, closed=closed))

    async def give(self, exchange: Exchange) -> None:
        order = await read(exchange, GrantOrder)
        await send(exchange, await granting.give(self._kernel, order, speaker_of(exchange)), 201)

    async def revoke(self, exchange: Exchange) -> None:
        order, id = await read(exchange, GrantRevokeOrder), exchange.params["ref"]
        await send(exchange, await granting.revoke(self._kernel, id, order, speaker_of(exchange)))

    async def autonomy(self, exchange: Exchange) -> None:
        await send(exchange, trust.listed(self._kernel, exchange.tenant))

    async def set_level(self, exchange: Exchange) -> None:
        order = await read(exchange, LevelOrder)
        await send(exchange, await trust.set_level(self._kernel, order, speaker_of(exchange)))

    async def incident(self, exchange: Exchange) -> None:
        order = await read(exchange, IncidentOrder)
        await send(exchange, await trust.incident(self._kernel, order, speaker_of(exchange)))

    def routes(self) -> dict[tuple[str, ...], Route]:
        """Below `/orlop/v1`; for operators and people."""
        return {
            ("GET", "people"): self.people,
            ("POST", "people"): self.add,
            ("DELETE", "people", "{ref}"): self.remove,
            ("POST", "touches"): self.note,
            ("GET", "grants"): self.grants,
            ("POST", "grants"): self.give,
            ("POST", "grants", "{ref}", "revoke"): self.revoke,
            ("GET", "autonomy"): self.autonomy,
            ("POST", "autonomy"): self.set_level,
            ("POST", "incidents"): self.incident,
        }
