"""Options that several commands have, and their reading: budgets, environment, classes."""

import re
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar, get_args

import click

from orlop.abi.calls import Budget, DivergenceRule, Normalizer, RestartRule
from orlop.abi.errors import KernelError
from orlop.abi.hints import LatencyClass
from orlop.abi.ids import NanoDollars
from orlop.abi.rights import canonical

P = ParamSpec("P")
R = TypeVar("R")

NUMBER: Final = re.compile(r"\d{1,12}(\.\d{1,9})?")

CLASSES: dict[str, LatencyClass] = {name: name for name in get_args(LatencyClass)}
RESTARTS: dict[str, RestartRule] = {name: name for name in get_args(RestartRule)}
DIVERGENCES: dict[str, DivergenceRule] = {name: name for name in get_args(DivergenceRule)}


NORMALIZERS: dict[str, Normalizer] = {name: name for name in get_args(Normalizer)}


UNITS: Final = ("calls", "tokens", "usd", "seconds")


class BudgetType(click.ParamType[Budget]):
    """`calls=100,tokens=20000,usd=0.5,seconds=600`: one or several."""

    name = "calls=N,tokens=N,usd=N,seconds=N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Budget:
        if isinstance(value, Budget):
            return value
        limits: dict[str, str] = {}
        for item in str(value).split(","):
            unit, _, number = item.partition("=")
            whole = unit in UNITS[:2] and number.isascii() and number.isdecimal()
            if not whole and not (unit in UNITS[2:] and NUMBER.fullmatch(number)):
                self.fail(f"{item!r}: write calls=N, tokens=N, usd=N or seconds=N", param, ctx)
            limits[unit] = number
        usd, seconds = limits.get("usd"), limits.get("seconds")
        return Budget(
            calls=int(limits["calls"]) if "calls" in limits else None,
            tokens=int(limits["tokens"]) if "tokens" in limits else None,
            nano_dollars=None if usd is None else NanoDollars(round(float(usd) * 1e9)),
            seconds=None if seconds is None else float(seconds),
        )


class DurationType(click.ParamType[float]):
    """`90`, `90s`, `30m`, `24h`, `7d`: seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value)
        number, unit = (text[:-1], text[-1]) if text[-1:] in LENGTHS_S else (text, "s")
        if not NUMBER.fullmatch(number):
            self.fail(f"{text!r}: write 90, 90s, 30m, 24h or 7d", param, ctx)
        return float(number) * LENGTHS_S[unit]


DURATION: Final = DurationType()
LENGTHS_S: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def _rights(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...] | None:
    """None where the option was not given: that is not the same as nothing."""
    if not value:
        return None
    try:
        return canonical(value)
    except KernelError as error:
        raise click.BadParameter(error.message, ctx, param) from error


allow_option = click.option(
    "--allow",
    multiple=True,
    metavar="RIGHT",
    callback=_rights,
    help="What it may do, as in model:smollm2, tool:shop.*, spawn, ask, memory:notes:read, "
    "file:/data:read, net:example.com.  May be given often; without it: everything.",
)
budget_option = click.option(
    "--budget",
    type=BudgetType(),
    help="What the process and its children may use, in all their restarts.",
)
class_option = click.option(
    "--class",
    "latency_class",
    type=click.Choice(list(CLASSES)),
    help="How its calls are scheduled.",
)
restart_option = click.option(
    "--restart",
    type=click.Choice(list(RESTARTS)),
    default="never",
    show_default=True,
    help="Whether it starts again by itself, with what it had finished.",
)
normalize_option = click.option(
    "--normalize",
    multiple=True,
    type=click.Choice(list(NORMALIZERS)),
    help="What does not count when a resumed program's call is looked for in its record: dates and "
    "times, random ids.  May be given twice.",
)
divergence_option = click.option(
    "--on-divergence",
    type=click.Choice(list(DIVERGENCES)),
    help="What to do when a resumed process makes a call that its record does not hold.",
)
env_option = click.option(
    "-e",
    "--env",
    "named",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Pass a variable on; PATH, HOME, LANG, PYTHON* and the like always are, keys never.",
)
keep_env_option = click.option(
    "--keep-env",
    "kept",
    multiple=True,
    metavar="NAME",
    help="Pass a variable on although it holds a key or a credential.",
)
detach_option = click.option(
    "-d", "--detach", is_flag=True, help="Print the pid and return; do not follow."
)


def command_argument(function: Callable[P, R]) -> Callable[P, R]:
    """`-- COMMAND…`: everything that is left."""
    return click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)(function)
