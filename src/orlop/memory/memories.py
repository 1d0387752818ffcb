"""The long-term memory as a kernel has it: rows on disk, vectors in RAM, and what was just written.

Invariant: `place` and `with_key` know every write, also those of this kernel that are not folded
yet, so that who checks a version and writes, on the event loop and without waiting in between, is
never overtaken.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import replace as replace_field
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from msgspec.structs import replace

from orlop.abi.errors import Misconfigured
from orlop.abi.ids import JournalId, Seq, TenantId
from orlop.abi.memory import MemoryId
from orlop.machine.clock import Clock
from orlop.machine.offload import InlineOffload, ThreadOffload
from orlop.machine.ranges import Count, Many
from orlop.memory import heads, reading
from orlop.memory.heads import Place
from orlop.memory.meaning import Dense
from orlop.memory.outside import Outside
from orlop.memory.rows import EVIDENCE, MEMORY_KINDS, MemoryFold
from orlop.memory.search import Asked, Found, find
from orlop.memory.stores import opening
from orlop.store.journal import Journal
from orlop.store.projection import Projection, ProjectionFile, Shared, Source

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig:
    """The `[memory]` table of orlop.toml."""

    embed_model: str = ""
    """The model whose vectors memories are found by; empty: the first local one that embeds."""
    ram_bytes: Many = 512 * 1024 * 1024
    """RAM that the vectors of one tenant may take."""
    pinned: tuple[str, ...] = ()
    """Namespaces whose vectors stay in RAM, whoever else wants it."""
    store: str = ""
    """An external vector store, fed from the rows: `qdrant:URL` (or a folder), `milvus:URL` (or a
    file), `pgvector:URL` (alone: the journal's), `redis:URL`, `weaviate:URL`, `pinecone:URL`."""
    store_key_file: str = ""
    """Its key or password, in a file that only its owner can read."""
    rerank_model: str = ""
    """A model that orders anew what recalls find, where they name none; empty: nobody does."""
    graph_rows: Count = 50_000
    """Memories of one namespace from which on it is searched by a graph; 0: never."""


@dataclass(eq=False, slots=True)
class Memories:
    """What `recall` reads, and what a writer must know.

    evidence: what recalls gave; the same projection where the kernel is alone.
    """

    projection: Projection
    evidence: Projection
    commons: Shared | None = None
    """What it shares with other kernels; None: it is alone."""
    config: MemoryConfig = field(default_factory=MemoryConfig)
    dense: Dense | None = None
    """None: no library for vectors is installed."""
    external: Outside | None = None
    """The vector store outside, which `dense` then asks first."""
    full_at: dict[TenantId, Seq] = field(default_factory=dict)
    """When every memory had its vector."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Numbers in a vector, by model."""
    _places: OrderedDict[MemoryId, tuple[Seq, Place]] = field(default_factory=OrderedDict)
    """Of writes that are not folded yet."""
    _keys: OrderedDict[tuple[TenantId, str, str], tuple[Seq, MemoryId | None]] = field(
        default_factory=OrderedDict
    )

    async def find(self, asked: Asked) -> Found:
        """With everything that was durable when it was asked."""
        await self.current()
        if asked.call.memory or asked.call.key:
            # Some look-ups by an index: sooner done than handed to another thread.
            return self.projection.look(find, None, asked)
        found = await self.projection.beside(find, self.dense, asked)
        return replace(found, note=self.note) if self.note else found

    async def current(self) -> None:
        """Return once all memories that are durable now can be found."""
        await self.projection.current(but=EVIDENCE)
        self._forget_folded()

    async def ready(self) -> None:
        """Return once `place` and `with_key` can tell, and until the next wait nobody else writes.

        They need not wait for what this kernel has written and is not folded.
        """
        if not self.projection.is_ready:
            await self.projection.current()
        if self.commons is not None:
            await self.commons.pen(self.projection)
            self._forget_folded()

    async def read(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        return await self.projection.read(work, *args, **kwargs)

    def place(self, memory: MemoryId) -> Place | None:
        """As of now, this very moment.  Raises `NotReady` while the rows are being read."""
        known = self._places.get(memory)
        if known is not None:
            return known[1]
        return self.projection.look(heads.place_of, memory)

    def with_key(self, tenant: TenantId, namespace: str, key: str) -> MemoryId | None:
        """Which memory has the key now."""
        known = self._keys.get((tenant, namespace, key))
        if known is not None:
            return known[1]
        return self.projection.look(heads.memory_with_key, tenant, namespace, key)

    async def purge(self) -> None:
        """Nothing that was erased stays in the file, or in RAM."""
        await self.projection.compact()
        self.forget_cached()

    def forget_cached(self) -> None:
        """Let go of all vectors in RAM."""
        if self.dense is not None:
            self.dense.forget(None)

    @property
    def store_name(self) -> str:
        """Where vectors are searched."""
        return self.external.store.name if self.external is not None else "embedded"

    @property
    def note(self) -> str:
        """Why that is not where it should be."""
        return self.external.note if self.external is not None else ""

    def dimensions_of(self, model: str) -> int:
        """0: nobody has seen a vector of it."""
        if model not in self.sizes:
            found = self.projection.look(reading.dimensions_of, model)
            if found:
                self.sizes[model] = found
        return self.sizes.get(model, 0)

    def spaces(self, tenant: TenantId, start: str) -> list[str]:
        """Namespaces that hold something and whose names begin with `start`."""
        return self.projection.look(reading.spaces, tenant, start)

    def written_in(self, tenant: TenantId, namespace: str) -> list[MemoryId]:
        """Memories with writes that may not be folded yet."""
        return [
            memory
            for memory, (_, place) in self._places.items()
            if (place.tenant, place.namespace) == (tenant, namespace)
        ]

    def wrote(self, seq: Seq, memory: MemoryId, before: Place | None, after: Place) -> None:
        """A change was appended.  Called before anything else can be."""
        self._forget_folded()
        self._places[memory] = (seq, after)
        self._places.move_to_end(memory)
        open_keys = {head.key for head in after.heads}
        for head in (*(before.heads if before is not None else ()), *after.heads):
            if head.key:
                key = (after.tenant, after.namespace, head.key)
                self._keys[key] = (seq, memory if head.key in open_keys else None)
                self._keys.move_to_end(key)

    def _forget_folded(self) -> None:
        applied = self.projection.applied_seq
        while self._places and next(iter(self._places.values()))[0] <= applied:
            self._places.popitem(last=False)
        while self._keys and next(iter(self._keys.values()))[0] <= applied:
            self._keys.popitem(last=False)


def build(
    journal: Journal,
    clock: Clock,
    folder: Path | None,
    config: MemoryConfig,
    commons: Shared | None = None,
) -> Memories:
    """folder: where the rows lie; None: in RAM, for the simulation."""

    def projection(fold: MemoryFold, source: Source) -> Projection:
        inline = InlineOffload()
        return Projection(
            fold,
            ProjectionFile(fold, None if folder is None else folder / f"{fold.name}.db"),
            source,
            clock,
            writing=inline if folder is None else ThreadOffload(f"{fold.name}-writing"),
            reading=inline if folder is None else ThreadOffload(f"{fold.name}-reading"),
        )

    if commons is None:
        rows = evidence = projection(MemoryFold(), journal)
    else:
        rows = projection(MemoryFold(kinds=MEMORY_KINDS - EVIDENCE), commons)
        evidence = projection(MemoryFold("evidence", kinds=EVIDENCE), journal)
    embedded = in_ram(config)
    external = outside(config, embedded, clock, journal.id)
    return Memories(rows, evidence, commons, config, external or embedded, external)


def checked(config: MemoryConfig, database: str) -> MemoryConfig:
    """database: the journal's URL, which `pgvector` alone means.  Raises `Misconfigured`."""
    if config.store == "pgvector" and database:
        config = replace_field(config, store=f"pgvector:{database}")
    opening.check(config.store, config.store_key_file)
    return config


def outside(
    config: MemoryConfig, inner: Dense | None, clock: Clock, kernel: JournalId
) -> Outside | None:
    """The external store that the settings name.  Raises `Misconfigured`."""
    if not config.store:
        return None
    if inner is None:
        raise Misconfigured("memory.store: needs `pip install 'orlop[vectors]'`")
    return Outside(opening.open_store(config.store, config.store_key_file, kernel), inner, clock)


def in_ram(config: MemoryConfig) -> Dense | None:
    """The search by meaning; None where no library for it is installed."""
    try:
        from orlop.memory.blocks import Blocks
    except ImportError:
        return None
    return Blocks.within(config.ram_bytes, config.pinned, config.graph_rows)
