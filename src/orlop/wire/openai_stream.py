"""OpenAI's streamed chat completions, both halves, without I/O.

Written: per choice a role chunk first, then pieces as the engine gave them, then its finish chunk;
last a usage chunk where asked for, and `[DONE]`.  A stream that fails ends in an error event and
never in `[DONE]`; a stream read without `[DONE]` was cut off.
"""

from typing import Final

import msgspec

from orlop.abi.errors import BadCall, DeviceFailed, KernelError
from orlop.abi.limits import CHOICES_MAX
from orlop.abi.messages import Message, TokenLogprob, ToolUse
from orlop.abi.replies import Choice, Completion, Delta, Generated, ToolUseDelta
from orlop.wire import json_guard, problem, sse
from orlop.wire.json_fields import Fields, Where
from orlop.wire.openai import CHAT_ID, finish_reading
from orlop.wire.openai_messages import settle
from orlop.wire.openai_terms import (
    ReplyHead,
    read_finish,
    read_logprobs,
    write_facts,
    write_logprobs,
    write_usage,
)
from orlop.wire.token_trace import TokenTrace

DONE: Final = b"data: [DONE]\n\n"
_encode: Final = msgspec.json.Encoder().encode


class ChatStream:
    """The server's half: replies in, bytes of server-sent events out."""

    def __init__(self, head: ReplyHead, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._fields: dict[str, object] = {
            "id": head.id(CHAT_ID),
            "object": "chat.completion.chunk",
            "created": head.created_s,
            "model": head.model,
        }
        if head.tier:
            self._fields["service_tier"] = head.tier
        if include_usage:
            self._fields["usage"] = None
        # Nearly all chunks differ in one string only, so the rest is encoded once.
        self._open = b"data: " + _encode(self._fields)[:-1] + b',"choices":['
        self._begun: set[int] = set()

    def delta(self, delta: Delta) -> bytes:
        first = b"" if delta.choice in self._begun else self._begin(delta.choice)
        wire = _write_delta(delta)
        return first + self._chunk(delta.choice, wire, write_logprobs(delta.logprobs), None)

    def done(self, completion: Completion) -> bytes:
        """The end of a call that succeeded.  A choice without deltas comes here in one piece."""
        chunks = []
        for choice in completion.choices:
            if choice.index not in self._begun:
                chunks.append(self.delta(whole(choice)))
        last = completion.choices[-1:]
        for choice in completion.choices[:-1]:
            chunks.append(self._chunk(choice.index, _write_extra(choice), None, choice.finish))
        chunks.extend(self._last(choice, completion) for choice in last)
        if self._include_usage:
            usage = {**self._fields, "choices": [], "usage": write_usage(completion.usage)}
            chunks.append(sse.write(_encode(usage)))
        chunks.append(DONE)
        return b"".join(chunks)

    def error(self, error: KernelError) -> bytes:
        return sse.write(problem.openai_body(error))

    def _begin(self, choice: int) -> bytes:
        self._begun.add(choice)
        return self._chunk(choice, {"role": "assistant", "content": ""}, None, None)

    def _chunk(
        self, choice: int, delta: dict[str, object], logprobs: object, finish: str | None
    ) -> bytes:
        held = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return b"%s%s]}\n\n" % (self._open, _encode(held))

    def _last(self, choice: Choice, completion: Completion) -> bytes:
        """The last choice's end carries what is said once.

        A chunk of its own would have no choices, and many clients read `choices[0]` unasked.
        """
        wire = {**completion.extra, **self._fields}
        if completion.fingerprint:
            wire["system_fingerprint"] = completion.fingerprint
        end = {"delta": _write_extra(choice), "logprobs": None, "finish_reason": choice.finish}
        wire["choices"] = [{"index": choice.index} | end]
        wire["orlop"] = write_facts(completion)
        return sse.write(_encode(wire))


def whole(choice: Choice) -> Delta:
    """A choice as if its engine had given it in one piece."""
    message = choice.message
    return Delta(
        choice=choice.index,
        text=message.text(),
        reasoning=message.reasoning,
        refusal=message.refusal,
        tool_uses=tuple(
            ToolUseDelta(at, use.id, use.name, use.arguments, use.kind, use.extra)
            for at, use in enumerate(message.tool_uses)
        ),
        logprobs=choice.logprobs,
    )


def _write_extra(choice: Choice) -> dict[str, object]:
    return dict(choice.message.extra)


def _write_delta(delta: Delta) -> dict[str, object]:
    wire: dict[str, object] = {}
    if delta.text:
        wire["content"] = delta.text
    if delta.reasoning:
        wire["reasoning_content"] = delta.reasoning
    if delta.refusal:
        wire["refusal"] = delta.refusal
    if delta.tool_uses:
        wire["tool_calls"] = [_write_tool_delta(use) for use in delta.tool_uses]
    return wire


def _write_tool_delta(use: ToolUseDelta) -> dict[str, object]:
    held = {"arguments" if use.kind == "function" else "input": use.arguments}
    if not use.id and not use.name:
        return {"index": use.index, use.kind: held}
    first = {"index": use.index, "id": use.id, "type": use.kind}
    return {**use.extra, **first, use.kind: {"name": use.name, **held}}


class _Answer:
    """One choice as it grows."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tools: list[ToolUseDelta] = []
        self.arguments: list[list[str]] = []
        self._ids: list[str] = []
        self._places: dict[int | None, int] = {}
        self.logprobs: list[TokenLogprob] = []
        self.extra: dict[str, object] = {}
        self.finish: str | None = None
        self.stop = ""

    def take(self, delta: Delta) -> None:
        self.text.append(delta.text)
        self.reasoning.append(delta.reasoning)
        self.refusal.append(delta.refusal)
        self.logprobs.extend(delta.logprobs)
        for use in delta.tool_uses:
            if use.index == len(self.tools):
                self.tools.append(use)
                self.arguments.append([])
            self.arguments[use.index].append(use.arguments)

    def place(self, index: int | None, name: str) -> tuple[int, bool]:
        """Which tool call a piece belongs to, and whether it is its first piece.

        Engines differ: some count from 1, some leave the index out, some number all calls 0.
        A new id always begins a new call; a piece without index or id goes on with the latest.
        """
        at = self._places.get(index)
        is_first = at is None or (name != "" and name != self._ids[at])
        if at is None or is_first:
            at = len(self._ids)
            self._ids.append(name)
        self._places[index] = self._places[None] = at
        return at, is_first

    def choice(self, index: int) -> Choice:
        message = Message(
            role="assistant",
            content="".join(self.text),
            tool_uses=tuple(
                ToolUse(use.id, use.name, "".join(pieces), use.kind, use.extra)
                for use, pieces in zip(self.tools, self.arguments, strict=True)
            ),
            refusal="".join(self.refusal),
            reasoning="".join(self.reasoning),
            extra=self.extra,
        )
        return Choice(
            message=settle(message),
            finish=read_finish(self.finish or "stop"),
            index=index,
            logprobs=tuple(self.logprobs),
            stop=self.stop,
        )


class ChatStreamReader:
    """The client's half: bytes in, in any pieces; deltas out, and at the end what they made.

    It reads the streams of the old completions too.  trace: told the token ids beside the answer.
    """

    def __init__(self, name: str = "the engine", trace: TokenTrace | None = None) -> None:
        self._name = name
        self._trace = trace
        self._events = sse.Reader()
        self._answers: dict[int, _Answer] = {}
        self._top: dict[str, object] = {}
        self._is_done = False

    @property
    def is_done(self) -> bool:
        """`[DONE]` has come; whatever follows is not part of the answer."""
        return self._is_done

    def feed(self, data: bytes) -> list[Delta]:
        """Raises `DeviceFailed` for what can't be read, or the error that the stream reports."""
        deltas: list[Delta] = []
        try:
            for event in self._events.feed(data):
                if self._is_done or event.data == b"[DONE]":
                    self._is_done = True
                    break
                self._take(json_guard.decode(event.data), deltas)
        except BadCall as error:
            raise DeviceFailed(f"{self._name}'s stream can't be read: {error.message}") from error
        return deltas

    def finish(self) -> Generated:
        """The whole answer.  Raises `DeviceFailed` where the stream was cut off."""
        answers = self._answers
        if not self._is_done or not answers or any(not a.finish for a in answers.values()):
            raise DeviceFailed(f"{self._name}'s stream was cut off before its end")
        choices = tuple(answers[index].choice(index) for index in sorted(answers))
        try:
            return finish_reading(Fields(self._top), choices)
        except BadCall as error:
            raise DeviceFailed(f"{self._name}'s stream can't be read: {error.message}") from error

    def _take(self, chunk: dict[str, object], deltas: list[Delta]) -> None:
        if chunk.get("error"):
            raise problem.engine_problem(self._name, 0, {}, problem.told_in(chunk))
        fields = Fields(chunk)
        if self._trace is not None:
            self._trace.take_prompt(fields.raw.pop("prompt_token_ids", None))
        for at, raw in enumerate(fields.items("choices")):
            self._take_choice(raw, ("choices", at), deltas)
        self._top.update(fields.rest())

    def _take_choice(self, raw: object, where: Where, deltas: list[Delta]) -> None:
        fields = Fields(raw, where)
        index = fields.integer("index", 0, CHOICES_MAX) or 0
        answer = self._answers.get(index)
        if answer is None:
            answer = self._answers[index] = _Answer()
        held = fields.raw.get("delta")
        if held is None and "text" in fields.raw:  # As the old completions have it.
            held = {"content": fields.raw["text"]}
        if held is not None:
            logprobs = read_logprobs(fields.raw.get("logprobs"), (where, "logprobs"))
            delta = _read_delta(index, Fields(held, (where, "delta")), answer, logprobs)
            if delta is not None:
                answer.take(delta)
                deltas.append(delta)
            if self._trace is not None:
                self._trace.take_prompt(fields.raw.get("prompt_token_ids"))
                self._trace.take(fields.raw.get("token_ids"), says=delta is not None)
        if finish := fields.text("finish_reason"):
            answer.finish = finish
            stop = fields.raw.get("stop_reason")
            answer.stop = stop if isinstance(stop, str) else ""


def _read_delta(
    index: int, fields: Fields, answer: _Answer, logprobs: tuple[TokenLogprob, ...]
) -> Delta | None:
    """None where a chunk says nothing (a role, an empty string)."""
    text = fields.text("content")
    fields.raw.pop("role", None)
    reasoning = refusal = ""
    uses: tuple[ToolUseDelta, ...] = ()
    if fields.raw:
        # Two names for one thing: vLLM and OpenRouter say `reasoning`, most others the longer.
        reasoning = fields.text("reasoning_content") or fields.text("reasoning")
        refusal = fields.text("refusal")
        uses = _read_tool_deltas(fields, answer)
        answer.extra.update(fields.rest())
    if not (text or reasoning or refusal or uses or logprobs):
        return None
    return Delta(index, text, reasoning, refusal, uses, logprobs)


def _read_tool_deltas(fields: Fields, answer: _Answer) -> tuple[ToolUseDelta, ...]:
    inside = (fields.where, "tool_calls")
    return tuple(
        _read_tool_delta(Fields(raw, (inside, at)), answer)
        for at, raw in enumerate(fields.items("tool_calls"))
    )


def _read_tool_delta(fields: Fields, answer: _Answer) -> ToolUseDelta:
    use = fields.text("type") or ("custom" if "custom" in fields.raw else "function")
    held = fields.inner(use) if use in fields.raw else Fields({})
    name = fields.text("id")
    index, is_first = answer.place(fields.integer("index"), name)
    return ToolUseDelta(
        index=index,
        id=(name or f"call_{index}") if is_first else "",
        name=held.text("name") if is_first else "",
        arguments=held.text("arguments" if use == "function" else "input"),
        kind=use,
        extra=fields.rest() if is_first else {},
    )
