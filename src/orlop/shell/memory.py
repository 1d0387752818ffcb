"""`orlop memory`: what agents remember, from the command line."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from orlop.abi.ids import Seq
from orlop.abi.memory import Memory, ShareAccess
from orlop.abi.memory_orders import (
    EraseOrder,
    KindOrder,
    ReembedOrder,
    RollbackOrder,
    ShareOrder,
    SubjectOrder,
)
from orlop.console.confirm import confirm
from orlop.console.frame import Frame, framed
from orlop.console.lazy import Entry, LazyGroup
from orlop.console.screen import date, fields, show_json, size, table
from orlop.sdk.memory import MemoryOperator
from orlop.sdk.sync import SyncKernel

NOW: Final = "Now"
PAST: Final = "The past"
RULES: Final = "Rules"
HERE: Final = "orlop.shell.memory:"
MOVING: Final = "orlop.shell.memory_files:"

COMMANDS: Final = {
    "add": Entry(NOW, "Remember something.", HERE + "add"),
    "recall": Entry(NOW, "Find what is known.", HERE + "recall"),
    "forget": Entry(NOW, "Recall it no more; the history stays.", HERE + "forget"),
    "stats": Entry(NOW, "Show how much there is, and where it lies.", HERE + "stats"),
    "history": Entry(PAST, "Show all versions of a memory.", HERE + "history"),
    "why": Entry(PAST, "Show what taught it and what used it.", HERE + "why"),
    "as-of": Entry(PAST, "Find what was known at an event.", HERE + "as_of"),
    "diff": Entry(PAST, "Show what changed in a namespace.", HERE + "diff"),
    "rollback": Entry(PAST, "Take a namespace back, as new versions.", HERE + "rollback"),
    "share": Entry(RULES, "Open an agent's namespace to others.", HERE + "share"),
    "kind": Entry(RULES, "Give a kind of memories a schema.", HERE + "kind"),
    "subject": Entry(RULES, "Join or part what is known of whom.", HERE + "subject"),
    "erase": Entry(RULES, "Erase a subject, with a certificate.", HERE + "erase"),
    "model": Entry(RULES, "Search by another model's vectors.", HERE + "model"),
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
@click.option("--namespace", "-n", "namespaces", multiple=True, help="`a/b`, or `a/*`; all else.")
@click.option("--key", default="")
@click.option("--subject", default="", help="Of whom: one of his identifiers.")
@click.option("--kind", "kinds", multiple=True)
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
    limit: int,
    as_of: int | None,
) -> None:
    """Find what is known, best first; without QUERY the newest."""
    _recall(frame, query, namespaces, key, subject, kinds, limit, as_of)


@click.command("as-of")
@click.argument("seq", type=int)
@click.argument("query", default="")
@click.option("--namespace", "-n", "namespaces", multiple=True, help="`a/b`, or `a/*`; all else.")
@click.option("--limit", type=int, default=10, show_default=True)
@framed
def as_of(frame: Frame, seq: int, query: str, namespaces: tuple[str, ...], limit: int) -> None:
    """Find what was known at event SEQ."""
    _recall(frame, query, namespaces, "", "", (), limit, seq)


def _recall(
    frame: Frame,
    query: str,
    namespaces: Sequence[str],
    key: str,
    subject: str,
    kinds: Sequence[str],
    limit: int,
    moment: int | None,
) -> None:
    done = kernel(frame).recall(
        query,
        namespaces=namespaces or ("*",),
        key=key,
        subject=subject,
        kinds=kinds,
        limit=limit,
        as_of=moment,
    )
    if frame.as_json:
        show_json(done)
        return
    click.echo("\n".join(map(_line, done.memories)) or "nothing is known of that")
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


@click.command()
@click.argument("memory")
@framed
def history(frame: Frame, memory: str) -> None:
    """Show all versions of MEMORY, from the event that taught it."""
    found = operator(frame).history(memory)
    if frame.as_json:
        show_json(found)
        return
    rows = [
        (
            str(one.version),
            one.state,
            f"{one.known_from}..{one.known_to or ''}",
            date(one.wall_ns),
            one.process,
            "blind" if one.blind else "",
            ", ".join(one.sources),
            one.text,
        )
        for one in found
    ]
    titles = ("version", "state", "known", "written", "by", "", "sources", "text")
    click.echo(table(titles, rows, frozenset({0})))


@click.command()
@click.argument("name")
@framed
def why(frame: Frame, name: str) -> None:
    """Of a memory (`mem_…`): what taught it and the answers that used it.  Of a call (`cal_…`):
    what its process had recalled before it."""
    found = operator(frame).evidence(name)
    if frame.as_json:
        show_json(found)
        return
    for one in found.history:
        taught = ", ".join(one.sources) or f"call {one.call or '-'}"
        there = _in(found.kernels.get(one.call, ""))
        click.echo(
            f"{_line(one)}\n    taught by {taught}, event {one.known_from}, {one.process}{there}"
        )
    for use in found.uses:
        then = "; then " + ", ".join(use.then) if use.then else ""
        click.echo(
            f"recalled at event {use.seq} (version {use.version}) by {use.process}"
            f" in {use.call}{_in(use.kernel)}{then}"
        )


def _in(kernel: str) -> str:
    """Where another kernel than the one that was asked has it."""
    return f", on the kernel {kernel}" if kernel else ""


@click.command()
@click.argument("namespace")
@click.argument("before", type=int)
@click.argument("after", type=int, default=0)
@framed
def diff(frame: Frame, namespace: str, before: int, after: int) -> None:
    """Show what changed in NAMESPACE from event BEFORE to event AFTER (now)."""
    found = operator(frame).diff(namespace, Seq(before), Seq(after))
    if frame.as_json:
        show_json(found)
        return
    for one in found:
        if one.before is not None:
            click.echo(click.style(f"- {_line(one.before)}", fg="red"))
        if one.after is not None:
            click.echo(click.style(f"+ {_line(one.after)}", fg="green"))
    if not found:
        click.echo("nothing changed")


@click.command()
@click.argument("namespace")
@click.argument("seq", type=int)
@click.option("--reason", default="", help="For the record.")
@framed
def rollback(frame: Frame, namespace: str, seq: int, reason: str) -> None:
    """Take NAMESPACE back to what was known at event SEQ, as new versions."""
    order = RollbackOrder(namespace=namespace, seq=Seq(seq), reason=reason)
    done = operator(frame).rollback(order)
    if frame.as_json:
        show_json(done)
    else:
        click.echo(f"{len(done)} memories of {namespace} are as they were at event {seq}")


ACCESS: Final[dict[str, tuple[ShareAccess, ...]]] = {
    "read": ("read",),
    "write": ("read", "write"),
    "none": (),
}


@click.command()
@click.argument("namespace", default="")
@click.argument("whom", default="")
@click.option("--access", type=click.Choice(list(ACCESS)), default="read", show_default=True)
@framed
def share(frame: Frame, namespace: str, whom: str, access: str) -> None:
    """Open NAMESPACE to WHOM (`agent:NAME`, `team:NAME` or `*`); without both, list all."""
    here = operator(frame)
    if namespace:
        order = ShareOrder(namespace=namespace, whom=whom, access=ACCESS[access])
        found = here.share(order)
    else:
        found = here.shares()
    if frame.as_json:
        show_json(found)
        return
    if not found:
        click.echo(
            "every namespace is as it began: `agents/NAME` is that agent's, the rest is open"
        )
        return
    rows = [(one.namespace, one.whom, ", ".join(one.access)) for one in found]
    click.echo(table(("NAMESPACE", "WHOM", "ACCESS"), rows, frozenset()))


@click.command()
@click.argument("name", default="")
@click.argument("schema", type=click.Path(path_type=Path, exists=True), required=False)
@framed
def kind(frame: Frame, name: str, schema: Path | None) -> None:
    """Give the kind NAME the JSON schema in the file SCHEMA; without both, list them."""
    here = operator(frame)
    if schema is None:
        found = here.kinds()
    else:
        try:
            text: object = json.loads(schema.read_text())
        except ValueError as error:
            raise click.BadParameter(f"{schema}: {error}") from error
        if not isinstance(text, dict):
            raise click.BadParameter(f"{schema}: a JSON object")
        found = [here.set_kind(KindOrder(name=name, schema=text))]
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no kind has a schema")
    else:
        rows = [(one.memory_kind, str(one.version)) for one in found]
        click.echo(table(("KIND", "VERSION"), rows, frozenset({1})))


@click.command()
@click.argument("identifiers", nargs=-1, required=True)
@click.option("--split", is_flag=True, help="They are a subject of their own.")
@click.option("--reason", default="", help="For the record.")
@framed
def subject(frame: Frame, identifiers: tuple[str, ...], split: bool, reason: str) -> None:
    """Say that IDENTIFIERS are one subject's, as in `mail:ann@example.com chat:77`."""
    order = SubjectOrder(identifiers=identifiers, split=split, reason=reason)
    done = operator(frame).subjects(order)
    if frame.as_json:
        show_json(done)
    else:
        click.echo(f"{done.subject}: {', '.join(done.identifiers)}")


@click.command()
@click.argument("who")
@click.option("--reason", default="", help="For the record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@framed
def erase(frame: Frame, who: str, reason: str, yes: bool) -> None:
    """Erase all memories of WHO, in all versions, and print the certificate."""
    if not yes:
        confirm(f"erase all that is known of {who}, for ever?")
    show_json(operator(frame).erase(EraseOrder(subject=who, reason=reason)))


@click.command()
@click.argument("name")
@framed
def model(frame: Frame, name: str) -> None:
    """Embed all memories by the model NAME in the background, then search by it.

    The vectors of before stay: naming the old model again goes back at once.
    """
    found = operator(frame).reembed(ReembedOrder(model=name))
    if frame.as_json:
        show_json(found)
    else:
        have = found.vectors.get(name, 0)
        click.echo(f"{have} of {found.versions} versions have a vector by {name}")


def _line(one: Memory) -> str:
    state = "" if one.state == "current" else f" [{one.state}]"
    about = f" ({one.subject})" if one.subject else ""
    return f"{one.memory}@{one.version} {one.namespace}{about}: {one.text}{state}"
