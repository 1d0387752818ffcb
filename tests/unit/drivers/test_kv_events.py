"""What an engine says that it holds: the wire, the tree of blocks, and a real ZeroMQ publisher."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from engine_surfaces import VLLMSurface
from openai_surface import surface
from patience import until

from orlop.abi.calls import Infer
from orlop.abi.ids import EngineName, ModelName, ProcessId
from orlop.abi.messages import Message
from orlop.devices.device import Capacity, Holdings, Turn
from orlop.devices.fake import FakeConfig, FakeEngine
from orlop.devices.speed import Linear
from orlop.drivers.kv_blocks import KVBlocks
from orlop.drivers.kv_stream import KVSource, KVStream
from orlop.drivers.vllm import VLLM
from orlop.machine.chance import SeededChance
from orlop.machine.clock import SystemClock
from orlop.sched.check import check
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.sched.work import Used, Work
from orlop.wire import kv_events
from orlop.wire.kv_events import AllBlocksCleared, Batch, BlockRemoved, BlockStored, KVEvent

zmq = pytest.importorskip("zmq", reason="pip install 'orlop[kv-events]'")
zmq_asyncio = pytest.importorskip("zmq.asyncio")

BLOCK = 16
NAME, CLOCK, CHANCE = EngineName("far"), SystemClock(), SeededChance(1)
SPEED = Linear(decode_a_s=0.02, prefill_b_s=0.001)


def played(story: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    def play() -> None:
        asyncio.run(story())

    return play


def stored(
    hashes: Sequence[int], after: int | None = None, whose: str | None = None, medium: str = "GPU"
) -> BlockStored:
    return BlockStored(
        block_hashes=list(hashes),
        parent_block_hash=after,
        token_ids=[7] * (BLOCK * len(hashes)),
        block_size=BLOCK,
        medium=medium,
        session_id=whose,
    )


def removed(hashes: Sequence[int], medium: str = "GPU") -> BlockRemoved:
    return BlockRemoved(block_hashes=list(hashes), medium=medium)


# The wire.


def test_what_one_half_writes_the_other_reads() -> None:
    batch = Batch(at_s=3.5, events=(stored([1, 2], whose="a"), removed([9]), AllBlocksCleared()))
    assert kv_events.read(kv_events.write(batch)) == batch


def test_rows_of_older_servers_and_events_that_nobody_knows_are_read() -> None:
    rows = [
        ["BlockStored", [b"\x01" * 32, 5], None, [1, 2], 1, None, "CPU", "lora", "later"],
        ["BlockRemoved", [5]],
        ["Renamed", 1],
        {"type": "Merged", "what": 2},
    ]
    batch = kv_events.read(msgspec.msgpack.encode([1.0, rows, 3]))
    first, second = batch.events
    assert isinstance(first, BlockStored) and first.block_hashes == [b"\x01" * 32, 5]
    assert first.medium == "CPU" and first.session_id is None
    assert second == BlockRemoved(block_hashes=[5])


# The tree.


def test_a_context_lies_there_up_to_its_first_missing_block() -> None:
    blocks = KVBlocks()
    blocks.fold(stored([1, 2, 3, 4], whose="a"))
    assert blocks.changed() == {"a": (64, 64)}
    blocks.fold(removed([4]))
    assert blocks.changed() == {"a": (48, 48)}
    blocks.fold(stored([2], after=1, medium="CPU"))
    blocks.fold(removed([2]))
    assert blocks.changed() == {"a": (16, 48)}
    blocks.fold(stored([2], after=1))
    assert blocks.changed() == {"a": (48, 48)}
    blocks.check()


def test_contexts_share_their_beginning_and_lose_it_together() -> None:
    blocks = KVBlocks()
    blocks.fold(stored([1, 2], whose="a"))
    blocks.fold(stored([3], after=2, whose="b"))
    blocks.fold(stored([4], after=2, whose="c"))
    assert blocks.changed() == {"a": (32, 32), "b": (48, 48), "c": (48, 48)}
    blocks.fold(removed([2]))
    assert blocks.changed() == {"a": (16, 16), "b": (16, 16), "c": (16, 16)}
    blocks.check()


def test_a_chain_that_nobody_owns_is_the_calls_of_its_length() -> None:
    blocks = KVBlocks()
    blocks.fold(stored([1, 2, 3]))
    blocks.fold(stored([11, 12]))
    blocks.spoke("long", 3 * BLOCK + 5)
    blocks.spoke("none", 200)
    assert blocks.changed() == {"long": (48, 48)}
    blocks.fold(stored([13], after=12))
    blocks.spoke("other", 3 * BLOCK + 1)
    assert blocks.changed() == {"other": (48, 48)}


def test_two_chains_of_one_length_are_nobodys() -> None:
    blocks = KVBlocks()
    blocks.fold(stored([1, 2, 3]))
    blocks.fold(stored([11, 12, 13]))
    blocks.spoke("a", 50)
    assert blocks.changed() == {}


@pytest.mark.parametrize("seed", range(20))
def test_the_tree_agrees_with_a_set_of_blocks(seed: int) -> None:
    """The model: which hashes are there, and each context's whole chain."""
    dice, blocks = random.Random(seed), KVBlocks()
    there: set[int] = set()
    chains: dict[str, list[int]] = {}
    told: dict[str, tuple[int, int]] = {}
    for _ in range(300):
        name = dice.choice("abcdef")
        chain = chains.get(name) or list(chains[dice.choice(list(chains))][:2] if chains else [])
        if dice.random() < 0.6 and (not chain or set(chain) <= there):
            new = [dice.randrange(10**9) for _ in range(dice.randint(1, 4))]
            blocks.fold(stored(new, after=chain[-1] if chain else None, whose=name))
            chains[name] = [*chain, *new]
            there |= set(new)
        elif there:
            gone = dice.sample(sorted(there), dice.randint(1, min(3, len(there))))
            blocks.fold(removed(gone))
            there -= set(gone)
        told.update(blocks.changed())
        blocks.check()
        for one, its in chains.items():
            length = next((at for at, hash in enumerate(its) if hash not in there), len(its))
            assert told[one] == (length * BLOCK,) * 2, f"seed {seed}"
            if length < len(its):  # What is behind a hole may come back, or be new.
                chains[one] = its[:length]
        for one in [one for one, its in chains.items() if not its]:
            del chains[one]


