"""`orlop devices hold`: a program's own claim, for as long as a command runs."""

import os
import subprocess
from collections.abc import Callable
from typing import TypeVar, Unpack

import click

from orlop.abi.devices import ClaimOrder, Notice
from orlop.console.exits import status_of_process
from orlop.console.frame import Frame, framed
from orlop.sdk.claim_words import ClaimOptions, claim_order
from orlop.sdk.claims_sync import SyncClaim

R = TypeVar("R")

PART = click.FloatRange(0, 1, min_open=True)
MORE = click.FloatRange(0)


def wanting(function: Callable[..., R]) -> Callable[..., R]:
    """The options of a claim."""
    for option in (
        click.option("--purpose", default="", help="For people."),
        click.option("--notice", "notice_s", type=MORE, default=0.0, help="Seconds to save."),
        click.option(
            "--alone", "exclusive", is_flag=True, help="No other tenant on it; erased later."
        ),
        click.option(
            "--memory",
            "memory_bytes",
            type=MORE,
            callback=lambda _, __, gb: int((gb or 0) * 1e9),
            help="1e9 bytes.",
        ),
        click.option(
            "--cores", type=click.IntRange(0), default=0, help="Of a CPU, instead of a share."
        ),
        click.option("--share", type=PART, default=1.0, show_default=True),
    ):
        function = option(function)
    return function


@click.command()
@click.argument("where")
@click.argument("command", nargs=-1, required=True)
@wanting
@framed
def hold(frame: Frame, where: str, command: tuple[str, ...], **wanted: Unpack[ClaimOptions]) -> int:
    """Run COMMAND while the program that this is called in holds a device.

    WHERE is a predicate, as in 'device.class == "gpu" && hbm_gb >= 40'.  COMMAND finds the device
    in $ORLOP_DEVICE, and numbers of processors that are its own in $ORLOP_CORES.  When the device
    is taken back it gets SIGTERM, and has until its notice is over.
    """
    running: list[subprocess.Popen[bytes]] = []

    def save(notice: Notice) -> None:
        click.echo(f"{notice.why}: {notice.within_s:g} s to save", err=True)
        for child in running:
            child.terminate()
            child.wait()

    with SyncClaim(frame.link(), claim_order(ClaimOrder(where=where, **wanted)), save) as claim:
        own = {"ORLOP_DEVICE": claim.device, "ORLOP_CORES": ",".join(map(str, claim.view.cores))}
        with subprocess.Popen(command, env={**os.environ, **own}) as child:
            running.append(child)
            status = child.wait()
    return status_of_process(status)
