"""How things look on a terminal: tables, ages, sizes, money.  Colours only where there is one."""

import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import Final

import click
import msgspec

from orlop.abi.ids import NanoDollars, Nanoseconds
from orlop.machine import plain_clock

GAP: Final = "  "
LAYOUT: Final = "\n\t"
"""Of texts that have lines of their own."""
WIDTH_WITHOUT_TERMINAL: Final = 10_000
WHAT_CHARS_MAX: Final = 60
CELL_COLUMNS_MAX: Final = 40
_NS_PER_S: Final = 1_000_000_000


def show_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def show_json_line(value: object) -> None:
    click.echo(msgspec.json.encode(value).decode())


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int]) -> str:
    """Columns as wide as their widest cell; lines end with `…` where the terminal does, and what is
    longer than any id does not push all else out of it.

    right: the columns of numbers.
    """
    limit = terminal_width()
    most = CELL_COLUMNS_MAX if limit < WIDTH_WITHOUT_TERMINAL else WIDTH_WITHOUT_TERMINAL
    shown = [[visible(cell) for cell in row] for row in rows]
    cells = [titles, *([*(cut(cell, most) for cell in row[:-1]), *row[-1:]] for row in shown)]
    widths = [max(width_of(row[column]) for row in cells) for column in range(len(titles))]
    lines = [cut(_line(row, widths, right).rstrip(), limit) for row in cells]
    return "\n".join([click.style(lines[0], bold=True), *lines[1:]])


def fields(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values, one pair a line."""
    width = max(len(name) for name, _ in pairs)
    return "\n".join(
        f"{click.style(name.ljust(width), bold=True)}{GAP}{visible(value, keep=LAYOUT)}"
        for name, value in pairs
    )


def visible(text: str, keep: str = "") -> str:
    """What a terminal would obey or break a line at, spelt out: names and errors are others' words.

    keep: characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode()
        for one in text
    )


def width_of(text: str) -> int:
    """Columns that a terminal takes for it: two for most East Asian letters and for emoji."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(one: str) -> int:
    if unicodedata.category(one) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1


def cut(line: str, limit: int) -> str:
    """At most `limit` columns of it, and marked where there was more: half a number is a lie."""
    if width_of(line) <= limit:
        return line
    kept = list[str]()
    left = limit - 1
    for one in line:
        left -= _columns(one)
        if left < 0:
            break
        kept.append(one)
    return "".join(kept) + "…"


def terminal_width() -> int:
    """Characters a line; as good as endless where the output is no terminal."""
    if sys.stdout is None:  # As Python has it where the caller has closed it.
        return WIDTH_WITHOUT_TERMINAL
    try:
        # Some terminals don't know their size, and say 0.
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH_WITHOUT_TERMINAL
    except (OSError, ValueError):
        return WIDTH_WITHOUT_TERMINAL


def seconds(value_s: float) -> str:
    """`0.12 s`, `45 s`, `12 min`, `3 h`, `9 d`."""
    if value_s < 10:
        return f"{value_s:.2f} s"
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if value_s >= 2 * size_s:
            return f"{value_s / size_s:.0f} {unit}"
    return f"{value_s:.0f} s"


def since(moment_ns: Nanoseconds | None) -> str:
    """How long ago that was."""
    if moment_ns is None:
        return "-"
    return seconds(max(0, plain_clock.wall_ns() - moment_ns) / _NS_PER_S)


def between(start_ns: Nanoseconds | None, end_ns: Nanoseconds | None) -> str:
    """How long that took, so far if it has not ended."""
    if start_ns is None:
        return "-"
    until_ns = plain_clock.wall_ns() if end_ns is None else end_ns
    return seconds(max(0, until_ns - start_ns) / _NS_PER_S)


def date(moment_ns: Nanoseconds | None) -> str:
    return "-" if moment_ns is None else plain_clock.local_text(moment_ns)


def money(cost: NanoDollars) -> str:
    """Dollars, with as many digits as the amount needs to be seen."""
    dollars = cost / 1e9
    whole_cents = cost % 10_000_000 == 0
    return f"${dollars:,.2f}" if whole_cents or dollars >= 1 else f"${dollars:.3g}"


def counted(amount: int, noun: str) -> str:
    """`1 call`, `1,200 calls`."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def shortened(text: str) -> str:
    """At most `WHAT_CHARS_MAX` characters."""
    return text if len(text) <= WHAT_CHARS_MAX else text[: WHAT_CHARS_MAX - 1] + "…"


def command(words: Sequence[str]) -> str:
    """A command line as people know it: the program without its folder, in one line."""
    return visible(" ".join([os.path.basename(words[0]), *words[1:]])) if words else "(client)"


def size(value_bytes: int) -> str:
    """Binary units, as memory is sold."""
    value = float(value_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _line(row: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    cells = list[str]()
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        air = " " * (width - width_of(cell))
        cells.append(air + cell if column in right else cell + air)
    return GAP.join(cells)
