"""The functions that a program offers: registered, announced, and served while it is connected."""

import asyncio
import contextlib
from collections import OrderedDict
from typing import Final

import msgspec

from orlop.abi.errors import BadCall, KernelError, NotFound
from orlop.abi.limits import FUNCTIONS_DONE_KEPT
from orlop.abi.tools import Errand, FunctionAnswer, Invoke, Offered, OfferOrder, Withdraw
from orlop.sdk.aio import AsyncLink
from orlop.sdk.exchange import JSON, NDJSON, ROOT, LostAnswer, Order
from orlop.sdk.functions import Described, Function, ToolOptions, plain

SAID_CHARS_MAX: Final = 1_000
"""Of what a function raised."""

_errand: msgspec.json.Decoder[Errand] = msgspec.json.Decoder(Errand)


class Offering:
    """Invariants: a function runs once for one key while its program lives, whatever connections
    do; a function that raises fails its call only."""

    def __init__(self, link: AsyncLink) -> None:
        self._link = link
        self._functions: dict[str, tuple[Described, ToolOptions]] = {}
        self._serving: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._by_key: OrderedDict[tuple[str, str], asyncio.Future[FunctionAnswer]] = OrderedDict()

    def add(self, function: Function, options: ToolOptions) -> None:
        """Announced before the program's next call.  Raises `BadCall`."""
        described = Described(function, options.get("name", ""))
        if described.name in self._functions:
            raise BadCall(f"two functions are called {described.name}")
        described.card(options)
        # From here on nothing can fail.
        self._functions[described.name] = (described, options)
        self._end_serving()

    async def ready(self) -> None:
        """Return once all functions can be called.  Raises why they can't."""
        if not self._functions:
            return
        if self._serving is None or self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._serving = asyncio.create_task(self._serve(self._ready), name="functions")
        await asyncio.shield(self._ready)

    async def close(self) -> None:
        tasks = [*self._running.values(), *([self._serving] if self._serving else [])]
        self._end_serving()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _end_serving(self) -> None:
        if self._serving is not None:
            self._serving.cancel()
        self._serving = self._ready = None

    async def _serve(self, ready: "asyncio.Future[None]") -> None:
        """For ever: one connection after another."""
        cards = tuple(described.card(options) for described, options in self._functions.values())
        body = msgspec.json.encode(OfferOrder(functions=cards))
        order = Order("POST", f"{ROOT}/functions", body, NDJSON)
        patience = self._link.patience(order)
        while True:
            try:
                async with self._link.opened(order, again=False) as response:
                    async for line in response.content:
                        if line.strip():
                            self._take(_errand.decode(line), ready)
                raise LostAnswer("the kernel has let this program go", sent=False)
            except (LostAnswer, KernelError) as failure:
                try:
                    await self._link.pause_after(failure, patience)
                except KernelError as end:
                    if not ready.done():
                        ready.set_exception(end)
                        ready.exception()
                    return

    def _take(self, errand: Errand, ready: "asyncio.Future[None]") -> None:
        match errand:
            case Offered():
                if not ready.done():
                    ready.set_result(None)
            case Withdraw():
                if (task := self._running.get(errand.id)) is not None:
                    task.cancel()
            case Invoke():
                if errand.id not in self._running:  # Told again, after a loss.
                    task = asyncio.create_task(self._run(errand), name=errand.function)
                    self._running[errand.id] = task

    async def _run(self, errand: Invoke) -> None:
        try:
            answer = await self._answer(errand)
            body = msgspec.json.encode(answer)
            order = Order("POST", f"{ROOT}/functions/{errand.id}", body, JSON)
            # NotFound: nobody waits any more, or another kernel asks again under the same key.
            with contextlib.suppress(NotFound):
                await self._link.ask(order)
        except KernelError:
            pass  # The kernel is gone, or knows this program no more: it has told the caller.
        finally:
            self._running.pop(errand.id, None)

    async def _answer(self, errand: Invoke) -> FunctionAnswer:
        """Once a key: who asks again, after a kernel was lost, gets what the first call came to."""
        place = (errand.function, errand.key)
        known = self._by_key.get(place)
        if known is not None:
            return await asyncio.shield(known)
        answer: asyncio.Future[FunctionAnswer] = asyncio.get_running_loop().create_future()
        self._by_key[place] = answer
        try:
            said = await self._called(errand)
        except asyncio.CancelledError:
            answer.cancel()
            del self._by_key[place]
            raise
        answer.set_result(said)
        if said.error:  # Nothing was done, so it may be tried again.
            self._by_key.pop(place, None)
        while len(self._by_key) > FUNCTIONS_DONE_KEPT:
            self._by_key.popitem(last=False)
        return said

    async def _called(self, errand: Invoke) -> FunctionAnswer:
        described, _ = self._functions[errand.function]
        try:
            if described.is_async:
                return FunctionAnswer(value=await described.call(errand.arguments, errand.key))
            value = await asyncio.to_thread(described.run, errand.arguments, errand.key)
            return FunctionAnswer(value=plain(value))
        except Exception as error:  # Whatever it is, it fails this call only.
            said = f"{type(error).__name__}: {error}"
            return FunctionAnswer(error=said[:SAID_CHARS_MAX])
