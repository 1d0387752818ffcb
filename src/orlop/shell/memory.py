"""`orlop memory`: what agents remember, from the command line."""

import json
from collections.abc import Sequence
from typing import Final

import click

from orlop.abi.errors import BadCall
from orlop.abi.memory import Memory
from orlop.console.frame import Frame, framed
from orlop.console.lazy import Entry, LazyGroup
from orlop.console.screen import fields, show_json, size
from orlop.sdk.memory import MemoryOperator
from orlop.sdk.sync import SyncKernel

NOW: Final = "Now"
PAST: Final = "The past"
RULES: Final = "Rules"
HERE: Final = "orlop.shell.memory:"
BEFORE: Final = "orlop.shell.memory_past:"
OF_ALL: Final = "orlop.shell.memory_rules:"
MOVING: Final = "orlop.shell.memory_files:"

COMMANDS: Final = {
    "add": Entry(NOW, "Remember something.", HERE + "add"),
    "recall": Entry(NOW, "Find what is known.", HERE + "recall"),
    "forget": Entry(NOW, "Recall it no more; the history stays.", HERE + "forget"),
    "stats": Entry(NOW, "Show how much there is, and where it lies.", HERE + "stats"),
    "history": Entry(PAST, "Show all versions of a memory.", BEFORE + "history"),
    "why": Entry(PAST, "Show what taught it and what used it.", BEFORE + "why"),
    "as-of": Entry(PAST, "Find what was known at an event.", HERE + "as_of"),
    "diff": Entry(PAST, "Show what changed in a namespace.", BEFORE + "diff"),
    "rollback": Entry(PAST, "Take a namespace back, as new versions.", BEFORE + "rollback"),
    "share": Entry(RULES, "Open an agent's namespace to others.", OF_ALL + "share"),
    "kind": Entry(RULES, "Give a kind of memories a schema.", OF_ALL + "kind"),
    "subject": Entry(RULES, "Join or part what is known of whom.", OF_ALL + "subject"),
    "erase": Entry(RULES, "Erase a subject, with a certificate.", OF_ALL + "erase"),
    "model": Entry(RULES, "Search by another model's vectors.", OF_ALL + "model"),
    "tidy": Entry(RULES, "Merge duplicates, close what faded.", "orlop.shell.memory_tidy:tidy"),
    "export": Entry(RULES, "Write all as lines of JSON.", MOVING + "export"),
    "import": Entry(RULES, "Read memories from a file.", MOVING + "import_"),
}


class MemoryGroup(LazyGroup):
    entries = COMMANDS


@click.group(cls=MemoryGroup)
def memory() -> None:
    """What agents remember: versioned, attributable, as of any moment.

    Of each memory, `history` shows its versions and `why` the answers that used it.
    """


def kernel(frame: Frame) -> SyncKernel:
    return SyncKernel(frame.link())


def operator(frame: Frame) -> MemoryOperator:
    return MemoryOperator(frame.link())


@click.command()
@click.argument("text")
@click.option("--namespace", "-n", default="common", show_default=True, help="Where.")
@click.option("--key", default="", help="Supersede what has this key.")
@click.option("--kind", default="fact", show_default=True)
@click.option("--subject", "subjects", multiple=True, help="Whom it is about: channel:value.")
@click.option("--source", "sources", multiple=True, help="What taught it.")
@click.option("--ttl", type=float, help="Seconds until it is recalled no more.")
@click.option("--confidence", type=float, default=1.0, show_default=True)
@click.option("--expected", type=int, help="Only if this is the current version; 0: none.")
@click.option("--attribute", "attributes", multiple=True, help="NAME=VALUE; VALUE as JSON or text.")
@framed
def add(
    frame: Frame,
    text: str,
    namespace: str,
    key: str,
    kind: str,
    subjects: tuple[str, ...],
    sources: tuple[str, ...],
    ttl: float | None,
    confidence: float,
    expected: int | None,
    attributes: tuple[str, ...],
) -> None:
    """Remember TEXT."""
    done = kernel(frame).remember(
        text,
        namespace=namespace,
        key=key,
        kind=kind,
        subjects=subjects,
        sources=sources,
        ttl_s=ttl,
        confidence=confidence,
        expected=expected,
        attributes=attributes_of(attributes),
    )
    if frame.as_json:
        show_json(done)
        return
    one = done.written[0]
    was = f", instead of version {one.supersedes}" if one.supersedes else ""
    click.echo(f"{one.memory} version {one.version} in {done.namespace}{was}")
    if done.note:
        click.echo(done.note, err=True)


