"""The boundaries of a recorded stream: how it was cut into pieces, without its text again.

The text is in the recorded message; here are the lengths to cut it by.  Nearly all streams are
long runs of pieces of one kind, so that is what is stored, with one letter a piece: a hundred
tokens of text take about 110 bytes.  A piece that can't be cut out of its message is stored whole.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from orlop.abi.errors import JournalDamaged
from orlop.abi.messages import TokenLogprob, ToolUse
from orlop.abi.replies import Choice, Completion, Delta, ToolUseDelta

Kind = Literal["t", "r", "f", "n", "a", "w"]
"""Text, reasoning, refusal, a tool call's first piece, its arguments; a piece stored whole."""

_LETTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LENGTH: Final = re.compile(r"([0-9a-zA-Z])|~(\d+)~")


class Run(Struct, frozen=True, array_like=True, omit_defaults=True):
    """Pieces that follow one another and differ in length only.

    lengths: in characters, one letter each; `~n~` from 62 on.
    logprobs: tokens in each piece.
    """

    lengths: str
    choice: int = 0
    kind: Kind = "t"
    tool: int = 0
    logprobs: int = 0


class Boundaries(Struct, frozen=True, array_like=True, omit_defaults=True):
    """What is recorded.  `whole`: the pieces of runs of kind `w`, in order."""

    runs: tuple[Run, ...]
    whole: tuple[Delta, ...] = ()


_Shape = tuple[int, Kind, int, int]
"""Choice, kind, tool, logprobs: what the pieces of one run have in common."""

_SOURCE: Final[Mapping[Kind, Kind]] = {"t": "t", "r": "r", "f": "f", "n": "a", "a": "a"}
_WHOLE: Final[_Shape] = (0, "w", 0, 0)
_decoder: Final = msgspec.json.Decoder(Boundaries)


def pack(deltas: Sequence[Delta], completion: Completion) -> Raw:
    """JSON of `Boundaries`, such that `unpack` gives these very deltas."""
    boundaries = _plain(deltas, completion) or _any(deltas, completion)
    return Raw(msgspec.json.encode(boundaries))


def _plain(deltas: Sequence[Delta], completion: Completion) -> Boundaries | None:
    """The commonest stream by far, five times as fast: one choice's text and nothing else."""
    texts = [delta.text for delta in deltas]
    if len(completion.choices) != 1 or "".join(texts) != completion.choices[0].message.text():
        return None
    index = completion.choices[0].index
    if any(delta != Delta(index, text) for delta, text in zip(deltas, texts, strict=True)):
        return None
    return Boundaries((Run("".join([_letter(len(text)) for text in texts]), index),))


def _letter(length: int) -> str:
    return _LETTERS[length] if length < len(_LETTERS) else f"~{length}~"


def _any(deltas: Sequence[Delta], completion: Completion) -> Boundaries:
    cutter = _Cutter(completion.choices)
    runs: list[tuple[_Shape, list[str]]] = []
    whole = []
    for delta in deltas:
        shape, length = _shape(delta)
        if shape == _WHOLE or cutter.cut(shape, length, delta) is None:
            shape, length = _WHOLE, 0
            whole.append(delta)
        if not runs or runs[-1][0] != shape:
            runs.append((shape, []))
        runs[-1][1].append(_letter(length))
    packed = tuple(Run("".join(lengths), *shape) for shape, lengths in runs)
    return Boundaries(packed, tuple(whole))


def unpack(raw: Raw, completion: Completion) -> list[Delta]:
    """The deltas as the engine gave them.  Raises `JournalDamaged` where they don't fit."""
    try:
        boundaries = _decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise JournalDamaged(f"a stream's recorded boundaries can't be read: {error}") from error
    cutter = _Cutter(completion.choices)
    whole = iter(boundaries.whole)
    deltas = []
    for run in boundaries.runs:
        shape: _Shape = (run.choice, run.kind, run.tool, run.logprobs)
        for length in _lengths(run.lengths):
            delta = next(whole, None) if shape == _WHOLE else cutter.cut(shape, length)
            if delta is None:
                raise JournalDamaged("a stream's recorded boundaries don't fit its message")
            deltas.append(delta)
    return deltas


