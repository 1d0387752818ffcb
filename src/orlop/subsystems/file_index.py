"""The task that reads text files into the index, as they change, and no faster than it can."""

import logging
from typing import Final

from orlop.abi.errors import KernelError
from orlop.abi.ids import TenantId
from orlop.abi.limits import FILE_INDEX_BYTES_MAX
from orlop.files import passages
from orlop.files.index import FAILURES, Index, Indexed
from orlop.files.live import FileStore
from orlop.files.tree import FileTree, Version
from orlop.machine.offload import Offload
from orlop.state.core import Kernel
from orlop.subsystems import file_content

log = logging.getLogger(__name__)

BATCH: Final = 50
"""Files between two notes of how far it is."""

PAUSE_S: Final = 0.2
"""Between two passes, so that a file that grows line by line is read once for many lines."""


async def run(kernel: Kernel, store: FileStore) -> None:
    """Until cancelled.  What fails is tried again at the next change."""
    while True:
        news = store.news
        try:
            while await step(kernel, store):
                pass
        except (KernelError, *FAILURES) as error:
            log.warning("files are not indexed just now: %s", error)
        await news.wait()
        await kernel.clock.sleep(PAUSE_S)
        await kernel.journal.flush()


async def forget(kernel: Kernel, tenant: TenantId) -> None:
    """None of its passages is kept, nor any word that only it has."""
    store = kernel.files
    if store is not None and store.index is not None and store.indexing is not None:
        await store.indexing(store.index.forget, tenant)


async def step(kernel: Kernel, store: FileStore) -> bool:
    """One batch; whether there is more."""
    index, work = store.index, store.indexing
    if index is None or work is None:
        return False
    mark = await work(lambda: index.mark)
    changed = await store.read(FileTree.changes, mark, BATCH)
    for tenant, row in changed:
        await _one(kernel, store, index, work, tenant, row)
    if changed:
        await work(index.note, changed[-1][1].seq)
    return len(changed) >= BATCH


async def _one(
    kernel: Kernel,
    store: FileStore,
    index: Index,
    work: Offload,
    tenant: TenantId,
    row: Version,
) -> None:
    known = await work(index.indexed, tenant, row.path)
    if row.deleted:
        if known is not None:
            await work(index.put, tenant, row.path, None, ())
        return
    start = 0
    if known is not None and known.content == row.content and known.size <= row.size:
        # It has grown: all but its last passage stays as it is.
        last = await work(index.last, tenant, row.path)
        start = last.place if last is not None else known.size
    length = max(0, min(row.size, FILE_INDEX_BYTES_MAX) - start)
    pieces, skip = await store.read(FileTree.pieces, row, start, length)
    data = await file_content.joined(kernel, tenant, pieces, skip, length)
    text = passages.text_of(data, whole=start + length == row.size)
    found = [] if text is None else [(start + at, part) for at, part in passages.cut(text)]
    done = Indexed(row.version, row.content, row.size)
    await work(index.put, tenant, row.path, done, found, beyond=start)
