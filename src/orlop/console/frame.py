"""What all commands share: `--home`, `--json`, `--tenant`, the connection, how an error looks."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Concatenate, ParamSpec, TypeVar

import click
import msgspec

from orlop.abi.errors import BadCall, KernelError, NoKernel
from orlop.abi.limits import CLIENT_PATIENCE_S
from orlop.console.exits import status_of
from orlop.console.screen import LAYOUT, visible
from orlop.sdk.link import Link
from orlop.sdk.operator import Operator
from orlop.sdk.people import People
from orlop.sdk.place import default_home, find, is_process, person_token, read_home, runs

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Frame:
    """What a command is run with."""

    given_home: Path | None
    as_json: bool
    tenant: str = ""
    """Within which the installation's operator orders; empty: as `sdk.place.find` says."""

    @property
    def home(self) -> Path:
        return self.given_home or default_home()

    def operator(self) -> Operator:
        """The kernel, for operators."""
        return Operator(self.link())

    def people(self) -> People:
        """For people: in the name of ORLOP_PERSON_TOKEN's holder, else an operator's."""
        return People(self.link(person_token()))

    def link(self, token: str = "", process: str = "") -> Link:
        """A kernel that is away is waited for as long as its supervisor lives, and no longer."""
        place = find(home=self.given_home, token=token, process=process, tenant=self.tenant)
        return Link(place, CLIENT_PATIENCE_S, self._rises)

    def _rises(self) -> bool:
        if self.given_home is None and is_process():
            return True  # The kernel is the one that started this program, whatever home that has.
        try:
            return runs(read_home(self.home).supervisor_pid)
        except NoKernel:
            return False


class Refusal(click.ClickException):
    """A `KernelError` on its way to the terminal, with its cause and its fix."""

    def __init__(self, error: KernelError, as_json: bool) -> None:
        super().__init__(error.message)
        self.status = status_of(error)
        self._error = error
        self._as_json = as_json

    def show(self, file: IO[str] | None = None) -> None:
        error = self._error
        if self._as_json:
            click.echo(msgspec.json.encode({"error": _as_data(error)}).decode(), err=True)
            return
        title = click.style(f"error {error.code} {type(error).__name__}", fg="red", bold=True)
        click.echo(f"{title}: {visible(error.message, keep=LAYOUT)}", err=True)
        click.echo(f"  fix: {error.fix}", err=True)
        if error.retry_after_s is not None:
            click.echo(f"  try again in: {error.retry_after_s:g} s", err=True)
        click.echo(f"  more: orlop explain {error.code}", err=True)


_home = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The kernel's home.  Default: $ORLOP_HOME, else ~/.orlop.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Give JSON.")
_tenant = click.option(
    "--tenant",
    default="",
    metavar="NAME",
    help="Within which tenant.  Default: $ORLOP_TENANT, else the token's own, or `default`.",
)


def framed(command: Callable[Concatenate[Frame, P], R]) -> Callable[..., R]:
    """A command that asks a kernel: with `--home`, `--json` and `--tenant`."""

    @_home
    @_json
    @_tenant
    @functools.wraps(command)
    def outer(
        home: Path | None, as_json: bool, tenant: str, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return _shown(command, Frame(home, as_json, tenant), *args, **kwargs)

    return outer


def homed(command: Callable[Concatenate[Frame, P], R]) -> Callable[..., R]:
    """A command about the installation as a whole: without `--tenant`."""

    @_home
    @_json
    @functools.wraps(command)
    def outer(home: Path | None, as_json: bool, *args: P.args, **kwargs: P.kwargs) -> R:
        return _shown(command, Frame(home, as_json), *args, **kwargs)

    return outer


def _shown(
    command: Callable[Concatenate[Frame, P], R], frame: Frame, /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Its `KernelError`s look as they should, and so does what the user named and is no use."""
    try:
        return command(frame, *args, **kwargs)
    except KernelError as error:
        raise Refusal(error, frame.as_json) from error
    except UnicodeEncodeError as error:
        what = f"{error.object!r} is not UTF-8: a kernel can't be told of it"
        raise Refusal(BadCall(what), frame.as_json) from error
    except OSError as error:
        if error.filename is None:
            raise  # Of no file that the command line has named: a bug of ours.
        what = f"{error.filename}: {error.strerror}"
        raise Refusal(BadCall(what), frame.as_json) from error


def _as_data(error: KernelError) -> dict[str, object]:
    return {
        "code": error.code,
        "name": type(error).__name__,
        "message": error.message,
        "fix": error.fix,
        "retry": error.retry,
        "retry_after_s": error.retry_after_s,
    }
