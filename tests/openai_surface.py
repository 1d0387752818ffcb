"""OpenAI's routes on a real socket, over a door that leads straight to one engine."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager

from orlop.abi.calls import Call, Embed, Infer
from orlop.abi.cards import ModelCard
from orlop.abi.errors import BadCall, KernelError, Killed, NotFound
from orlop.abi.hints import Facts
from orlop.abi.ids import CallId, ModelName, Seq
from orlop.abi.limits import BODY_BYTES_MAX, REPLIES_UNREAD_MAX
from orlop.abi.replies import Completion, Done, Reply, Vectors
from orlop.devices.device import Engine
from orlop.http.bodies import Bodies
from orlop.http.exchange import Exchange, Receive, Route, Send
from orlop.http.openai import PREFIX_ROUTES, ROUTES
from orlop.http.place import HttpConfig
from orlop.http.server import serve
from orlop.machine.channel import Channel
from orlop.machine.tasks import TaskOwner
from orlop.wire import problem


class Flight:
    """A call on its way to the engine."""

    def __init__(self, number: int) -> None:
        self.replies: Channel[Reply] = Channel(REPLIES_UNREAD_MAX)
        self.reply_id = CallId(f"cal_01k742x8j0e8jrbq1qkbz{number:05d}")
        self.rung = ""
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        if self.task is not None:
            self.task.cancel()


class EngineDoor:
    """A kernel with one engine and neither queue nor journal."""

    def __init__(self, engine: Engine, cards: Sequence[ModelCard]) -> None:
        self.calls: list[Call] = []
        self.retries = 0
        self._engine = engine
        self._cards = cards
        self._tasks = TaskOwner("engine door")

    def enter(self, call: Call, *, retry: bool = False) -> Flight:
        self.calls.append(call)
        self.retries += retry
        flight = Flight(len(self.calls))
        flight.task = self._tasks.start(self._run(call, flight))
        return flight

    def models(self) -> Sequence[ModelCard]:
        return self._cards

    async def recorded(self, call: CallId) -> tuple[Infer, Completion]:
        raise NotFound(f"nothing is kept of {call}")

    async def close(self) -> None:
        await self._tasks.close()

    async def _run(self, call: Call, flight: Flight) -> None:
        try:
            flight.replies.put_nowait(await self._answer(call, flight))
            flight.replies.close()
        except KernelError as error:
            flight.replies.close(error)
        except asyncio.CancelledError:
            flight.replies.close(Killed("the client left"))

    async def _answer(self, call: Call, flight: Flight) -> Done:
        facts = Facts(call=flight.reply_id, seq=Seq(2), engine=self._engine.name)
        if isinstance(call, Embed):
            embedded = await self._engine.embed(call, ModelName(call.model), 30.0)
            return Vectors(
                vectors=embedded.vectors, usage=embedded.usage, model=embedded.model, facts=facts
            )
        if not isinstance(call, Infer):
            raise BadCall("this door leads to an engine only")
        sink = flight.replies.put_nowait if call.stream else None
        made = await self._engine.infer(call, ModelName(call.model), sink, 30.0)
        return Completion(
            choices=made.choices,
            usage=made.usage,
            model=made.model,
            fingerprint=made.fingerprint,
            extra=made.extra,
            facts=facts,
        )


class App:
    """The dispatch of `http.app`, without keys; `routes` are looked at before OpenAI's."""

    def __init__(self, door: EngineDoor, routes: Mapping[tuple[str, str], Route]) -> None:
        self._door = door
        self._routes = {**ROUTES, **routes}

    async def __call__(
        self, scope: MutableMapping[str, object], receive: Receive, send: Send
    ) -> None:
        exchange = Exchange(scope, receive, send, Bodies(BODY_BYTES_MAX))
        exchange.door = self._door
        try:
            await self._route(exchange)
        except KernelError as error:
            told = problem.openai(error)
            await exchange.send_json(told.status, told.body, told.headers)

    async def _route(self, exchange: Exchange) -> None:
        key = (exchange.method, exchange.path)
        if key in self._routes:
            return await self._routes[key](exchange)
        for (method, prefix), route in PREFIX_ROUTES.items():
            if exchange.method == method and exchange.path.startswith(prefix):
                return await route(exchange)
        raise NotFound(f"there is no {exchange.path}")


@asynccontextmanager
async def surface(
    engine: Engine, routes: Mapping[tuple[str, str], Route] | None = None
) -> AsyncGenerator[tuple[str, EngineDoor]]:
    """The surface's base URL, and the door behind it."""
    await engine.start()
    door = EngineDoor(engine, await engine.models())
    listener = socket.create_server(("127.0.0.1", 0))
    stop = asyncio.Event()
    tasks = TaskOwner("surface")
    served = tasks.start(serve(App(door, routes or {}), [listener], stop, HttpConfig()))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", door
    finally:
        stop.set()
        await served
        await door.close()
        await engine.close()
        listener.close()
