"""The pieces of one streamed answer, put into blocks that open, grow and close one after another.

Anthropic's and the Responses dialects stream blocks; an engine's deltas carry none, and may mix
the pieces of several tool calls.  Invariants: 1. one block is open at a time; 2. no piece is lost,
and the pieces of one block keep their order; 3. a tool call closes before another block opens
only when its arguments are complete JSON, so that no later piece of it can lack a place.
"""

from collections import deque
from typing import Final, Literal

import msgspec
from msgspec import Struct

from orlop.abi.messages import TokenLogprob
from orlop.abi.replies import Delta

Kind = Literal["reasoning", "text", "refusal", "tool"]
_NO_TOOL: Final = -1


class Key(Struct, frozen=True):
    """Which block a piece belongs to; `tool` is the engine's index of a tool call."""

    kind: Kind
    tool: int = _NO_TOOL


class Opened(Struct, frozen=True):
    """`index` counts the answer's blocks from 0; `number` those of its kind."""

    index: int
    kind: Kind
    number: int
    id: str = ""
    name: str = ""


class Grew(Struct, frozen=True):
    block: Opened
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class Closed(Struct, frozen=True):
    """`text` is all that the block holds."""

    block: Opened
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


Step = Opened | Grew | Closed


class _Piece(Struct, frozen=True):
    key: Key
    text: str
    id: str = ""
    name: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()


class Blocks:
    """One answer in the making."""

    def __init__(self) -> None:
        self._waiting: deque[_Piece] = deque()
        self._key: Key | None = None
        self._block = Opened(-1, "text", 0)
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._counts: dict[Kind, int] = {}
        self._tools_closed: set[Key] = set()

    @property
    def is_empty(self) -> bool:
        return self._block.index < 0

    def add(self, delta: Delta) -> list[Step]:
        """What `delta` changes; pieces that have to wait for an open tool call change nothing."""
        steps: list[Step] = []
        self._waiting.extend(_pieces(delta))
        while self._waiting:
            if self._may_go(self._waiting[0].key):
                self._grow(self._waiting.popleft(), steps)
            elif not self._grow_beside(steps):
                break
        return steps

    def close(self) -> list[Step]:
        """The engine has said everything."""
        steps: list[Step] = []
        while self._waiting:
            self._grow(self._waiting.popleft(), steps)
            self._grow_beside(steps)
        self._close(steps)
        return steps

    def add_silence(self) -> list[Step]:
        """A text of no words, for dialects in which an answer has to have one."""
        steps: list[Step] = []
        self._grow(_Piece(Key("text"), ""), steps)
        return steps

    def _may_go(self, key: Key) -> bool:
        if self._key is None or self._key == key or self._key.kind != "tool":
            return True
        return _is_complete("".join(self._texts))

    def _grow_beside(self, steps: list[Step]) -> bool:
        """Pieces of the open tool call need not wait behind those of other blocks."""
        mine = [piece for piece in self._waiting if piece.key == self._key]
        if mine:
            self._waiting = deque(piece for piece in self._waiting if piece.key != self._key)
        for piece in mine:
            self._grow(piece, steps)
        return bool(mine)

    def _grow(self, piece: _Piece, steps: list[Step]) -> None:
        if piece.key in self._tools_closed:
            return  # It follows a complete JSON object: white space, or nothing that could be read.
        if piece.key != self._key:
            self._close(steps)
            self._open(piece, steps)
        if piece.text or piece.logprobs:
            self._texts.append(piece.text)
            self._logprobs.extend(piece.logprobs)
            steps.append(Grew(self._block, piece.text, piece.logprobs))

    def _open(self, piece: _Piece, steps: list[Step]) -> None:
        kind = piece.key.kind
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        self._key = piece.key
        self._block = Opened(self._block.index + 1, kind, number, piece.id, piece.name)
        steps.append(self._block)

    def _close(self, steps: list[Step]) -> None:
        if self._key is not None:
            steps.append(Closed(self._block, "".join(self._texts), tuple(self._logprobs)))
            if self._key.kind == "tool":
                self._tools_closed.add(self._key)
            self._key = None
            self._texts.clear()
            self._logprobs.clear()


def _pieces(delta: Delta) -> list[_Piece]:
    pieces = []
    if delta.reasoning:
        pieces.append(_Piece(Key("reasoning"), delta.reasoning))
    if delta.text or (delta.logprobs and not delta.tool_uses and not delta.refusal):
        pieces.append(_Piece(Key("text"), delta.text, logprobs=delta.logprobs))
    if delta.refusal:
        pieces.append(_Piece(Key("refusal"), delta.refusal))
    pieces.extend(
        _Piece(Key("tool", use.index), use.arguments, use.id, use.name) for use in delta.tool_uses
    )
    return pieces


def _is_complete(arguments: str) -> bool:
    """Nothing said yet is not complete: arguments may still come."""
    try:
        msgspec.json.decode(arguments, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True
