"""Listening to the KV events that an engine publishes over ZeroMQ.  Owns `zmq`.

Each data-parallel rank has a publisher and numbers its batches.  Invariants: 1. batches are folded
in order, each once; 2. one that is missing is asked for again (`replay`), and where it does not
come everything that was known is forgotten: then what lies there is inferred from the calls, and
`state` says so; 3. nothing that a publisher sends, or fails to send, costs a call anything.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.errors import Exhausted
from orlop.devices.device import Holdings
from orlop.drivers.kv_blocks import KVBlocks
from orlop.machine.tasks import TaskOwner
from orlop.wire import kv_events
from orlop.wire.kv_events import AllBlocksCleared, Batch

log = logging.getLogger(__name__)

REPLAY_S: Final = 2.0
"""Between two messages of a replay, at most."""

_LATE: Final = "what it stored before it was listened to is inferred"


class KVSource(Struct, frozen=True):
    """Where one rank publishes."""

    endpoint: str
    """`tcp://127.0.0.1:5557`."""
    replay_endpoint: str | None = None
    """Where batches that were missed can be had again; None: nowhere."""
    topic: str = ""


class Rank:
    """What one publisher has said.  `reason`: why not all that it holds is known."""

    def __init__(self, source: KVSource) -> None:
        self.source = source
        self.blocks = KVBlocks()
        self.next_seq = 0
        self.reason = _LATE
        self.is_cleared = False
        self._at_s = float("-inf")

    def is_repeated(self, seq: int, batch: Batch) -> bool:
        """A replay has brought it already; whoever is new counts from 0 again, but later."""
        return seq < self.next_seq and batch.at_s <= self._at_s

    def begin(self, seq: int) -> None:
        """What comes next is `seq`; of what was before nothing is known but, at 0, that it is
        gone."""
        self.blocks.clear()
        self.next_seq = seq
        self.is_cleared |= seq == 0
        self.reason = "" if seq == 0 else self.reason

    def lose(self, why: str) -> None:
        self.blocks.clear()
        self.reason = why

    def fold(self, seq: int, batch: Batch) -> None:
        self.next_seq, self._at_s = seq + 1, batch.at_s
        try:
            for event in batch.events:
                self.blocks.fold(event)
                if isinstance(event, AllBlocksCleared):
                    self.is_cleared, self.reason = True, ""
        except Exhausted as error:
            self.lose(f"it holds {error.message}")


class KVStream:
    """All publishers of one engine."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ranks: list[Rank] = []
        self._tasks = TaskOwner(f"KV events of {name}")

    @property
    def state(self) -> str:
        """`heard`, or why not; empty: nobody has said where to listen."""
        if not self._ranks:
            return ""
        return "; ".join({rank.reason: None for rank in self._ranks if rank.reason}) or "heard"

    def start(self, sources: Sequence[KVSource]) -> None:
        """Listen, unless that is done already."""
        if [rank.source for rank in self._ranks] == list(sources) and len(self._tasks):
            return
        self._tasks.cancel()
        self._ranks = [Rank(source) for source in sources]
        for rank in self._ranks:
            self._tasks.start(self._listen(rank))

    async def close(self) -> None:
        await self._tasks.close()

    def spoke(self, context: str, tokens: int) -> None:
        """A call of the context has ended, with so many tokens in all."""
        for rank in self._ranks:
            rank.blocks.spoke(context, tokens)

    def holdings(self) -> Holdings | None:
        """With several ranks a context counts where most of it lies."""
        if not self._ranks:
            return None
        found: dict[str, tuple[int, int]] = {}
        for rank in self._ranks:
            for name, (device, anywhere) in rank.blocks.changed().items():
                before = found.get(name, (0, 0))
                found[name] = max(before[0], device), max(before[1], anywhere)
        cleared = [rank.is_cleared for rank in self._ranks]
        if all(cleared):
            for rank in self._ranks:
                rank.is_cleared = False
        return Holdings(
            is_whole=not any(rank.reason for rank in self._ranks),
            is_cleared=all(cleared),
            contexts=found,
        )

    async def _listen(self, rank: Rank) -> None:
        try:
            import zmq
            import zmq.asyncio
        except ImportError:
            rank.lose("install orlop[kv-events] to hear what it holds")
            log.warning("engine %s: %s", self._name, rank.reason)
            return
        context = zmq.asyncio.Context()
        socket = context.socket(zmq.SUB)
        try:
            socket.subscribe(rank.source.topic.encode())
            socket.connect(rank.source.endpoint)
            await self._replay(rank)
            while True:
                await self._take(rank, await socket.recv_multipart())
        except zmq.ZMQError as error:
            rank.lose(f"its KV events can't be heard at {rank.source.endpoint}: {error}")
            log.warning("engine %s: %s", self._name, rank.reason)
        finally:
            context.destroy(linger=0)

    async def _take(self, rank: Rank, frames: Sequence[bytes]) -> None:
        """One message of the live stream."""
        found = self._read(rank, frames)
        if found is None:
            return
        seq, batch = found
        if rank.is_repeated(seq, batch):
            return
        if seq < rank.next_seq:
            log.info("engine %s counts its KV events from %d again", self._name, seq)
            rank.begin(0)
        if seq > rank.next_seq:
            await self._replay(rank)
        if seq > rank.next_seq:
            missing = seq - rank.next_seq
            rank.lose(f"{missing} batches of its KV events were missed: it is inferred")
            log.warning("engine %s: %s", self._name, rank.reason)
            rank.begin(seq)
        if seq == rank.next_seq:
            if seq == 0:
                rank.begin(0)
            rank.fold(seq, batch)

    def _read(self, rank: Rank, frames: Sequence[bytes]) -> tuple[int, Batch] | None:
        found = kv_events.read_frames(frames)
        if found is None or not found[1] or found[0] < 0:
            return None
        try:
            return found[0], kv_events.read(found[1])
        except msgspec.MsgspecError as error:
            rank.lose(f"its KV events can't be read: {error}")
            log.warning("engine %s: %s", self._name, rank.reason)
            rank.next_seq = found[0] + 1
            return None

    async def _replay(self, rank: Rank) -> None:
        """Ask for what was missed, and fold what comes."""
        import zmq
        import zmq.asyncio

        if rank.source.replay_endpoint is None:
            return
        context = zmq.asyncio.Context()
        socket = context.socket(zmq.DEALER)
        try:
            socket.connect(rank.source.replay_endpoint)
            await socket.send_multipart([b"", kv_events.sequence(rank.next_seq)])
            while True:
                async with asyncio.timeout(REPLAY_S):
                    frames = await socket.recv_multipart()
                found = self._read(rank, frames)
                if found is None:
                    return  # The empty batch at its end.
                seq, batch = found
                if seq != rank.next_seq and not rank.is_repeated(seq, batch):
                    return  # The publisher keeps no more: a hole that nothing fills.
                if seq == 0:
                    rank.begin(0)
                rank.fold(seq, batch)
        except TimeoutError:
            log.info("engine %s does not replay its KV events", self._name)
        finally:
            context.destroy(linger=0)
