"""Which context lies in which slot of a host, and who gets a slot next.  No I/O.

A context belongs to a program, and a program may have several (its agents'): which one a call goes
on from is told by how it begins.  Texts are compared in blocks, so nobody needs to tokenise.

Invariants (`check`): 1. a slot holds at most one context, a context lies in at most one slot;
2. a busy slot is given to nobody; 3. who has waited longest is woken first.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from typing import Final

import msgspec

from orlop.abi.calls import Infer
from orlop.devices.prefix import PrefixIndex

_BLOCK_BYTES: Final = 128
"""Of a prompt's text: about 30 tokens."""

_NEAR_BLOCKS: Final = 16
"""A call goes on from its own context unless another's has so much more of its beginning."""

_BLOCKS_MAX: Final = 262_144
"""Blocks that one engine's index holds: 32 MB of text."""


@dataclass(eq=False, slots=True)
class Held:
    """One context that the engine has, in a slot or saved."""

    id: str
    program: str
    blocks: tuple[int, ...] = ()
    tokens: int = 0
    """At least so many lie in its slot."""
    saved_tokens: int = 0
    """So many lie in its snapshot; 0: it has none."""
    slot: int | None = None
    is_changed: bool = True
    """Since it was saved."""
    is_moving: bool = False
    """On its way into a slot."""
    is_released: bool = False
    """Nobody wants it in its slot: it is the first to leave."""
    is_doomed: bool = False
    """Dropped while a call ran on it: it goes when that call does."""
    saving: asyncio.Event | None = None
    """Its slot is being copied; set once that is over."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a call could go on from."""

    own: Held | None
    """Its own context: the call goes on where that ended."""
    like: Held | None
    """Another that begins in the same way, at best; never `own`."""
    shared: int = 0
    """Blocks that it shares with either."""
    saving: asyncio.Event | None = None
    """Its own is being copied just now: in milliseconds it is there, and it is not elsewhere."""


