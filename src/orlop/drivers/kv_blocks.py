"""Which blocks an engine says that it holds, as a tree: each block hangs on the one before it.

A context lies there as far as its blocks do from the first one on without a hole.  Whose a block is
the engine says (`session_id`), or its length tells: a chain that ends where a call's tokens ended,
and is the only one that does, is that call's.  What neither tells stays unknown, and is inferred
from the calls as if there were no events.

Invariants (`check`): 1. a block that lies nowhere has blocks after it; 2. `on_device` of a block
means that it and all before it are on the device, `is_there` likewise on any medium; 3. there are
at most `KV_BLOCKS_MAX` blocks, `KV_SESSIONS_MAX` contexts and as many ends that nobody has claimed.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from orlop.abi.errors import Exhausted
from orlop.abi.limits import KV_BLOCKS_MAX, KV_SESSIONS_MAX
from orlop.wire.kv_events import AllBlocksCleared, BlockRemoved, BlockStored, Hash, KVEvent

DEVICE: Final = "GPU"
"""What vLLM and SGLang call the device's memory, and mean where they name none."""

GROUPS: Final = (None, 0)
"""Of a model with caches of several kinds, the one that is looked at."""

ENDS_KEPT: Final = 1_024
"""Chains' ends that nobody has claimed yet."""


class _Block:
    __slots__ = ("after", "before", "depth", "hash", "is_there", "media", "on_device", "owners")

    def __init__(self, hash: Hash, before: "_Block | None", tokens: int) -> None:
        self.hash = hash
        self.before = before
        self.depth: int = tokens + (before.depth if before is not None else 0)
        """Tokens up to its end."""
        self.after: dict[Hash, _Block] = {}
        self.media: set[str] = set()
        self.owners: dict[str, None] = {}
        """Contexts that are known to reach to here."""
        self.on_device = self.is_there = False

    def settle(self) -> bool:
        """What it is, from its media and the block before; whether that has changed."""
        before = self.before
        on_device = DEVICE in self.media and (before is None or before.on_device)
        is_there = bool(self.media) and (before is None or before.is_there)
        if (on_device, is_there) == (self.on_device, self.is_there):
            return False
        self.on_device, self.is_there = on_device, is_there
        return True


