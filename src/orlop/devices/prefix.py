"""Which token sequences lie on an engine, as one radix tree: who shares the longest beginning?

A context is a name and a path in the tree; contexts that begin alike share its nodes, so a fork
costs one node and no tokens.  Tokens are anything hashable: token ids, or digests of messages.

Invariants (`check`): 1. a node other than the root holds tokens, and children begin differently;
2. each node without children is some context's end, and one with a single child is one too, or the
root; 3. `size` is the number of tokens in all nodes, and at most `tokens_max` between calls.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")


class _Node(Generic[K, T]):
    """An edge and what hangs on it."""

    __slots__ = ("children", "keys", "parent", "tokens")

    def __init__(self, tokens: tuple[T, ...], parent: "_Node[K, T] | None") -> None:
        self.tokens = tokens
        self.parent = parent
        self.children: dict[T, _Node[K, T]] = {}
        self.keys: dict[K, None] = {}
        """The contexts that end here, the newest last."""


class PrefixIndex(Generic[K, T]):
    """`tokens_max`: over it, the contexts not used for longest are forgotten."""

    def __init__(self, tokens_max: int) -> None:
        self._tokens_max = tokens_max
        self._root: _Node[K, T] = _Node((), None)
        self._ends: OrderedDict[K, _Node[K, T]] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """Tokens held, each shared one once."""
        return self._size

    def __len__(self) -> int:
        return len(self._ends)

    def __contains__(self, key: K) -> bool:
        return key in self._ends

    def __iter__(self) -> Iterator[K]:
        """From the one not used for longest."""
        return iter(tuple(self._ends))

    def put(self, key: K, tokens: Sequence[T]) -> None:
        """`key` is this sequence from now on; one too long to be held is not held at all."""
        self.drop(key)
        if len(tokens) > self._tokens_max:
            return
        self._end(key, self._grow(tuple(tokens)))
        while self._size > self._tokens_max:
            self.drop(next(iter(self._ends)))

    def fork(self, parent: K, child: K) -> None:
        """`child` is what `parent` is, by reference.  Raises `KeyError` for an unknown parent."""
        node = self._ends[parent]
        if child != parent:
            self.drop(child)
            self._end(child, node)

    def touch(self, key: K) -> None:
        """`key` is in use."""
        if key in self._ends:
            self._ends.move_to_end(key)

    def drop(self, key: K) -> None:
        """Forget it; what no other context shares goes."""
        node = self._ends.pop(key, None)
        if node is not None:
            del node.keys[key]
            self._prune(node)

    def longest(self, tokens: Sequence[T]) -> tuple[int, K | None]:
        """How many leading tokens some context shares, and one that does; (0, None) if none."""
        wanted = tuple(tokens)
        node, shared = self._root, 0
        while shared < len(wanted):
            child = node.children.get(wanted[shared])
            if child is None:
                break
            more = _common(child.tokens, wanted, shared)
            node, shared = child, shared + more
            if more < len(child.tokens):
                break
        return (shared, _some_key(node)) if shared else (0, None)

    def check(self) -> None:
        """The invariants; for tests."""
        size, ends = 0, 0
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            size += len(node.tokens)
            ends += len(node.keys)
            is_root = node is self._root
            assert is_root or node.tokens, "an empty node"
            assert is_root or node.keys or len(node.children) > 1, "a node for nothing"
            for first, child in node.children.items():
                assert child.tokens[0] == first, "a child under a wrong token"
                assert child.parent is node, "a child that knows another parent"
            waiting.extend(node.children.values())
        assert size == self._size <= self._tokens_max, "the size is wrong"
        assert ends == len(self._ends), "a context without an end"

    def _end(self, key: K, node: _Node[K, T]) -> None:
        node.keys[key] = None
        self._ends[key] = node

    def _grow(self, tokens: tuple[T, ...]) -> _Node[K, T]:
        """The node where this sequence ends, made as needed."""
        node, at = self._root, 0
        while at < len(tokens):
            child = node.children.get(tokens[at])
            if child is None:
                child = _Node(tokens[at:], node)
                node.children[tokens[at]] = child
                self._size += len(child.tokens)
                return child
            shared = _common(child.tokens, tokens, at)
            node = child if shared == len(child.tokens) else _split(child, shared)
            at += shared
        return node

    def _prune(self, node: _Node[K, T]) -> None:
        """Remove a node that ends nothing, or join it with its only child."""
        while not node.keys and node.parent is not None:
            parent = node.parent
            if len(node.children) > 1:
                return
            if node.children:
                (child,) = node.children.values()
                child.tokens = node.tokens + child.tokens
                child.parent = parent
                parent.children[node.tokens[0]] = child
                return
            del parent.children[node.tokens[0]]
            self._size -= len(node.tokens)
            node = parent


def _common(edge: tuple[T, ...], tokens: tuple[T, ...], at: int) -> int:
    """How many tokens of `edge` come in `tokens` from `at` on."""
    end = min(len(edge), len(tokens) - at)
    if edge[:end] == tokens[at : at + end]:
        return end
    return next(index for index in range(end) if edge[index] != tokens[at + index])


def _split(node: _Node[K, T], at: int) -> _Node[K, T]:
    """Cut an edge in two; returns the upper half, 0 < at < length."""
    parent = node.parent
    assert parent is not None
    upper: _Node[K, T] = _Node(node.tokens[:at], parent)
    parent.children[node.tokens[0]] = upper
    node.tokens = node.tokens[at:]
    node.parent = upper
    upper.children[node.tokens[0]] = node
    return upper


def _some_key(node: _Node[K, T]) -> K:
    """A context that passes through here: by the invariants each leaf ends one."""
    while not node.keys:
        node = next(iter(node.children.values()))
    return next(reversed(node.keys))
