"""Options that several commands of people have: who says it, how long he took, grants' terms."""

import getpass
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import click
import msgspec

from orlop.abi.grants import Condition, GrantTerms
from orlop.sdk.place import person_token

P = ParamSpec("P")
R = TypeVar("R")

UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
AMOUNT: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])")

PERSON: Final = click.option(
    "--as",
    "person",
    default="",
    show_default="your login; with ORLOP_PERSON_TOKEN its holder",
    help="Who says so.",
)
MINUTES: Final = click.option(
    "--minutes", type=float, default=0.0, help="How long you took, for the accounts."
)


INDENT: Final = " " * 4


def harmless(text: str) -> str:
    """What somebody else wrote, as a terminal may show it: it moves no cursor, and no line of it
    looks like one of ours."""
    lines = text.splitlines() or [""]
    shown = ["".join(char if char.isprintable() else "?" for char in line) for line in lines]
    return f"\n{INDENT}".join(shown)


def speaker(person: str) -> str:
    """As the order names him: a token says by itself whose it is."""
    return person or ("" if person_token() else getpass.getuser())


class Seconds(click.ParamType[float]):
    """`90s`, `30m`, `8h`, `7d`."""

    name = "90s, 30m, 8h, 7d"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = AMOUNT.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r}: write a number and s, m, h or d", param, ctx)
        return float(found[1]) * UNITS[found[2]]


class Amount(click.ParamType[tuple[str, Decimal]]):
    """`ARGUMENT=NUMBER`."""

    name = "argument=number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Decimal]:
        argument, _, number = str(value).partition("=")
        try:
            amount = Decimal(number)
        except InvalidOperation:
            amount = Decimal("NaN")
        if not argument or not amount.is_finite():
            self.fail(f"{value!r}: write ARGUMENT=NUMBER, as in amount=100", param, ctx)
        return argument, amount


class Value(click.ParamType[tuple[str, str]]):
    """`ARGUMENT=VALUE`."""

    name = "argument=value"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        argument, found, text = str(value).partition("=")
        if not argument or not found:
            self.fail(f"{value!r}: write ARGUMENT=VALUE, as in currency=EUR", param, ctx)
        return argument, text


def terms_options(command: Callable[P, R]) -> Callable[P, R]:
    """How far a grant goes."""
    for option in (
        click.option("--for", "expires", type=Seconds(), default="7d", show_default=True,
                     help="How long the grant holds."),
        click.option("--count", type=click.IntRange(1), help="How many calls it lets through."),
        click.option("--sum", "sums", type=Amount(), help="What an argument may add up to."),
        click.option("--max", "most", type=Amount(), multiple=True,
                     help="The most that an argument may be."),
        click.option("--min", "least", type=Amount(), multiple=True,
                     help="The least that an argument may be."),
        click.option("--value", "values", type=Value(), multiple=True,
                     help="What an argument may be; several times for several values."),
    ):  # fmt: skip
        command = option(command)
    return command


def terms(
    expires: float,
    count: int | None,
    sums: tuple[str, Decimal] | None,
    most: Sequence[tuple[str, Decimal]],
    least: Sequence[tuple[str, Decimal]],
    values: Sequence[tuple[str, str]],
    note: str = "",
) -> GrantTerms:
    upper, lower = dict(most), dict(least)
    allowed: dict[str, list[str]] = {}
    for argument, value in values:
        allowed.setdefault(argument, []).append(value)
    return GrantTerms(
        expires_s=expires,
        where=tuple(
            Condition(
                argument=argument,
                max=upper.get(argument),
                min=lower.get(argument),
                values=tuple(allowed.get(argument, ())),
            )
            for argument in dict.fromkeys([*upper, *lower, *allowed])
        ),
        calls_max=count,
        sum_of=sums[0] if sums else "",
        sum_max=sums[1] if sums else None,
        note=note,
    )


def read_object(path: Path) -> dict[str, object]:
    """Arguments in a file: one JSON object."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.DecodeError) as error:
        raise click.BadParameter(f"{path} should hold a JSON object: {error}") from error


def read_json(text: str) -> object:
    try:
        value: object = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"{text[:100]!r} is no JSON: {error}") from error
    return value