@click.command()
@click.argument("query", default="")
@click.option("--namespace", "-n", "namespaces", multiple=True, help="`a/b`, or `a/*`; else all.")
@click.option("--key", default="")
@click.option("--subject", default="", help="Of whom: one of his identifiers.")
@click.option("--kind", "kinds", multiple=True)
@click.option("--attribute", "attributes", multiple=True, help="NAME=VALUE that it must have.")
@click.option("--limit", type=int, default=10, show_default=True)
@click.option("--as-of", type=int, help="As known at this event.")
@framed
def recall(
    frame: Frame,
    query: str,
    namespaces: tuple[str, ...],
    key: str,
    subject: str,
    kinds: tuple[str, ...],
    attributes: tuple[str, ...],
    limit: int,
    as_of: int | None,
) -> None:
    """Find what is known, best first; without QUERY the newest."""
    wanted = attributes_of(attributes)
    _recall(frame, query, namespaces, key, subject, kinds, wanted, limit, as_of)


@click.command("as-of")
@click.argument("seq", type=int)
@click.argument("query", default="")
@click.option("--namespace", "-n", "namespaces", multiple=True, help="`a/b`, or `a/*`; else all.")
@click.option("--limit", type=int, default=10, show_default=True)
@framed
def as_of(frame: Frame, seq: int, query: str, namespaces: tuple[str, ...], limit: int) -> None:
    """Find what was known at event SEQ."""
    _recall(frame, query, namespaces, "", "", (), {}, limit, seq)


def _recall(
    frame: Frame,
    query: str,
    namespaces: Sequence[str],
    key: str,
    subject: str,
    kinds: Sequence[str],
    attributes: dict[str, object],
    limit: int,
    moment: int | None,
) -> None:
    done = kernel(frame).recall(
        query,
        namespaces=namespaces or ("*",),
        key=key,
        subject=subject,
        kinds=kinds,
        attributes=attributes,
        limit=limit,
        as_of=moment,
    )
    if frame.as_json:
        show_json(done)
        return
    click.echo("\n".join(map(line_of, done.memories)) or "nothing is known of that")
    click.echo(f"({done.tier}; by {', '.join(done.searched) or 'nothing'})", err=True)
    if done.note:
        click.echo(done.note, err=True)


@click.command()
@click.argument("memories", nargs=-1)
@click.option("--key", "keys", multiple=True)
@click.option("--namespace", "-n", default="common", show_default=True, help="Of the keys.")
@framed
def forget(frame: Frame, memories: tuple[str, ...], keys: tuple[str, ...], namespace: str) -> None:
    """Recall MEMORIES no more; their history stays."""
    done = kernel(frame).forget(*memories, keys=keys, namespace=namespace)
    if frame.as_json:
        show_json(done)
    else:
        click.echo("\n".join(f"{one.memory}: forgotten" for one in done.forgotten))


@click.command()
@framed
def stats(frame: Frame) -> None:
    """Show how much is remembered, and what lies in RAM."""
    found = operator(frame).stats()
    if frame.as_json:
        show_json(found)
        return
    pairs = [
        ("current", str(found.current)),
        ("versions", str(found.versions)),
        ("namespaces", str(found.namespaces)),
        ("recalls", str(found.recalls)),
        ("searched by", f"{found.model or 'words alone'} ({found.store})"),
        ("on disk", size(found.disk_bytes)),
    ]
    pairs += [(f"vectors {model}", str(count)) for model, count in found.vectors.items()]
    for shelf in found.shelves:
        asked = shelf.hits + shelf.misses
        rate = f"{100 * shelf.hits / asked:.0f} %" if asked else "-"
        pairs.append(
            (
                f"RAM {shelf.tenant}",
                f"{size(shelf.bytes)} of {size(shelf.bytes_max)}, {shelf.blocks} blocks, hit rate"
                f" {rate} ({shelf.hits} of {asked}), {shelf.evictions} driven out",
            )
        )
    click.echo(fields(pairs))
    if found.note:
        click.echo(found.note, err=True)


def attributes_of(given: Sequence[str]) -> dict[str, object]:
    """Raises `BadCall`."""
    found: dict[str, object] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise BadCall(f"--attribute {one!r}: write NAME=VALUE, as in `amount=20`")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def line_of(one: Memory) -> str:
    state = "" if one.state == "current" else f" [{one.state}]"
    about = f" ({one.subject})" if one.subject else ""
    return f"{one.memory}@{one.version} {one.namespace}{about}: {one.text}{state}"
