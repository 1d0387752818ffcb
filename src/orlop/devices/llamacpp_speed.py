"""How fast a host is, learned from what it says of each call.

Least squares over a sliding past (recursive, with forgetting), three terms each: what a decode step
costs (itself, its calls, their contexts), and a prefill (itself, its tokens, what they look at).
"""

from typing import Final

from orlop.devices.speed import GUESS, Linear

_FORGET: Final = 0.98
"""Of the weight that an observation has when the next comes: about the last 50 count."""

_TRUST: Final = 1e-3
"""How firmly the first estimate is held, as the weight of one observation."""

Three = tuple[float, float, float]
Six = tuple[float, float, float, float, float, float]


class Fit:
    """y = k0 * x0 + k1 * x1 + k2 * x2, all k >= 0.

    scale: the usual size of each x, so that the terms are comparable.  first: k to begin with.
    """

    def __init__(self, scale: Three, first: Three) -> None:
        self._scale = scale
        self._first = [first[at] * scale[at] for at in range(3)]
        self._matrix = [
            [_TRUST if row == column else 0.0 for column in range(3)] for row in range(3)
        ]
        self._right = [_TRUST * value for value in self._first]
        self.seen = 0

    def observe(self, terms: Three, value: float) -> None:
        x = [terms[at] / self._scale[at] for at in range(3)]
        for row in range(3):
            for column in range(3):
                kept = _FORGET * self._matrix[row][column]
                hold = (1 - _FORGET) * _TRUST if row == column else 0.0
                self._matrix[row][column] = kept + hold + x[row] * x[column]
            hold = (1 - _FORGET) * _TRUST * self._first[row]
            self._right[row] = _FORGET * self._right[row] + hold + x[row] * value
        self.seen += 1

    def terms(self) -> Three:
        """The k; a negative one is no cost, so it is left out and the others are solved anew."""
        free = [0, 1, 2]
        while True:
            found = _solve(
                [[self._matrix[row][column] for column in free] for row in free],
                [self._right[row] for row in free],
            )
            negative = [at for at, value in zip(free, found, strict=True) if value < 0]
            if not negative:
                break
            free = [at for at in free if at not in negative]
        whole = [0.0, 0.0, 0.0]
        for at, value in zip(free, found, strict=True):
            whole[at] = value / self._scale[at]
        return whole[0], whole[1], whole[2]


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gauss elimination; the matrix is positive definite, since each term is held a little."""
    size = len(right)
    rows = [[*matrix[at], right[at]] for at in range(size)]
    for at in range(size):
        best = max(range(at, size), key=lambda row: abs(rows[row][at]))
        rows[at], rows[best] = rows[best], rows[at]
        for below in range(at + 1, size):
            factor = rows[below][at] / rows[at][at]
            rows[below] = [low - factor * up for low, up in zip(rows[below], rows[at], strict=True)]
    found = [0.0] * size
    for at in reversed(range(size)):
        known = sum(rows[at][right_of] * found[right_of] for right_of in range(at + 1, size))
        found[at] = (rows[at][size] - known) / rows[at][at]
    return found


class Learned:
    """The speed of one host; `speed` is its model as of now."""

    def __init__(self, first: Linear = GUESS) -> None:
        known = terms(first)
        self._decode = Fit((1.0, 4.0, 4000.0), known[:3])
        self._prefill = Fit((1.0, 500.0, 500_000.0), known[3:])
        self.speed = first

    def prefilled(self, new: int, prefix: int, seconds: float) -> None:
        """A prompt that had the host to itself."""
        if new > 0 and seconds > 0:
            self._prefill.observe((1.0, float(new), new * (prefix + new / 2)), seconds)
            self._renew()

    def decoded(self, steps: int, batch: float, context_tokens: float, seconds: float) -> None:
        """`steps` tokens of one call, beside others: `batch` calls with so many tokens together."""
        if steps > 0 and seconds > 0:
            self._decode.observe((1.0, batch, context_tokens), seconds / steps)
            self._renew()

    def _renew(self) -> None:
        self.speed = linear((*self._decode.terms(), *self._prefill.terms()))


def terms(speed: Linear) -> Six:
    """Decode's three, then prefill's."""
    return (
        speed.decode_a_s,
        speed.decode_b_s,
        speed.decode_c_s,
        speed.prefill_a_s,
        speed.prefill_b_s,
        speed.prefill_c_s,
    )


def linear(six: Six) -> Linear:
    """What `terms` took apart."""
    return Linear(
        decode_a_s=six[0],
        decode_b_s=six[1],
        decode_c_s=six[2],
        prefill_a_s=six[3],
        prefill_b_s=six[4],
        prefill_c_s=six[5],
    )
