"""The task that reads text files into the index, as they change, and no faster than it can."""

import logging
from collections.abc import Sequence
from typing import Final

from orlop.abi.errors import KernelError
from orlop.abi.files import Piece
from orlop.abi.ids import TenantId
from orlop.abi.limits import FILE_INDEX_BYTES_MAX
from orlop.files import passages
from orlop.files.index import FAILURES, Indexed, News
from orlop.files.live import FileStore
from orlop.files.tree import FileTree, Version
from orlop.state.core import Kernel
from orlop.subsystems import file_content

log = logging.getLogger(__name__)

BATCH: Final = 50
"""Files between two notes of how far it is."""

PUT_BYTES: Final = 1 << 20
"""Of files between two notes of what is in them."""

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
    """One batch; whether there is more.  A file at a time would cost each a dozen changes of
    thread, which whoever writes just now has to wait for."""
    index, work = store.index, store.indexing
    if index is None or work is None:
        return False
    mark = await work(lambda: index.mark)
    changed = await store.read(FileTree.changes, mark, BATCH)
    known = await work(index.reached, [(tenant, row.path) for tenant, row in changed])
    plan = [_stretch(row, *one) for (_, row), one in zip(changed, known, strict=True)]
    held = await store.beside(_held, [row for _, row in changed], plan)
    news: list[News] = []
    size = 0
    for (tenant, row), (start, length), (pieces, skip) in zip(changed, plan, held, strict=True):
        data = await file_content.joined(kernel, tenant, pieces, skip, length)
        news.append(_news(tenant, row, start, data))
        size += length
        if size > PUT_BYTES:
            await work(index.put, news)
            news, size = [], 0
    if changed:
        await work(index.put, news)
        await work(index.note, changed[-1][1].seq)
    return len(changed) >= BATCH


def _stretch(row: Version, known: Indexed | None, last: int) -> tuple[int, int]:
    """What is to be read of a file: where it begins, and how long it is."""
    if row.deleted:
        return 0, 0
    # One that has grown: all but its last passage stays as it is.
    has_grown = known is not None and known.content == row.content and known.size <= row.size
    start = last if has_grown else 0
    return start, max(0, min(row.size, FILE_INDEX_BYTES_MAX) - start)


def _held(
    tree: FileTree, rows: Sequence[Version], plan: Sequence[tuple[int, int]]
) -> list[tuple[list[Piece], int]]:
    return [
        tree.pieces(row, start, length) for row, (start, length) in zip(rows, plan, strict=True)
    ]


def _news(tenant: TenantId, row: Version, start: int, data: bytes) -> News:
    if row.deleted:
        return News(tenant, row.path, None)
    text = passages.text_of(data, whole=start + len(data) == row.size)
    found = [] if text is None else [(start + at, part) for at, part in passages.cut(text)]
    return News(tenant, row.path, Indexed(row.version, row.content, row.size), found, start)
