"""`orlop info`: where everything is."""

import click

from orlop.abi.admin import Info
from orlop.console.frame import Frame, framed
from orlop.console.screen import counted, date, fields, show_json


@click.command()
@framed
def info(frame: Frame) -> None:
    """Show where everything is."""
    found = frame.operator().info()
    if frame.as_json:
        show_json(found)
    else:
        click.echo(fields(_lines(found)))


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