# A publisher.


class Publisher:
    """As vLLM's: numbered batches over PUB, and those that it keeps over ROUTER.  (XPUB is PUB that
    hears of its subscribers.)"""

    def __init__(self, kept: int = 1_000) -> None:
        self.context = zmq_asyncio.Context()
        self.pub = self.context.socket(zmq.XPUB)
        self.router = self.context.socket(zmq.ROUTER)
        self.ports = (
            self.pub.bind_to_random_port("tcp://127.0.0.1"),
            self.router.bind_to_random_port("tcp://127.0.0.1"),
        )
        self.kept = kept
        self.batches: list[tuple[int, bytes]] = []
        self.next_seq, self.at_s = 0, 0.0
        self.replays = 0

    async def is_heard(self) -> None:
        async with asyncio.timeout(20):
            await self.pub.recv()  # The subscription stands.

    async def say(self, *events: KVEvent, lost: bool = False) -> None:
        self.at_s += 1.0
        payload = kv_events.write(Batch(at_s=self.at_s, events=events))
        self.batches = [*self.batches, (self.next_seq, payload)][-self.kept :]
        if not lost:
            await self.pub.send_multipart([b"", kv_events.sequence(self.next_seq), payload])
        self.next_seq += 1

    def start_anew(self) -> None:
        self.next_seq, self.batches = 0, []

    async def replay(self) -> None:
        while True:
            client, _, wanted = await self.router.recv_multipart()
            self.replays += 1
            for seq, payload in self.batches:
                if seq >= int.from_bytes(wanted, "big"):
                    frames = [client, b"", kv_events.sequence(seq), payload]
                    await self.router.send_multipart(frames)
            await self.router.send_multipart([client, b"", kv_events.END, b""])


