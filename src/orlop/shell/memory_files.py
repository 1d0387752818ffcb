"""`orlop memory export` and `import`: lines of JSON, and the exports of other systems."""

import sys
from pathlib import Path
from typing import Final, get_args

import click

from orlop.abi.errors import KernelError
from orlop.abi.memory import Item
from orlop.abi.memory_orders import ImportReport
from orlop.sdk.memory import MemoryOperator
from orlop.sdk.sync import SyncKernel
from orlop.shell.frame import Frame, framed
from orlop.shell.screen import show_json
from orlop.wire import memory_import
from orlop.wire.memory_import import Brought, Format

BATCH: Final = 200
SKIPPED_SHOWN: Final = 20
FORMATS: Final[dict[str, Format]] = {name: name for name in get_args(Format)}


@click.command()
@click.option("--namespace", "-n", "namespaces", multiple=True, help="With all below; else all.")
@click.option("--past", is_flag=True, help="Also versions that are known no more.")
@framed
def export(frame: Frame, namespaces: tuple[str, ...], past: bool) -> None:
    """Write memories as lines of JSON to standard output."""
    for line in MemoryOperator(frame.link()).exported(namespaces, past=past):
        if line.strip():
            sys.stdout.buffer.write(line.rstrip(b"\n") + b"\n")
    sys.stdout.buffer.flush()


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), default="orlop")
@click.option("--namespace", "-n", default="", help="For all, whatever the file says.")
@framed
def import_(frame: Frame, file: Path, format_: str, namespace: str) -> None:
    """Remember what FILE holds: our own export, or one of Mem0, Letta or a LangGraph store."""
    kernel = SyncKernel(frame.link())
    report = bring(kernel, list(memory_import.read(FORMATS[format_], file.read_text())), namespace)
    if frame.as_json:
        show_json(report)
        return
    click.echo(f"{report.written} of {report.read} memories written")
    for reason in report.skipped:
        click.echo(f"  {reason}", err=True)


def bring(kernel: SyncKernel, brought: list[Brought], namespace: str) -> ImportReport:
    """In batches; one that is refused is tried again one by one, so that only the bad are left."""
    by_place: dict[str, list[Item]] = {}
    for one in brought:
        by_place.setdefault(namespace or one.namespace or "common/imported", []).append(one.item)
    written, skipped = 0, list[str]()
    for place, items in by_place.items():
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            try:
                kernel.remember(batch, namespace=place)
                written += len(batch)
            except KernelError:
                for item in batch:
                    try:
                        kernel.remember([item], namespace=place)
                        written += 1
                    except KernelError as error:
                        skipped.append(f"{item.key or item.text[:40]!r}: {error.message}")
    return ImportReport(read=len(brought), written=written, skipped=tuple(skipped[:SKIPPED_SHOWN]))
