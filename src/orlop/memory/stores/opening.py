"""Which external vector store the settings name."""

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from orlop.abi.errors import Misconfigured
from orlop.machine import redaction
from orlop.memory.stores.store import Shelves, VectorStore
from orlop.store.secrets import read_secret

WEB: Final = ("http", "https")
SCHEMES: Final[dict[str, tuple[str, ...]]] = {
    "qdrant": (*WEB, ""),
    "milvus": (*WEB, ""),
    "pgvector": ("postgresql", "postgres"),
    "redis": ("redis", "rediss"),
    "weaviate": WEB,
    "pinecone": WEB,
}
"""What the address of each may begin with; empty: it may be a path."""
WRITE_IT: Final = (
    "memory.store: `qdrant:URL`, `qdrant:FOLDER`, `milvus:URL`, `milvus:FILE`,"
    " `pgvector:postgresql://…` (`pgvector` where the journal is on PostgreSQL),"
    " `redis:redis://…`, `weaviate:URL` or `pinecone:URL`; leave it out for none"
)


def check(store: str, key_file: str) -> None:
    """Raises `Misconfigured`."""
    if not store:
        if key_file:
            raise Misconfigured("memory.store_key_file: for which store? Name it in memory.store")
        return
    kind, _, address = store.partition(":")
    if kind not in SCHEMES or not address:
        raise Misconfigured(WRITE_IT)
    url = _split(address)
    scheme = url.scheme if "://" in address else ""
    if scheme not in SCHEMES[kind] or (scheme and kind != "pgvector" and not url.hostname):
        raise Misconfigured(f"memory.store: not the address of a {kind}: {shown(address)}")
    if kind == "pinecone" and not key_file:
        raise Misconfigured("memory.store_key_file: Pinecone asks for a key")


def open_store(store: str, key_file: str, kernel: str) -> VectorStore:
    """Made, and not asked yet: it may be away.  kernel: whose rows it is fed.

    Raises `Misconfigured`.
    """
    check(store, key_file)
    kind, _, address = store.partition(":")
    key = redaction.hide(read_secret(Path(key_file).expanduser())) if key_file else ""
    redaction.hide(unquote(_split(address).password or ""))
    try:
        return _made(kind, address, Shelves.of(kernel), key)
    except ImportError as error:
        library = {"qdrant": "qdrant-client", "milvus": "pymilvus milvus-lite"}
        wanted = library.get(kind, "'orlop[postgres]'")
        raise Misconfigured(f"memory.store: {error}: `pip install {wanted}`") from error


def _made(kind: str, address: str, shelves: Shelves, key: str) -> VectorStore:
    match kind:
        case "qdrant":
            from orlop.memory.stores.qdrant import Qdrant

            return Qdrant(address, shelves, key)
        case "milvus":
            from orlop.memory.stores.milvus import Milvus

            return Milvus(address, shelves, key)
        case "pgvector":
            from orlop.memory.stores.pgvector import Pgvector

            return Pgvector(address, f"pgvector {shown(address)}", shelves, key)
        case "redis":
            from orlop.memory.stores.redis import Redis

            return Redis(address, f"redis {shown(address)}", shelves, key)
        case "weaviate":
            from orlop.memory.stores.weaviate import Weaviate

            return Weaviate(address, shelves, key)
        case "pinecone":
            from orlop.memory.stores.pinecone import Pinecone

            return Pinecone(address, shelves, key)
        case _:
            raise Misconfigured(WRITE_IT)


def shown(address: str) -> str:
    """Without what only its owner should know."""
    if "://" not in address:
        return address
    url = _split(address)
    place = url.netloc.rpartition("@")[2]
    return f"{url.scheme}://{place}{url.path}"


def _split(address: str) -> SplitResult:
    try:
        url = urlsplit(address)
        url.port  # noqa: B018 - it is looked at here, and raises where it is none.
    except ValueError as error:
        raise Misconfigured(f"memory.store: {error}") from error
    return url
