"""LangGraph's long-term store as files of the kernel: `graph.compile(store=OrlopStore())`.

Each item is a file of JSON, in a folder for each word of its namespace: so items have versions,
are shared by the same rules as other files, and `orlop files search` finds what is in them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)
from msgspec import Struct

from orlop.abi.errors import NotFound
from orlop.abi.files import FileView, FileWrite
from orlop.sdk.langgraph_records import word
from orlop.sdk.sync import SyncKernel, connect_sync

FOLDER: Final = "/langgraph-store"
CANDIDATES_MAX: Final = 100
"""Files that a search by text looks at."""

COMPARED: Final[Mapping[str, Callable[[object, object], bool]]] = {
    "$eq": lambda value, wanted: value == wanted,
    "$ne": lambda value, wanted: value != wanted,
    "$gt": lambda value, wanted: _number(value) > _number(wanted),
    "$gte": lambda value, wanted: _number(value) >= _number(wanted),
    "$lt": lambda value, wanted: _number(value) < _number(wanted),
    "$lte": lambda value, wanted: _number(value) <= _number(wanted),
}


class _Stored(Struct, frozen=True):
    """An item's file.  Names of folders may be digests, so it says what it is."""

    namespace: tuple[str, ...]
    key: str
    value: dict[str, object]
    created_ns: int


class OrlopStore(BaseStore):
    """Needs a kernel: the one that runs this program, else `kernel`.

    model: embeds what is searched for, and what is found; without one, words alone decide.
    """

    supports_ttl = False

    def __init__(
        self, kernel: SyncKernel | None = None, *, folder: str = FOLDER, model: str = ""
    ) -> None:
        self._files = (kernel or connect_sync()).files
        self._root = folder.rstrip("/")
        self._model = model

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Reads see what was there before; all writes are one transaction, of which the last one
        of each item counts."""
        results: list[Result] = []
        puts: dict[str, PutOp] = {}
        for op in ops:
            if isinstance(op, PutOp):
                puts[self._path(op.namespace, op.key)] = op
                results.append(None)
            else:
                results.append(self._answer(op))
        self._put(puts)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await asyncio.to_thread(self.batch, list(ops))

    def _answer(self, op: GetOp | SearchOp | ListNamespacesOp) -> Result:
        if isinstance(op, GetOp):
            return self._get(op)
        return self._search(op) if isinstance(op, SearchOp) else self._namespaces(op)

    # One item.

    def _get(self, op: GetOp) -> Item | None:
        rows = [row for row in self._rows(self._path(op.namespace, op.key)) if row.kind == "file"]
        return next(iter(self._items(rows)), None)

    def _put(self, puts: Mapping[str, PutOp]) -> None:
        written = [path for path, op in puts.items() if op.value is not None]
        before = self._files.read_those(written) if written else []
        files: list[FileWrite] = []
        for path, data in zip(written, before, strict=True):
            op = puts[path]
            created = 0 if data is None else msgspec.json.decode(data, type=_Stored).created_ns
            stored = _Stored(tuple(op.namespace), op.key, dict(op.value or {}), created)
            if data is not None and not created:
                versions = self._files.versions(path)
                stored = msgspec.structs.replace(stored, created_ns=versions[0].at_ns)
            files.append(FileWrite(path=path, data=msgspec.json.encode(stored)))
        if files:
            self._files.write_all(files)
        for path in puts.keys() - set(written):
            try:
                self._files.delete(path)
            except NotFound:
                continue

    # Many.

    def _search(self, op: SearchOp) -> list[SearchItem]:
        folder, scores = self._folder(op.namespace_prefix), dict[str, float]()
        if op.query:
            found = self._files.search(
                op.query, path=folder, limit=CANDIDATES_MAX, model=self._model
            )
            for hit in found.hits:
                scores.setdefault(hit.path, hit.score)
        rows = self._rows(folder)
        if scores:
            rows = sorted(rows, key=lambda row: -scores.get(row.path, 0.0))
        found_items: list[SearchItem] = []
        for row, item in zip(rows, self._items(rows), strict=True):
            if all(_fits(item.value.get(key), wanted) for key, wanted in (op.filter or {}).items()):
                found_items.append(
                    SearchItem(
                        namespace=item.namespace,
                        key=item.key,
                        value=item.value,
                        created_at=item.created_at,
                        updated_at=item.updated_at,
                        score=scores.get(row.path),
                    )
                )
        return found_items[op.offset : op.offset + op.limit]

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        items = self._items(self._rows(self._root or "/"))
        found = {item.namespace for item in items}
        kept = {
            one
            for one in found
            if all(_matches(one, condition) for condition in op.match_conditions or ())
        }
        if op.max_depth is not None:
            kept = {one[: op.max_depth] for one in kept}
        return sorted(kept)[op.offset : op.offset + op.limit]

    def _rows(self, path: str) -> list[FileView]:
        return [row for row in self._files.list(path, deep=True) if row.path.endswith(".json")]

    def _items(self, rows: Sequence[FileView]) -> list[Item]:
        contents = self._files.read_many([row.path for row in rows]) if rows else []
        items: list[Item] = []
        for row, data in zip(rows, contents, strict=True):
            stored = msgspec.json.decode(data, type=_Stored)
            items.append(
                Item(
                    namespace=stored.namespace,
                    key=stored.key,
                    value=stored.value,
                    created_at=_date(stored.created_ns or row.at_ns),
                    updated_at=_date(row.at_ns),
                )
            )
        return items

    def _folder(self, namespace: tuple[str, ...]) -> str:
        return "/".join([self._root, *(f"ns={word(one)}" for one in namespace)])

    def _path(self, namespace: tuple[str, ...], key: str) -> str:
        return f"{self._folder(namespace)}/{word(key)}.json"


def _matches(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    wanted = tuple(condition.path)
    if len(namespace) < len(wanted):
        return False
    end = condition.match_type == "suffix"
    part = namespace[len(namespace) - len(wanted) :] if end else namespace[: len(wanted)]
    return all(want in ("*", have) for have, want in zip(part, wanted, strict=True))


def _fits(value: object, wanted: object) -> bool:
    """As LangGraph's own stores compare: a value, or operators."""
    if isinstance(wanted, dict) and wanted and all(str(key).startswith("$") for key in wanted):
        if unknown := next((key for key in wanted if key not in COMPARED), None):
            raise ValueError(f"unknown operator {unknown}; there is: {', '.join(COMPARED)}")
        return all(COMPARED[key](value, other) for key, other in wanted.items())
    if isinstance(wanted, dict):
        known = value if isinstance(value, dict) else {}
        return all(_fits(known.get(key), other) for key, other in wanted.items())
    return value == wanted


def _number(value: object) -> float:
    """Raises `TypeError` for what has no order."""
    if isinstance(value, int | float | str):
        return float(value)
    raise TypeError(f"{value!r} can't be compared by size")


def _date(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)