class KVBlocks:
    """`fold` raises `Exhausted` where an engine tells of more than can be kept."""

    def __init__(self) -> None:
        self._blocks: dict[Hash, _Block] = {}
        self._ends: OrderedDict[str, _Block] = OrderedDict()
        self._changed: dict[str, None] = {}
        self._unclaimed: OrderedDict[_Block, None] = OrderedDict()
        self._spoken: OrderedDict[str, int] = OrderedDict()
        """Contexts whose last call ended with so many tokens, and whose end is looked for."""
        self._says_whose = False

    def __len__(self) -> int:
        return len(self._blocks)

    def clear(self) -> None:
        """Nothing is known to lie there."""
        for held in (self._blocks, self._ends, self._changed, self._unclaimed, self._spoken):
            held.clear()

    def fold(self, event: KVEvent) -> None:
        match event:
            case BlockStored():
                if event.group_idx in GROUPS:
                    self._store(event)
            case BlockRemoved():
                if event.group_idx in GROUPS:
                    for hash in event.block_hashes:
                        self._remove(hash, event.medium or DEVICE)
            case AllBlocksCleared():
                self.clear()

    def spoke(self, session: str, tokens: int) -> None:
        """A call of the context has ended, with so many tokens in all."""
        if session in self._ends:
            self._ends.move_to_end(session)
        if self._says_whose:
            return
        self._spoken[session] = tokens
        self._spoken.move_to_end(session)
        if len(self._spoken) > ENDS_KEPT:
            self._spoken.popitem(last=False)

    def changed(self) -> Mapping[str, tuple[int, int]]:
        """Contexts of which other tokens lie there than when last asked: on the device, and on any
        medium.  Both count from the first token on."""
        self._claim()
        found = {name: self._lies(name) for name in self._changed}
        self._changed.clear()
        return found

    def check(self) -> None:
        """The invariants; for tests."""
        assert len(self._blocks) <= KV_BLOCKS_MAX and len(self._ends) <= KV_SESSIONS_MAX
        for block in self._blocks.values():
            assert block.media or block.after, "a block that lies nowhere and leads nowhere"
            assert not block.settle(), "a block that is not what its media make it"
            assert all(self._ends.get(name) is block for name in block.owners), "an owner elsewhere"
        assert all(name in block.owners for name, block in self._ends.items()), "a forgotten owner"

    def _store(self, event: BlockStored) -> None:
        parent = None
        if event.parent_block_hash is not None:
            parent = self._blocks.get(event.parent_block_hash)
            if parent is None:
                return  # Of a chain whose beginning we have not heard of: how long is it?
        if len(self._blocks) + len(event.block_hashes) > KV_BLOCKS_MAX:
            raise Exhausted(f"more than KV_BLOCKS_MAX blocks ({KV_BLOCKS_MAX:,})")
        last = parent
        for hash in event.block_hashes:
            block = self._blocks.get(hash) or self._new(hash, last, event.block_size)
            block.media.add(event.medium or DEVICE)
            self._settle(block)
            last = block
        if last is None:
            return
        if event.session_id:
            self._says_whose = True
            self._own(event.session_id, last)
        elif not last.owners:
            self._wait_for_owner(last, parent)

    def _new(self, hash: Hash, before: _Block | None, tokens: int) -> _Block:
        block = self._blocks[hash] = _Block(hash, before, tokens)
        if before is not None:
            before.after[hash] = block
        return block

    def _wait_for_owner(self, end: _Block, parent: _Block | None) -> None:
        if parent is not None:
            self._unclaimed.pop(parent, None)
        self._unclaimed[end] = None
        if len(self._unclaimed) > ENDS_KEPT:
            self._unclaimed.popitem(last=False)

    def _remove(self, hash: Hash, medium: str) -> None:
        block = self._blocks.get(hash)
        if block is None:
            return
        block.media.discard(medium)
        self._settle(block)
        while block is not None and not block.media and not block.after:
            before = block.before
            del self._blocks[block.hash]
            self._unclaimed.pop(block, None)
            if before is not None:
                del before.after[block.hash]
            for name in block.owners:
                self._changed[name] = None
                if before is None:
                    del self._ends[name]
                else:
                    self._ends[name] = before
                    before.owners[name] = None
            block = before

    def _settle(self, first: _Block) -> None:
        """One block lies elsewhere than before: so do those after it, and who reaches beyond a hole
        among them reaches less far, or farther."""
        waiting = [first] if first.settle() else []
        while waiting:
            block = waiting.pop()
            self._changed.update(block.owners)
            waiting.extend(block.after.values())
            for after in block.after.values():
                after.settle()

    def _own(self, session: str, block: _Block) -> None:
        old = self._ends.pop(session, None)
        if old is not None:
            del old.owners[session]
        self._ends[session] = block
        block.owners[session] = None
        self._unclaimed.pop(block, None)
        self._changed[session] = None
        if len(self._ends) > KV_SESSIONS_MAX:
            idle, end = self._ends.popitem(last=False)
            del end.owners[idle]
            self._changed.pop(idle, None)

    def _claim(self) -> None:
        """Give chains that nobody owns to the contexts whose lengths they have."""
        if not self._spoken or not self._unclaimed:
            return
        for session, tokens in tuple(self._spoken.items()):
            fitting = [
                block
                for block in self._unclaimed
                if not block.after and tokens - _step(block) <= block.depth <= tokens
            ]
            if len(fitting) == 1:
                self._own(session, fitting[0])
                del self._spoken[session]

    def _lies(self, session: str) -> tuple[int, int]:
        block = self._ends.get(session)
        while block is not None and not block.is_there:
            block = block.before
        anywhere = block.depth if block is not None else 0
        while block is not None and not block.on_device:
            block = block.before
        return (block.depth if block is not None else 0), anywhere


def _step(block: _Block) -> int:
    """How far a chain may end before its call's last token: that one's own KV, and a block that is
    not full, are not told."""
    before = block.before.depth if block.before is not None else 0
    return block.depth - before + 1
