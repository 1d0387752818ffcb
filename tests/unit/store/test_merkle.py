"""The tree that grows gives the root that RFC 6962 defines, and proofs that come to it."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.store.merkle import Tree, leaf, node, path, root_by


def rfc_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaf(leaves[0])
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node(rfc_root(leaves[:half]), rfc_root(leaves[half:]))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 100])
def test_the_root_is_that_of_the_rfc(size: int) -> None:
    leaves = [bytes([number]) for number in range(size)]
    tree = Tree()
    for one in leaves:
        tree.add(one)
    assert tree.root() == rfc_root(leaves)
    assert len(tree.frontier) == size.bit_count()


def test_a_tree_goes_on_from_its_frontier() -> None:
    tree = Tree()
    for number in range(11):
        tree.add(bytes([number]))
    again = Tree.unpack(tree.size, tree.packed())
    for one in (tree, again):
        one.add(b"next")
    assert tree.root() == again.root()


def test_a_frontier_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Tree.unpack(3, bytes(32))


@given(st.integers(min_value=1, max_value=70), st.data())
def test_each_leaf_is_proven_to_the_root_and_to_no_other(size: int, draw: st.DataObject) -> None:
    leaves = [bytes([number]) for number in range(size)]
    index = draw.draw(st.integers(min_value=0, max_value=size - 1))
    proof, root = path([leaf(each) for each in leaves], index), rfc_root(leaves)
    assert root_by(proof, leaf(leaves[index]), index, size) == root
    assert root_by(proof, leaf(b"another"), index, size) != root
    assert root_by([*proof, bytes(32)], leaf(leaves[index]), index, size) is None
    other = draw.draw(st.integers(min_value=-1, max_value=size))
    if other != index:
        assert root_by(proof, leaf(leaves[index]), other, size) != root