@asynccontextmanager
async def publishing(
    *before: KVEvent, kept: int = 1_000, replay: bool = True
) -> AsyncGenerator[tuple[Publisher, KVStream]]:
    """A stream that listens to a publisher which has said `before` already."""
    publisher, stream = Publisher(kept), KVStream("far")
    task = asyncio.create_task(publisher.replay())
    try:
        for event in before:
            await publisher.say(event, lost=True)
        pub, router = (f"tcp://127.0.0.1:{port}" for port in publisher.ports)
        stream.start([KVSource(endpoint=pub, replay_endpoint=router if replay else None)])
        await publisher.is_heard()
        await until(lambda: not replay or stream.state == "heard")
        yield publisher, stream
    finally:
        await stream.close()
        task.cancel()
        publisher.context.destroy(linger=0)


async def hear(publisher: Publisher, stream: KVStream, *events: KVEvent) -> Holdings:
    """What it holds after these."""
    held = Holdings()
    await publisher.say(*events)
    async with asyncio.timeout(20):
        while not held.contexts and not held.is_cleared:
            await asyncio.sleep(0.01)
            found = stream.holdings()
            assert found is not None
            held = found
    return held


@played
async def test_what_was_said_before_anybody_listened_is_replayed() -> None:
    async with publishing(stored([1, 2], whose="a"), stored([3], after=2, whose="b")) as (_, heard):
        assert heard.holdings() == Holdings(
            is_whole=True, is_cleared=True, contexts={"a": (32, 32), "b": (48, 48)}
        )


@played
async def test_a_batch_that_was_missed_is_asked_for_again() -> None:
    async with publishing(stored([1], whose="a")) as (publisher, heard):
        await hear(publisher, heard, stored([2], after=1, whose="b"))
        await publisher.say(removed([1, 2]), lost=True)
        held = await hear(publisher, heard, stored([5], whose="c"))
        assert held.contexts == {"a": (0, 0), "b": (0, 0), "c": (16, 16)}
        assert held.is_whole and heard.state == "heard" and publisher.replays == 2


@played
async def test_what_no_replay_brings_is_said_to_be_inferred() -> None:
    async with publishing(stored([1], whose="a"), kept=1) as (publisher, heard):
        await hear(publisher, heard, stored([2], after=1, whose="b"))
        for _ in range(3):
            await publisher.say(removed([1]), lost=True)
        held = await hear(publisher, heard, stored([5], whose="c"))
        assert held.contexts == {"c": (16, 16)}, "what was known is not believed any more"
        assert not held.is_whole and "missed" in heard.state
        held = await hear(publisher, heard, AllBlocksCleared())
        assert held.is_whole and held.is_cleared and heard.state == "heard"


@played
async def test_without_a_replay_the_past_is_inferred_and_said_so() -> None:
    async with publishing(stored([1], whose="a"), replay=False) as (publisher, heard):
        held = await hear(publisher, heard, stored([5], whose="c"))
        assert held.contexts == {"c": (16, 16)} and not held.is_whole and heard.state != "heard"


@played
async def test_an_engine_that_starts_anew_holds_nothing_of_what_it_held() -> None:
    async with publishing(stored([1], whose="a")) as (publisher, heard):
        await hear(publisher, heard, stored([2], after=1, whose="b"))
        publisher.start_anew()
        held = await hear(publisher, heard, stored([5], whose="c"))
        assert held == Holdings(is_whole=True, is_cleared=True, contexts={"c": (16, 16)})


