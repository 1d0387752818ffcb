"""Functions of a running program as tools: the kernel calls back over the program's own connection.

Invariants: 1. a call is sent again to a program that has lost its connection and come back, and the
program knows it by its id; 2. what is cancelled, or ends with its program, waits for nothing.
"""

import asyncio
from collections.abc import Mapping

from orlop.abi.cards import ToolCard
from orlop.abi.errors import DeadlineMissed, DeviceBusy, DeviceFailed, NotFound, ToolFailed
from orlop.abi.limits import FUNCTION_RETURN_S, NAME_CHARS_MAX
from orlop.abi.tools import Errand, FunctionAnswer, FunctionCard, Invoke, Offered, Withdraw
from orlop.machine.latch import Latch


class Connection:
    """One connection of a program, and what it is to do.  Ends when it leaves, or is let go."""

    def __init__(self) -> None:
        self._errands: asyncio.Queue[Errand | None] = asyncio.Queue()

    def put(self, errand: Errand) -> None:
        self._errands.put_nowait(errand)

    def leave(self) -> None:
        self._errands.put_nowait(None)

    async def next(self) -> Errand | None:
        """None: it is over."""
        return await self._errands.get()


class Offer:
    """What one incarnation of a process offers, and the calls that it has not answered yet."""

    def __init__(self, process: str, incarnation: int, functions: tuple[FunctionCard, ...]) -> None:
        self.process = process
        self.incarnation = incarnation
        self.functions = functions
        self.is_over = False
        self._waiting: dict[str, tuple[Invoke, asyncio.Future[FunctionAnswer]]] = {}
        self._connection: Connection | None = None
        self._connected = Latch()
        self._last = 0

    def tools(self) -> "list[FunctionTool]":
        return [FunctionTool(self, function) for function in self.functions]

    def connect(self) -> Connection:
        """The program listens; another connection of it is over with this."""
        self.disconnect()
        connection = self._connection = Connection()
        connection.put(Offered(tools=tuple(one.name for one in self.functions)))
        for invoke, _ in self._waiting.values():
            connection.put(invoke)
        self._connected.set()
        return connection

    def left(self, connection: Connection) -> None:
        """It listens no more; it may come back."""
        if self._connection is connection:
            self._connection = None
            self._connected.clear()

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.leave()
            self.left(self._connection)

    def end(self, reason: str) -> None:
        """The program will not come back."""
        self.is_over = True
        self.disconnect()
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(DeviceFailed(reason))

    async def call(
        self, function: str, arguments: Mapping[str, object], key: str, deadline_s: float
    ) -> object:
        """Raises `DeviceBusy` where the program is not there, so that nothing has happened."""
        await self._require_connected()
        self._last += 1
        invoke = Invoke(id=f"{self._last}", function=function, arguments=dict(arguments), key=key)
        answer: asyncio.Future[FunctionAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[invoke.id] = (invoke, answer)
        self._tell(invoke)
        try:
            async with asyncio.timeout(deadline_s):
                said = await answer
        except TimeoutError as error:
            raise DeadlineMissed(f"{function} took more than {deadline_s:g} s") from error
        finally:
            del self._waiting[invoke.id]
            if not answer.done() or answer.cancelled():
                self._tell(Withdraw(id=invoke.id))
        if said.error:
            raise ToolFailed(f"{function} raised {said.error}")
        return said.value

    def answered(self, id: str, answer: FunctionAnswer) -> None:
        """Raises `NotFound` where nobody waits for it any more."""
        _, waiting = self._waiting.get(id, (None, None))
        if waiting is None or waiting.done():
            raise NotFound(f"nobody waits for the answer {id[:NAME_CHARS_MAX]!r} any more")
        waiting.set_result(answer)

    def _tell(self, errand: Errand) -> None:
        if self._connection is not None:
            self._connection.put(errand)

    async def _require_connected(self) -> None:
        try:
            async with asyncio.timeout(FUNCTION_RETURN_S):
                await self._connected.wait()
        except TimeoutError:
            pass
        if self.is_over or self._connection is None:
            raise DeviceBusy(f"the program whose function this is ({self.process}) is not there")


class FunctionTool:
    """One function.  Its name in the kernel is its process's and its own."""

    def __init__(self, offer: Offer, function: FunctionCard) -> None:
        self._offer = offer
        self._function = function.name
        self.card = ToolCard(
            name=f"{offer.process}.{function.name}",
            description=function.description,
            parameters=function.parameters,
            results=function.results,
            effect=function.effect,
            timeout_s=function.timeout_s,
            concurrency=function.concurrency,
            conflicts=function.conflicts,
            approval=function.approval,
            retries=function.retries,
            compensate=function.compensate,
            compensate_with=function.compensate_with,
            compensate_unknown=function.compensate_unknown,
            system=function.system,
            owner=offer.process,
            shared=function.shared,
        )

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        return await self._offer.call(self._function, arguments, key, deadline_s)

    async def happened(self, key: str) -> bool | None:
        return None
