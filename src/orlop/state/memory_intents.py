"""How calls about memories lie in the journal, and what tells one from another."""

import struct
from hashlib import sha256

from msgspec.structs import replace

from orlop.abi.memory import Item, Recall, Remember


def plain(call: Remember) -> Remember:
    """Without what is to be remembered: that lies in the event that the call leads to."""
    return replace(call, items=tuple(Item(text="", kind=item.kind) for item in call.items))


def short(call: Remember | Recall) -> Remember | Recall:
    """Vectors by their digests: hundreds of numbers take long to be written canonically."""
    if isinstance(call, Remember):
        if not any(item.vector for item in call.items):
            return call
        return replace(call, items=tuple(map(_short, call.items)))
    if not call.vector:
        return call
    return replace(call, vector=(), vector_model=_digest(call.vector, call.vector_model))


def _short(item: Item) -> Item:
    if not item.vector:
        return item
    return replace(item, vector=(), vector_model=_digest(item.vector, item.vector_model))


def _digest(vector: tuple[float, ...], model: str) -> str:
    return f"{model} {sha256(struct.pack(f'<{len(vector)}d', *vector)).hexdigest()}"
