"""The system calls of files: a table of its own, since there are many."""

from collections.abc import Awaitable
from typing import assert_never

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
from orlop.abi.replies import Done
from orlop.kernel import sys_context, sys_file, sys_file_change, sys_file_search, sys_pipe
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running


def dispatch(  # noqa: C901 (one row a call)
    kernel: Kernel, process: Process, running: Running, call: FileCall
) -> Awaitable[Done]:
    match call:
        case WriteFiles():
            return sys_file.write(kernel, process, running, call)
        case ReadFiles():
            return sys_file.read(kernel, process, running, call)
        case ListFiles():
            return sys_file.list_files(kernel, process, running, call)
        case ChangeFiles():
            return sys_file_change.change(kernel, process, running, call)
        case SearchFiles():
            return sys_file_search.search(kernel, process, running, call)
        case WatchFiles():
            return sys_pipe.watch(kernel, process, running, call)
        case Put():
            return sys_pipe.put(kernel, process, running, call)
        case Take():
            return sys_pipe.take(kernel, process, running, call)
        case SaveContext():
            return sys_context.save(kernel, process, running, call)
        case OpenContext():
            return sys_context.open_context(kernel, process, running, call)
        case CompactContext():
            return sys_context.compact(kernel, process, running, call)
        case _:
            assert_never(call)
