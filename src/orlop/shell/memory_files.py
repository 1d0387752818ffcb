"""`orlop memory export` and `import`: lines of JSON, and the exports of other systems."""

import sys
from pathlib import Path
from typing import Final, get_args

import click
import msgspec
from msgspec.structs import replace

from orlop.abi.errors import BadCall, KernelError, Misconfigured, NotReady
from orlop.abi.memory import Item
from orlop.abi.memory_orders import ImportReport
from orlop.console.frame import Frame, framed
from orlop.console.screen import show_json
from orlop.sdk.memory import MemoryOperator
from orlop.sdk.sync import SyncKernel
from orlop.wire import memory_import
from orlop.wire.memory_import import Brought, Format

BATCH: Final = 200
SKIPPED_SHOWN: Final = 20
NUMBERS: Final = 100_000
"""Numbers of vectors in one call."""
IN: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
OUT: Final = click.Path(path_type=Path, dir_okay=False, writable=True)
FORMATS: Final[dict[str, Format]] = {name: name for name in get_args(Format)}


@click.command()
@click.option("--namespace", "-n", "namespaces", multiple=True, help="With all below; else all.")
@click.option("--past", is_flag=True, help="Also versions that are known no more.")
@click.option("--vectors", is_flag=True, help="With the vectors that they are searched by.")
@click.option("--faiss", "index", type=OUT, help="Write the vectors to this index.")
@framed
def export(
    frame: Frame, namespaces: tuple[str, ...], past: bool, vectors: bool, index: Path | None
) -> None:
    """Write memories as lines of JSON to standard output.

    With --faiss, vector n of the index is that of line n, from 0.
    """
    if index is not None and past:
        raise click.UsageError("--faiss: an index has no past")
    operator = MemoryOperator(frame.link())
    lines = operator.exported(namespaces, past=past, vectors=vectors or index is not None)
    if index is not None:
        lines = iter(indexed(list(lines), index, vectors=vectors))
    for line in lines:
        if line.strip():
            sys.stdout.buffer.write(line.rstrip(b"\n") + b"\n")
    sys.stdout.buffer.flush()


def indexed(lines: list[bytes], index: Path, *, vectors: bool) -> list[bytes]:
    """Their vectors are in `index`, and in the lines only where they are wanted there too."""
    rows = [msgspec.json.decode(line, type=dict[str, object]) for line in lines if line.strip()]
    write_index(index, [vector_of(row) for row in rows])
    return lines if vectors else [msgspec.json.encode(without(row)) for row in rows]


def vector_of(row: dict[str, object]) -> tuple[float, ...]:
    """Raises `NotReady`."""
    numbers = row.get("vector")
    if not isinstance(numbers, list) or not numbers:
        raise NotReady(
            f"{row['memory']} has no vector yet; `orlop memory stats` tells how many have",
            retry_after_s=10.0,
        )
    return tuple(numbers)


def without(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in ("vector", "vector_model")}


@click.command("import")
@click.argument("file", type=IN)
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), default="orlop")
@click.option("--namespace", "-n", default="", help="For all, whatever the file says.")
@click.option("--faiss", "index", type=IN, help="Their vectors: number n is the n-th memory's.")
@click.option("--vector-model", default="", help="The model that made the vectors.")
@framed
def import_(
    frame: Frame, file: Path, format_: str, namespace: str, index: Path | None, vector_model: str
) -> None:
    """Remember what FILE holds: our own export, or one of Mem0, Letta or a LangGraph store."""
    if (index is None) != (not vector_model):
        raise click.UsageError("--faiss and --vector-model: one needs the other")
    brought = list(memory_import.read(FORMATS[format_], file.read_text()))
    if index is not None:
        brought = with_vectors(brought, index, vector_model)
    kernel = SyncKernel(frame.link())
    report = bring(kernel, brought, namespace)
    if frame.as_json:
        show_json(report)
        return
    click.echo(f"{report.written} of {report.read} memories written")
    for reason in report.skipped:
        click.echo(f"  {reason}", err=True)


def with_vectors(brought: list[Brought], index: Path, model: str) -> list[Brought]:
    """Raises `BadCall` where the index is of other memories."""
    vectors = read_index(index)
    if set(vectors) != set(range(len(brought))):
        raise BadCall(
            f"{index} has {len(vectors)} vectors, from number {min(vectors, default=0)} to"
            f" {max(vectors, default=0)}; the file has {len(brought)} memories, from 0"
        )
    return [
        Brought(one.namespace, replace(one.item, vector=vectors[number], vector_model=model))
        for number, one in enumerate(brought)
    ]


def read_index(path: Path) -> dict[int, tuple[float, ...]]:
    """Raises `Misconfigured`."""
    try:
        from orlop.shell.faiss_files import read
    except ImportError as error:
        raise Misconfigured(f"--faiss: {error}: `pip install faiss-cpu`") from error
    return read(path)


def write_index(path: Path, vectors: list[tuple[float, ...]]) -> None:
    """Raises `Misconfigured`."""
    try:
        from orlop.shell.faiss_files import write
    except ImportError as error:
        raise Misconfigured(f"--faiss: {error}: `pip install faiss-cpu`") from error
    if not vectors:
        raise BadCall("--faiss: there is no memory to be written")
    write(path, vectors)


def bring(kernel: SyncKernel, brought: list[Brought], namespace: str) -> ImportReport:
    """In batches; one that is refused is tried again one by one, so that only the bad are left."""
    by_place: dict[str, list[Item]] = {}
    for one in brought:
        by_place.setdefault(namespace or one.namespace or "common/imported", []).append(one.item)
    written, skipped = 0, list[str]()
    for place, items in by_place.items():
        longest = max(len(item.vector) for item in items)
        step = max(1, min(BATCH, NUMBERS // max(1, longest)))
        for start in range(0, len(items), step):
            batch = items[start : start + step]
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
