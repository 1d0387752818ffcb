"""`orlop export` and `orlop import`: everything as JSON lines and plain files, for people, other
systems, and another kernel.

events.jsonl          the journal: processes, calls, decisions, in order
messages/NAME.json    what calls and answers said; events name them
files.jsonl           every version of every file, oldest first; `sha256` names its content
blobs/SHA256          the contents
memories.jsonl        every version of every memory
manifest.json         what this is, and how much; written last

A copy to run on is made by `orlop backup`: this one brings files and memories into another kernel,
and its events are for reading.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import click
import msgspec
from msgspec import Struct

from orlop.abi.errors import BadCall, KernelError, NotFound
from orlop.abi.files import FileView
from orlop.console.frame import Frame, framed
from orlop.console.screen import fields, show_json
from orlop.sdk.files_sync import SyncFiles
from orlop.sdk.memory import MemoryOperator
from orlop.sdk.operator import Operator
from orlop.shell.files import kernel
from orlop.shell.memory_files import bring
from orlop.wire import memory_import

FORMAT: Final = 1


class Manifest(Struct, frozen=True, kw_only=True):
    format: int
    events: int
    messages: int
    versions: int
    blobs: int
    memories: int


class FileLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of one file."""

    path: str
    version: int
    seq: int
    at_ns: int
    process: str
    deleted: bool = False
    size: int = 0
    sha256: str = ""
    labels: tuple[str, ...] = ()


class Brought(Struct, frozen=True, kw_only=True):
    """What an import did."""

    versions: int
    there_already: int
    memories: int
    skipped: tuple[str, ...]


class _Names(Struct, frozen=True):
    """What an event names, as far as it is looked for here."""

    context: "_Context | None" = None
    messages: tuple[str, ...] = ()


class _Context(Struct, frozen=True):
    new: tuple[str, ...] = ()


