"""Tables as terminals show them."""

import pytest

from orlop.console import screen
from orlop.console.nearest import suggestion
from orlop.shell.commands import run

ROWS = [("größe", "1", "x"), ("名前", "20", "y"), ("e\u0301🚀", "300", "z")]


def test_columns_stand_below_one_another_whatever_letters_are_in_them() -> None:
    lines = screen.table(("NAME", "N", "X"), ROWS, frozenset({1})).splitlines()[1:]
    assert lines == ["größe    1  x", "名前    20  y", "e\u0301🚀    300  z"]
    assert [screen.width_of(line) for line in lines] == [13, 13, 13]


@pytest.mark.parametrize(
    ("limit", "shown"),
    [
        (9, "größe 名…"),
        (8, "größe …"),
        (7, "größe …"),
        (1, "…"),
        (10, "größe 名前"),
        (99, "größe 名前"),
    ],
)
def test_a_line_that_is_cut_says_so(limit: int, shown: str) -> None:
    assert screen.cut("größe 名前", limit) == shown
    assert screen.width_of(shown) <= limit


def test_a_table_on_a_narrow_terminal_marks_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "terminal_width", lambda: 8)
    _, row = screen.table(("NAME", "CALLS"), [("one", "1,930")], frozenset({1})).splitlines()
    assert row == "one   1…"


def test_a_long_name_leaves_room_for_the_rest_on_a_terminal_and_is_whole_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [("x" * 100, "7", "last " * 9)]
    assert screen.table(("NAME", "N", "WHY"), rows, frozenset({1})).splitlines()[1] == (
        f"{rows[0][0]}  7  {rows[0][2].rstrip()}"
    )
    monkeypatch.setattr(screen, "terminal_width", lambda: 200)
    row = screen.table(("NAME", "N", "WHY"), rows, frozenset({1})).splitlines()[1]
    assert row == f"{'x' * 39}…  7  {rows[0][2].rstrip()}"


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("budgets", "'budget'"), ("help", "'--help'"), ("trase", "'trace'"), ("zzz", "")],
)
def test_a_mistyped_command_is_asked_about(
    wanted: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([wanted]) == 2
    said = capsys.readouterr().err
    assert f"No such command '{wanted}'." in said
    assert (f"Did you mean {meant}" in said) == bool(meant)
    assert suggestion("", []) == ""
