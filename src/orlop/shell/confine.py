"""The options of `orlop run` that say what a program may touch."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from orlop.abi.errors import BadCall
from orlop.abi.limits import RAM_MIB_MIN
from orlop.abi.sandbox import Sandbox
from orlop.sdk.environment import here

P = ParamSpec("P")
R = TypeVar("R")

NAMES = ("sealed", "read", "write", "net", "memory", "ram")
RAM = click.IntRange(RAM_MIB_MIN)
OPTIONS = (
    click.option(
        "--sandbox", "sealed", is_flag=True, help="Keep it to this folder and the kernel."
    ),
    click.option("--read", multiple=True, metavar="DIR", help="It may read this too."),
    click.option("--write", multiple=True, metavar="DIR", help="It may change this."),
    click.option(
        "--net",
        multiple=True,
        metavar="HOST[:PORT][=MODE]",
        help="It may reach this host.  MODE: idempotent, pure, tunnel (not looked into).",
    ),
    click.option("--memory", type=int, metavar="MIB", help="Address space of each process."),
    click.option("--ram", type=RAM, metavar="MIB", help="RAM of all its processes together."),
)


def sandbox_options(function: Callable[P, R]) -> Callable[P, R]:
    """`--sandbox` and what belongs to it, as one argument `sandbox`."""

    @functools.wraps(function)
    def asked(*arguments: P.args, **options: P.kwargs) -> R:
        words = {name: options.pop(name) for name in NAMES}
        options["sandbox"] = _sandbox(**words)  # type: ignore[arg-type]
        return function(*arguments, **options)

    for option in reversed(OPTIONS):
        asked = option(asked)
    return asked


def _sandbox(
    sealed: bool,
    read: tuple[str, ...],
    write: tuple[str, ...],
    net: tuple[str, ...],
    memory: int | None,
    ram: int | None,
) -> Sandbox | None:
    if not sealed:
        if read or write or net or memory is not None or ram is not None:
            raise click.UsageError("--read, --write, --net, --memory, --ram: with --sandbox only")
        return None
    try:
        folder = here()
    except BadCall as error:
        raise click.UsageError(error.message) from error
    for path in (*read, *write):
        if not os.path.exists(path):
            raise click.UsageError(f"{path}: there is no such file or folder")
    if Path.home().is_relative_to(folder):
        raise click.UsageError(
            f"{folder} holds your whole home: start it from a folder of its own, which it may read"
        )
    return Sandbox(
        read=(folder, *(os.path.abspath(path) for path in read)),
        write=tuple(os.path.abspath(path) for path in write),
        net=net,
        memory_bytes=memory << 20 if memory is not None else None,
        ram_bytes=ram << 20 if ram is not None else None,
    )
