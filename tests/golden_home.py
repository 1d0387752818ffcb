"""An old home, opened in this process.  Without an engine the kernel over it can only remember."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from orlop.abi.ids import Seq
from orlop.access.principal import Tokens
from orlop.assembly import Power, build, gate_of
from orlop.drivers.engines import EngineConfig
from orlop.http.app import App
from orlop.http.exchange import LINE, Event, Line
from orlop.http.place import HttpConfig, Place
from orlop.kernel import recovery
from orlop.kernel.schedule import Schedules
from orlop.kernel.shutdown import shut_down
from orlop.machine.chance import SystemChance
from orlop.settings import ModelsConfig, Settings
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.snapshot import taken
from orlop.state.tables import Tables
from orlop.store.secrets import secret_file


class Exchanged(Struct, frozen=True):
    """What a client process asked, and what it got."""

    process: str
    path: str
    body: str
    status: int
    answer: str


class Golden(Struct, frozen=True):
    """Beside an old journal: what its clients knew.  The key is of that home alone."""

    key: str
    tables: msgspec.Raw
    exchanged: tuple[Exchanged, ...]


@dataclass(frozen=True, slots=True)
class OldKernel:
    kernel: Kernel
    operator: str
    _app: App

    async def ask(
        self, method: str, path: str, body: str, token: str, process: str = ""
    ) -> tuple[int, str]:
        """One exchange, without a network."""
        headers = {"authorization": f"Bearer {token}", "orlop-process": process}
        pieces: list[bytes] = []
        status = 0
        given = [body.encode()]

        async def receive() -> Event:
            if given:
                return {"type": "http.request", "body": given.pop(), "more_body": False}
            await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(event: Event) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                assert isinstance(event["status"], int)
                status = event["status"]
            else:
                assert isinstance(event["body"], bytes)
                pieces.append(event["body"])

        await self._app(_scope(method, path, headers), receive, send)
        return status, b"".join(pieces).decode()


def _scope(method: str, path: str, headers: Mapping[str, str]) -> Event:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    asked = {"method": method, "path": path, "headers": raw, "query_string": b""}
    return {"type": "http", "state": {LINE: Line()}, **asked}


@asynccontextmanager
async def opened(home: Path, *, engine: bool = False) -> AsyncGenerator[OldKernel]:
    """The kernel of `home`, booted; its programs are not started again.

    engine: with a fake one, so that calls which are not in the record could run.
    """
    lifeline, end = os.pipe()
    engines = {"fake": EngineConfig(driver="fake")} if engine else {}
    settings = Settings(models=ModelsConfig(dir=str(home / "no-models")), engines=engines)
    power = Power(
        home=home,
        settings=settings,
        url="http://127.0.0.1:1",
        socket_path=str(home / "kernel.sock"),
        lifeline=lifeline,
        supervisor_pid=None,
        listeners=[],
    )
    operator = secret_file(home / "keys" / "operator.token", "orlo_")
    tokens = Tokens.volatile(SystemChance(), operator)
    kernel = await build(power, tokens, gate_of(power))
    try:
        for name, driver in kernel.registry.engines.items():
            await driver.start()
            kernel.registry.learn(name, await driver.models())
        await recovery.recover(kernel)
        place = Place(
            home=home,
            url=power.url,
            socket_path=power.socket_path,
            os_pid=1,
            supervisor_pid=None,
            journal=str(home / "journal.db"),
        )
        app = App(place, HttpConfig(), tokens)
        app.open(kernel, Schedules(kernel), lambda: None)
        yield OldKernel(kernel, operator, app)
    finally:
        await shut_down(kernel)
        await kernel.journal.close()
        os.close(end)
        os.close(lifeline)


async def tables_of(home: Path, *, from_start: bool = False) -> bytes:
    """The tables as the journal says, as JSON.  from_start: without any snapshot."""
    lifeline, end = os.pipe()
    settings = Settings(models=ModelsConfig(dir=str(home / "no-models")))
    power = Power(
        home=home,
        settings=settings,
        url="",
        socket_path="",
        lifeline=lifeline,
        supervisor_pid=None,
        listeners=[],
    )
    kernel = await build(power, Tokens.volatile(SystemChance()), gate_of(power))
    try:
        tables = await folded(kernel) if from_start else kernel.tables
        return msgspec.json.format(bytes(taken(tables).state), indent=1)
    finally:
        await kernel.tasks.close()
        await kernel.journal.close()
        os.close(end)
        os.close(lifeline)


async def folded(kernel: Kernel) -> Tables:
    """Every event from the first on, folded in."""
    tables = Tables()
    for stored in await kernel.journal.read(Seq(1)):
        event = codec.decode(stored)
        if event is not None:
            tables.apply(stored.header, event)
    return tables
