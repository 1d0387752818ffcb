"""Statements on SQL databases as tools, each of which happens once.

A statement that writes runs in one transaction with a row of `orlop_outbox` that has the effect's
key and its result.  So the database itself knows what has happened: a second call with the same key
changes nothing, and is answered with what the first one came to.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from orlop.abi.cards import Approval, ToolCard, Trust
from orlop.abi.errors import Misconfigured, ToolFailed
from orlop.abi.limits import ROWS_MAX
from orlop.machine.credential import KeyConfig, without_password
from orlop.machine.ranges import Limit, Many

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
OUTBOX: Final = "orlop_outbox"

WORDS: Final = re.compile(
    r"""(?:'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)"""
    r"|::|:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|%",
    re.DOTALL,
)
"""What is quoted; a cast; a bound parameter; a percent sign."""

PLANNED: Final = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|VALUES)\b", re.IGNORECASE)
"""What a database can be asked to plan without doing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementConfig:
    """One `[sql.NAME.statements.NAME]` table: a tool called `DATABASE.STATEMENT`."""

    sql: str
    """One statement; its arguments are `:name`, and always bound, never written into it."""
    writes: bool = False
    """It changes something: then it happens once for one effect (`idempotent`).  Without this the
    database itself refuses to change anything (`pure`)."""
    description: str = ""
    """For models and people."""
    parameters: dict[str, object] = field(default_factory=dict)
    """JSON schema of the arguments; by default any texts, numbers and truths, all needed."""
    approval: Approval = "never"
    """`always`: a person must agree to each call, with its arguments."""
    compensate: str = ""
    """The tool that undoes a call of this one, when its saga is given up."""
    compensate_with: dict[str, object] = field(default_factory=dict)
    """That tool's arguments, with places as in `{ id = "{result.rows.0.id}" }`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlConfig(KeyConfig):
    """One `[sql.NAME]` table of orlop.toml: a database."""

    url: str
    """`sqlite:///FILE`, from the root or from `~`, or `postgresql://USER@HOST/DATABASE`."""
    statements: dict[str, StatementConfig]
    """What may be asked of it, by name."""
    timeout_s: Limit = 30.0
    """A statement that takes longer is ended, and changes nothing."""
    concurrency: Many = 4
    """Statements that may run at once."""
    rows_max: Many = 1_000
    """Rows of one answer; more is an error and no shorter answer."""
    system: str = ""
    """The external system whose limits its calls share; by default the name of this table."""
    trust: Trust = "trusted"
    """`untrusted`: strangers may have written what lies in it."""
    look_s: Limit = 60.0
    """Between two looks whether it is there, and its statements hold."""

    @property
    def place(self) -> str:
        """Its url without a password that somebody has written into it."""
        return without_password(self.url)


@dataclass(frozen=True, slots=True)
class Answer:
    """columns and rows; count: rows that were changed or given."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    count: int

    def value(self) -> dict[str, object]:
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        plain: dict[str, object] = msgspec.to_builtins({"rows": rows, "count": self.count})
        return plain


class Database(Protocol):
    """A driver.  Raises `ToolFailed` where the database refused, `DeviceBusy` where it was not
    reached or is locked, and `DeviceFailed` where nobody knows."""

    async def read(
        self, sql: str, arguments: Mapping[str, object], rows_max: int, limit_s: float
    ) -> object: ...

    async def write(
        self, sql: str, arguments: Mapping[str, object], rows_max: int, limit_s: float, key: str
    ) -> object: ...

    async def known(self, key: str, limit_s: float) -> bool: ...

    async def lacks(self, writes: bool, limit_s: float) -> str:
        """What its user may not do and would have to, to read or write; empty: nothing."""
        ...

    async def wrong(self, sql: str, limit_s: float) -> str:
        """Why the statement could not run, as far as that is sure before; empty: it could."""
        ...

    async def close(self) -> None: ...


def check(databases: Mapping[str, SqlConfig]) -> None:
    """Raises `Misconfigured`."""
    for name, config in databases.items():
        if not NAME.fullmatch(name):
            raise Misconfigured(f"[sql.{name}]: names are letters, digits, `_` and `-`")
        if not config.url.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise Misconfigured(f"[sql.{name}] url: write sqlite:///FILE or postgresql://…")
        if config.rows_max > ROWS_MAX:
            raise Misconfigured(f"[sql.{name}] rows_max: at most {ROWS_MAX} (ROWS_MAX)")
        for statement in config.statements:
            if not NAME.fullmatch(statement):
                raise Misconfigured(f"[sql.{name}.statements.{statement}]: that is no name")


def parameters(sql: str) -> list[str]:
    """The names that a statement binds, each once, in their order."""
    found = [match["name"] for match in WORDS.finditer(sql) if match["name"]]
    return list(dict.fromkeys(found))


def pyformat(sql: str) -> str:
    """The statement with `%(name)s` for `:name`."""

    def said(match: re.Match[str]) -> str:
        if match["name"]:
            return f"%({match['name']})s"
        return match[0].replace("%", "%%")

    return WORDS.sub(said, sql)


class SqlTool:
    """One statement."""

    def __init__(
        self, database: Database, name: str, config: SqlConfig, statement: StatementConfig
    ) -> None:
        self._database = database
        self._config = config
        self._statement = statement
        names = parameters(statement.sql)
        scalar = {"type": ["string", "number", "integer", "boolean", "null"]}
        usual: dict[str, object] = {
            "type": "object",
            "properties": dict.fromkeys(names, scalar),
            "required": names,
            "additionalProperties": False,
        }
        place, _, word = name.partition(".")
        self._names = names
        self.card = ToolCard(
            name=f"{place}.{word}",
            description=statement.description,
            parameters=statement.parameters or usual,
            effect="idempotent" if statement.writes else "pure",
            timeout_s=config.timeout_s,
            concurrency=config.concurrency,
            approval=statement.approval,
            compensate=statement.compensate,
            compensate_with=statement.compensate_with,
            server=place,
            system=config.system or place,
            trust=config.trust,
        )

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        if missing := [name for name in self._names if name not in arguments]:
            raise ToolFailed(f"{self.card.name} binds :{missing[0]}, which was not given")
        bound = {name: arguments[name] for name in self._names}
        sql, rows_max = self._statement.sql, self._config.rows_max
        if not self._statement.writes:
            return await self._database.read(sql, bound, rows_max, deadline_s)
        return await self._database.write(sql, bound, rows_max, deadline_s, key)

    async def happened(self, key: str) -> bool | None:
        return await self._database.known(key, self._config.timeout_s)
