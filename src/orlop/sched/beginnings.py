"""Beginnings that programs share, as an engine's budget counts them: each once.

A shared beginning (a system prompt, a list of tools) is in use while a call of any context that has
it runs; it is retained, and fades, from when the last of them went to rest; and it counts for
nothing once none of them has its place any more.

Invariant: `in_use` is the sum of those with users, `retained(now_s)` of those that rest, faded.
"""

from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Beginning:
    """`users`: contexts with a running call; `resting`: those that are away and wait."""

    head: int
    tokens: int
    users: int = 0
    resting: int = 0
    since_s: float = 0.0
    """When the last user went to rest."""


class Beginnings:
    def __init__(self, fade_s: float) -> None:
        self._fade_s = fade_s
        self._known: dict[int, Beginning] = {}

    def counted(self, head: int, now_s: float) -> float:
        """What of it is counted already."""
        one = self._known.get(head)
        if one is None:
            return 0.0
        return float(one.tokens) if one.users else one.tokens * self._faded(one, now_s)

    def use(self, head: int, tokens: int, now_s: float) -> tuple[Beginning, int, float]:
        """One user more; by how much that changes what is in use, and what is retained."""
        one = self._known.get(head)
        if one is None:
            one = self._known[head] = Beginning(head, tokens)
        one.users += 1
        if one.users > 1:
            return one, 0, 0.0
        back = one.tokens * self._faded(one, now_s) if one.resting else 0.0
        return one, one.tokens, -back

    def leave(self, one: Beginning, now_s: float, *, rests: bool) -> tuple[int, float]:
        """One user less, who rests or has gone; by how much that changes the two."""
        one.users -= 1
        one.resting += rests
        if one.users:
            return 0, 0.0
        if one.resting:
            one.since_s = now_s
            return -one.tokens, float(one.tokens)
        self._known.pop(one.head, None)
        return -one.tokens, 0.0

    def pause(self, one: Beginning, now_s: float) -> float:
        """One that rested has lost its place; by how much that changes what is retained."""
        one.resting -= 1
        if one.resting or one.users:
            return 0.0
        self._known.pop(one.head, None)
        return -one.tokens * self._faded(one, now_s)

    def totals(self, now_s: float) -> tuple[int, float]:
        """In use, and retained; for `check`."""
        known = self._known.values()
        used = sum(one.tokens for one in known if one.users)
        rest = sum(one.tokens * self._faded(one, now_s) for one in known if not one.users)
        return used, rest

    def _faded(self, one: Beginning, now_s: float) -> float:
        faded: float = 0.5 ** ((now_s - one.since_s) / self._fade_s)
        return faded
