"""A child's sandbox is never wider than its parent's."""

from pathlib import Path

import pytest

from orlop.abi.sandbox import Sandbox
from orlop.sandbox.cells import narrowed

PARENT = Sandbox(read=("/usr/share",), write=("/tmp",), net=("a.example",), memory_bytes=1_000)


def test_a_child_that_asks_for_nothing_has_what_its_parent_has() -> None:
    assert narrowed(PARENT, None) == PARENT
    assert narrowed(None, None) is None


@pytest.mark.parametrize(
    ("child", "field"),
    [
        (Sandbox(read=("/etc",)), "read"),
        (Sandbox(write=("/usr/share",)), "write"),
        (Sandbox(read=("/tmp/../etc",)), "read"),
        (Sandbox(net=("b.example",)), "net"),
        (Sandbox(files="all"), "files"),
    ],
)
def test_more_is_refused_by_name(child: Sandbox, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        narrowed(PARENT, child)


def test_less_is_given_and_the_lower_limit_counts() -> None:
    child = narrowed(PARENT, Sandbox(read=("/tmp/x",), net=("a.example",), memory_bytes=9_999))
    assert child is not None
    assert child.read == ("/tmp/x",)
    assert child.memory_bytes == 1_000


def test_a_link_that_leads_out_is_followed_before_it_is_granted(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "link").symlink_to("/etc")
    parent = Sandbox(write=(str(tmp_path / "own"),))
    with pytest.raises(ValueError, match="write"):
        narrowed(parent, Sandbox(write=(str(tmp_path / "own" / "link"),)))
