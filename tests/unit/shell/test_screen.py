"""How things look."""

import os
import pty
import subprocess
import sys

import pytest

from orlop.abi.ids import NanoDollars
from orlop.console.screen import (
    command,
    counted,
    fields,
    money,
    seconds,
    shortened,
    size,
    table,
)


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.123, "0.12 s"), (45.0, "45 s"), (720.0, "12 min"), (12_600.0, "4 h"), (800_000.0, "9 d")],
)
def test_times_have_the_unit_that_fits(value_s: float, text: str) -> None:
    assert seconds(value_s) == text


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (0, "$0.00"),
        (420_000, "$0.00042"),
        (1_500_000_000, "$1.50"),
        (12, "$1.2e-08"),
        (500_000_000, "$0.50"),
    ],
)
def test_money_is_never_rounded_to_nothing(cost: int, text: str) -> None:
    assert money(NanoDollars(cost)) == text


def test_one_is_not_many() -> None:
    assert [counted(1, "call"), counted(0, "call"), counted(1200, "call")] == [
        "1 call",
        "0 calls",
        "1,200 calls",
    ]


def test_sizes_are_binary() -> None:
    assert [size(512), size(1536), size(2**34)] == ["512 B", "1.5 KiB", "16.0 GiB"]


def test_numbers_stand_right_and_words_left() -> None:
    lines = table(("NAME", "N"), [("a", "1"), ("long", "100")], frozenset({1})).splitlines()
    assert lines[1:] == ["a       1", "long  100"]


def test_a_command_is_known_by_its_program() -> None:
    assert command(("/usr/bin/python", "-m", "x")) == "python -m x"
    assert command(()) == "(client)"


def test_long_texts_are_shortened() -> None:
    assert shortened("x" * 100) == "x" * 59 + "…"


def test_a_terminal_that_does_not_know_its_size_shows_all() -> None:
    """A fresh pseudo-terminal has 0 columns."""
    program = "from orlop.console.screen import table; print(table(('A', 'B'), [('1', '2')], {0}))"
    ours, theirs = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", program], stdout=theirs, check=True, timeout=60)
        shown = os.read(ours, 4_096)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"1  2" in shown


def test_what_others_say_neither_breaks_a_row_nor_commands_the_terminal() -> None:
    said = "sh -c echo\n\x1b[2J☃"
    spelt = "sh -c echo\\n\\x1b[2J☃"
    assert table(["COMMAND"], [[said]], frozenset()).splitlines()[1:] == [spelt]
    assert command(said.split(" ")) == spelt
    assert fields([("note", "one\ntwo\x1b[2J")]).endswith("one\ntwo\\x1b[2J")
