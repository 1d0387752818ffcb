"""What vLLM and SGLang publish about their KV cache: batches of block events, as msgpack.

A message is `[topic, sequence, batch]`; a batch is `[time, events, rank]`; an event is a map with
its name under `type`, or in older servers an array that begins with its name.  A replay is asked
for by the first sequence that is wanted, and ends with an empty batch.  Both halves are here.

Source: vllm/distributed/kv_events.py, which SGLang has taken over.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

Hash: TypeAlias = int | bytes
"""Of a block and all before it: equal hashes, equal beginnings."""

END: Final = (-1).to_bytes(8, "big", signed=True)
"""The sequence of a replay's last message."""


class BlockStored(Struct, frozen=True, tag=True, omit_defaults=True):
    """Blocks that follow each other, the first one after `parent_block_hash`."""

    block_hashes: list[Hash]
    parent_block_hash: Hash | None
    token_ids: list[int]
    block_size: int
    lora_id: int | None = None
    medium: str | None = None
    lora_name: str | None = None
    session_id: str | None = None
    """Whose call stored them, as the call named it."""
    group_idx: int | None = None
    """Of a model with several kinds of attention, whose cache; the first tells enough."""


class BlockRemoved(Struct, frozen=True, tag=True, omit_defaults=True):
    block_hashes: list[Hash]
    medium: str | None = None
    group_idx: int | None = None


class AllBlocksCleared(Struct, frozen=True, tag=True, omit_defaults=True):
    pass


KVEvent: TypeAlias = BlockStored | BlockRemoved | AllBlocksCleared


class _StoredRow(Struct, frozen=True, tag="BlockStored", array_like=True, omit_defaults=True):
    """As older servers write it; what came later in the row has no place of its own here."""

    block_hashes: list[Hash]
    parent_block_hash: Hash | None
    token_ids: list[int]
    block_size: int
    lora_id: int | None = None
    medium: str | None = None


class _RemovedRow(Struct, frozen=True, tag="BlockRemoved", array_like=True):
    block_hashes: list[Hash]
    medium: str | None = None


class _ClearedRow(Struct, frozen=True, tag="AllBlocksCleared", array_like=True):
    pass


class Batch(Struct, frozen=True, kw_only=True):
    """`at_s`: by the engine's own clock; only its order means anything here."""

    at_s: float
    events: tuple[KVEvent, ...]


class _Batch(Struct, frozen=True, array_like=True):
    at_s: float
    events: list[Raw]
    data_parallel_rank: int | None = None


_BATCH: Final = msgspec.msgpack.Decoder(_Batch)
_EVENT: Final = msgspec.msgpack.Decoder(BlockStored | BlockRemoved | AllBlocksCleared)
_ROW: Final = msgspec.msgpack.Decoder(_StoredRow | _RemovedRow | _ClearedRow)


def read(payload: bytes) -> Batch:
    """Raises `msgspec.MsgspecError`; an event of a kind that nobody here knows is left out."""
    batch = _BATCH.decode(payload)
    found = (_event(bytes(raw)) for raw in batch.events)
    return Batch(at_s=batch.at_s, events=tuple(one for one in found if one is not None))


def write(batch: Batch) -> bytes:
    return msgspec.msgpack.encode([batch.at_s, batch.events])


def read_frames(frames: Sequence[bytes]) -> tuple[int, bytes] | None:
    """The sequence and the batch, whatever stands before them; None: no such message."""
    if len(frames) < 2 or len(frames[-2]) != 8:
        return None
    return int.from_bytes(frames[-2], "big", signed=True), frames[-1]


def sequence(number: int) -> bytes:
    return number.to_bytes(8, "big", signed=True)


def _event(raw: bytes) -> KVEvent | None:
    is_row = 0x90 <= raw[0] <= 0x9F or raw[0] in (0xDC, 0xDD)
    if not is_row:
        is_known = msgspec.msgpack.decode(raw, type=_Named).type in _NAMES
        return _EVENT.decode(raw) if is_known else None
    name = next(iter(msgspec.msgpack.decode(raw, type=list[object])), "")
    if name not in _NAMES:
        return None
    match _ROW.decode(raw):
        case _StoredRow() as row:
            return BlockStored(
                block_hashes=row.block_hashes,
                parent_block_hash=row.parent_block_hash,
                token_ids=row.token_ids,
                block_size=row.block_size,
                lora_id=row.lora_id,
                medium=row.medium,
            )
        case _RemovedRow() as row:
            return BlockRemoved(block_hashes=row.block_hashes, medium=row.medium)
        case _:
            return AllBlocksCleared()


class _Named(Struct, frozen=True):
    type: str


_NAMES: Final = frozenset(one.__name__ for one in (BlockStored, BlockRemoved, AllBlocksCleared))
