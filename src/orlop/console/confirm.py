"""A question before what can't be taken back.  Commands that ask have `--yes`."""

import sys

import click
from click.exceptions import Exit

from orlop.console.exits import FAILED


def confirm(question: str) -> None:
    """Goes on only where a person at the terminal says yes.

    It is asked on standard error, since standard output may be read by a program.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: say --yes")
    if not click.confirm(question, err=True):
        click.echo("nothing was done", err=True)
        raise Exit(FAILED)
