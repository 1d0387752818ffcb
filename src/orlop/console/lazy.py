"""A group of commands that loads a command's module when that command is asked for.

Commands of the shell are named by module; those that work without a kernel live on a higher floor
and are found as entry points (`shell.extension`), as are those of other distributions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

import click

from orlop.console.interrupt import leave_at_once, tidy_up_first


@dataclass(frozen=True, slots=True)
class Entry:
    """One command.  `address`: `module:name`; empty: an entry point of this name."""

    section: str
    summary: str
    address: str = ""


class LazyGroup(click.Group):
    """`entries` are shown in their order and sections; `prefix` sets a sub-group's names apart."""

    entries: ClassVar[Mapping[str, Entry]]
    prefix: ClassVar[str] = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if not args[0].startswith("-"):
                finder = import_module("orlop.console.nearest").suggestion
                near: str = finder(args[0], self.list_commands(ctx))
                raise click.UsageError(error.message + near, ctx) from error
            raise

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        leave_at_once()
        try:
            return self._loaded(cmd_name)
        finally:
            tidy_up_first()

    def _loaded(self, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        if entry is None or not entry.address:
            finder = import_module("orlop.shell.extension").command_named
            found: object = finder(self.prefix + cmd_name)
            return None if found is None else _as_command(found, cmd_name)
        module, _, name = entry.address.partition(":")
        return _as_command(getattr(import_module(module), name), entry.address)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(entry.section for entry in self.entries.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [
                        (name, entry.summary)
                        for name, entry in self.entries.items()
                        if entry.section == section
                    ]
                )


def _as_command(value: object, address: str) -> click.Command:
    if not isinstance(value, click.Command):
        raise click.ClickException(f"{address} is no command")
    return value