class _Line(Struct, frozen=True):
    event: _Names | None = None


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@framed
def export(frame: Frame, folder: Path) -> None:
    """Write everything as JSON lines and files.

    To a new FOLDER: events, messages, all versions of files and of memories.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BadCall(f"{folder} is not empty: name a new folder")
    operator, tree = frame.operator(), kernel(frame).files
    for path in (folder, folder / "messages", folder / "blobs"):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    events, messages = _events(operator, folder)
    versions, blobs = _files(tree, folder)
    lines = MemoryOperator(frame.link()).exported((), past=True)
    memories = _write_lines(folder / "memories.jsonl", lines)
    made = Manifest(
        format=FORMAT,
        events=events,
        messages=messages,
        versions=versions,
        blobs=blobs,
        memories=memories,
    )
    _write(folder / "manifest.json", msgspec.json.format(msgspec.json.encode(made)))
    if frame.as_json:
        show_json(made)
    else:
        click.echo(
            fields([(name, str(value)) for name, value in msgspec.structs.asdict(made).items()])
        )


def _events(operator: Operator, folder: Path) -> tuple[int, int]:
    """How many, and how many messages they name."""
    names: set[str] = set()

    def noticed() -> Iterator[bytes]:
        for line in operator.export(process="", first=1, last=None):
            event = msgspec.json.decode(line, type=_Line).event
            if event is not None:
                names.update(event.messages)
                names.update(event.context.new if event.context is not None else ())
            yield line

    count, found = _write_lines(folder / "events.jsonl", noticed()), 0
    for name in sorted(names):
        try:
            _write(folder / "messages" / f"{name}.json", operator.part(name))
            found += 1
        except NotFound:  # It was pruned, and its event says so.
            continue
    return count, found


def _files(tree: SyncFiles, folder: Path) -> tuple[int, int]:
    """How many versions, and how many different contents."""
    digests: set[str] = set()

    def lines() -> Iterator[bytes]:
        for row in tree.list("/", deep=True, since=0):
            for version in tree.versions(row.path):
                line = _line(tree, version, folder, digests)
                yield msgspec.json.encode(line)

    return _write_lines(folder / "files.jsonl", lines()), len(digests)


def _line(tree: SyncFiles, row: FileView, folder: Path, digests: set[str]) -> FileLine:
    made = FileLine(
        path=row.path,
        version=row.version,
        seq=row.seq,
        at_ns=row.at_ns,
        process=row.process,
        deleted=row.kind == "deleted",
        labels=row.labels,
    )
    if made.deleted:
        return made
    data = tree.read(row.path, version=row.version)
    digest = sha256(data).hexdigest()
    if digest not in digests:
        _write(folder / "blobs" / digest, data)
        digests.add(digest)
    return msgspec.structs.replace(made, size=len(data), sha256=digest)


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--under", default="", help="Files go below this folder, instead of where they were.")
@framed
def import_(frame: Frame, folder: Path, under: str) -> None:
    """Bring an export's files and memories here.

    Version by version.  What is there already is left as it is, so an import that was cut off can
    be made again.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise BadCall(f"{folder} is no whole export: it has no manifest.json")
    try:
        found = msgspec.json.decode(manifest.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise BadCall(f"{manifest} can't be read: {error}") from error
    if found.format != FORMAT:
        raise BadCall(f"{manifest} has format {found.format}, not {FORMAT}")
    system = kernel(frame)
    history: dict[str, list[FileLine]] = defaultdict(list)
    for line in _read_lines(folder / "files.jsonl"):
        one = msgspec.json.decode(line, type=FileLine)
        history[one.path].append(one)
    written, there, skipped = 0, 0, list[str]()
    for path, versions in history.items():
        try:
            done = _bring_file(system.files, folder, under.rstrip("/") + path, versions)
            written, there = written + done, there + len(versions) - done
        except (KernelError, OSError) as error:
            skipped.append(f"{path}: {error}")
    lines = (folder / "memories.jsonl").read_text()
    report = bring(system, list(memory_import.read("orlop", lines)), "") if lines.strip() else None
    made = Brought(
        versions=written,
        there_already=there,
        memories=report.written if report is not None else 0,
        skipped=(*skipped, *(report.skipped if report is not None else ())),
    )
    if frame.as_json:
        show_json(made)
        return
    click.echo(f"{written} versions of files, {made.memories} memories; {there} were there already")
    for reason in made.skipped:
        click.echo(f"  {reason}", err=True)


def _bring_file(tree: SyncFiles, folder: Path, path: str, versions: list[FileLine]) -> int:
    """How many versions were written.  Raises `BadCall` where another history is there."""
    known = _versions(tree, path)
    if len(known) > len(versions):
        raise BadCall(f"another history is there already ({len(known)} versions)")
    for row, one in zip(known, versions, strict=False):
        if (row.kind == "deleted") != one.deleted or (not one.deleted and row.size != one.size):
            raise BadCall(f"version {one.version} is another one here")
    if known and known[-1].kind != "deleted":
        data = tree.read(path, version=known[-1].version)
        if sha256(data).hexdigest() != versions[len(known) - 1].sha256:
            raise BadCall(f"version {known[-1].version} is another one here")
    for one in versions[len(known) :]:
        if one.deleted:
            tree.delete(path)
            continue
        data = (folder / "blobs" / one.sha256).read_bytes()
        if sha256(data).hexdigest() != one.sha256:
            raise BadCall(f"blob {one.sha256} of version {one.version} is damaged")
        tree.write(path, data, labels=one.labels)
    return len(versions) - len(known)


def _versions(tree: SyncFiles, path: str) -> list[FileView]:
    try:
        return list(tree.versions(path))
    except NotFound:
        return []


def _write_lines(path: Path, lines: Iterable[bytes]) -> int:
    count = 0
    with path.open("wb") as file:
        for line in lines:
            if line.strip():
                file.write(line.rstrip(b"\n") + b"\n")
                count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


def _read_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from filter(None, map(bytes.strip, file))


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
