"""One recall: what was asked, resolved to rows, and the ways of searching made one order.

Runs beside the event loop, on one connection, in one thread at a time.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.ids import Seq, TenantId
from orlop.abi.limits import MEMORY_CANDIDATES_MAX
from orlop.abi.memory import Memory, Recall
from orlop.memory import finding, reading
from orlop.memory.finding import Filter
from orlop.memory.fuse import fused
from orlop.memory.meaning import Dense, Query, Ranking

AMONG_MAX: Final = 200_000
"""Rows that a filter by kind, subject or attributes may name for a search by meaning."""


class Asked(Struct, frozen=True, kw_only=True):
    """A recall whose rights are checked and whose times are known."""

    call: Recall
    tenant: TenantId
    namespaces: tuple[str, ...]
    now_ns: int
    model: str = ""
    vector: bytes = b""
    """The query's, by `model`; empty: no search by meaning."""


class Found(Struct, frozen=True, kw_only=True):
    """Best first."""

    memories: tuple[Memory, ...]
    searched: tuple[str, ...]
    from_ram: bool = True
    stale: tuple[Memory, ...] = ()
    note: str = ""
    known_seq: Seq = Seq(0)


def find(connection: sqlite3.Connection, dense: Dense | None, asked: Asked) -> Found:
    """What a recall gives: all of it as of one moment of the rows."""
    connection.execute("BEGIN")
    try:
        found = _find(connection, dense, asked)
        return replace(found, known_seq=reading.applied(connection))
    finally:
        connection.execute("COMMIT")


def _find(connection: sqlite3.Connection, dense: Dense | None, asked: Asked) -> Found:
    call = asked.call
    wanted = resolved(connection, asked)
    stale = tuple(reading.stale(connection, asked.tenant, call.holding, asked.now_ns))
    if call.memory:
        ids = finding.matching(connection, wanted, "memory = ?", (call.memory,), call.limit)
        return _plain(connection, ids, asked, "id", stale)
    if call.key:
        return _plain(
            connection, finding.key_ids(connection, wanted, call.key), asked, "key", stale
        )
    if not wanted.namespaces or (call.holding and not call.query and not asked.vector):
        return Found(memories=(), searched=(), stale=stale)
    if not call.query and not asked.vector:
        ids = finding.newest(connection, wanted, call.limit)
        return _plain(connection, ids, asked, "newest", stale)
    return _searched(connection, dense, asked, wanted, stale)


def resolved(connection: sqlite3.Connection, asked: Asked) -> Filter:
    """The filter, with the subject's identifiers and the moment that it means."""
    call = asked.call
    at_ns: int = asked.now_ns
    if call.valid_at_ns is not None:
        at_ns = call.valid_at_ns
    elif call.as_of is not None:
        at_ns = reading.moment_ns(connection, call.as_of)
    subjects: tuple[str, ...] | None = None
    if call.subject:
        subjects = reading.everybody(connection, asked.tenant, call.subject, call.as_of)
    return Filter(
        tenant=asked.tenant,
        namespaces=asked.namespaces,
        as_of=call.as_of,
        at_ns=at_ns,
        kinds=call.kinds,
        subjects=subjects,
        attributes=call.attributes,
        confidence_min=call.confidence_min,
    )


def _searched(
    connection: sqlite3.Connection,
    dense: Dense | None,
    asked: Asked,
    wanted: Filter,
    stale: tuple[Memory, ...],
) -> Found:
    call = asked.call
    lists, from_ram = _lists(connection, dense, asked, wanted)
    best = fused(lists, call.limit, _beside(connection, dense, asked, lists))
    if call.mode == "dense":
        cosines = dict(lists.get("dense", ()))
        best = [(id, cosines[id], found_by) for id, _, found_by in best]
    memories = reading.by_ids(connection, [id for id, _, _ in best], asked.now_ns)
    return Found(
        memories=tuple(
            replace(memory, score=round(score, 6), found_by=tuple(found_by))
            for memory, (_, score, found_by) in zip(memories, best, strict=True)
        ),
        searched=tuple(lists),
        from_ram=from_ram,
        stale=stale,
    )


def _lists(
    connection: sqlite3.Connection, dense: Dense | None, asked: Asked, wanted: Filter
) -> tuple[dict[str, Ranking], bool]:
    """What each way of searching finds, and whether the vectors came from RAM."""
    call = asked.call
    each = call.limit + MEMORY_CANDIDATES_MAX // 4 if call.mode == "fused" else call.limit
    lists: dict[str, Ranking] = {}
    from_ram = True
    if call.mode in ("fused", "words") and call.query:
        lists["words"] = finding.by_words(connection, wanted, call.query, each)
    if call.mode in ("fused", "dense") and asked.vector and dense is not None:
        among = None
        if not wanted.is_plain:
            among = finding.matching(connection, wanted, "1", (), AMONG_MAX)
        query = Query(
            wanted=wanted, model=asked.model, vector=asked.vector, limit=each, among=among
        )
        lists["dense"], from_ram = dense.search(connection, query)
    if call.mode == "newest":
        lists["newest"] = by_age(finding.newest(connection, wanted, each))
    elif call.mode == "fused":
        # Ids ascend with the sequence of their events.
        ids = {id for pairs in lists.values() for id, _ in pairs}
        lists["newest"] = by_age(sorted(ids, reverse=True))
    is_twofold = lists.get("words") and lists.get("dense")
    if is_twofold and (numbers := finding.numbers_of(call.query)):
        lists["numbers"] = finding.by_words(connection, wanted, " ".join(numbers), each)
    return lists, from_ram


def _beside(
    connection: sqlite3.Connection,
    dense: Dense | None,
    asked: Asked,
    lists: dict[str, Ranking],
) -> Ranking:
    """How near those are that words alone have found."""
    if dense is None or not (lists.get("words") and lists.get("dense")):
        return []
    named = {id for name in ("words", "numbers") for id, _ in lists.get(name, ())}
    others = sorted(named - {id for id, _ in lists["dense"]})
    return dense.cosines(connection, asked.model, asked.vector, others)


def by_age(ids: Sequence[int]) -> Ranking:
    """Newest first, with scores that fall from 1 in even steps."""
    return [(id, 1.0 - place / len(ids)) for place, id in enumerate(ids)]


def _plain(
    connection: sqlite3.Connection,
    ids: Sequence[int],
    asked: Asked,
    how: str,
    stale: tuple[Memory, ...],
) -> Found:
    memories = reading.by_ids(connection, ids[: asked.call.limit], asked.now_ns)
    return Found(memories=tuple(memories), searched=(how,), stale=stale)
