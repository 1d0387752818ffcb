"""The `search` system call."""

from orlop.abi.errors import BadCall, NotReady
from orlop.abi.files import Found, SearchFiles
from orlop.kernel.core import Kernel
from orlop.kernel.process import Process
from orlop.kernel.running import Running


async def search(kernel: Kernel, process: Process, running: Running, call: SearchFiles) -> Found:
    if not call.text.strip():
        raise BadCall("text: what should be looked for?")
    raise NotReady("files are not indexed yet")
