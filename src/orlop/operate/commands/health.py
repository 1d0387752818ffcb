"""`orlop doctor`."""

from pathlib import Path
from typing import Final

import click

from orlop.console.exits import FAILED, OK
from orlop.console.frame import Frame, homed
from orlop.console.screen import show_json
from orlop.operate import agent_keys
from orlop.operate.check import Check
from orlop.operate.doctor import examine

COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option(
    "--agent",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Look for keys that are written into an agent's files, and for nothing else.",
)
@homed
def doctor(frame: Frame, folder: Path | None) -> int:
    """Look for what is wrong, and say how to mend it.

    Works with and without a running kernel; exits with 1 where something fails.
    """
    checks = examine(frame.home, frame.operator) if folder is None else agent_keys.examine(folder)
    if frame.as_json:
        found = list(checks)
        show_json(found)
    else:
        found = []
        for check in checks:
            found.append(check)
            click.echo(_lines(check))
    return FAILED if any(check.state == "fail" for check in found) else OK


def _lines(check: Check) -> str:
    state = click.style(f"{check.state:4}", fg=COLOURS[check.state], bold=True)
    fix = f"\n      fix: {check.fix}" if check.fix else ""
    return f"{state}  {check.name}: {check.found}{fix}"
