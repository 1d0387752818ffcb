"""Holding one's lease among the kernels of a database, and taking over who has lost theirs.

Invariants:
1. A kernel that can't be sure of its lease writes nothing and ends its programs: by its own clock,
   from before it last asked, so that it gives up before anybody may take over.
2. Nobody takes over before it has held its own lease for a whole term: after the database was away
   from all, each gets the time to come back to its own processes.
"""

import logging
import math
from collections.abc import Sequence

from orlop.abi.errors import Fenced, JournalDamaged, JournalStopped, KernelError, NotReady
from orlop.abi.kernels import JournalKnown, KernelView
from orlop.cluster.cluster import Cluster
from orlop.cluster.peers import Me, Peer, Peers
from orlop.cluster.witness import Witness
from orlop.kernel import takeover
from orlop.machine.offload import Offload, ThreadOffload
from orlop.state.core import Kernel
from orlop.state.process_table import ALIVE
from orlop.store.journal import Journal
from orlop.store.signing_keys import PublicKey, SigningKeys

log = logging.getLogger(__name__)

LOOK_S = 0.25
"""Between two looks at the others' leases."""


class Lease:
    """peers: asked beside one another, for one's own lease (`hold`) and for the others (`ask`)."""

    def __init__(
        self,
        kernel: Kernel,
        me: Me,
        lease_s: float,
        witness: Witness,
        *,
        holding: Peers,
        asking: Peers,
        hold: Offload,
        ask: Offload,
        keys: SigningKeys | None = None,
    ) -> None:
        self._kernel = kernel
        self._me = me
        self._lease_s = lease_s
        self._witness = witness
        self._holding, self._asking = holding, asking
        self._hold, self._ask = hold, ask
        self._keys = keys
        self._told: tuple[PublicKey, ...] = ()
        self._held_until_s = -math.inf
        self._joined_s = 0.0
        self._damaged: set[str] = set()
        self._quiet: set[str] = set()
        """What has been said already, and has not got better since."""

    async def join(self) -> None:
        """Before anything of this kernel's processes moves.  Raises `JournalStopped`: not now."""
        began_s = self._kernel.clock.now_s()
        try:
            heir = await self._hold(self._holding.join, self._me)
        except NotReady as busy:
            raise JournalStopped(busy.message) from busy
        if heir is not None:
            await takeover.leave(self._kernel, heir)
            await self._hold(self._holding.settled, self._me)
            log.warning("this kernel was lost; its processes live at %s", heir.url or heir.host)
        await self._tell()
        self._joined_s = began_s
        self._held_until_s = began_s + self._lease_s

    def begin(self) -> None:
        """Hold it until it is lost or the kernel ends.  Each by itself: a bug in one of them is no
        reason for another to stop."""
        self._kernel.tasks.start(self._watch(), "lease: watch")
        self._kernel.tasks.start(self._renew(), "lease: renew")
        self._kernel.tasks.start(self._look(), "lease: look")

    async def leave(self) -> None:
        """At a clean end, when nothing runs any more."""
        try:
            await self._hold(self._holding.leave, self._me)
        except (JournalStopped, Fenced) as error:
            log.warning("the other kernels were not told of this one's end: %s", error.message)
        self._holding.close()
        self._asking.close()

    async def views(self) -> list[KernelView]:
        """All kernels of the cluster, as an operator is shown them."""
        return [self._view(peer) for peer in await self._ask(self._asking.all)]

    def _view(self, peer: Peer) -> KernelView:
        return KernelView(
            journal=peer.journal,
            schema=peer.schema,
            host=peer.host,
            url=peer.url,
            epoch=peer.epoch,
            state=state_of(peer),
            lease_s=peer.lease_s,
            head=peer.head,
            taken_by=peer.taken_by,
            here=peer.journal == self._me.journal,
        )

    async def _renew(self) -> None:
        clock = self._kernel.clock
        while self._kernel.journal.stopped is None:
            began_s = clock.now_s()
            try:
                await self._hold(self._holding.renew, self._me)
                self._held_until_s = began_s + self._lease_s
                await self._tell()
                self._quiet.discard("renew")
            except Fenced as error:
                self._give_up(error.message)
                return
            except JournalStopped as error:
                self._say("renew", f"the lease was not renewed: {error.message}")
            await clock.sleep(self._lease_s / 4)

    async def _watch(self) -> None:
        """Also after a pause of the whole machine, before anything else is done."""
        clock = self._kernel.clock
        while self._kernel.journal.stopped is None:
            if clock.now_s() >= self._held_until_s:
                self._give_up(f"the lease could not be renewed for {self._lease_s:g} s")
                return
            await clock.sleep(self._lease_s / 16)

    async def _tell(self) -> None:
        """By which keys tokens of ours are recognised, where that is news."""
        if self._keys is not None and (now := self._keys.public()) != self._told:
            await self._hold(self._holding.tell, self._me, now)
            self._told = now

    def _say(self, what: str, text: str) -> None:
        if what not in self._quiet:
            self._quiet.add(what)
            log.warning("%s", text)

    def _give_up(self, why: str) -> None:
        """Somebody else may have these processes by now: nothing of them may go on here."""
        kernel = self._kernel
        kernel.journal.halt(f"this kernel has lost its lease: {why}")
        for process in tuple(kernel.processes.values()):
            if process.row.state in ALIVE and not process.row.is_client:
                kernel.launcher.signal(process.row, "kill")

    async def _look(self) -> None:
        clock = self._kernel.clock
        while self._kernel.journal.stopped is None:
            await clock.sleep(min(LOOK_S, self._lease_s / 8))
            try:
                peers = await self._ask(self._asking.all)
                self._recognise(peers)
                for peer in peers:
                    await self._consider(peer)
                await self._ask(self._witness.keep, clock.now_s())
                self._quiet.discard("look")
            except (KernelError, OSError) as error:  # It is tried again, and nothing is done twice.
                self._say("look", f"the other kernels could not be looked at: {error}")

    def _recognise(self, peers: Sequence[Peer]) -> None:
        if self._keys is not None:
            others = (peer for peer in peers if peer.journal != self._me.journal)
            self._keys.others = tuple(key for peer in others for key in peer.token_keys)

    async def _consider(self, peer: Peer) -> None:
        if peer.journal == self._me.journal:
            return
        is_over = peer.lease_s is not None and peer.lease_s < 0
        if not is_over or peer.is_taken:
            self._witness.note(peer.journal, peer.head, peer.head_hash)
            return
        is_settled = self._kernel.clock.now_s() - self._joined_s >= self._lease_s
        if is_settled and not self._kernel.closing and peer.journal not in self._damaged:
            try:
                await self._take(peer)
                self._quiet.discard(peer.journal)
            except NotReady as error:  # It is tried again, and others are looked at meanwhile.
                self._say(peer.journal, f"{peer.journal} is taken over later: {error.message}")

    async def _take(self, peer: Peer) -> None:
        kernel = self._kernel
        if not await self._ask(self._asking.take, self._me, peer.journal):
            return
        seen = self._witness.seen(peer.journal)
        try:
            taken = await takeover.take_over(kernel, peer, self._me.host, seen)
        except JournalDamaged as error:
            self._damaged.add(peer.journal)
            log.error("kernel %s is lost and can't be taken over: %s", peer.journal, error.message)
            return
        await self._ask(self._asking.taken, self._me, peer.journal)
        await takeover.revive(kernel, taken)
        for told in kernel.on_arrival:
            try:
                await told(taken.number)
            except KernelError as error:
                log.error("after a take-over: %s", error.message)


