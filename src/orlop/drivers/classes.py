"""Classifiers as models that are asked with `infer`: the text of the last user message goes in, the
likeliest label comes out, and with `logprobs` the others beside it.
"""

import math
from collections.abc import Mapping
from typing import Final

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.hints import Usage
from orlop.abi.ids import ModelName
from orlop.abi.limits import LOGPROBS_TOP_MAX
from orlop.abi.messages import Message, Text, TokenLogprob
from orlop.abi.replies import Choice, Generated

_TINY: Final = 1e-12


def text_to_classify(call: Infer) -> str:
    """Raises `DeviceRefused` for what a classifier would ignore in silence."""
    if call.tools or call.response_format is not None or call.sampling.n != 1:
        raise DeviceRefused(
            "a classifier has neither tools nor formats nor several choices: leave them out"
        )
    if isinstance(call.prompt, str):
        return call.prompt
    users = [message for message in call.messages if message.role == "user"]
    if not users or call.prompt is not None:
        raise DeviceRefused("a classifier reads the last user message or a text prompt; give one")
    content = users[-1].content
    if isinstance(content, tuple) and not all(isinstance(part, Text) for part in content):
        raise DeviceRefused("a classifier reads text only")
    return users[-1].text()


def answer_of(
    call: Infer, model: ModelName, scores: Mapping[str, float], tokens: int = 0
) -> Generated:
    """scores: of each label, 0 to 1.  Raises `DeviceFailed` where they can't be."""
    if not scores or not all(0 <= score <= 1 for score in scores.values()):
        raise DeviceFailed(f"{model} gave no label, or scores that are none: {dict(scores)!r:.200}")
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    entries = tuple(TokenLogprob(label, math.log(max(score, _TINY))) for label, score in ranked)
    top = entries[: min(call.sampling.top_logprobs or 0, LOGPROBS_TOP_MAX)]
    best = TokenLogprob(entries[0].token, entries[0].logprob, top=top)
    choice = Choice(
        message=Message("assistant", best.token),
        logprobs=(best,) if call.sampling.logprobs else (),
    )
    usage = Usage(input_tokens=tokens, output_tokens=1)
    return Generated(choices=(choice,), usage=usage, model=model)