def _lengths(text: str) -> Iterable[int]:
    for letter, number in _LENGTH.findall(text):
        yield _LETTERS.index(letter) if letter else int(number)


def _shape(delta: Delta) -> tuple[_Shape, int]:
    """The run that a piece belongs to, and its length; whole if it says more than one thing."""
    tokens = len(delta.logprobs)
    if not (delta.reasoning or delta.refusal or delta.tool_uses):
        return (delta.choice, "t", 0, tokens), len(delta.text)
    said = (delta.text, delta.reasoning, delta.refusal, *delta.tool_uses)
    if sum(1 for piece in said if piece) != 1:
        return _WHOLE, 0
    if delta.reasoning:
        return (delta.choice, "r", 0, tokens), len(delta.reasoning)
    if delta.refusal:
        return (delta.choice, "f", 0, tokens), len(delta.refusal)
    use = delta.tool_uses[0]
    kind: Kind = "n" if use.id or use.name else "a"
    return (delta.choice, kind, use.index, tokens), len(use.arguments)


class _Cutter:
    """Cuts pieces off the messages, each from where the last one of its kind ended."""

    def __init__(self, choices: Iterable[Choice]) -> None:
        self._choices = {choice.index: choice for choice in choices}
        self._texts: dict[tuple[int, Kind, int], str] = {}
        self._ends: dict[tuple[int, Kind, int], int] = {}
        self._tokens: dict[int, int] = {}

    def cut(self, shape: _Shape, length: int, wanted: Delta | None = None) -> Delta | None:
        """None, and nothing is cut, where there is no such piece, or it is not `wanted`."""
        index, kind, tool, tokens = shape
        choice = self._choices.get(index)
        if choice is None:
            return None
        key = (index, _SOURCE[kind], tool)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = _text(choice, kind, tool)
        start, first = self._ends.get(key, 0), self._tokens.get(index, 0)
        logprobs = choice.logprobs[first : first + tokens]
        delta = _delta(choice, shape, text[start : start + length], logprobs)
        if start + length > len(text) or len(logprobs) != tokens:
            return None
        if wanted is not None and delta != wanted:
            return None
        self._ends[key] = start + length
        if tokens:
            self._tokens[index] = first + tokens
        return delta


def _delta(
    choice: Choice, shape: _Shape, piece: str, logprobs: tuple[TokenLogprob, ...]
) -> Delta | None:
    index, kind, tool, _ = shape
    match kind:
        case "t":
            return Delta(index, piece, logprobs=logprobs)
        case "r":
            return Delta(index, reasoning=piece, logprobs=logprobs)
        case "f":
            return Delta(index, refusal=piece, logprobs=logprobs)
        case _:
            use = _tool_piece(choice.message.tool_uses, kind, tool, piece)
            return None if use is None else Delta(index, tool_uses=(use,), logprobs=logprobs)


def _text(choice: Choice, kind: Kind, tool: int) -> str:
    """What pieces of this kind are cut from."""
    message = choice.message
    match kind:
        case "t":
            return message.text()
        case "r":
            return message.reasoning
        case "f":
            return message.refusal
        case _:
            return message.tool_uses[tool].arguments if tool < len(message.tool_uses) else ""


def _tool_piece(
    uses: Sequence[ToolUse], kind: Kind, tool: int, arguments: str
) -> ToolUseDelta | None:
    if tool >= len(uses):
        return None
    use = uses[tool]
    if kind == "n":
        return ToolUseDelta(tool, use.id, use.name, arguments, use.kind, use.extra)
    return ToolUseDelta(tool, arguments=arguments, kind=use.kind)
