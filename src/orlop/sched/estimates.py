"""How many tokens a call will take, learned for each model from what calls have taken."""

from collections import OrderedDict
from typing import Final

from orlop.abi.limits import MODELS_ESTIMATED_MAX
from orlop.sched.work import Used

BYTES_PER_TOKEN: Final = 4.0
"""Of English text under most tokenizers, until a model has shown its own."""

OUTPUT_TOKENS: Final = 256.0
"""Of an answer, until a model has shown its own; coding agents' median is 216."""

BYTES_PER_TOKEN_MIN: Final = 0.25
BYTES_PER_TOKEN_MAX: Final = 64.0
"""What one call shows beyond that is taken to be wrongly counted."""

LEARN: Final = 1 / 16
"""Of each observation, in a smoothed number."""


class Estimate:
    """Of one model."""

    __slots__ = ("bytes_per_token", "output_tokens", "seen")

    def __init__(self) -> None:
        self.bytes_per_token = BYTES_PER_TOKEN
        self.output_tokens = OUTPUT_TOKENS
        self.seen = 0
        """Answers that it was learned from."""


class Estimates:
    """By model; the least recently used are lost."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, Estimate] = OrderedDict()

    def of(self, model: str) -> Estimate:
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = Estimate()
            if len(self._models) > MODELS_ESTIMATED_MAX:
                self._models.popitem(last=False)
        return found

    def tokens(
        self, model: str, size: int, output_max: int | None, output_told: int | None = None
    ) -> tuple[int, int]:
        """Expected of the input and of the output.

        size: bytes of the input.  output_told: the caller's own word.
        """
        estimate = self.of(model)
        output = output_told or int(estimate.output_tokens)
        if output_max is not None:
            output = min(output, output_max)
        return max(1, int(size / estimate.bytes_per_token)), max(1, output)

    def learn(self, model: str, size: int, used: Used) -> None:
        if used.input_tokens <= 0:
            return
        estimate = self.of(model)
        shown = size / used.input_tokens
        seen = min(BYTES_PER_TOKEN_MAX, max(BYTES_PER_TOKEN_MIN, shown))
        # What was guessed at first is forgotten with the first answer.
        estimate.seen += 1
        rate = max(LEARN, 1 / estimate.seen)
        estimate.bytes_per_token += (seen - estimate.bytes_per_token) * rate
        estimate.output_tokens += (used.output_tokens - estimate.output_tokens) * rate
