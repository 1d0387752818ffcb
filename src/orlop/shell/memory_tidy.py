"""`orlop memory tidy`: consolidation and forgetting; `orlop schedule` runs it every night."""

import click

from orlop.console.frame import Frame, framed
from orlop.console.screen import fields, show_json
from orlop.machine import plain_clock
from orlop.sdk.sync import SyncKernel
from orlop.sdk.tidying import Tidier, Tidying


@click.command()
@click.argument("namespace")
@click.option("--alike", type=float, default=0.95, show_default=True, help="1: equal words only.")
@click.option("--fade", type=float, default=0.0, help="Seconds in which confidence halves.")
@click.option("--below", type=float, default=0.2, show_default=True, help="Then it is forgotten.")
@click.option("--summarise", default="", help="A chat model; else nothing is summarised.")
@click.option("--dry", is_flag=True, help="Only count.")
@framed
def tidy(
    frame: Frame,
    namespace: str,
    alike: float,
    fade: float,
    below: float,
    summarise: str,
    dry: bool,
) -> None:
    """Merge what says the same in NAMESPACE, close what contradicts it or has faded.

    Nothing is lost: `orlop memory history` has it, and `rollback` brings it back.
    """
    what = Tidying(
        namespace=namespace,
        alike=alike,
        fade_s=fade,
        fade_below=below,
        summarise=summarise,
        dry=dry,
    )
    kernel = SyncKernel(frame.link())
    report = Tidier(kernel, what, plain_clock.wall_ns()).run()
    if frame.as_json:
        show_json(report)
        return
    names = ("read", "merged", "resolved", "faded", "summarised", "conflicts")
    click.echo(fields([(name, str(getattr(report, name))) for name in names]))
    if report.note:
        click.echo(report.note, err=True)
