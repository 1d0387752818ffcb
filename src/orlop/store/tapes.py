"""Which tape a journal is on.  Opened by boot, and by what works without a kernel."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from orlop.abi.errors import Misconfigured
from orlop.machine.credential import without_password
from orlop.machine.ranges import Limit, Seconds
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
    keep_days: Seconds = 0.0
    """How long what was said in calls of ended processes is kept; 0: for ever."""
    key_file: str = ""
    """A secret that kernels on one PostgreSQL share: they take over each other's processes."""
    lease_s: Limit = 5.0
    """How long such a kernel may be silent before another one takes its processes over."""


ON_SQLITE: Final = JournalConfig()


def in_schema(config: JournalConfig, schema: str) -> JournalConfig:
    """Another kernel's journal in the same database."""
    return replace(config, schema=schema)


def check(config: JournalConfig) -> None:
    """Raises `Misconfigured` for what is no place of a journal."""
    if not config.url:
        return
    if not config.url.startswith(("postgresql://", "postgres://")):
        raise Misconfigured("journal.url: only postgresql://… is known; leave it out for SQLite")
    if not config.schema.isidentifier() or config.schema != config.schema.lower():
        raise Misconfigured(f"journal.schema: {config.schema!r} is no name in lower case")
    require_postgres()


def tape(home: Home, config: JournalConfig, cluster: str = "") -> Tape:
    """Not opened yet.  cluster: of the kernels that it has events in common with.

    Raises `Misconfigured`.
    """
    check(config)
    if not config.url:
        return SqliteTape(home, [Path(path) for path in config.anchors])
    from orlop.store.postgres import PostgresTape

    return PostgresTape(home, config.url, config.schema, cluster)


def put_aside(home: Home, config: JournalConfig) -> str:
    """Rename a journal on PostgreSQL, so that nobody goes on there; its new name."""
    from orlop.store.postgres import PostgresTape

    old = PostgresTape(home, config.url, config.schema)
    try:
        return old.put_aside("moved")
    finally:
        old.close()


def pending(home: Home, config: JournalConfig) -> list[str]:
    """What an older journal's tables lack, in words.  SQLite's have had one layout so far."""
    if not config.url:
        return []
    from orlop.store.postgres import PostgresTape

    there = PostgresTape(home, config.url, config.schema)
    try:
        return there.pending()
    finally:
        there.close()


def named(home: Home, config: JournalConfig) -> str:
    """The journal's place, for people to read."""
    if not config.url:
        return str(home.database)
    return f"{without_password(config.url)}, schema {config.schema}"


def look(home: Home, config: JournalConfig) -> None:
    """Whether the journal's place answers.  Raises `JournalStopped`."""
    there = tape(home, config)
    try:
        there.look()
    finally:
        there.close()


def upgrade(home: Home, config: JournalConfig) -> None:
    """As a kernel does when it starts."""
    there = tape(home, config)
    try:
        there.lock()
        there.write()
    finally:
        there.close()


def require_postgres() -> None:
    """Raises `Misconfigured`."""
    if find_spec("psycopg") is None:
        raise Misconfigured("psycopg is missing: install it with `pip install 'orlop[postgres]'`")