@dataclass(slots=True)
class Table:
    """slots: how many there are, > 0."""

    slots: int
    _held: dict[str, Held] = field(default_factory=dict)
    _places: list[Held | None] = field(init=False)
    _busy: set[int] = field(default_factory=set)
    _order: list[int] = field(init=False)
    """Slots from the one not used for longest."""
    _index: PrefixIndex[str, int] = field(init=False)
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._places = [None] * self.slots
        self._order = list(range(self.slots))
        self._index = PrefixIndex(_BLOCKS_MAX)

    def of(self, program: str) -> list[Held]:
        return [held for held in self._held.values() if held.program == program]

    def seated(self) -> list[tuple[int, Held]]:
        return [(slot, held) for slot, held in enumerate(self._places) if held is not None]

    def is_busy(self, held: Held) -> bool:
        return held.is_moving or held.slot in self._busy

    def match(self, program: str, blocks: tuple[int, ...]) -> Match:
        shared, name = self._index.longest(blocks)
        found = self._held.get(name) if name is not None else None
        own = [
            held
            for held in self.of(program)
            if 0 < len(held.blocks) >= shared - _NEAR_BLOCKS
            and held.blocks == blocks[: len(held.blocks)]
            and (held.saving is not None or not self.is_busy(held))
        ]
        if own:
            best = max(own, key=lambda held: len(held.blocks))
            return Match(best, None, len(best.blocks), best.saving)
        return Match(None, found, shared)

    def take(self, wanted: int | None = None) -> int | None:
        """Make a slot busy: the wanted one, or the one whose context is missed least."""
        if wanted is None:
            wanted = min(
                (slot for slot in self._order if slot not in self._busy),
                key=self._rank,
                default=None,
            )
        if wanted is None or wanted in self._busy:
            return None
        self._busy.add(wanted)
        self._order.remove(wanted)
        self._order.append(wanted)
        return wanted

    def _rank(self, slot: int) -> tuple[int, int]:
        """Empty, then released, then by age."""
        held = self._places[slot]
        state = 0 if held is None else 1 if held.is_released else 2
        return state, self._order.index(slot)

    def give_back(self, slot: int) -> None:
        self._busy.discard(slot)
        self._wake_next()

    async def wait(self) -> None:
        """Until a slot may be free."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # Woken and cancelled at once: the next one is woken in its place.
                self._wake_next()
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _wake_next(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def occupant(self, slot: int) -> Held | None:
        return self._places[slot]

    def add(self, held: Held) -> None:
        """A context without a slot."""
        self._held[held.id] = held
        self._index.put(held.id, held.blocks)

    def seat(self, held: Held, slot: int) -> None:
        """`held` lies in `slot` from now on; who lay there doesn't any more."""
        self.unseat(slot)
        held.slot = slot
        held.is_released = False
        self._places[slot] = held
        self._held[held.id] = held

    def unseat(self, slot: int) -> None:
        held = self._places[slot]
        if held is not None:
            held.slot, held.tokens, held.is_released = None, 0, False
            self._places[slot] = None
            if not held.saved_tokens:
                self.forget(held)

    def grown(self, held: Held, blocks: tuple[int, ...]) -> None:
        """It begins with these blocks now."""
        held.blocks = blocks
        if held.id in self._held:
            self._index.put(held.id, blocks)

    def lost(self, held: Held) -> None:
        """Its snapshot is gone."""
        held.saved_tokens = 0
        if held.slot is None:
            self.forget(held)

    def forget(self, held: Held) -> None:
        if held.slot is not None:
            self._places[held.slot] = None
            held.slot = None
        self._held.pop(held.id, None)
        self._index.drop(held.id)

    def forget_slots(self) -> None:
        """The host is gone, and what lay in its slots with it."""
        for slot in range(self.slots):
            self.unseat(slot)

    def unsaved(self, known: Iterable[str]) -> list[Held]:
        """Contexts that think they are saved and are not among `known`."""
        names = set(known)
        return [held for held in self._held.values() if held.saved_tokens and held.id not in names]

    def check(self) -> None:
        """The invariants; for tests."""
        self._index.check()
        seated = [held for _, held in self.seated()]
        assert len({held.id for held in seated}) == len(seated), "a context in two slots"
        for slot, held in self.seated():
            assert held.slot == slot, "a context that does not know its slot"
        for held in self._held.values():
            assert held.slot is not None or held.saved_tokens, "a context that lies nowhere"
        assert not self._busy or max(self._busy) < self.slots, "a busy slot that is not there"


def blocks_of(call: Infer, salt: str = "") -> tuple[int, ...]:
    """A digest of each piece of what the call shows the model, from its beginning, and of whose
    it is: what differs in its salt has nothing in common.

    What a longer call begins with gives the same first digests: a message ends a piece, and of a
    raw prompt the last piece, which may grow, counts only where it is all there is.
    """
    key = bytes.fromhex(salt)
    if isinstance(call.prompt, tuple):
        return _raw(b"".join(token.to_bytes(4) for token in call.prompt), key)
    if call.prompt is not None:
        return _raw(call.prompt.encode(errors="replace"), key)
    tools = _pieces(msgspec.json.encode(call.tools), key) if call.tools else []
    said = (_pieces(msgspec.json.encode(message), key) for message in call.messages)
    return tuple(chain(tools, *said))


def _raw(shown: bytes, key: bytes) -> tuple[int, ...]:
    pieces = _pieces(shown, key)
    is_whole = len(pieces) == 1 or len(shown) % _BLOCK_BYTES == 0
    return tuple(pieces if is_whole else pieces[:-1])


def _pieces(shown: bytes, key: bytes) -> list[int]:
    return [
        int.from_bytes(blake2b(shown[at : at + _BLOCK_BYTES], digest_size=7, key=key).digest())
        for at in range(0, len(shown), _BLOCK_BYTES)
    ]
