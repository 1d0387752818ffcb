"""The same drafts once more, straight to the engine and through the kernel: what the kernel adds.

Each pass asks all drafts at once, as the agents do, with a mark of its own at the beginning of each
prompt, so that neither pass finds the other's work in the engine's cache.
"""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from openai import OpenAI

import desk


@dataclass(frozen=True, slots=True)
class Pass:
    """One way's figures."""

    drafts: int
    seconds: float
    """From the first question to the last answer."""
    draft_s_p50: float
    tokens: int
    """That the model made."""

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds


def measure(address: tuple[str, str], model: str, prompts: Sequence[str], mark: str) -> Pass:
    """All of `prompts` at once."""
    url, key = address
    client = OpenAI(base_url=url, api_key=key, max_retries=0)

    def one(prompt: str) -> tuple[float, int]:
        began_s = time.monotonic()
        answer = client.chat.completions.create(
            model=model,
            messages=[
                {"role": "system", "content": f"{mark}. {desk.SYSTEM}"},
                {"role": "user", "content": prompt},
            ],
            max_tokens=desk.REPLY_TOKENS,
            temperature=0.0,
        )
        tokens = answer.usage.completion_tokens if answer.usage else 0
        return time.monotonic() - began_s, tokens

    began_s = time.monotonic()
    with ThreadPoolExecutor(len(prompts)) as threads:
        drafts = list(threads.map(one, prompts))
    seconds = time.monotonic() - began_s
    return Pass(
        len(drafts), seconds, statistics.median(s for s, _ in drafts), sum(t for _, t in drafts)
    )
