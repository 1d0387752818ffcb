"""What the Tab key offers where a command wants the name of something that a kernel has.

Whatever goes wrong (no kernel, no rights), nothing is offered: a prompt is no place for errors.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import click

from orlop.abi.errors import KernelError
from orlop.sdk.link import Link
from orlop.sdk.operator import Operator
from orlop.sdk.place import find

PATIENCE_S: Final = 0.5
"""How long somebody waits who has pressed Tab."""

SPECIAL: Final = frozenset("\"'\\$`!*?[]{}()<>|&;#~ \t\n")
"""What shells read in ways of their own: such names are typed by hand."""

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _offering(names: Callable[[Operator], Iterable[str]]) -> Completer:
    def offer(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
        home, tenant = context.params.get("home"), context.params.get("tenant")
        try:
            place = find(
                home=home if isinstance(home, Path) else None,
                tenant=tenant if isinstance(tenant, str) else "",
            )
            found = names(Operator(Link(place, PATIENCE_S)))
            fit = [name for name in found if name.startswith(begun) and not SPECIAL & set(name)]
        except (KernelError, OSError):
            return []
        return list(dict.fromkeys(fit))

    return offer


def _processes(operator: Operator, *, ended: bool) -> Iterable[str]:
    for view in operator.processes(ended=ended):
        yield str(view.pid)
        yield view.name


any_process: Final = _offering(lambda kernel: _processes(kernel, ended=True))
live_process: Final = _offering(lambda kernel: _processes(kernel, ended=False))
any_tool: Final = _offering(lambda kernel: (view.name for view in kernel.tools()))