def state_of(peer: Peer) -> str:
    if peer.taken_by is not None:
        return "taken over" if peer.is_taken else "being taken over"
    if peer.lease_s is None:
        return "stopped"
    return "up" if peer.lease_s >= 0 else "lost"


async def joined(
    kernel: Kernel, cluster: Cluster, url: str, host: str, schema: str, keys: SigningKeys
) -> Lease:
    """One's place among the kernels of the cluster.  keys: that sign tokens.

    Raises `JournalStopped`.
    """
    journal = kernel.journal
    lease = Lease(
        kernel,
        Me(
            journal=journal.id,
            schema=schema,
            host=host,
            url=url,
            boot=journal.boot,
            epoch=journal.epoch,
        ),
        cluster.config.lease_s,
        Witness(cluster.home.path / "witness.json"),
        holding=cluster.peers(),
        asking=cluster.peers(),
        hold=ThreadOffload("lease"),
        ask=ThreadOffload("kernels"),
        keys=keys,
    )
    elders = ThreadOffload("elders")

    async def reach(known: JournalKnown) -> Journal:
        return await cluster.reach(known.schema, journal.keyring, elders)

    kernel.elders.reach = reach
    kernel.neighbours = lease.views
    kernel.name = f"{schema} on {host}"
    await lease.join()
    return lease


def begin(lease: Lease | None) -> None:
    """Where the kernel shares its database with others."""
    if lease is not None:
        lease.begin()


async def left(lease: Lease | None) -> None:
    if lease is not None:
        await lease.leave()
