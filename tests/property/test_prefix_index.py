"""The radix tree says what a plain list of sequences would say."""

from collections import OrderedDict

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orlop.devices.prefix import PrefixIndex

TOKENS_MAX = 24
NAMES = st.sampled_from("abcdef")
SEQUENCES = st.lists(st.integers(0, 2), max_size=10)


def shared(one: list[int], other: list[int]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


class PrefixMachine(RuleBasedStateMachine):
    """The model: each context's tokens as a list, the one not used for longest first."""

    def __init__(self) -> None:
        super().__init__()
        self.index: PrefixIndex[str, int] = PrefixIndex(TOKENS_MAX)
        self.plain: OrderedDict[str, list[int]] = OrderedDict()

    def distinct(self) -> int:
        """Tokens without the shared ones: the number of different non-empty beginnings."""
        held = self.plain.values()
        return len({tuple(tokens[:end]) for tokens in held for end in range(1, len(tokens) + 1)})

    @rule(name=NAMES, tokens=SEQUENCES)
    def put(self, name: str, tokens: list[int]) -> None:
        self.index.put(name, tokens)
        self.plain.pop(name, None)
        if len(tokens) > TOKENS_MAX:
            return  # It would displace all others, and not be whole itself.
        self.plain[name] = tokens
        while self.distinct() > TOKENS_MAX:
            self.plain.popitem(last=False)

    @rule(name=NAMES, more=SEQUENCES)
    def grow(self, name: str, more: list[int]) -> None:
        """What an agent does: its context, and then some."""
        if name in self.plain:
            self.put(name, self.plain[name] + more)

    @rule(parent=NAMES, child=NAMES)
    def fork(self, parent: str, child: str) -> None:
        if parent not in self.plain:
            with pytest.raises(KeyError):
                self.index.fork(parent, child)
            return
        size = self.index.size
        self.index.fork(parent, child)
        assert self.index.size <= size, "a fork takes no room"
        if child != parent:
            self.plain.pop(child, None)
            self.plain[child] = self.plain[parent]

    @rule(name=NAMES)
    def drop(self, name: str) -> None:
        self.index.drop(name)
        self.plain.pop(name, None)

    @rule(name=NAMES)
    def touch(self, name: str) -> None:
        self.index.touch(name)
        if name in self.plain:
            self.plain.move_to_end(name)

    @rule(tokens=SEQUENCES)
    def look_up(self, tokens: list[int]) -> None:
        best = max((shared(held, tokens) for held in self.plain.values()), default=0)
        length, key = self.index.longest(tokens)
        assert length == best
        assert (key is None) == (best == 0)
        if key is not None:
            assert shared(self.plain[key], tokens) == best

    @invariant()
    def holds_the_same(self) -> None:
        self.index.check()
        assert list(self.index) == list(self.plain)
        assert self.index.size == self.distinct()
        for tokens in self.plain.values():
            assert self.index.longest(tokens)[0] == len(tokens)


TestPrefixIndex = PrefixMachine.TestCase


def test_a_sequence_that_is_too_long_is_not_held_and_displaces_nobody() -> None:
    index: PrefixIndex[str, int] = PrefixIndex(4)
    index.put("short", [1, 2])
    index.put("long", range(5))
    assert list(index) == ["short"]
