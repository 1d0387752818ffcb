"""What every call of files asks first: whether the kernel keeps any, and who may do what where."""

from orlop.abi.errors import Denied, NotFound, NotReady
from orlop.abi.files import FileCall, FileRight, ListFiles, SearchFiles, WatchFiles
from orlop.abi.ids import Seq
from orlop.files.live import FileStore
from orlop.files.rules import RANK
from orlop.files.touched import touched
from orlop.state.core import Kernel
from orlop.state.process import Process


def store(kernel: Kernel) -> FileStore:
    """Raises `NotReady`."""
    if kernel.files is None:
        raise NotReady("this kernel keeps no files")
    return kernel.files


def check(kernel: Kernel, process: Process, call: FileCall) -> None:
    """Before the intent: that nobody reads or writes what was shared with others only.

    Raises `Denied`, and `NotReady` where there are no files.
    """
    store(kernel)
    for path, access in touched(call):
        if not isinstance(call, ListFiles | SearchFiles | WatchFiles):
            require(kernel, process, path, "write" if access == "write" else "read")


def may(kernel: Kernel, process: Process, path: str, right: FileRight) -> bool:
    """What folders say of whom; rights that a token was given are asked at the door."""
    if is_operator(process):
        return True
    row = process.row
    return RANK[kernel.tables.files.right(row.tenant, row.accounts, path)] >= RANK[right]


def require(kernel: Kernel, process: Process, path: str, right: FileRight) -> None:
    """Raises `Denied`."""
    if not may(kernel, process, path, right):
        raise Denied(
            f"{process.row.name} may not {right} {path}: it is its owner's, or shared with others "
            "only; `orlop files shares` shows with whom"
        )


def is_operator(process: Process) -> bool:
    """A client that came with the operator's token."""
    return process.row.is_client and process.row.key_id is None


def moment(kernel: Kernel, process: Process, path: str, at: str) -> Seq | None:
    """The event that `at` means: a sequence number, or a snapshot's name.  None: now.

    Raises `NotFound`.
    """
    if not at:
        return None
    if at.isdecimal() and len(at) < 18:
        return Seq(int(at))
    found = kernel.tables.files.moment(process.row.tenant, path, at)
    if found is None:
        raise NotFound(f"no snapshot {at[:100]!r} of {path} or of a folder above it")
    return found
