"""The `watch`, `put` and `take` system calls: waiting for files and for one another."""

from orlop.abi.errors import BadCall, Exhausted
from orlop.abi.files import (
    Contents,
    FileContent,
    ListFiles,
    Listing,
    PipePut,
    PipeTaken,
    Put,
    Take,
    WatchFiles,
)
from orlop.abi.hints import Facts
from orlop.abi.limits import FILES_LISTED_MAX, PIPE_MESSAGES_MAX, PIPES_MAX
from orlop.abi.replies import Ok
from orlop.files import listing
from orlop.files.rules import Message
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import file_content, files, tainted


async def watch(kernel: Kernel, process: Process, running: Running, call: WatchFiles) -> Listing:
    """What has changed after `since`, deletions too; waits until something has.

    It looks only while somebody listens, as `take` does: who has left must cost nothing.
    """
    store, tenant = files.store(kernel), process.row.tenant
    if kernel.tables.files.mount(tenant, call.path) is not None:
        raise BadCall(f"{call.path} lies in a mounted folder, where changes are not seen")
    wanted = ListFiles(path=call.path, deep=True, since=call.since, limit=FILES_LISTED_MAX)
    while True:
        await running.wanted()
        news = store.news
        await kernel.journal.flush()
        await store.current()
        at = store.durable_seq
        rows, more = await store.read(listing.page, tenant, wanted, None)
        shown = [row for row in rows if files.may(kernel, process, row.path, "read")]
        if shown:
            return Listing(files=tuple(shown), more=more, at=at, facts=Facts(call=running.id))
        await news.wait()


async def put(kernel: Kernel, process: Process, running: Running, call: Put) -> Ok:
    """Waits while the pipe is full, as long as its deadline allows."""
    store, place = files.store(kernel), (process.row.tenant, call.pipe)
    pipes = kernel.tables.files.pipes
    if place not in pipes and len(pipes) >= PIPES_MAX:
        raise Exhausted(f"{PIPES_MAX} pipes have something in them (PIPES_MAX)", retry_after_s=60.0)
    running.parts = await file_content.packed(kernel, running.parts)
    await store.alone()
    while len(pipes.get(place, ())) >= PIPE_MESSAGES_MAX:
        await store.news.wait()
        await store.alone()
    kernel.emit(
        process.id,
        process.row.tenant,
        PipePut(pipe=call.pipe, pieces=call.pieces, labels=tainted.kept(running)),
        call=running.id,
        cause=running.seq,
        parts=running.parts,
    )
    store.wake()
    return Ok(facts=Facts(call=running.id))


async def take(kernel: Kernel, process: Process, running: Running, call: Take) -> Contents:
    """The oldest message that nobody else is taking.  It is gone with the call's outcome, in the
    same commit: a call that is cut off leaves it where it is, and so does one whose client has
    left."""
    store, tenant = files.store(kernel), process.row.tenant
    while True:
        await running.wanted()
        if (message := _free(kernel, process, call)) is None:
            await store.news.wait()
            continue
        store.reserved.add(message.put)
        try:
            await store.projection.source.durable(message.put)
            size = sum(piece.size for piece in message.pieces)
            data = await file_content.joined(kernel, tenant, message.pieces, 0, size)
            await store.alone()
            if message not in kernel.tables.files.pipes.get((tenant, call.pipe), ()):
                continue  # Another kernel's process was faster.
            kernel.emit(
                process.id,
                tenant,
                PipeTaken(pipe=call.pipe, put=message.put),
                call=running.id,
                cause=running.seq,
            )
        finally:
            store.reserved.discard(message.put)
            store.wake()
        content = FileContent(
            path=call.pipe,
            size=size,
            data=data,
            pieces=message.pieces,
            length=size,
            labels=message.labels,
        )
        return Contents(files=(content,), facts=Facts(call=running.id))


def _free(kernel: Kernel, process: Process, call: Take) -> Message | None:
    waiting = kernel.tables.files.pipes.get((process.row.tenant, call.pipe), ())
    reserved = files.store(kernel).reserved
    return next((message for message in waiting if message.put not in reserved), None)
