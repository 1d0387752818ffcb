"""Group commit without a timer, and fail-stop.

Invariants:
1. Commit, then anchor, then acknowledge; in the order of stamping.
2. At most one commit runs; the next takes all that queued meanwhile.
3. After the first failure nothing is written in this life, and everybody is told why.
4. A commit that failed is never tried again: after a failed fsync the disk may hold anything.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from orlop.abi.errors import Broken, Exhausted, JournalStopped
from orlop.abi.ids import JournalId, Seq
from orlop.abi.limits import CHECKPOINT_EVENTS, JOURNAL_COMMIT_EVENTS, JOURNAL_QUEUE_MAX
from orlop.machine import faults
from orlop.machine.offload import Offload
from orlop.machine.tasks import TaskOwner
from orlop.store import anchor, checkpoint
from orlop.store.anchor import Anchor
from orlop.store.keyring import Keyring
from orlop.store.merkle import Tree
from orlop.store.rows import Checkpoint, Entry
from orlop.store.tape import ANCHOR_SLOTS, Tape

log = logging.getLogger(__name__)

_SPACE_COMMITS: Final = 16
"""Commits between two looks at the free space, the first one included; a look costs 10 us."""


class Writer:
    """What one commit does, in the writing thread: tree, commit, anchor."""

    def __init__(
        self,
        tape: Tape,
        keyring: Keyring,
        journal: JournalId,
        epoch: int,
        tree: Tree,
        generation: int,
    ) -> None:
        self._tape = tape
        self._keyring = keyring
        self._journal = journal
        self._epoch = epoch
        self._tree = tree
        self._generation = generation
        self._checkpointed = tree.size
        self._commits = 0
        self.is_space_low = False

    def write(self, entries: Sequence[Entry]) -> None:
        due: list[Checkpoint] = []
        for entry in entries:
            self._tree.add(entry.row.hash)
            if self._tree.size % CHECKPOINT_EVENTS == 0:
                due.append(self._checkpoint(entry.row.hash))
        faults.point("journal.commit")
        self._tape.commit(entries, due)
        faults.point("journal.committed")
        last = entries[-1].row
        self.set_anchor(last.seq, last.hash)
        faults.point("journal.anchored")
        for made in due:
            self._tape.publish(made.note)
        self._commits += 1
        if self._commits % _SPACE_COMMITS == 1:
            self.look_at_space()

    def look_at_space(self) -> None:
        self.is_space_low = self._tape.is_space_low()

    def set_anchor(self, seq: Seq, digest: bytes) -> None:
        self._generation += 1
        slot = anchor.encode(
            Anchor(self._epoch, self._generation, digest.hex(), self._journal, seq)
        )
        self._tape.set_anchor(self._generation % ANCHOR_SLOTS, slot)

    def close(self, head: bytes) -> None:
        """A last checkpoint, so that the next boot has nothing to verify again."""
        if self._tree.size > self._checkpointed:
            made = self._checkpoint(head)
            self._tape.commit((), (made,))
            self._tape.publish(made.note)

    def _checkpoint(self, head: bytes) -> Checkpoint:
        self._checkpointed = self._tree.size
        return checkpoint.make(self._journal, self._tree, head, self._epoch, self._keyring)


class Committer:
    """The queue between `append` and the disk."""

    def __init__(
        self,
        writer: Writer,
        tape: Tape,
        offload: Offload,
        durable: Seq,
        told: Callable[[Seq], None],
    ) -> None:
        self._writer = writer
        self._tape = tape
        self._offload = offload
        self._told = told  # After each commit, with the newest durable event.
        self._queue: list[Entry] = []
        self._waiters: list[tuple[Seq, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._tasks = TaskOwner("journal")
        self._task = self._tasks.start(self._run(), "journal committer")
        self.durable_seq = durable
        self.queued_seq = durable
        self.stopped: JournalStopped | None = None

    @property
    def is_space_low(self) -> bool:
        return self._writer.is_space_low

    def check(self) -> None:
        """`JournalStopped` or `Exhausted` where `put` may not be called."""
        if self.stopped is not None:
            raise JournalStopped(self.stopped.message)
        if self.queued_seq - self.durable_seq >= JOURNAL_QUEUE_MAX:
            raise Exhausted(
                f"{JOURNAL_QUEUE_MAX} events wait for the disk (JOURNAL_QUEUE_MAX)",
                retry_after_s=1.0,
            )

    def put(self, entry: Entry) -> None:
        """Queue; the commit comes with the next one that somebody waits for."""
        self._queue.append(entry)
        self.queued_seq = entry.row.seq
        if len(self._queue) >= JOURNAL_COMMIT_EVENTS:
            self._wake.set()

    async def durable(self, seq: Seq) -> None:
        if seq <= self.durable_seq:
            return
        if self.stopped is not None:
            raise JournalStopped(self.stopped.message)
        if seq > self.queued_seq:
            raise Broken(f"event {seq} was never appended, so nobody may wait for it")
        # One future a waiter: a waiter that is cancelled must not take the others with it.
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((seq, done))
        self._wake.set()
        await done

    def stop(self, error: JournalStopped) -> None:
        """For good: nothing is written in this life any more."""
        if self.stopped is None:
            self.stopped = error
            log.error("the journal has stopped: %s", error.message)
        self._queue.clear()
        self._settle()

    async def close(self) -> None:
        """End the task; what is queued has been flushed or is lost."""
        await self._tasks.close()
        if self.stopped is None:
            self.stopped = JournalStopped("the journal is closed")
        self._settle()

    async def _run(self) -> None:
        while self.stopped is None:
            await self._wake.wait()
            self._wake.clear()
            batch, self._queue = self._queue, []
            if not batch:
                continue
            try:
                await self._offload(self._writer.write, batch)
            except JournalStopped as error:
                await self._fail(error)
            # Whatever went wrong, RAM and disk may now disagree: that is the end of this life.
            except Exception as error:
                await self._fail(JournalStopped(f"the journal can't be written: {error!r}"))
            else:
                self.durable_seq = batch[-1].row.seq
                self._settle()
                self._told(self.durable_seq)

    async def _fail(self, error: JournalStopped) -> None:
        self.stop(error)
        try:
            await self._offload(self._tape.stop)
        except (JournalStopped, OSError) as second:
            log.error("the stopped journal can't be put in order: %s", second)

    def _settle(self) -> None:
        """Wake those whose event is durable, or all if none will be any more."""
        still: list[tuple[Seq, asyncio.Future[None]]] = []
        for seq, done in self._waiters:
            if done.done():
                continue
            if seq <= self.durable_seq:
                done.set_result(None)
            elif self.stopped is not None:
                done.set_exception(type(self.stopped)(self.stopped.message))
            else:
                still.append((seq, done))
        self._waiters = still
        if still:
            self._wake.set()
