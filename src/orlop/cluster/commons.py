"""What kernels on one database have in common: one order of their memories' and files' events.

An event lies in its kernel's journal; its place among all kernels' is in its header, and in the
database, which takes each place once.  Whoever holds the *pen* gives places: one kernel at a time.
It keeps the pen until another one wants it, so that a kernel that writes alone asks nobody.

Invariants:
1. Who holds the pen knows every place before the one that it gives next.
2. The pen is passed on once all that was written with it is durable, or its holder's epoch is over.
3. A place and its event are one commit.  Two events never have one place: the second commit fails,
   and its kernel stops.
4. `refresh` returns when all is here that was durable anywhere when it was called.

For a projection it is what a journal is to a kernel that is alone; numbers are places.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from orlop.abi.commons import TABLED_KINDS, is_common
from orlop.abi.errors import JournalDamaged, JournalStopped, KernelError, NotReady
from orlop.abi.events import Header
from orlop.abi.ids import JournalId, Seq, TenantId
from orlop.abi.limits import COMMONS_WAIT_S, JOURNAL_READ_EVENTS
from orlop.cluster.journals import Journals
from orlop.cluster.places import Common, Standing
from orlop.machine.clock import Clock
from orlop.machine.offload import Offload
from orlop.store.journal import Journal
from orlop.store.projection import Follower
from orlop.store.rows import Stored

log = logging.getLogger(__name__)

LOOK_S, WRITING_S = 0.03, 0.01
"""Between two looks at what others have written, and whether they want the pen: that more often
while we write ourselves."""
WAITING_S = 0.003
"""Likewise while somebody here waits for the pen."""
HOLD_S, HOLD_MAX_S = 0.01, 2.0
"""How long a kernel keeps a pen that others want: so that it is not carried about all the time, and
while somebody here is about to write."""


class Commons:
    """reach: opens another kernel's journal for reading, by its schema."""

    def __init__(
        self,
        own: Journal,
        common: Common,
        ask: Offload,
        reach: Callable[[str], Awaitable[Journal]],
        clock: Clock,
    ) -> None:
        self._own = own
        self._common = common
        self._ask = ask
        self._clock = clock
        self.journals = Journals(own, common, ask, reach)
        self._caught_up: dict[Follower, Seq] = {}
        """The newest place of another kernel that each surely has."""
        self._pending: deque[tuple[Seq, Seq]] = deque()
        """Places of events of our own that are not durable yet, and their numbers there."""
        self._looking = asyncio.Lock()
        self._looks = self._looked = 0
        """Looks that have begun; the newest that has ended well."""
        self._waiting = self._about = 0
        """Who waits for the pen; those, and who reads what others wrote before he writes."""
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._held_since_s = self._appended_s = 0.0
        self.followers: Sequence[Follower] = ()
        self.told: Callable[[Stored], None] = _nobody
        """Called with each event of another kernel, in order."""
        self.head_seq = Seq(0)
        """The newest place that is known here."""
        self.base_seq = Seq(0)
        """The newest place of another kernel when the pen came here."""
        self.is_held = False
        """Whether the pen is here."""
        self.away = ""
        """Why nothing can be asked for."""

    @property
    def id(self) -> JournalId:
        return JournalId(f"common {self._common.cluster}")

    @property
    def durable_seq(self) -> Seq:
        durable = self._own.durable_seq
        while self._pending and self._pending[0][1] <= durable:
            self._pending.popleft()
        return Seq(self._pending[0][0] - 1) if self._pending else self.head_seq

    # Writing.

    def place(self, kind: str, tenant: TenantId) -> Seq | None:
        """The place that an event gets that is appended right now; None: it needs none."""
        if not is_common(kind, tenant):
            return None
        if not self.is_held:  # Whoever emits these waits for `pen` first.
            raise NotReady("another kernel is just writing what all share", retry_after_s=0.1)
        return Seq(self.head_seq + 1)

    def appended(self, header: Header, body: bytes) -> None:
        """An event with a place is in our journal's queue."""
        self.head_seq = header.moment
        self._pending.append((header.moment, header.seq))
        self._appended_s = self._clock.now_s()
        for follower in self.followers:
            follower.put(header, body)

    async def pen(self, follower: Follower) -> None:
        """Return when it is here, and `follower` has all that others have written: until the next
        wait nobody else writes.

        Raises `NotReady` where another kernel does not let go of it in time.
        """
        while not (self.is_held and self._caught_up.get(follower) == self.base_seq):
            self._about += 1
            try:
                await self._come()
                base_seq = self.base_seq
                await follower.current()
                self._caught_up[follower] = base_seq
            finally:
                self._about -= 1

    async def _come(self) -> None:
        if self.is_held:
            return
        self._waiting += 1
        self._wake.set()
        try:
            async with asyncio.timeout(COMMONS_WAIT_S):
                while not self.is_held:
                    if (stopped := self._own.stopped) is not None:
                        raise stopped
                    await self._moved.wait()
        except TimeoutError:
            raise NotReady(
                "another kernel holds the right to write memories and files, and does not let go of"
                " it: if it is lost, it is taken over when its lease is over (`orlop kernels`)",
                retry_after_s=1.0,
            ) from None
        finally:
            self._waiting -= 1

    # Reading, as a journal is read.

    async def flush(self) -> None:
        await self._own.flush()

    async def durable(self, place: Seq) -> None:
        if place > self.durable_seq and self._pending and place >= self._pending[0][0]:
            first = self._pending[0][0]
            # Places of our own that are not durable follow one another: nobody else had the pen.
            await self._own.durable(self._pending[min(place - first, len(self._pending) - 1)][1])

    async def read(self, first: Seq, last: Seq | None = None, limit: int = 10_000) -> list[Stored]:
        """In order, whosever they are; checked as any journal's are."""
        until = self.head_seq if last is None else last
        most = min(limit, JOURNAL_READ_EVENTS)
        while True:
            try:
                return await self.journals.read(first, until, limit=most)
            except JournalDamaged:
                raise
            except JournalStopped:  # The database is away; ours says when that is the end.
                if self._own.stopped is not None:
                    raise
                await self._clock.sleep(LOOK_S)

    async def refresh(self) -> None:
        """Waits for a database that is away, but not for ever: then `NotReady`."""
        if self.is_held:
            return  # Nobody else writes; and if we are taken over, no answer of ours is told.
        wanted = self._looks
        give_up_s = self._clock.now_s() + COMMONS_WAIT_S
        while True:
            try:
                async with self._looking:
                    if self._looked <= wanted:
                        await self._look()
                    return
            except JournalStopped as error:
                if self._own.stopped is not None:
                    raise
                if self._clock.now_s() >= give_up_s:
                    raise NotReady(error.message, retry_after_s=1.0) from error
                await self._clock.sleep(LOOK_S)

    # Keeping up.

    async def join(self, known: Seq) -> None:
        """Before anything runs here: tell what others have said since place `known` that every
        kernel holds in RAM."""
        self.head_seq = await self.tell(known, self.told)

    async def tell(self, known: Seq, told: Callable[[Stored], None]) -> Seq:
        """All of that since place `known`, whoever wrote it, in order; the newest place."""
        standing = await self._ask(self._common.look, self._own.id)
        while known < standing.head:
            found = await self.journals.read(Seq(known + 1), standing.head, TABLED_KINDS)
            for stored in found:
                told(stored)
            known = found[-1].header.moment if found else standing.head
        return standing.head

    async def run(self) -> None:
        """Until cancelled, or our journal has stopped."""
        while self._own.stopped is None:
            try:
                await self._step()
                self.away = ""
            except KernelError as error:  # It is tried again.
                if not self.away:
                    log.warning("what others have written can't be seen: %s", error.message)
                self.away = error.message
            try:
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()
        self.is_held = False
        self._tell()

    async def close(self) -> None:
        """At power off: others need not wait for us."""
        if self._own.stopped is None:
            try:
                self.is_held = False
                await self._own.flush()
                await self._ask(self._leave)
            except JournalStopped as error:
                log.warning("the others were not told that they may write: %s", error.message)
        await self._ask(self._common.close)
        await self.journals.close()

    # The rest is our own.

    def _leave(self) -> None:
        self._common.pass_on(self._own.id, is_last=True)

    async def _step(self) -> None:
        async with self._looking:
            standing = await self._look()
        if not self.is_held or not standing.is_wanted:
            return
        while self.is_held and self._keeps(self._clock.now_s() - self._held_since_s):
            await self._clock.sleep(WAITING_S)
        async with self._looking:  # Whoever looked now would still find the pen here.
            # From here on nobody here writes.
            self.is_held = False
            await self._own.flush()
            await self._ask(self._common.pass_on, self._own.id)

    def _keeps(self, held_s: float) -> bool:
        """Whether the pen stays for now."""
        return held_s < HOLD_S or (self._about > 0 and held_s < HOLD_MAX_S)

    def _pause_s(self) -> float:
        """Until the next look."""
        if self._waiting:
            return WAITING_S
        was_written = self._clock.now_s() - self._appended_s < 1.0
        return WRITING_S if self.is_held and was_written else LOOK_S

    async def _look(self) -> Standing:
        self._looks += 1
        began, was_held = self._looks, self.is_held
        asked = self._common.ask if self._waiting and not was_held else self._common.look
        standing = await self._ask(asked, self._own.id)
        if standing.holder == self._own.id:
            if not was_held:
                await self._hear(standing.head)
                self._take()
        else:
            self.is_held = False
            await self._hear(standing.head)
        self._looked = began
        return standing

    def _take(self) -> None:
        self.base_seq = self.head_seq
        self._held_since_s = self._clock.now_s()
        self.is_held = True
        self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _hear(self, head: Seq) -> None:
        while self.head_seq < head:
            next_seq = Seq(self.head_seq + 1)
            found = await self.journals.read(next_seq, head)
            if not found or found[0].header.moment != next_seq:
                raise JournalDamaged(f"place {next_seq} of what kernels share is missing")
            for stored in found:
                self.head_seq = stored.header.moment
                for follower in self.followers:
                    follower.put(stored.header, stored.body)
                self.told(stored)


def _nobody(stored: Stored) -> None:
    """Before the kernel is built."""
