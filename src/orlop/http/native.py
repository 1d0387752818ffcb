"""The routes that the SDK uses: any system call, and calls that are parked."""

import asyncio
from dataclasses import dataclass
from typing import Final

import msgspec

from orlop.abi.calls import Call, is_parked
from orlop.abi.errors import BadCall, KernelError, NotFound, from_code
from orlop.abi.events import CallFailed, CallReturned
from orlop.abi.ids import CallId
from orlop.abi.questions import CallRefused
from orlop.abi.replies import Delta, Done, Reply
from orlop.http.exchange import Exchange
from orlop.kernel import replay, syscall
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import history
from orlop.wire import json_guard

NDJSON: Final = "application/x-ndjson"
PARKED_ANSWER_S: Final = 0.05
"""How long a parked call may keep its client before it is told `202` and an id."""

WAIT_S_MAX: Final = 60.0
"""The longest that one `GET` waits for a parked call or a process."""

NONCE_CHARS_MAX: Final = 64
"""Of a client's own name for a call."""

_calls: msgspec.json.Decoder[Call] = msgspec.json.Decoder(Call)


def read_call(body: bytes) -> Call:
    """Raises `BadCall` naming the field."""
    json_guard.check(body)
    try:
        return _calls.decode(body)
    except msgspec.DecodeError as error:
        raise BadCall(f"the call can't be read: {json_guard.why(error, body)}") from error


async def call(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`POST /orlop/v1/calls`"""
    incarnation = process.row.incarnation
    made = read_call(await exchange.body())
    nonce = exchange.header("orlop-key")
    if len(nonce) > NONCE_CHARS_MAX:
        raise BadCall(f"orlop-key: at most {NONCE_CHARS_MAX} characters")
    prefer, streams = exchange.header("prefer"), NDJSON in exchange.header("accept")
    detached = "respond-async" in prefer.lower() and not streams
    running = syscall.enter(
        kernel,
        process,
        made,
        retry=exchange.is_retry,
        nonce=nonce,
        incarnation=incarnation,
        narrowing=exchange.narrowing,
        detached=detached,
    )
    if streams:
        await stream(running, exchange)
    elif detached or is_parked(made):
        await answer_parked(kernel, running, exchange, _preferred_s(prefer))
    else:
        with exchange.watched(running):
            done = await last(running)
        await exchange.send_json(200, msgspec.json.encode(done))


@dataclass(frozen=True, slots=True)
class Listener:
    """Whoever waits for the answer of a parked call."""

    call: Running

    def leave(self) -> None:
        self.call.let_be()


async def last(running: Running) -> Done:
    """The result; deltas are skipped.  Raises what the call ended in."""
    done: Done | None = None
    async for reply in running.replies:
        if not isinstance(reply, Delta):
            done = reply
    assert done is not None
    return done


async def stream(running: Running, exchange: Exchange) -> None:
    """Lines of `Reply`; an error after the first line is a line too."""
    started = False
    with exchange.watched(running):
        try:
            async for reply in running.replies:
                if not started:
                    await exchange.start_stream([("content-type", NDJSON)])
                    started = True
                await exchange.send_chunk(_line(reply))
        except KernelError as error:
            if not started:
                raise
            await exchange.send_chunk(_error_line(error))
    await exchange.end()


async def answer_parked(
    kernel: Kernel, running: Running, exchange: Exchange, wait_s: float
) -> None:
    """The result if it comes soon, else `202` and the call's id; the call goes on by itself.

    An id that a client has been told must be known after a crash, so its intent is durable first,
    or the word that it waits for a person.
    """
    if not await ends_within(running, wait_s):
        while not await ends_within(running, PARKED_ANSWER_S):
            own = kernel.processes[running.process].running.get(running.reply_id, running)
            if own.seq or own.promised or (own is running and running.shown is not None):
                await kernel.journal.flush()
                own.let_be()
                await tell_parked(exchange, running.reply_id, running)
                return
    await exchange.send_json(200, msgspec.json.encode(await last(running)))


async def ends_within(running: Running, wait_s: float) -> bool:
    """Whether it has ended, after waiting so long at most."""
    try:
        async with asyncio.timeout(wait_s):
            await running.ended.wait()
    except TimeoutError:
        return False
    return True


async def tell_parked(exchange: Exchange, call: CallId, running: Running) -> None:
    """Where the answer will be; and what a person is asked, if that is what it waits for."""
    told: dict[str, str] = {"call": call}
    if running.waits_for:
        told["question"] = running.waits_for
    where = [("location", f"/orlop/v1/calls/{call}")]
    await exchange.send_json(202, msgspec.json.encode(told), where)


async def find_call(kernel: Kernel, process: Process, exchange: Exchange) -> None:
    """`GET /orlop/v1/calls/{call}?wait=30`: of a call that was answered with `202`."""
    id = exchange.params["ref"]
    running = process.running.get(CallId(id))
    if running is not None:
        wait_s = min(exchange.number("wait", 30.0), WAIT_S_MAX)
        running.hear()
        with exchange.watched(Listener(running)):
            is_over = await ends_within(running, wait_s)
        if not is_over:
            running.let_be()
            await tell_parked(exchange, CallId(id), running)
            return
    await exchange.send_json(200, msgspec.json.encode(await recorded(kernel, process, id)))


async def recorded(kernel: Kernel, process: Process, id: str) -> Done:
    """A finished call's result from the journal.  Raises what it ended in, or `NotFound`."""
    await kernel.journal.flush()
    for stored in await kernel.elders.of_call(CallId(id)):
        event = codec.decode(stored)
        if stored.header.process != process.id:
            break
        match event:
            case CallReturned():
                done, _ = await history.restore(kernel, process.row.tenant, event)
                return replay.with_facts(done, seq=stored.header.seq)
            case CallFailed():
                raise from_code(event.code, event.message, event.retry_after_s)
            case CallRefused():
                raise from_code(event.code, event.message)
            case _:
                pass
    raise NotFound(f"process {process.row.pid} has made no call {id}")


def _preferred_s(prefer: str) -> float:
    """`Prefer: respond-async, wait=N` (RFC 7240)."""
    for part in prefer.split(","):
        name, _, value = part.strip().partition("=")
        if name == "wait":
            try:
                return min(max(0.0, float(value)), WAIT_S_MAX)
            except ValueError:
                break
    return PARKED_ANSWER_S


def _line(reply: Reply) -> bytes:
    return msgspec.json.encode(reply) + b"\n"


def _error_line(error: KernelError) -> bytes:
    line = {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "retry_after_s": error.retry_after_s,
    }
    return msgspec.json.encode(line) + b"\n"
