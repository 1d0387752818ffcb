"""What the fake engine says: arithmetic on the call's content, so that the same call gets the same.

A mark in the last user message asks for something else: `[[tool NAME {"json": 1}]]` has a tool
called, `[[say TEXT]]` has just that said.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Final

from orlop.abi.calls import Infer
from orlop.abi.messages import Message, TokenLogprob, ToolUse
from orlop.abi.replies import Choice, Delta, FinishReason, ToolUseDelta

_LETTER: Final = (
    "the order was sent and will come on its way to you soon we are sorry for this delay "
    "please write again if it has not come by then thank you and all our best wishes"
)
_WORDS: Final = tuple(re.findall(r"\w+", _LETTER))
_MARK: Final = re.compile(r"\[\[(tool|say)\s+(.*?)\]\]", re.DOTALL)
_CHARS_PER_TOKEN: Final = 4


def content_of(call: Infer) -> tuple[int, int]:
    """A number for the call's content (32 bits), and the tokens of its input."""
    code = zlib.crc32(call.model.encode())
    chars = 0
    for text in _texts(call):
        chars += len(text)
        code = zlib.crc32(text.encode(), code)
    if call.sampling.seed is not None:
        code ^= call.sampling.seed & 0xFFFFFFFF
    return code, tokens_in(chars)


def tokens_in(chars: int) -> int:
    return chars // _CHARS_PER_TOKEN + 1


def words_in(choice: Choice) -> int:
    """Output tokens; a tool call counts as two."""
    return choice.message.text().count(" ") + 1 + len(choice.message.tool_uses)


def answer(call: Infer, content: int, index: int, tokens: int) -> Choice:
    """Choice number `index`.  tokens: words of an answer, unless the call allows fewer."""
    mark = _MARK.search(_last_words(call))
    if mark is not None and mark[1] == "tool":
        name, _, arguments = mark[2].partition(" ")
        use = ToolUse(f"call_{content:08x}_{index}", name, arguments.strip() or "{}")
        message = Message(role="assistant", tool_uses=(use,))
        return Choice(message=message, finish="tool_calls", index=index)
    words = mark[2].split() if mark is not None else _walk(content + index, tokens)
    finish: FinishReason = "stop"
    if call.output_tokens_max is not None and len(words) > call.output_tokens_max:
        words, finish = words[: call.output_tokens_max], "length"
    return Choice(
        message=Message(role="assistant", content=" ".join(words)),
        finish=finish,
        index=index,
        logprobs=_logprobs(words, call.sampling.top_logprobs) if call.sampling.logprobs else (),
    )


def deltas_of(choice: Choice, step: int) -> list[Delta]:
    """`step` words at a time; a tool call in two pieces, as engines give them."""
    message = choice.message
    if message.tool_uses:
        use = message.tool_uses[0]
        return [
            Delta(choice.index, tool_uses=(ToolUseDelta(0, use.id, use.name),)),
            Delta(choice.index, tool_uses=(ToolUseDelta(0, arguments=use.arguments),)),
        ]
    words = _tokens_of(message.text().split(" "))
    return [
        Delta(
            choice.index,
            "".join(words[at : at + step]),
            logprobs=choice.logprobs[at : at + step],
        )
        for at in range(0, len(words), step)
    ]


def hashed_vector(text: str, dimensions: int) -> tuple[float, ...]:
    """Unit length; texts that share words point the same way (feature hashing)."""
    sums = [0.0] * dimensions
    for word in text.lower().split():
        code = zlib.crc32(word.encode())
        sums[code % dimensions] += 1.0 if code & 0x10000 else -1.0
    length = sum(value * value for value in sums) ** 0.5
    if not length:
        return (1.0, *([0.0] * (dimensions - 1)))
    return tuple(value / length for value in sums)


def _texts(call: Infer) -> list[str]:
    texts = [message.text() for message in call.messages]
    if call.prompt is not None:
        texts.append(call.prompt if isinstance(call.prompt, str) else repr(call.prompt))
    return texts


def _last_words(call: Infer) -> str:
    """The last message, if it is the user's: after a tool has answered no mark counts."""
    if not call.messages:
        return call.prompt if isinstance(call.prompt, str) else ""
    last = call.messages[-1]
    return last.text() if last.role == "user" else ""


def _walk(seed: int, length: int) -> list[str]:
    """A linear congruential walk (the constants of Numerical Recipes) over a few words."""
    words = []
    for _ in range(length):
        seed = (seed * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
        words.append(_WORDS[(seed >> 16) % len(_WORDS)])
    return words


def _tokens_of(words: Sequence[str]) -> list[str]:
    return [word if at == 0 else f" {word}" for at, word in enumerate(words)]


def _logprobs(words: Sequence[str], top: int | None) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            token=token,
            logprob=-0.5,
            bytes=tuple(token.encode()),
            top=tuple(TokenLogprob(f"{token}{rank}", -0.5 - rank) for rank in range(top or 0)),
        )
        for token in _tokens_of(words)
    )
