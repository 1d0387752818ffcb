"""Devices that a program holds by itself, for work that is no model call.

async with kernel.claim('device.class == "gpu" && hbm_gb >= 40', save=checkpoint) as claim:
    await tune(claim.device)

`save` is told why the device is taken back and how many seconds there are; when it returns, the
claim is given back, and the block goes on without the device: `claim.left` is set.  Without a
`save` the program gets SIGTERM instead.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType

from orlop.abi.devices import ClaimView, Notice
from orlop.abi.errors import KernelError, NotFound
from orlop.sdk.aio import AsyncLink
from orlop.sdk.claim_words import place_of, read_claim, read_notice
from orlop.sdk.exchange import JSON, Order


class Claim:
    """Held while an `async with` runs, and until its device is taken back."""

    def __init__(
        self, link: AsyncLink, order: Order, save: Callable[[Notice], Awaitable[None]] | None
    ) -> None:
        self._link = link
        self._order = order
        self._save = save
        self._view: ClaimView | None = None
        self._listening: asyncio.Task[None] | None = None
        self.left = asyncio.Event()
        """The device is not held any more."""

    @property
    def view(self) -> ClaimView:
        """What was granted."""
        if self._view is None:
            raise RuntimeError("a claim is held in an `async with`")
        return self._view

    @property
    def device(self) -> str:
        return self.view.device

    async def __aenter__(self) -> "Claim":
        self._view = read_claim((await self._link.ask(self._order)).body)
        if self._save is not None:
            self._listening = asyncio.create_task(self._listen(self._save), name="claim")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._listening is not None and not self._listening.done():
            self._listening.cancel()
            await asyncio.wait([self._listening])
        await self.give_back()

    async def give_back(self) -> None:
        """At once; one that is over already is no error."""
        if not self.left.is_set():
            with contextlib.suppress(NotFound):
                await self._link.ask(Order("DELETE", place_of(self.view), b"", JSON))
            self.left.set()

    async def _listen(self, save: Callable[[Notice], Awaitable[None]]) -> None:
        """Until the device is to be left, or the claim is over."""
        order = Order("GET", place_of(self.view), b"", JSON)
        try:
            while True:
                notice = read_notice((await self._link.ask(order)).body)
                if notice.is_over:
                    break
                if notice.why:
                    await save(notice)
                    await self.give_back()
                    return
        except KernelError:
            pass  # The claim, or the kernel, is gone: whoever uses the device hears it there.
        self.left.set()
