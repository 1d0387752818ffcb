"""`orlop explain`: what an error means, whose fault it is, and what to do."""

import inspect

import click

from orlop.abi.errors import BY_CODE, KernelError, NotFound
from orlop.console.exits import status_of
from orlop.console.frame import Frame, homed
from orlop.console.screen import fields, show_json, table


@click.command()
@click.argument("code", default="")
@homed
def explain(frame: Frame, code: str) -> None:
    """Explain an error code, or list all of them."""
    if not code:
        _list(frame)
        return
    kind = BY_CODE.get(code.upper()) or BY_CODE.get(f"E{code}") or _by_name(code)
    if frame.as_json:
        show_json(as_data(kind))
    else:
        click.echo(_page(kind))


def as_data(kind: type[KernelError]) -> dict[str, object]:
    """All that is known of a class of errors."""
    return {
        "code": kind.code,
        "name": kind.__name__,
        "parent": kind.__bases__[0].__name__,
        "meaning": meaning(kind),
        "fault": kind.fault,
        "http_status": kind.http_status,
        "retry": kind.retry,
        "exit_code": status_of(kind("")),
        "fix": kind.fix,
    }


def meaning(kind: type[KernelError]) -> str:
    """Its docstring, as one paragraph."""
    return " ".join((inspect.getdoc(kind) or "").split())


def _list(frame: Frame) -> None:
    if frame.as_json:
        show_json([as_data(kind) for kind in BY_CODE.values()])
        return
    rows = [
        (code, kind.__name__, str(kind.http_status), kind.fault, meaning(kind))
        for code, kind in sorted(BY_CODE.items())
    ]
    click.echo(table(("CODE", "NAME", "HTTP", "FAULT", "MEANING"), rows, frozenset({2})))


def _by_name(name: str) -> type[KernelError]:
    for kind in BY_CODE.values():
        if kind.__name__.lower() == name.lower():
            return kind
    raise NotFound(f"no error has the code or the name {name!r}; `orlop explain` lists them all")


def _page(kind: type[KernelError]) -> str:
    again = "yes, as it is" if kind.retry else "no: the same call fails again"
    lines = [
        ("whose fault", kind.fault),
        ("try again", again),
        ("what to do", kind.fix),
        ("HTTP status", str(kind.http_status)),
        ("exit code", str(status_of(kind("")))),
        ("a kind of", kind.__bases__[0].__name__),
    ]
    title = click.style(f"{kind.code} {kind.__name__}", bold=True)
    return f"{title}\n{meaning(kind)}\n\n{fields(lines)}"
