"""Anthropic's streamed messages, both halves, without I/O.

Written: `message_start`, `ping`, then each content block from start to stop, `message_delta` with
the stop reason and the usage, `message_stop`.  A stream that fails ends in an `error` event and
never in `message_stop`; a stream read without `message_stop` was cut off.
"""

from typing import Final

import msgspec

from orlop.abi.errors import BadCall, DeviceFailed, KernelError
from orlop.abi.replies import Completion, Delta, Generated, ToolUseDelta
from orlop.wire import json_guard, problem, sse
from orlop.wire.anthropic import finish_reading, first, start_of
from orlop.wire.anthropic_parts import Block
from orlop.wire.anthropic_terms import stop_of, write_usage
from orlop.wire.anthropic_turns import input_of
from orlop.wire.blocks import Blocks, Closed, Grew, Opened, Step
from orlop.wire.json_fields import Fields
from orlop.wire.openai_stream import whole
from orlop.wire.openai_terms import ReplyHead, write_facts

_encode: Final = msgspec.json.Encoder().encode
_PING: Final = sse.write(b'{"type":"ping"}', "ping")


class MessageStream:
    """The server's half: replies in, bytes of server-sent events out."""

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._blocks = Blocks()
        self._is_begun = False

    def delta(self, delta: Delta) -> bytes:
        return self._begin() + b"".join(map(_write_step, self._blocks.add(delta)))

    def done(self, completion: Completion) -> bytes:
        """The end of a call that succeeded.  An answer without deltas comes here in one piece."""
        choice = first(completion)
        pieces = self.delta(whole(choice)) if self._blocks.is_empty else b""
        reason, stop = stop_of(choice)
        end = {
            "delta": {"stop_reason": reason, "stop_sequence": stop},
            "usage": write_usage(completion.usage),
            "orlop": write_facts(completion),
        }
        pieces += b"".join(map(_write_step, self._blocks.close()))
        return pieces + _event("message_delta", end) + _event("message_stop", {})

    def error(self, error: KernelError) -> bytes:
        return sse.write(problem.anthropic_body(error), "error")

    def _begin(self) -> bytes:
        if self._is_begun:
            return b""
        self._is_begun = True
        return _event("message_start", {"message": start_of(self._head)}) + _PING


def _event(name: str, fields: dict[str, object]) -> bytes:
    return sse.write(_encode({"type": name} | fields), name)


def _write_step(step: Step) -> bytes:
    match step:
        case Opened():
            return _event(
                "content_block_start", {"index": step.index, "content_block": _write_start(step)}
            )
        case Closed():
            return _event("content_block_stop", {"index": step.block.index})
        case Grew(text=""):
            return b""
        case Grew():
            return _event(
                "content_block_delta", {"index": step.block.index, "delta": _write_piece(step)}
            )


def _write_start(block: Opened) -> Block:
    match block.kind:
        case "reasoning":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "tool":
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}
    return {"type": "text", "text": ""}


def _write_piece(piece: Grew) -> Block:
    match piece.block.kind:
        case "reasoning":
            return {"type": "thinking_delta", "thinking": piece.text}
        case "tool":
            return {"type": "input_json_delta", "partial_json": piece.text}
    return {"type": "text_delta", "text": piece.text}


class MessageStreamReader:
    """The client's half: bytes in, in any pieces; deltas out, and at the end what they made."""

    def __init__(self, name: str = "the engine") -> None:
        self._name = name
        self._events = sse.Reader()
        self._message: dict[str, object] = {}
        self._content: list[Block] = []
        self._inputs: dict[int, list[str]] = {}
        self._is_done = False

    @property
    def is_done(self) -> bool:
        """`message_stop` has come: nothing follows."""
        return self._is_done

    def feed(self, data: bytes) -> list[Delta]:
        """Raises `DeviceFailed` for what can't be read, or the error that the stream reports."""
        deltas: list[Delta] = []
        try:
            for event in self._events.feed(data):
                if event.name != "ping":
                    deltas.extend(self._take(json_guard.decode(event.data)))
        except BadCall as error:
            raise DeviceFailed(f"{self._name}'s stream can't be read: {error.message}") from error
        return deltas

    def finish(self) -> Generated:
        """The whole answer.  Raises `DeviceFailed` where the stream was cut off."""
        if not self._is_done:
            raise DeviceFailed(f"{self._name}'s stream was cut off before its end")
        for index, pieces in self._inputs.items():
            self._content[index]["input"] = input_of("".join(pieces))
        try:
            return finish_reading(self._message | {"content": self._content})
        except BadCall as error:
            raise DeviceFailed(f"{self._name}'s stream can't be read: {error.message}") from error

    def _take(self, event: dict[str, object]) -> list[Delta]:
        fields = Fields(event)
        match fields.text("type"):
            case "error":
                raise problem.engine_problem(self._name, 0, {}, problem.told_in(event))
            case "message_start":
                self._message = fields.mapping("message") or {}
            case "content_block_start":
                return self._open(fields)
            case "content_block_delta":
                return self._grow(fields)
            case "message_delta":
                self._message |= fields.mapping("delta") or {}
                usage = self._message.get("usage")
                counts = usage if isinstance(usage, dict) else {}
                self._message["usage"] = counts | (fields.mapping("usage") or {})
            case "message_stop":
                self._is_done = True
        return []

    def _open(self, fields: Fields) -> list[Delta]:
        index, block = self._index(fields, len(self._content)), fields.inner("content_block")
        if index != len(self._content):
            fields.refuse("index", f"must be {len(self._content)}: blocks open one after another")
        self._content.append(block.raw)
        if block.raw.get("type") != "tool_use":
            return []
        self._inputs[index] = []
        id, name = (str(block.raw.get(part) or "") for part in ("id", "name"))
        return [Delta(tool_uses=(ToolUseDelta(len(self._inputs) - 1, id, name),))]

    def _grow(self, fields: Fields) -> list[Delta]:
        index = self._index(fields, len(self._content) - 1)
        piece = fields.inner("delta")
        match piece.text("type"):
            case "text_delta":
                return [Delta(text=self._append(index, "text", piece))]
            case "thinking_delta":
                return [Delta(reasoning=self._append(index, "thinking", piece))]
            case "signature_delta":
                self._append(index, "signature", piece)
            case "input_json_delta" if index in self._inputs:
                text = piece.text("partial_json")
                self._inputs[index].append(text)
                number = list(self._inputs).index(index)
                return [Delta(tool_uses=(ToolUseDelta(number, arguments=text),))]
        return []

    def _append(self, index: int, name: str, piece: Fields) -> str:
        text = piece.text(name)
        self._content[index][name] = str(self._content[index].get(name) or "") + text
        return text

    def _index(self, fields: Fields, highest: int) -> int:
        index = fields.integer("index", 0, highest)
        if index is None:
            fields.refuse("index", "is required")
        return index
