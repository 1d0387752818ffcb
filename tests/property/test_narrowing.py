"""I9: whatever is narrowed, given and taken, nobody gains a right.

The oracle is brute force: a small alphabet, and every name in it asked of every list.
"""

import itertools
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from orlop.abi import rights
from orlop.abi.errors import Denied
from orlop.abi.rights import Access, Family, Rights
from orlop.access.rights import compiled

NAMES: Final = ["".join(some) for n in range(5) for some in itertools.product("ab", repeat=n)]
LONG: Final = ["".join(some) for n in range(7) for some in itertools.product("abc", repeat=n)]
PATHS: Final = [
    "/" + "/".join(some) for n in range(3) for some in itertools.product("ab", repeat=n)
]
HOSTS: Final = [host + port for host in ("a", "b", "a.b", "b.b") for port in ("", ":1", ":2")]
ASKED: Final[list[tuple[Family, str, Access]]] = [
    *(("tool", name, "") for name in NAMES),
    *(("file", path, access) for path in PATHS for access in ("read", "write")),
    *(("net", host, "") for host in HOSTS),
    *(("memory", name, access) for name in NAMES[:7] for access in ("read", "write")),
    ("ask", "", ""),
]

names = st.text("ab*", min_size=1, max_size=4)
accesses = st.sampled_from(["", ":read", ":write", ":read|write"])
texts = st.one_of(
    st.just("ask"),
    st.just("*"),
    st.builds("tool:{}".format, names),
    st.builds("memory:{}{}".format, st.text("ab*", min_size=1, max_size=2), accesses),
    st.builds("file:/{}{}".format, st.text("ab*/", max_size=3), accesses),
    st.builds(
        "net:{}{}".format, st.text("ab*.", min_size=1, max_size=3), st.sampled_from(["", ":1"])
    ),
)
lists = st.lists(texts, max_size=4).map(rights.canonical)


def allowed(held: Rights) -> set[tuple[Family, str, Access]]:
    return {asked for asked in ASKED if compiled(held).allows(*asked)}


@given(lists, texts)
def test_what_is_said_to_be_covered_is_allowed(held: Rights, wanted: str) -> None:
    if rights.covers(held, wanted):
        assert allowed((wanted,)) <= allowed(held)


@given(names, names)
def test_one_pattern_covers_another_exactly_where_it_allows_all_that_the_other_does(
    one: str, other: str
) -> None:
    """`c` is in no pattern: only a star fits it."""
    mine, theirs = compiled((f"tool:{one}",)), compiled((f"tool:{other}",))
    is_covered = all(theirs.allows("tool", name) for name in LONG if mine.allows("tool", name))
    assert rights.covers((f"tool:{other}",), f"tool:{one}") == is_covered


@given(lists, lists)
def test_what_is_narrowed_never_gains(held: Rights, wanted: Rights) -> None:
    try:
        left = rights.narrowed(held, wanted)
    except Denied:
        return
    assert allowed(left) <= allowed(held)


@given(lists, lists)
def test_what_both_allow_is_allowed_by_each(first: Rights, second: Rights) -> None:
    assert allowed(rights.both(first, second)) <= allowed(first) & allowed(second)


@given(lists, texts)
def test_what_was_taken_is_allowed_no_more(held: Rights, taken: str) -> None:
    left = rights.without(held, taken)
    if not any(rights.overlaps(rights.read(text), rights.read(taken)) for text in left):
        assert not allowed(left) & allowed((taken,))


@given(lists)
def test_rights_mean_the_same_in_their_shortest_words(held: Rights) -> None:
    assert rights.canonical(held) == held
    assert rights.canonical(reversed(held)) is not None
    assert allowed(rights.canonical(tuple(reversed(held)))) == allowed(held)
