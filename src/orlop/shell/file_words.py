"""`orlop files do`: the steps are shown, and whatever changes something waits for your yes."""

import click

from orlop.console.confirm import confirm
from orlop.console.frame import Frame, framed
from orlop.console.screen import show_json
from orlop.sdk.file_words import HARMLESS, carried_out, planned, said
from orlop.shell.files import kernel


@click.command()
@click.argument("wish")
@click.option("--model", required=True, help="That turns words into steps.")
@click.option("--yes", is_flag=True, help="Do not ask before something is changed.")
@framed
def do(frame: Frame, wish: str, model: str, yes: bool) -> None:
    """Do with files what you say in plain words: `orlop files do "copy the plan to /old"`."""
    system = kernel(frame)
    plan = planned(system, wish, model)
    if frame.as_json:
        show_json(plan)
    for step in plan.steps:
        click.echo(f"- {said(step)}", err=True)
    if not yes and any(step.do not in HARMLESS for step in plan.steps):
        confirm("do this?")
    for step in plan.steps:
        if text := carried_out(system.files, step):
            click.echo(text)
