"""Whose context lies in which slot of a llama.cpp server.

A slot keeps the context of its last call, so a program is best served where it was last.
Invariants: 1. a slot that a call holds is not given to another; 2. a program's context is in one
slot at most.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class SlotTable:
    """`slots` places, numbered from 0."""

    def __init__(self, slots: int) -> None:
        self._owner: list[str] = [""] * slots
        self._is_held = [False] * slots
        self._order = list(range(slots))
        """Least lately used first."""

    def of(self, program: str) -> int | None:
        """Where its context lies, unless a call holds it."""
        if program and program in self._owner:
            slot = self._owner.index(program)
            return None if self._is_held[slot] else slot
        return None

    @contextmanager
    def held(self, program: str) -> Iterator[tuple[int | None, bool]]:
        """A slot for a call, and whether its context is there; None: all are taken."""
        slot = self._choose(program)
        if slot is None:
            yield None, False
            return
        is_there = bool(program) and self._owner[slot] == program
        if program in self._owner:
            self._owner[self._owner.index(program)] = ""
        self._owner[slot] = program
        self._is_held[slot] = True
        self._order.remove(slot)
        self._order.append(slot)
        try:
            yield slot, is_there
        finally:
            self._is_held[slot] = False

    def empty(self, program: str) -> None:
        """Its context lies nowhere any more."""
        if program in self._owner:
            self._owner[self._owner.index(program)] = ""

    def _choose(self, program: str) -> int | None:
        """Its own; else one that is nobody's; else the least lately used."""
        own = self.of(program)
        if own is not None:
            return own
        free = [slot for slot in self._order if not self._is_held[slot]]
        return min(free, key=lambda slot: bool(self._owner[slot]), default=None)
