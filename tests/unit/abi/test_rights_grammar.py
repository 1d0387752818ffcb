"""The grammar of rights: what each text allows, and what is refused as none."""

import pytest

from orlop.abi import rights
from orlop.abi.errors import BadCall, Denied
from orlop.abi.limits import RIGHT_CHARS_MAX, RIGHTS_MAX
from orlop.access.rights import compiled

ALLOWED = [
    ("*", "tool", "anything", ""),
    ("model", "model", "smollm2", ""),
    ("model:smollm2", "model", "smollm2", ""),
    ("model:llama3:8b", "model", "llama3:8b", ""),
    ("tool:shop.*", "tool", "shop.buy", ""),
    ("tool:*.read", "tool", "mail.read", ""),
    ("spawn", "spawn", "python", ""),
    ("spawn:python*", "spawn", "python3.11", ""),
    ("ask", "ask", "", ""),
    ("memory:notes:read", "memory", "notes", "read"),
    ("memory:notes", "memory", "notes", "write"),
    ("memory:team/*:write", "memory", "team/plans", "write"),
    ("file:/data:read", "file", "/data/a/b", "read"),
    ("file:/data:read", "file", "/data", "read"),
    ("file:/data/*.csv:read", "file", "/data/x.csv", "read"),
    ("file", "file", "/anything", "write"),
    ("net:example.com", "net", "example.com:443", ""),
    ("net:Example.com", "net", "EXAMPLE.com", ""),
    ("net:*.example.com:443", "net", "api.example.com:443", ""),
    ("net:[::1]", "net", "[::1]:80", ""),
    ("metrics", "metrics", "", ""),
]
REFUSED = [
    ("model:smollm2", "model", "smollm", ""),
    ("model:smollm2", "tool", "smollm2", ""),
    ("tool:shop.*", "tool", "shop", ""),
    ("tool:shop.*", "tool", "workshop.buy", ""),
    ("tool:a*a", "tool", "a", ""),
    ("memory:notes:read", "memory", "notes", "write"),
    ("file:/data:read", "file", "/data", "write"),
    ("file:/data:read", "file", "/database", "read"),
    ("file:/data:read", "file", "/data/../etc", "read"),
    ("file:*:read", "file", "/data/..", "read"),
    ("net:example.com", "net", "example.com.evil.org", ""),
    ("net:*.example.com:443", "net", "api.example.com:80", ""),
    ("net:example.com", "net", "api.example.com", ""),
]


@pytest.mark.parametrize(("right", "family", "name", "access"), ALLOWED)
def test_a_right_allows(
    right: str, family: rights.Family, name: str, access: rights.Access
) -> None:
    assert compiled((right,)).allows(family, name, access)


@pytest.mark.parametrize(("right", "family", "name", "access"), REFUSED)
def test_a_right_does_not_allow(
    right: str, family: rights.Family, name: str, access: rights.Access
) -> None:
    assert not compiled((right,)).allows(family, name, access)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tools:shop",
        "Tool:shop",
        "tool shop",
        "ask:me",
        "file:data:read",
        "file:/data/../etc",
        "tool:\n",
        "tool:",
        "memory:",
        "memory::read",
        "net:",
        "tool:" + "x" * RIGHT_CHARS_MAX,
    ],
)
def test_a_text_that_is_no_right_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadCall):
        rights.read(text)


def test_nothing_at_all_is_a_list_of_rights_too() -> None:
    assert rights.canonical(("", " ")) == ()
    assert not compiled(()).allows("ask")


def test_what_a_wider_right_covers_is_left_out() -> None:
    given = ("tool:shop.buy", "tool:shop.*", "model", "model:smollm2", "tool:shop.*")
    assert rights.canonical(given) == ("tool:shop.*", "model")


def test_a_right_is_written_in_its_shortest_form() -> None:
    given = ("tool:*", "memory:notes:write|read", "memory:*:read", "file:/a:read|write")
    assert rights.canonical(given) == ("tool", "memory:notes", "memory:*:read", "file:/a")


def test_more_rights_than_the_limit_are_refused_by_its_name() -> None:
    with pytest.raises(BadCall, match="RIGHTS_MAX"):
        rights.canonical(f"tool:t{number}" for number in range(RIGHTS_MAX + 1))


def test_nobody_gives_what_he_has_not() -> None:
    with pytest.raises(Denied, match=r"'tool:bank\.pay' is more than process 7 holds"):
        rights.narrowed(("tool:shop.*",), ("tool:shop.buy", "tool:bank.pay"), "process 7")


def test_a_wide_pattern_in_a_narrow_list_is_more_than_it_holds() -> None:
    with pytest.raises(Denied):
        rights.narrowed(("tool:shop.*", "tool:bank.*"), ("tool:*.pay",))


def test_a_pattern_of_many_stars_is_read_in_no_time() -> None:
    hostile = compiled(("tool:" + "a*" * 200 + "b",))
    assert not hostile.allows("tool", "a" * 5_000)