@played
async def test_garbage_costs_what_is_known_and_nothing_else() -> None:
    async with publishing(stored([1], whose="a")) as (publisher, heard):
        await hear(publisher, heard, stored([2], after=1, whose="b"))
        number = kv_events.sequence(publisher.next_seq)
        await publisher.pub.send_multipart([b"", number, b"\xc1garbage"])
        publisher.next_seq += 1
        await publisher.pub.send_multipart([b"one frame"])
        held = await hear(publisher, heard, stored([5], whose="c"))
        assert held.contexts == {"c": (16, 16)} and "can't be read" in heard.state


@played
async def test_an_address_that_is_none_is_told_and_hangs_nobody() -> None:
    stream = KVStream("far")
    stream.start([KVSource(endpoint="tcp://nowhere")])
    await until(lambda: "can't be heard" in stream.state)
    await stream.close()


# The driver, and what the scheduler makes of it.


@played
async def test_a_vllm_server_says_where_it_publishes_and_whose_its_blocks_are() -> None:
    publisher, behind = Publisher(), FakeEngine(NAME, FakeConfig(), clock=CLOCK, chance=CHANCE)
    edge = VLLMSurface(behind)
    edge.sources = [{"data_parallel_rank": 0, "endpoint": f"tcp://*:{publisher.ports[0]}"}]
    try:
        async with surface(behind, edge.routes) as (url, _):
            engine = VLLM(NAME, url, clock=CLOCK, chance=CHANCE)
            await engine.start()
            await publisher.is_heard()
            call = Infer(model="fake", messages=(Message("user", "hello"),), dialect="openai")
            await engine.infer(call, ModelName("fake"), None, 10.0, Turn(program="prc_7"))
            whose = edge.last("/v1/chat/completions")["session_id"]
            await publisher.say(stored([1, 2], whose=str(whose)))
            await until(lambda: engine.card().kv_events == "heard")
            held = engine.holdings()
            await engine.close()
        assert held == Holdings(is_whole=True, is_cleared=True, contexts={"prc_7": (32, 32)})
    finally:
        publisher.context.destroy(linger=0)


def test_what_an_engine_says_that_it_holds_is_believed_instead_of_what_was_inferred() -> None:
    scheduler = Scheduler(SchedulerConfig())
    for name in ("a", "b"):
        scheduler.attach(name, Capacity(slots=4, kv_tokens=10_000, speed=SPEED))
    work = called(scheduler, 0.0)
    assert work.grant is not None
    home, other = work.grant.engine, {"a": "b", "b": "a"}[work.grant.engine]
    scheduler.leave(work, 1.0, Used(input_tokens=5_000, output_tokens=10))
    scheduler.told(home, Holdings(is_whole=True, contexts={"p": (0, 0)}), 2.0)
    scheduler.told(other, Holdings(is_whole=True, contexts={"p": (4_992, 4_992)}), 2.0)
    check(scheduler, 2.0)
    again = called(scheduler, 3.0)
    assert again.grant is not None and again.grant.engine == other
    assert again.grant.cached_tokens == 4_992


def test_an_engine_that_has_cleared_its_cache_holds_nobody_any_more() -> None:
    scheduler = Scheduler(SchedulerConfig())
    scheduler.attach("a", Capacity(slots=4, kv_tokens=10_000, speed=SPEED))
    scheduler.leave(called(scheduler, 0.0), 1.0, Used(input_tokens=5_000, output_tokens=10))
    assert scheduler.stations["a"].shelf.device_tokens == 5_010
    scheduler.told("a", Holdings(is_whole=True, is_cleared=True), 2.0)
    check(scheduler, 2.0)
    assert scheduler.stations["a"].shelf.device_tokens == 0
    again = called(scheduler, 3.0)
    assert again.grant is not None and again.grant.cached_tokens == 0


def called(scheduler: Scheduler, at_s: float) -> Work:
    names = tuple(scheduler.stations)
    work = Work(
        process=ProcessId("p"),
        candidates=names,
        arrived_s=0.0,
        input_tokens=5_000,
        output_tokens=10,
    )
    scheduler.enter(work, at_s)
    return work
