"""A projection: tables made of the journal's events, in a SQLite file beside it.

For what is too large to be folded into RAM: memories, files.  The journal is the truth; a
projection can be thrown away at any time, and is made again from nothing.

Invariants:
1. It never knows what the journal could still lose: an event is folded once it is durable.
2. Every event of its kinds is folded exactly once, in order.
3. `read` sees all that was durable when it was called, so a process reads its own writes.

How events get in: `put` hands each over as it is appended.  At boot, and where too many queued,
they are read from the journal instead.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Concatenate, Literal, ParamSpec, Protocol, TypeVar

from orlop.abi.errors import JournalStopped, KernelError, NotReady
from orlop.abi.events import Header
from orlop.abi.ids import JournalId, Seq
from orlop.abi.limits import (
    JOURNAL_READ_EVENTS,
    PROJECTION_LINGER_S,
    PROJECTION_MARK_EVENTS,
    PROJECTION_QUEUE_BYTES_MAX,
    PROJECTION_RETRY_S,
    PROJECTION_WAIT_S,
)
from orlop.machine.clock import Clock
from orlop.machine.offload import Offload
from orlop.store.projection_file import Fold, ProjectionFile
from orlop.store.rows import Stored

__all__ = ["Fold", "Projection", "ProjectionFile"]

log = logging.getLogger(__name__)

State = Literal["reading", "joining", "live"]
"""It reads the journal, and lets what is put go by; it reads the rest, and queues what is put; it
folds what was queued."""

P = ParamSpec("P")
R = TypeVar("R")


class Source(Protocol):
    """Where events come from: a journal, or what several kernels have in common."""

    @property
    def id(self) -> JournalId: ...

    @property
    def head_seq(self) -> Seq: ...

    @property
    def durable_seq(self) -> Seq: ...

    async def flush(self) -> None: ...

    async def durable(self, seq: Seq, /) -> None: ...

    async def read(self, first: Seq, last: Seq | None = None, limit: int = ...) -> list[Stored]: ...

    async def refresh(self) -> None:
        """Hear of all that is durable, whoever wrote it."""
        ...


class Follower(Protocol):
    """A projection, as its source sees it."""

    def put(self, header: Header, body: bytes | None) -> None: ...

    async def current(self) -> None: ...


class Shared(Source, Protocol):
    """What several kernels have in common: one of them writes at a time."""

    async def pen(self, follower: Follower) -> None:
        """Return when it is this one's turn, and `follower` has all that others have written: until
        the next wait nobody else writes.

        Raises `NotReady` where another kernel does not let go in time.
        """
        ...


class Projection:
    """writing, reading: where the file is written and read; inline where it lies in RAM."""

    def __init__(
        self,
        fold: Fold,
        file: ProjectionFile,
        source: Source,
        clock: Clock,
        *,
        writing: Offload,
        reading: Offload,
    ) -> None:
        self._fold = fold
        self._file = file
        self.source = source
        self._clock = clock
        self._writing = writing
        self._reading = reading
        self._queue: list[Stored] = []
        self._queued_bytes = 0
        self._newest: Header | None = None
        """Of all events, whatever their kind."""
        self._state: State = "reading"
        self._opened = 0
        """Times that the file was opened: connections of earlier times are of no use."""
        self._readers: dict[str, tuple[int, sqlite3.Connection]] = {}
        self._flaw: sqlite3.Error | None = None
        """That a reader has found."""
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        """Somebody waits."""
        self._moved: asyncio.Future[None] | None = None
        self._ended: KernelError | None = None
        self.applied_seq = Seq(0)
        """All events up to this one are folded."""

    @property
    def is_ready(self) -> bool:
        """It has caught up with the journal; until then reads wait, or are refused."""
        return self._state == "live" and self._ended is None

    def put(self, header: Header, body: bytes | None) -> None:
        """An event was just appended.  Called for every one, in order.  body: None: struck out."""
        self._newest = header
        if self._state == "reading":
            return
        if header.kind not in self._fold.kinds:
            # Whole stretches without an event for us: note from time to time that we know them.
            if header.moment - self.applied_seq >= PROJECTION_MARK_EVENTS:
                self._wake.set()
            return
        self._queue.append(Stored(header, body))
        self._queued_bytes += len(body or b"")
        self._wake.set()
        if self._queued_bytes > PROJECTION_QUEUE_BYTES_MAX:
            self._fall_back()

    async def run(self) -> None:
        """Keep up with the journal, until cancelled.  A file that fails is opened anew."""
        try:
            while True:
                try:
                    if (flaw := self._flaw) is not None:
                        self._flaw = None
                        raise flaw
                    await self._begin()
                    while self._state == "live":
                        await self._wake.wait()
                        self._wake.clear()
                        await self._linger()
                        await self._fold_queue()
                except (sqlite3.Error, OSError) as error:
                    await self._failed(error)
        except JournalStopped as error:
            self._ended = error
            raise
        finally:
            self._ended = self._ended or NotReady(f"the {self._fold.name} index is closed")
            self._tell()

    async def current(self, but: Collection[str] = ()) -> None:
        """Return once all that is durable now is folded, `but` for kinds that nobody looks for.

        Raises `NotReady` while it is being built, if that takes long.
        """
        await self.source.refresh()
        wanted = self._wanted(but)
        if self._has(wanted):
            return
        self._hurry.set()
        try:
            async with asyncio.timeout(PROJECTION_WAIT_S):
                while not self._has(wanted):
                    await self._next_move()
        except TimeoutError:
            raise self._not_ready() from None

    async def read(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """What `work` finds, beside the event loop, with all that is durable now."""
        await self.current()
        return await self.beside(work, *args, **kwargs)

    async def beside(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """What `work` finds, beside the event loop, with what is folded: see `current`."""
        try:
            return await self._reading(
                self._read, lambda connection: work(connection, *args, **kwargs)
            )
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def look(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """What `work` finds, at once and on the event loop: for look-ups by an index.

        It may lack what was put since `applied_seq`.
        """
        if not self.is_ready:
            raise self._not_ready()
        try:
            return work(self._reader("look"), *args, **kwargs)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    async def rebuild(self) -> None:
        """Throw the file away, and return once it is made again."""
        self._fall_back()
        await self._writing(self._file.discard)
        while not self.is_ready:
            await self._next_move()

    async def compact(self) -> None:
        """Nothing that was deleted stays in the file."""
        await self.current()
        try:
            await self._writing(self._file.compact)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    async def close(self) -> None:
        """After `run` has ended: note how far it reaches, and let go of the file."""
        newest = self._newest
        try:
            knows_all = self._state == "live" and not self._queue
            if newest is not None and knows_all and newest.moment <= self.source.durable_seq:
                await self._writing(self._file.apply, (), newest.moment, newest.hash)
            await self._reading(self._release, "read")
            self._release("look")
            await self._writing(self._file.close)
        except (sqlite3.Error, OSError) as error:
            log.warning("the %s index was not closed well: %s", self._fold.name, error)

    # The rest is our own.

    async def _begin(self) -> None:
        """Open the file and read what the journal has beyond it."""
        seq, digest = await self._writing(self._file.open, self.source.id)
        if seq and not await self._is_in_journal(seq, digest):
            log.warning("the %s index is of another journal; it is made anew", self._fold.name)
            await self._writing(self._file.discard)
            seq, _ = await self._writing(self._file.open, self.source.id)
        self._opened += 1
        self.applied_seq = seq
        if (missing := self.source.head_seq - seq) > JOURNAL_READ_EVENTS:
            log.info("the %s index reads %d events", self._fold.name, missing)
        await self.source.flush()
        while self.source.head_seq - self.applied_seq > JOURNAL_READ_EVENTS:
            await self._read_journal(None)
            await self.source.flush()
        # From here on events are queued; those before are read.
        self._state = "joining"
        last = self.source.head_seq
        await self.source.durable(last)
        while self.applied_seq < last:
            await self._read_journal(last)
        if self._state == "joining":  # Else too many were queued meanwhile.
            self._state = "live"
            self._wake.set()
            self._tell()

    async def _read_journal(self, last: Seq | None) -> None:
        first = Seq(self.applied_seq + 1)
        events = await self.source.read(first, last, limit=JOURNAL_READ_EVENTS)
        if not events:
            raise JournalStopped(f"event {first} can't be read back")
        kinds = self._fold.kinds
        wanted = [event for event in events if event.header.kind in kinds]
        newest = events[-1].header
        await self._writing(self._file.apply, wanted, newest.moment, newest.hash)
        self.applied_seq = newest.moment

    async def _is_in_journal(self, seq: Seq, digest: bytes) -> bool:
        if seq > self.source.head_seq:
            return False
        await self.source.flush()
        found = await self.source.read(seq, seq)
        return bool(found) and found[0].header.hash == digest

    async def _linger(self) -> None:
        """Let a batch grow while nobody wants to read it: writers have the processor until then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PROJECTION_LINGER_S):
                await self._hurry.wait()
        self._hurry.clear()

    async def _fold_queue(self) -> None:
        """One batch: all that queued, once it is durable."""
        newest = self._queue[-1].header if self._queue else self._newest
        if newest is None or newest.moment <= self.applied_seq:
            return
        await self.source.durable(newest.moment)
        events = [event for event in self._queue if event.header.moment <= newest.moment]
        if self._state == "live":
            await self._writing(self._file.apply, events, newest.moment, newest.hash)
        if self._state == "live":
            self.applied_seq = newest.moment
            # Only now: what is in the queue may not be folded yet.
            del self._queue[: len(events)]
            self._queued_bytes -= sum(len(event.body or b"") for event in events)
        if self._queue:
            self._wake.set()
        self._tell()

    def _wanted(self, but: Collection[str]) -> Seq:
        """The newest durable event, `but` for some kinds, that is not folded yet; 0: none."""
        durable = self.source.durable_seq
        for event in reversed(self._queue):
            if event.header.moment <= durable and event.header.kind not in but:
                return event.header.moment
        return Seq(0)

    def _has(self, seq: Seq) -> bool:
        return self.is_ready and self.applied_seq >= seq

    async def _next_move(self) -> None:
        """Return when something was folded, or nothing will be any more."""
        if self._ended is not None:
            raise self._ended
        if self._moved is None or self._moved.done():
            self._moved = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._moved)

    def _tell(self) -> None:
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)

    def _fall_back(self) -> None:
        """Drop the queue: what was in it is read from the journal."""
        self._queue, self._queued_bytes = [], 0
        self._state = "reading"
        self._wake.set()
        self._hurry.set()

    async def _failed(self, error: sqlite3.Error | OSError) -> None:
        """Try again after a while; what is damaged is thrown away."""
        log.warning("the %s index failed and is opened anew: %s", self._fold.name, error)
        self._fall_back()
        is_damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        )
        try:
            await self._writing(self._file.discard if is_damaged else self._file.close)
        except (sqlite3.Error, OSError) as second:
            log.warning("the %s index can't be closed: %s", self._fold.name, second)
        await self._clock.sleep(PROJECTION_RETRY_S)

    def _read(self, work: Callable[[sqlite3.Connection], R]) -> R:
        return work(self._reader("read"))

    def _reader(self, name: str) -> sqlite3.Connection:
        """Of this opening of the file; each name has its own thread, in which it is closed too."""
        opened, reader = self._readers.get(name, (0, None))
        if reader is None or opened != self._opened:
            self._release(name)
            reader = self._file.reader()
            self._readers[name] = (self._opened, reader)
        return reader

    def _release(self, name: str) -> None:
        _, reader = self._readers.pop(name, (0, None))
        if reader is not None:
            self._file.release(reader)

    def _unreadable(self, error: sqlite3.Error) -> KernelError:
        """Whatever it is, the file is looked at again, and made anew if it is damaged."""
        self._flaw = error
        self._fall_back()
        return self._not_ready()

    def _not_ready(self) -> KernelError:
        if self._ended is not None:
            return self._ended
        head = self.source.head_seq
        return NotReady(
            f"the {self._fold.name} index has read {self.applied_seq} of {head} events",
            retry_after_s=1.0,
        )
