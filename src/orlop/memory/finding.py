"""Which versions answer a recall: a condition on their rows, and the words of a question.

All functions take a connection and block.
"""

import re
import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.ids import Seq, TenantId
from orlop.abi.limits import MEMORY_QUERY_WORDS_MAX
from orlop.memory.columns import known, scope_of

_WORD: Final = re.compile(r"\w+", re.UNICODE)
_COMMON: Final = frozenset(
    _WORD.findall(
        "a about all am an and any are as at be been but by can did do does for from had has have"
        " he her his how i if in into is it its me my no not of on or our she so than that the"
        " their them then there these they this to was we were what when where which who whom"
        " whose why will with would you your"
    )
)
"""Words of English that nearly every sentence has."""

_SAID: Final = 4.0
"""How often a word counts that is said once.  The more, the less does it matter how long a text
is, beside all texts in the index: those of others, who may keep shorter ones, among them."""


class Filter(Struct, frozen=True, kw_only=True):
    """Which versions count.  Times are resolved: nothing here depends on a clock."""

    tenant: TenantId
    namespaces: tuple[str, ...]
    as_of: Seq | None
    at_ns: int
    kinds: tuple[str, ...] = ()
    subjects: tuple[str, ...] | None = None
    attributes: dict[str, object] = {}
    confidence_min: float = 0.0

    @property
    def is_plain(self) -> bool:
        """It asks for nothing but place and time."""
        return not (self.kinds or self.attributes or self.subjects is not None)


def where(wanted: Filter) -> tuple[str, list[object]]:
    """A condition on `version`, with its values."""
    marks = ",".join("?" * len(wanted.namespaces))
    said = [
        "tenant = ?",
        f"namespace IN ({marks})",
        known(wanted.as_of),
        "valid_from <= ? AND valid_to > ? AND expires > ?",
        "confidence >= ?",
    ]
    values: list[object] = [wanted.tenant, *wanted.namespaces]
    values += [wanted.at_ns, wanted.at_ns, wanted.at_ns, wanted.confidence_min]
    if wanted.kinds:
        said.append(f"kind IN ({','.join('?' * len(wanted.kinds))})")
        values += wanted.kinds
    if wanted.subjects is not None:
        said.append(f"subject IN ({','.join('?' * len(wanted.subjects))})")
        values += wanted.subjects
    for name, value in wanted.attributes.items():
        said.append("json_extract(attributes, ?) IS json_extract(?, '$')")
        values += ['$."' + name.replace('"', "") + '"', msgspec.json.encode(value).decode()]
    return " AND ".join(said), values


def matching(
    connection: sqlite3.Connection, wanted: Filter, extra: str, values: Sequence[object], limit: int
) -> list[int]:
    """Ids of the newest versions that meet the filter and `extra`."""
    said, bound = where(wanted)
    rows = connection.execute(
        f"SELECT id FROM version WHERE {said} AND {extra}"
        " ORDER BY known_from DESC, id DESC LIMIT ?",
        (*bound, *values, limit),
    )
    return [id for (id,) in rows]


def key_ids(connection: sqlite3.Connection, wanted: Filter, key: str) -> list[int]:
    return matching(connection, wanted, "key = ? AND key <> ''", (key,), 100)


def newest(connection: sqlite3.Connection, wanted: Filter, limit: int) -> list[int]:
    return matching(connection, wanted, "1", (), limit)


def by_words(
    connection: sqlite3.Connection, wanted: Filter, query: str, limit: int
) -> list[tuple[int, float]]:
    """Ids and scores, best first, by BM25.

    Places are words of the index too, so that only their rows are looked at.
    """
    terms = words_of(query)
    if not terms:
        return []
    scopes = " OR ".join(scope_of(wanted.tenant, name) for name in wanted.namespaces)
    asked = " OR ".join(f'"{term}"' for term in terms)
    said, bound = where(wanted)
    rows = connection.execute(
        f"SELECT version.id, -bm25(words, {_SAID}, 0.0) AS score FROM words"
        f" JOIN version ON version.id = words.rowid WHERE words MATCH ? AND {said}"
        " ORDER BY score DESC, version.id LIMIT ?",
        (f"(scope : ({scopes})) AND (text : ({asked}))", *bound, limit),
    )
    return rows.fetchall()


def words_of(query: str) -> list[str]:
    """Those that can tell one memory from another; all, where there are no such."""
    words = list(dict.fromkeys(_WORD.findall(query.lower())))
    telling = [word for word in words if word not in _COMMON]
    return (telling or words)[:MEMORY_QUERY_WORDS_MAX]


def numbers_of(query: str) -> list[str]:
    """Words with digits, among others: numbers and names that nobody says in other words."""
    words = words_of(query)
    numbers = [word for word in words if any(letter.isdigit() for letter in word)]
    return numbers if len(numbers) < len(words) else []
