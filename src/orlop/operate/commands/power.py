"""`orlop up` and `orlop down`."""

import os
import sys
from pathlib import Path
from typing import Final

import click

from orlop.console.frame import Frame, homed
from orlop.console.progress import bars
from orlop.console.screen import show_json
from orlop.machine import plain_clock
from orlop.operate.running import DATABASE_S, PORT, holder
from orlop.operate.running import down as power_off
from orlop.sdk.place import read_home

DOWN_S: Final = 30.0
LOAD_S_MAX: Final = 120.0
LOAD_POLL_S: Final = 0.03


@click.command()
@click.option("-d", "--detach", is_flag=True, help="Return when the kernel runs.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help=f"Of the HTTP API; 0: any free one.  Default: {PORT}, or any if that is taken.",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="NAME=URL",
    help="An OpenAI-compatible server; beside those of orlop.toml.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Settings.  Default: orlop.toml in the home, if it is there.",
)
@click.option(
    "--timeout",
    "patience_s",
    type=click.FloatRange(min=0.0),
    default=DATABASE_S,
    show_default=True,
    help="With -d: seconds to wait for a database that holds the journal.",
)
@click.option("--airgap", is_flag=True, help="Reach nothing that orlop.toml does not name.")
@homed
def up(
    frame: Frame,
    detach: bool,
    port: int | None,
    engines: tuple[str, ...],
    config: Path | None,
    patience_s: float,
    airgap: bool,
) -> int:
    """Start the kernel and its engines.

    A small supervisor starts the kernel again should it be lost; clients wait meanwhile.
    """
    # Everybody waits for what is imported here, so its bytecode is kept whatever is set elsewhere.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    from orlop.operate.up import up as power_on  # Knows every floor: too slow for `orlop down`.

    if airgap:
        os.environ["ORLOP_AIRGAP"] = "1"  # For this process, and each kernel that it starts.
    say = _say_nothing if frame.as_json else click.echo
    status = power_on(frame.home, detach, port, engines, config, say, patience_s)
    if detach and status == 0:
        _wait_for_engines(frame)
        if frame.as_json:
            show_json(read_home(frame.home))
    return status


@click.command()
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.0),
    default=DOWN_S,
    show_default=True,
    help="Seconds to wait until it is gone.",
)
@homed
def down(frame: Frame, timeout_s: float) -> int:
    """Stop the kernel and what it started.

    Running processes are interrupted; the next start continues them as their restart rule says.
    """
    was_up = holder(frame.home) is not None
    status = power_off(frame.home, timeout_s)
    if frame.as_json:
        show_json({"home": str(frame.home), "was_up": was_up})
    else:
        click.echo(f"{frame.home} is down" if was_up else f"nothing runs in {frame.home}")
    return status


def _wait_for_engines(frame: Frame) -> None:
    """Until none is starting any more; those that can't be used are named."""
    operator = frame.operator()
    until_s = plain_clock.now_s() + LOAD_S_MAX
    engines = operator.inventory().engines
    with bars(quiet=frame.as_json) as report:
        while plain_clock.now_s() < until_s:
            settled = sum(engine.health != "starting" for engine in engines)
            if engines:
                report("loading engines", settled, len(engines))
            if settled == len(engines):
                break
            plain_clock.pause(LOAD_POLL_S)
            engines = operator.inventory().engines
    for engine in engines:
        if engine.health != "ready" and not frame.as_json:
            click.echo(f"engine {engine.name} is {engine.health}: {engine.reason}", err=True)
    missing, policy = operator.info().missing, operator.policy()
    if frame.as_json:
        return
    for reason in missing:
        click.echo(f"no calls yet: {reason}", err=True)
    if policy.problem:
        click.echo(f"policy: {policy.origin} is in force: {policy.problem}", err=True)


def _say_nothing(line: str) -> None:
    """For `--json`."""
