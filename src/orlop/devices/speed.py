"""How long an engine takes: the arithmetic that the scheduler and the engine model share.

Continuous batching has two costs: a decode step, which serves every running call one token, and
the prefill of tokens whose KV is not there yet.  Both are close to linear (Vidur, Agrawal et al.,
MLSys 2024; the fits of NVIDIA's aiconfigurator have 1-7 % error on dense models).
"""

from dataclasses import dataclass
from typing import Final, Protocol


class Speed(Protocol):
    """Seconds an engine takes.  All token counts >= 0, batch > 0."""

    def decode_s(self, batch: int, context_tokens: int) -> float:
        """One step for `batch` calls whose contexts have `context_tokens` together."""
        ...

    def prefill_s(self, new: int, prefix: int) -> float:
        """Computing `new` tokens after `prefix` tokens whose KV is there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """decode = a + b * batch + c * context, prefill = a + b * new + c * new * (prefix + new / 2).

    Of a prefill the third term is attention: each new token looks at all before it.
    """

    decode_a_s: float
    decode_b_s: float = 0.0
    decode_c_s: float = 0.0
    prefill_a_s: float = 0.0
    prefill_b_s: float
    prefill_c_s: float = 0.0

    def decode_s(self, batch: int, context_tokens: int) -> float:
        return self.decode_a_s + self.decode_b_s * batch + self.decode_c_s * context_tokens

    def prefill_s(self, new: int, prefix: int) -> float:
        if new <= 0:
            return 0.0
        seen = prefix + new / 2
        return self.prefill_a_s + self.prefill_b_s * new + self.prefill_c_s * new * seen


GUESS: Final = Linear(decode_a_s=0.02, decode_b_s=0.0005, prefill_a_s=0.01, prefill_b_s=0.0005)
"""Of an engine that nobody has measured: right in order of magnitude, corrected by observation."""
