"""A client as the SDK is one: it waits while the kernel is away, and asks again if need be."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Protocol

from simulation.power import Power

from orlop.abi.calls import Call
from orlop.abi.errors import Interrupted, JournalStopped, KernelError, NotReady
from orlop.abi.replies import Completion, Delta, Done
from orlop.http.auth import Doorman
from orlop.machine.chance import Chance
from orlop.state.core import Kernel
from orlop.state.running import Running


class LostAnswer(Exception):
    """The connection broke; the call may have arrived."""


class Life(Protocol):
    """A kernel that runs, as clients reach it."""

    @property
    def power(self) -> Power: ...
    @property
    def kernel(self) -> Kernel: ...
    @property
    def doorman(self) -> Doorman: ...

    def enter(
        self, headers: "Headers", call: Call, *, retry: bool, nonce: str
    ) -> asyncio.Task[Running]: ...

    def leave(self, running: Running) -> None: ...


class Street(Protocol):
    """Where the kernel is, if it is anywhere."""

    async def up(self) -> Life: ...


class Headers:
    """Of one HTTP request."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def header(self, name: str) -> str:
        return self._fields.get(name, "")


class Client:
    """drop: the chance that a connection breaks while its call runs.

    named: it gives each call a name of its own, as the SDK does; official clients do not.
    """

    def __init__(
        self,
        street: Street,
        headers: Mapping[str, str],
        chance: Chance,
        *,
        drop: float,
        named: bool,
    ) -> None:
        self._street = street
        self._headers = Headers(headers)
        self._chance = chance
        self._drop = drop
        self._named = named

    async def ask(self, call: Call) -> tuple[Done, bool]:
        """The answer, and whether it had to be asked for again.  Raises the `KernelError` that
        the call ended in, but for those that say that the kernel was away."""
        again = False
        nonce = self._chance.token(8).hex() if self._named else ""
        while True:
            life = await self._street.up()
            try:
                return await self._once(life, call, again, nonce), again
            except LostAnswer:
                again = True
            except (Interrupted, JournalStopped):
                again = True
                await self._pause(life)
            except NotReady:
                await self._pause(life)

    async def _once(self, life: Life, call: Call, again: bool, nonce: str) -> Done:
        """One attempt, which ends at once when the connection breaks."""
        attempt = asyncio.ensure_future(self._attempt(life, call, again, nonce))
        broken = asyncio.ensure_future(self._broken(life))
        try:
            await asyncio.wait((attempt, broken), return_when=asyncio.FIRST_COMPLETED)
            if not attempt.done():
                raise LostAnswer
            return attempt.result()
        finally:
            for task in (attempt, broken):
                task.cancel()
            await asyncio.gather(attempt, broken, return_exceptions=True)

    async def _attempt(self, life: Life, call: Call, again: bool, nonce: str) -> Done:
        entering = life.enter(self._headers, call, retry=again, nonce=nonce)
        try:
            await asyncio.wait((entering,))
        except asyncio.CancelledError:
            entering.add_done_callback(lambda task: _left(life, task))
            raise
        if entering.cancelled():
            raise LostAnswer
        running = entering.result()
        try:
            return await read(running, life.power)
        finally:
            life.leave(running)

    async def _broken(self, life: Life) -> None:
        """Return when the connection does: with the kernel, or by itself."""
        drops = self._chance.uniform() < self._drop
        # Some break at once, before the call has taken its first step.
        after_s = self._chance.uniform() * (1.0 if self._chance.uniform() < 0.5 else 0.001)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after_s if drops else None):
                await life.power.lost.wait()

    async def _pause(self, life: Life) -> None:
        """A little, or until this kernel is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05 + 0.1 * self._chance.uniform()):
                await life.power.lost.wait()


def _left(life: Life, entering: asyncio.Task[Running]) -> None:
    """The client went before its call was even entered."""
    if not entering.cancelled() and entering.exception() is None:
        life.leave(entering.result())


async def read(running: Running, power: Power) -> Done:
    """The result, of which its deltas must be the beginning; nothing comes from a dead kernel."""
    done: Done | None = None
    deltas: list[Delta] = []
    try:
        async for reply in running.replies:
            if isinstance(reply, Delta):
                deltas.append(reply)
            else:
                assert done is None, "a call answered twice"
                done = reply
    except KernelError:
        if not power.is_on:
            raise LostAnswer from None
        assert done is None, "a call answered and then failed"
        raise
    if not power.is_on:
        raise LostAnswer
    assert done is not None, "a call ended in nothing"
    if deltas:
        assert isinstance(done, Completion), "a stream that ends in no completion"
        for choice in done.choices:
            told = "".join(delta.text for delta in deltas if delta.choice == choice.index)
            assert told == choice.message.text(), f"{told!r} was streamed, not {choice}"
    return done
