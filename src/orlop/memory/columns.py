"""The columns of memories' rows: how a version lies in them."""

from hashlib import sha256
from typing import Final

from orlop.abi.ids import CallId, Nanoseconds, ProcessId, Seq, TenantId
from orlop.abi.labels import to_column
from orlop.abi.memory import Version

ALWAYS_NS: Final = 0
"""Valid from ever."""
NEVER_NS: Final = (1 << 63) - 1
"""Valid for ever."""

COLUMNS: Final = (
    "tenant, namespace, memory, version, key, kind, text, attributes, subject, known_from,"
    " known_to, closed, valid_from, valid_to, expires, confidence, sources, model, process, call,"
    " wall, sealed, shape, blind, scope, home, labels"
)
INSERT: Final = f"INSERT INTO version({COLUMNS}) VALUES ({','.join('?' * len(COLUMNS.split(',')))})"
UPSERT: Final = (
    f"{INSERT} ON CONFLICT(memory, version) DO UPDATE SET known_to = excluded.known_to,"
    " closed = excluded.closed, home = excluded.home RETURNING id"
)


def scope_of(tenant: TenantId, namespace: str) -> str:
    """One word that stands for a namespace in the index of words: digits, which have no stem."""
    digest = sha256(f"{tenant}\0{namespace}".encode()).digest()
    return f"9{int.from_bytes(digest[:8])}"


def known(as_of: Seq | None) -> str:
    """A condition on rows with two times."""
    if as_of is None:
        return "known_to IS NULL"
    seq = int(as_of)
    return f"known_from <= {seq} AND (known_to IS NULL OR known_to > {seq})"


def values_of(
    version: Version,
    content: tuple[str, str, str],
    place: tuple[TenantId, str],
    known: tuple[Seq, Seq | None, str],
    origin: tuple[ProcessId, CallId, Nanoseconds],
    blind: bool,
    scope: tuple[str, Seq],
    labels: tuple[str, ...],
) -> tuple[object, ...]:
    """In the order of `COLUMNS`."""
    text, attributes, sources = content
    return (
        *place,
        version.memory,
        version.version,
        version.key,
        version.kind,
        text,
        attributes,
        version.subject,
        *known,
        ALWAYS_NS if version.valid_from_ns is None else version.valid_from_ns,
        NEVER_NS if version.valid_to_ns is None else version.valid_to_ns,
        NEVER_NS if version.expires_ns is None else version.expires_ns,
        version.confidence,
        sources,
        version.model,
        *origin,
        version.sealed,
        version.schema,
        blind,
        *scope,
        to_column(labels),
    )
