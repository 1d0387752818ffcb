"""The routes of programs that offer functions: what they are to do, and what came of it."""

import msgspec

from orlop.abi.tools import FunctionAnswer, OfferOrder
from orlop.http.admin import read
from orlop.http.exchange import Exchange
from orlop.http.native import NDJSON
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import offers


async def offer(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`POST /orlop/v1/functions`: lines of errands, for as long as the program listens."""
    order = await read(exchange, OfferOrder)
    found = offers.offer(kernel, process, order)
    await kernel.journal.flush()
    await exchange.start_stream([("content-type", NDJSON)])
    connection = found.connect()
    try:
        with exchange.watched(connection):
            while (errand := await connection.next()) is not None:
                await exchange.send_chunk(msgspec.json.encode(errand) + b"\n")
    finally:
        found.left(connection)
    await exchange.end()


async def answer(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`POST /orlop/v1/functions/{ref}`"""
    said = await read(exchange, FunctionAnswer)
    offers.answered(kernel, process, exchange.params["ref"], said)
    await exchange.send_json(200, b"{}")
