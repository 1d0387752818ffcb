"""OpenAI's streamed responses, without I/O: the server's half (no engine is spoken to in it).

Written: `response.created` and `.in_progress`, then each output item from added to done with its
parts and deltas, and `response.completed` or `.incomplete`.  A stream that fails ends in
`response.failed` and an `error` event, which clients raise.
"""

from typing import Final

import msgspec

from orlop.abi.calls import Infer
from orlop.abi.errors import KernelError
from orlop.abi.messages import ToolUse
from orlop.abi.replies import Completion, Delta
from orlop.wire import problem, sse
from orlop.wire.blocks import Blocks, Closed, Grew, Opened, Step
from orlop.wire.openai_stream import whole
from orlop.wire.openai_terms import ReplyHead
from orlop.wire.responses import begun, failed, finished
from orlop.wire.responses_parts import (
    Item,
    call_item,
    message_item,
    reasoning_item,
    refusal_part,
    status_of,
    text_part,
    write_logprob,
)

_encode: Final = msgspec.json.Encoder().encode
_DELTAS: Final = {
    "text": "response.output_text",
    "refusal": "response.refusal",
    "reasoning": "response.reasoning_text",
    "tool": "response.function_call_arguments",
}
_FIELDS: Final = {"text": "text", "refusal": "refusal", "reasoning": "text", "tool": "arguments"}
_PREFIXES: Final = {"text": "msg_", "refusal": "ref_", "reasoning": "rs_", "tool": "fc_"}


class ResponseStream:
    """Replies in, bytes of server-sent events out."""

    def __init__(self, call: Infer, head: ReplyHead) -> None:
        self._call = call
        self._head = head
        self._blocks = Blocks()
        self._output: list[Item] = []
        self._has_answer = False
        self._sequence = 0

    def delta(self, delta: Delta) -> bytes:
        return self._begin() + self._steps(self._blocks.add(delta), "completed")

    def done(self, completion: Completion) -> bytes:
        """The end of a call that succeeded.  An answer without deltas comes here in one piece."""
        choice = completion.choices[0] if completion.choices else None
        pieces = self._begin()
        if choice is not None and self._blocks.is_empty:
            pieces += self.delta(whole(choice))
        status = status_of(choice.finish) if choice is not None else "completed"
        pieces += self._steps(self._blocks.close(), status)
        if not self._has_answer:
            pieces += self._steps(self._blocks.add_silence(), status)
            pieces += self._steps(self._blocks.close(), status)
        response = finished(self._call, completion, self._head, self._output)
        return pieces + self._event(f"response.{response['status']}", {"response": response})

    def error(self, error: KernelError) -> bytes:
        response = failed(self._call, error, self._head, self._output)
        pieces = self._begin() + self._event("response.failed", {"response": response})
        told = msgspec.json.decode(problem.openai_body(error), type=dict[str, Item])["error"]
        return pieces + self._event("error", {**told, "error": told, "type": "error"})

    def _begin(self) -> bytes:
        if self._sequence:
            return b""
        response = begun(self._call, self._head)
        return b"".join(
            self._event(name, {"response": response})
            for name in ("response.created", "response.in_progress")
        )

    def _event(self, name: str, fields: Item) -> bytes:
        event = {"type": name, "sequence_number": self._sequence} | fields
        self._sequence += 1
        return sse.write(_encode(event), name)

    def _steps(self, steps: list[Step], status: str) -> bytes:
        """status: of the items that close now."""
        return b"".join(self._step(step, status) for step in steps)

    def _step(self, step: Step, status: str) -> bytes:
        match step:
            case Opened():
                return self._open(step)
            case Grew():
                delta: Item = {"delta": step.text} | _logprobs(step)
                return self._event(
                    f"{_DELTAS[step.block.kind]}.delta", self._at(step.block) | delta
                )
            case Closed():
                return self._close(step, status)

    def _open(self, block: Opened) -> bytes:
        self._has_answer = self._has_answer or block.kind != "reasoning"
        item = self._item(Closed(block, ""), "in_progress")
        item |= {} if block.kind == "tool" else {"content": []}
        added: Item = {"output_index": block.index, "item": item}
        pieces = self._event("response.output_item.added", added)
        if block.kind != "tool":
            part: Item = {"part": _part(Closed(block, ""))}
            pieces += self._event("response.content_part.added", self._at(block) | part)
        return pieces

    def _close(self, step: Closed, status: str) -> bytes:
        block, at = step.block, self._at(step.block)
        said: Item = {_FIELDS[block.kind]: step.text} | _logprobs(step)
        if block.kind == "tool":
            said["name"] = block.name
        pieces = self._event(f"{_DELTAS[block.kind]}.done", at | said)
        if block.kind != "tool":
            pieces += self._event("response.content_part.done", at | {"part": _part(step)})
        item = self._item(step, status)
        self._output.append(item)
        done: Item = {"output_index": block.index, "item": item}
        return pieces + self._event("response.output_item.done", done)

    def _at(self, block: Opened) -> Item:
        at: Item = {"item_id": self._id(block), "output_index": block.index}
        return at if block.kind == "tool" else at | {"content_index": 0}

    def _id(self, block: Opened) -> str:
        """As in a response that is not streamed, where each kind but tools occurs once."""
        named = block.kind == "tool" or block.number > 0
        return self._head.id(_PREFIXES[block.kind]) + (f"_{block.number}" if named else "")

    def _item(self, step: Closed, status: str) -> Item:
        id = self._id(step.block)
        match step.block.kind:
            case "reasoning":
                return reasoning_item(id, step.text)
            case "tool":
                return call_item(id, status, ToolUse(step.block.id, step.block.name, step.text))
        return message_item(id, status, [_part(step)])


def _part(step: Closed) -> Item:
    match step.block.kind:
        case "reasoning":
            return {"type": "reasoning_text", "text": step.text}
        case "refusal":
            return refusal_part(step.text)
    return text_part(step.text, step.logprobs)


def _logprobs(step: Grew | Closed) -> Item:
    if step.block.kind != "text":
        return {}
    return {"logprobs": [write_logprob(entry) for entry in step.logprobs]}
