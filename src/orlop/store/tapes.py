"""Which tape a journal is on.  Opened by boot, and by what works without a kernel."""

from dataclasses import dataclass, replace
from pathlib import Path

from orlop.abi.errors import Misconfigured
from orlop.machine.ranges import Seconds
from orlop.store.home import Home
from orlop.store.sqlite import SqliteTape
from orlop.store.tape import Tape


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalConfig:
    """The `[journal]` table of orlop.toml."""

    anchors: tuple[str, ...] = ()
    """Files, best on other disks, that get a copy of each signed checkpoint (SQLite only)."""
    url: str = ""
    """`postgresql://…`: the journal is kept there; by default it is a file in the home."""
    schema: str = "orlop"
    """The PostgreSQL schema that it fills: one a kernel, where several share a database."""
    key_file: str = ""
    """A secret that kernels on one PostgreSQL share: they take over each other's processes."""
    lease_s: Seconds = 5.0
    """How long such a kernel may be silent before another one takes its processes over."""


def in_schema(config: JournalConfig, schema: str) -> JournalConfig:
    """Another kernel's journal in the same database."""
    return replace(config, schema=schema)


def tape(home: Home, config: JournalConfig) -> Tape:
    """Not opened yet.  Raises `Misconfigured`."""
    if not config.url:
        return SqliteTape(home, [Path(path) for path in config.anchors])
    if not config.url.startswith(("postgresql://", "postgres://")):
        raise Misconfigured("journal.url: only postgresql://… is known; leave it out for SQLite")
    if not config.schema.isidentifier() or config.schema != config.schema.lower():
        raise Misconfigured(f"journal.schema: {config.schema!r} is no name in lower case")
    try:
        from orlop.store.postgres import PostgresTape
    except ImportError as error:
        raise Misconfigured(f"{error}: install it with `pip install 'orlop[postgres]'`") from error
    return PostgresTape(home, config.url, config.schema)
