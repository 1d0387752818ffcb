"""The routes of programs that hold devices by themselves: claim one, listen, give it back."""

import asyncio
from contextlib import suppress
from typing import Final

from orlop.abi.devices import ClaimOrder, Notice
from orlop.http.admin import read, send
from orlop.http.exchange import Exchange
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import own_claims

LISTEN_S: Final = 20.0
"""One `GET` waits for a notice for so long; then the program asks again."""


async def claim(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`POST /orlop/v1/process/claims`"""
    order = await read(exchange, ClaimOrder)
    granted = await own_claims.claim(kernel, process, order, exchange.narrowing)
    await send(exchange, granted, 201)


async def listen(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`GET /orlop/v1/process/claims/{ref}`: its notice, once there is one."""
    ref = exchange.params["ref"]
    bell = own_claims.listening(kernel, process, ref)
    if bell.notice is None:
        changed = bell.changed
        with suppress(TimeoutError):
            async with asyncio.timeout(LISTEN_S):
                await changed.wait()
    is_over = ref not in kernel.devices.ledger.claims
    await send(exchange, Notice(is_over=True) if is_over else bell.notice or Notice())


async def give_back(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`DELETE /orlop/v1/process/claims/{ref}`"""
    own_claims.give_back(kernel, process, exchange.params["ref"])
    await kernel.journal.flush()
    await send(exchange, {})
