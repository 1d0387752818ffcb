"""`orlop journal prove` and `check-proof`."""

import sys
from pathlib import Path

import click
import msgspec

from orlop.abi.errors import BadCall
from orlop.abi.ids import Seq
from orlop.console.frame import Frame, homed
from orlop.console.screen import fields, show_json
from orlop.settings import read_settings
from orlop.store import proof

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("seq", type=click.IntRange(min=1))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@homed
def prove(frame: Frame, seq: int, out: Path | None) -> None:
    """Write a proof that event SEQ is in the journal, on the files alone.

    Whoever has keys/journal.pub can check it with `orlop journal check-proof`, or by RFC 6962.
    """
    journal = read_settings(None, frame.home, ()).journal
    made = msgspec.json.format(msgspec.json.encode(proof.prove(frame.home, Seq(seq), journal)))
    if out is None:
        sys.stdout.buffer.write(made + b"\n")
        return
    out.write_bytes(made + b"\n")
    if not frame.as_json:
        click.echo(f"the proof is in {out}; it needs keys/journal.pub and nothing else")


@click.command("check-proof")
@click.argument("file", type=FILE)
@click.option("--key", type=FILE, help="The public key; default: this home's keys/journal.pub.")
@homed
def check_proof(frame: Frame, file: Path, key: Path | None) -> None:
    """Check a proof with a public key alone; no journal and no kernel are needed."""
    public = key or frame.home / "keys" / "journal.pub"
    if not public.is_file():
        raise BadCall(f"there is no public key in {public}: name one with --key")
    proven = proof.check(file.read_bytes(), public.read_bytes())
    if frame.as_json:
        show_json(proven)
        return
    shown = [("event", f"{proven.seq} of {proven.events:,} signed"), ("journal", proven.journal)]
    shown += [(name, str(value)) for name, value in proven.header.items() if name != "seq"]
    click.echo(fields([*shown, ("hash", proven.hash), ("proof", "holds")]))
