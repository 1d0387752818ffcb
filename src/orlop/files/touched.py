"""Which paths a call touches, and what it does there: for rights and policies."""

from collections.abc import Iterator

from orlop.abi.contexts import CompactContext, OpenContext, SaveContext
from orlop.abi.files import (
    ChangeFiles,
    FileCall,
    ListFiles,
    Put,
    ReadFiles,
    SearchFiles,
    Take,
    WatchFiles,
    WriteFiles,
)
from orlop.abi.rights import Access


def touched(  # noqa: C901 (one row a call)
    call: FileCall,
) -> Iterator[tuple[str, Access]]:
    match call:
        case WriteFiles():
            yield from ((one.path, "write") for one in call.files)
            yield from ((one.onto, "read") for one in call.files if one.onto)
        case ReadFiles():
            yield from ((one.path, "read") for one in call.files)
        case SaveContext() | CompactContext():
            yield call.path, "write"
        case OpenContext():
            yield call.path, "read"
        case ListFiles() | SearchFiles() | WatchFiles():
            yield call.path, "read"
        case Put() | Take():
            yield call.pipe, "write" if isinstance(call, Put) else "read"
        case ChangeFiles(action="copy"):
            yield call.path, "read"
            yield call.to, "write"
        case ChangeFiles(action="move"):
            yield call.path, "write"
            yield call.to, "write"
        case ChangeFiles(action="snapshot"):
            yield call.path, "read"
        case ChangeFiles():
            yield call.path, "write"
