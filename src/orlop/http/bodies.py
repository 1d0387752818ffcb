"""How much of all bodies together may lie in RAM: each is bounded, and there may be thousands.

Invariant: `held` is the sum of what was taken and not given back; an exchange gives all back when
it ends, however it ends.
"""

from orlop.abi.errors import Exhausted


class Bodies:
    """limit: in bytes.  One body alone is never refused, so that a small limit bars nobody."""

    def __init__(self, limit: int) -> None:
        self.held = 0
        self._limit = limit

    def take(self, size: int, own: int) -> None:
        """Room for `size` bytes more of a body that has `own` already.  Raises `Exhausted`."""
        others = self.held - own
        if others and self.held + size > self._limit:
            raise Exhausted(
                f"other calls' bodies take {others} of {self._limit} bytes (http.bodies_bytes)",
                retry_after_s=1.0,
            )
        self.held += size

    def give_back(self, size: int) -> None:
        self.held -= size
