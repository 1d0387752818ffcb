"""`orlop info`: where everything is."""

import click
import msgspec

from orlop.abi.admin import HomeInfo, Info
from orlop.abi.errors import JournalStopped
from orlop.console.frame import Frame, framed
from orlop.console.screen import counted, date, fields, show_json
from orlop.sdk.place import is_process, read_home


@click.command()
@framed
def info(frame: Frame) -> None:
    """Show where everything is.

    Also of a kernel that has no journal: then what is known without it, and why; exit code 8.
    """
    try:
        found = frame.operator().info()
    except JournalStopped as stopped:
        if frame.given_home is None and is_process():
            raise
        known = read_home(frame.home)
        if frame.as_json:
            missing = (stopped.message,)
            show_json({**msgspec.to_builtins(known), "ready": False, "missing": missing})
        else:
            click.echo(fields([*_home(known), ("ready", f"no: {stopped.message}")]))
        raise
    if frame.as_json:
        show_json(found)
    else:
        click.echo(fields(_lines(found)))


def _home(known: HomeInfo) -> list[tuple[str, str]]:
    return [
        ("version", known.version),
        ("url", known.url),
        ("socket", known.socket),
        ("home", known.home),
        ("supervisor's pid", str(known.supervisor_pid)),
    ]


def _lines(found: Info) -> list[tuple[str, str]]:
    ready = "yes" if found.ready else "no: " + "; ".join(found.missing)
    return [
        ("version", found.version),
        ("url", found.url),
        ("socket", found.socket),
        ("home", found.home),
        ("journal", found.journal),
        ("log", found.log),
        ("kernel's pid", str(found.os_pid)),
        ("supervisor's pid", str(found.supervisor_pid or "none")),
        ("journal id", f"{found.journal_id}, epoch {found.epoch}, {counted(found.head, 'event')}"),
        ("started", date(found.started_ns)),
        ("ready", ready),
    ]
