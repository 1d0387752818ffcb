"""The same drafts once more, straight to the engine and through the kernel: what the kernel adds.

Rounds alternate, since other load on the machine comes and goes.  Each asks its drafts at once, as
the agents do, with a mark of its own at the beginning, so that none finds another's work
in the engine's cache.
"""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from openai import OpenAI

import desk

Address = tuple[str, str]
"""The base URL for OpenAI's client, and a key."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way's figures, over all of its rounds."""

    drafts: int
    seconds: float
    """From the first question to the last answer of each round."""
    draft_s_p50: float
    tokens: int
    """That the model made."""

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class _Round:
    seconds: float
    drafts_s: tuple[float, ...]
    tokens: int


def compare(straight: Address, through: Address, model: str, prompts: list[str]) -> tuple[Way, Way]:
    """Each half of `prompts` both ways, in the order straight, through, through, straight."""
    half = len(prompts) // 2
    first, second = prompts[:half], prompts[half:]
    plan = [(straight, first), (through, first), (through, second), (straight, second)]
    rounds = [_round(where, model, some, f"Copy {n}") for n, (where, some) in enumerate(plan)]
    return _way(rounds[0], rounds[3]), _way(rounds[1], rounds[2])


def _way(*rounds: _Round) -> Way:
    drafts_s = [seconds for one in rounds for seconds in one.drafts_s]
    return Way(
        len(drafts_s),
        sum(one.seconds for one in rounds),
        statistics.median(drafts_s),
        sum(one.tokens for one in rounds),
    )


def _round(address: Address, model: str, prompts: Sequence[str], mark: str) -> _Round:
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
    return _Round(seconds, tuple(s for s, _ in drafts), sum(tokens for _, tokens in drafts))
