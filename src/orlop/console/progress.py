"""Bars for what takes long: on a terminal, and lines elsewhere.  The one file that knows rich."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

Report = Callable[[str, int, int], None]
"""Takes what is going on, how much is done, and how much there is in all."""


@contextmanager
def bars(*, of_bytes: bool = False, quiet: bool = False) -> Iterator[Report]:
    """A report that draws to standard error: a bar for each thing that is going on."""
    console = Console(stderr=True)
    if quiet:
        yield _say_nothing
        return
    if not console.is_terminal:
        yield _Lines().report
        return
    amount: ProgressColumn = DownloadColumn() if of_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress).report


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._known: dict[str, TaskID] = {}

    def report(self, what: str, done: int, total: int) -> None:
        if what not in self._known:
            self._known[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._known[what], completed=done, total=total)


class _Lines:
    """A line at the beginning and at the end of each thing: what a build's record can show."""

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._ended: set[str] = set()

    def report(self, what: str, done: int, total: int) -> None:
        if what not in self._begun:
            self._begun.add(what)
            click.echo(f"{what} …", err=True)
        if done >= total and what not in self._ended:
            self._ended.add(what)
            click.echo(f"{what}: done", err=True)


def _say_nothing(what: str, done: int, total: int) -> None:
    """For `--json`."""
