"""`orlop run` and `orlop resume`: programs as processes, followed on the terminal."""

import click

from orlop.abi.admin import ProcessView, ResumeOrder
from orlop.abi.calls import Budget, Spawn
from orlop.abi.sandbox import Sandbox
from orlop.console.exits import OK
from orlop.console.frame import Frame, framed
from orlop.console.screen import show_json
from orlop.sdk.environment import here, with_named
from orlop.sdk.operator import Operator
from orlop.shell.completing import any_process
from orlop.shell.confine import sandbox_options
from orlop.shell.ending import report_end
from orlop.shell.follow import attend
from orlop.shell.options import (
    CLASSES,
    DIVERGENCES,
    NORMALIZERS,
    RESTARTS,
    allow_option,
    budget_option,
    class_option,
    command_argument,
    detach_option,
    divergence_option,
    env_option,
    keep_env_option,
    normalize_option,
    restart_option,
)


# From the program's name on, options are the program's.
@click.command(context_settings={"allow_interspersed_args": False})
@command_argument
@click.option("--name", default="", help="A name for people, and for other commands.")
@class_option
@budget_option
@allow_option
@restart_option
@divergence_option
@click.option("--program", default="", help="The task that it serves, together with others.")
@click.option("--team", default="", help="Whose budget it uses too: see `orlop budget`.")
@click.option("--version", default="", help="The program's version, as its author names it.")
@normalize_option
@env_option
@keep_env_option
@sandbox_options
@detach_option
@framed
def run(
    frame: Frame,
    command: tuple[str, ...],
    name: str,
    latency_class: str | None,
    budget: Budget | None,
    allow: tuple[str, ...] | None,
    restart: str,
    on_divergence: str | None,
    program: str,
    team: str,
    version: str,
    normalize: tuple[str, ...],
    named: tuple[str, ...],
    kept: tuple[str, ...],
    sandbox: Sandbox | None,
    detach: bool,
) -> int:
    """Start a program as a process: `orlop run -- python agent.py`.

    Its output is shown, Ctrl-C is passed on (twice: kill), and its exit status is ours, 128 + n
    for signal n.  It runs in this folder, with a small part of the environment (see --env).
    """
    order = Spawn(
        command=command,
        name=name,
        cwd=here(),
        env=with_named(named, kept),
        latency_class=CLASSES[latency_class or "standard"],
        budget=budget or Budget(),
        restart=RESTARTS[restart],
        on_divergence=DIVERGENCES[on_divergence or "stop"],
        program=program,
        team=team,
        version=version,
        normalize=tuple(NORMALIZERS[name] for name in normalize),
        sandbox=sandbox,
        allow=allow,
    )
    operator = frame.operator()
    return _follow(frame, operator, operator.spawn(order), detach)


@click.command()
@click.argument("process", shell_complete=any_process)
@divergence_option
@budget_option
@detach_option
@framed
def resume(
    frame: Frame, process: str, on_divergence: str | None, budget: Budget | None, detach: bool
) -> int:
    """Start a process again with what it had finished.

    Finished calls are answered from the record: not computed again, not paid again.  Then it goes
    on live.
    """
    rule = DIVERGENCES[on_divergence] if on_divergence else None
    operator = frame.operator()
    view = operator.resume(process, ResumeOrder(on_divergence=rule, budget=budget))
    return _follow(frame, operator, view, detach)


def _follow(frame: Frame, operator: Operator, view: ProcessView, detach: bool) -> int:
    if not detach:
        return report_end(frame, attend(operator, view, as_json=frame.as_json))
    if frame.as_json:
        show_json(view)
    else:
        click.echo(view.pid)
    return OK
