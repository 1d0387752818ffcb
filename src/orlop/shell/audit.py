"""`orlop audit`: the journal for those who must answer for it."""

import hashlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Final

import click
import msgspec
from msgspec import Struct

from orlop.abi.errors import BadCall
from orlop.abi.ids import Nanoseconds
from orlop.console.frame import Frame, framed
from orlop.console.screen import money, shortened, show_json, show_json_line, table
from orlop.machine import plain_clock
from orlop.wire.audit import Line, Record, Recorder

NS: Final = 1_000_000_000
UNITS: Final = {"h": 3_600, "d": 86_400, "w": 604_800}
TITLES: Final = ("TIME", "PERSON", "WORD", "ON", "AGENT", "KNOWN BY", "MINUTES", "COST", "NOTE")
READ_ME: Final = """\
events.jsonl    every event of the range: the header as it was hashed, and its content
records.jsonl   the same for reading: a line a call, life of an agent, act of a person, refusal,
                incident; `seq` and `hash` name the event that ended it
index.json      the range, what is missing in it and why, and the SHA-256 of each file
journal.pub     the public key that checks signatures

That an event is in the journal that was signed: `orlop journal prove SEQ` there, and
`orlop journal check-proof FILE --key journal.pub` anywhere.
"""


class Index(Struct, frozen=True, kw_only=True):
    """What an export holds."""

    made: str
    since: str
    until: str
    events: int
    first_seq: int | None
    last_seq: int | None
    last_hash: str
    untold: int
    """Events whose content retention or a forgotten key took; their headers are there."""
    records: int
    sha256: dict[str, str]


@click.group()
def audit() -> None:
    """Export the journal for auditors; list who approved what."""


@audit.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--since", default="180d", show_default=True, help="As in 36h, 180d, 26w, a date.")
@click.option("--until", default="", help="A date; default: now.")
@framed
def export(frame: Frame, folder: Path, since: str, until: str) -> None:
    """Write events, readable records and their index to FOLDER, which must be empty or new.

    What EU AI Act articles 12 and 26 (6) ask of records, as far as they pass the kernel: see
    docs/governance.md.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BadCall(f"{folder} is not empty: an export does not overwrite anything")
    begin_ns, end_ns = instant(since), instant(until) if until else plain_clock.wall_ns()
    folder.mkdir(parents=True, exist_ok=True)
    index = _write(frame, folder, begin_ns, end_ns)
    if frame.as_json:
        show_json(index)
    else:
        click.echo(f"{index.events:,} events and {index.records:,} records are in {folder}")


@audit.command()
@click.option("--since", default="30d", show_default=True, help="As in 36h, 180d, 26w, a date.")
@framed
def people(frame: Frame, since: str) -> None:
    """List what people have said and done: who approved what, and how that is known."""
    recorder, begin_ns = Recorder(), instant(since)
    rows = list[Record]()
    for _, line in _lines(frame):
        made = list(recorder.feed(line))
        if line.header.wall_ns >= begin_ns:
            rows += [record for record in made if record.kind == "person"]
    if frame.as_json:
        for record in rows:
            show_json_line(record)
        return
    shown = [
        (
            row.time[:19],
            row.person or "nobody",
            row.outcome or row.action,
            shortened(row.action),
            row.agent,
            row.known_by,
            f"{row.minutes:g}",
            money(row.cost),
            shortened(row.note),
        )
        for row in rows
    ]
    click.echo(table(TITLES, shown, frozenset({6, 7})))


def instant(text: str) -> Nanoseconds:
    """A date (RFC 3339, UTC unless it says otherwise), or a time that long ago."""
    number, unit = text[:-1], text[-1:]
    if unit in UNITS and number.isascii() and number.isdecimal() and len(number) < 7:
        return Nanoseconds(plain_clock.wall_ns() - int(number) * UNITS[unit] * NS)
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadCall(f"{text!r} is no time: write 36h, 180d, 26w, or 2026-01-31") from error
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return Nanoseconds(int((when - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)) * NS)


def _lines(frame: Frame) -> Iterator[tuple[bytes, Line]]:
    for raw in frame.operator().export(process="", first=1, last=None):
        yield raw, msgspec.json.decode(raw, type=Line)


class _Hashed:
    """A file, and the digest of what was written to it."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("xb")
        self._digest = hashlib.sha256()

    def line(self, data: bytes) -> None:
        self._file.write(data + b"\n")
        self._digest.update(data + b"\n")

    def close(self) -> str:
        self._file.close()
        return self._digest.hexdigest()


def _write(frame: Frame, folder: Path, begin_ns: Nanoseconds, end_ns: Nanoseconds) -> Index:
    events, records = _Hashed(folder / "events.jsonl"), _Hashed(folder / "records.jsonl")
    recorder, seqs, count, made = Recorder(), list[int](), 0, 0
    last_hash, untold = "", 0
    for raw, line in _lines(frame):
        before = recorder.untold
        found = list(recorder.feed(line))
        if not begin_ns <= line.header.wall_ns <= end_ns:
            continue
        events.line(raw)
        seqs, last_hash = [*seqs[:1], line.header.seq], line.header.hash.hex()
        count, untold = count + 1, untold + recorder.untold - before
        for record in found:
            records.line(msgspec.json.encode(record))
        made += len(found)
    for record in recorder.rest():
        records.line(msgspec.json.encode(record))
        made += 1
    public = frame.home / "keys" / "journal.pub"
    if public.is_file():
        shutil.copy(public, folder / "journal.pub")
    (folder / "README.txt").write_text(READ_ME)
    index = Index(
        made=_text(plain_clock.wall_ns()),
        since=_text(begin_ns),
        until=_text(end_ns),
        events=count,
        first_seq=seqs[0] if seqs else None,
        last_seq=seqs[-1] if seqs else None,
        last_hash=last_hash,
        untold=untold,
        records=made,
        sha256={"events.jsonl": events.close(), "records.jsonl": records.close()},
    )
    (folder / "index.json").write_bytes(msgspec.json.format(msgspec.json.encode(index)) + b"\n")
    return index


def _text(wall_ns: Nanoseconds) -> str:
    return datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat(timespec="seconds")
