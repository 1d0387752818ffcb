"""The `search` system call: by words, and by meaning where a model is named."""

from array import array
from collections.abc import Sequence

from orlop.abi.calls import Embed
from orlop.abi.errors import BadCall, NotReady
from orlop.abi.files import FileHit, Found, SearchFiles
from orlop.abi.hints import Facts
from orlop.abi.ids import TenantId
from orlop.abi.labels import NO_LABELS, together
from orlop.abi.limits import EMBED_BATCH, FILE_EMBEDDED_MAX, FILE_HITS_MAX, FILE_SEARCH_CHARS_MAX
from orlop.files.index import FAILURES, Index, Passage, nearness
from orlop.files.live import FileStore
from orlop.files.tree import FileTree
from orlop.kernel import nested
from orlop.machine.offload import Offload
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import files

RANKS_BLENDED = 60
"""Reciprocal rank fusion: 1 / (60 + rank), summed (Cormack, Clarke and Buettcher, 2009)."""

MORE = 5
"""Candidates for each hit: some may be what the caller can't read."""


async def search(kernel: Kernel, process: Process, running: Running, call: SearchFiles) -> Found:
    """The nearest passages that the caller may read."""
    store = files.store(kernel)
    index, work = store.index, store.indexing
    if not call.text.strip() or len(call.text) > FILE_SEARCH_CHARS_MAX:
        raise BadCall(f"text: 1 to {FILE_SEARCH_CHARS_MAX} characters (FILE_SEARCH_CHARS_MAX)")
    if not 1 <= call.limit <= FILE_HITS_MAX:
        raise BadCall(f"limit: from 1 to {FILE_HITS_MAX} (FILE_HITS_MAX)")
    if index is None or work is None:
        raise NotReady("files are not indexed here (files.index)")
    await store.current()
    try:
        return await _search(kernel, process, running, call, index, work)
    except FAILURES as error:
        raise NotReady(
            f"the index of files can't be read ({error}): remove index/passages.db in the home and "
            "start again"
        ) from error


async def _search(
    kernel: Kernel,
    process: Process,
    running: Running,
    call: SearchFiles,
    index: Index,
    work: Offload,
) -> Found:
    store, tenant = files.store(kernel), process.row.tenant
    found = await work(index.by_words, tenant, call.path, call.text, call.limit * MORE)
    how = "words"
    if call.model:
        among = await work(index.below, tenant, call.path, FILE_EMBEDDED_MAX)
        among = [one for one in among if files.may(kernel, process, one.path, "read")]
        near = await _by_meaning(kernel, process, running, call, index, work, among)
        found, how = blended(found, near), f"words and {call.model}"
    hits: list[FileHit] = []
    for one in found:
        if len(hits) == call.limit:
            break
        head = store.head(tenant, one.path)
        if head is None or not head.known or not files.may(kernel, process, one.path, "read"):
            continue
        hits.append(
            FileHit(
                path=one.path,
                version=head.version,
                offset=one.place,
                text=one.text,
                score=one.score,
                labels=await _labels(store, work, index, tenant, one.path),
            )
        )
    mark = await work(lambda: index.mark)
    unread = len(await store.read(FileTree.changes, mark, 1_000))
    return Found(hits=tuple(hits), how=how, unread=unread, facts=Facts(call=running.id))


async def _labels(
    store: FileStore, work: Offload, index: Index, tenant: TenantId, path: str
) -> tuple[str, ...]:
    """Of the version that the passages are of, which may not be the newest."""
    indexed = await work(index.indexed, tenant, path)
    newest = store.look(FileTree.head, tenant, path)
    labels = newest.labels if newest is not None else NO_LABELS
    if indexed is None or newest is None or indexed.version == newest.version:
        return labels
    return together(labels, store.look(FileTree.version, tenant, path, indexed.version).labels)


async def _by_meaning(
    kernel: Kernel,
    process: Process,
    running: Running,
    call: SearchFiles,
    index: Index,
    work: Offload,
    among: Sequence[Passage],
) -> list[Passage]:
    """The nearest by the model's vectors; those of new passages are asked for, and kept."""
    known = await work(index.vectors, [one.id for one in among], call.model)
    texts = {one.id: one.text for one in among if one.id not in known}
    for start in range(0, len(texts), EMBED_BATCH):
        batch = list(texts)[start : start + EMBED_BATCH]
        inputs = tuple(texts[id] for id in batch)
        made = await nested.embed(kernel, process, running, Embed(model=call.model, inputs=inputs))
        new = {id: array("f", vector) for id, vector in zip(batch, made.vectors, strict=True)}
        await work(index.keep, new, call.model)
        known |= new
    asked = await nested.embed(
        kernel, process, running, Embed(model=call.model, inputs=(call.text,))
    )
    question = array("f", asked.vectors[0])
    scored = await work(
        lambda: sorted(((nearness(question, known[one.id]), one) for one in among), key=_first)
    )
    return [one for _, one in scored[: call.limit * MORE]]


def _first(scored: tuple[float, Passage]) -> tuple[float, int]:
    return -scored[0], scored[1].id


def blended(first: Sequence[Passage], second: Sequence[Passage]) -> list[Passage]:
    """By how near the front each is in both."""
    scores: dict[int, float] = {}
    known = {one.id: one for one in (*first, *second)}
    for ranked in (first, second):
        for rank, one in enumerate(ranked):
            scores[one.id] = scores.get(one.id, 0.0) + 1 / (RANKS_BLENDED + rank)
    order = sorted(scores, key=lambda id: (-scores[id], id))
    return [
        Passage(id, known[id].path, known[id].place, known[id].text, scores[id]) for id in order
    ]
