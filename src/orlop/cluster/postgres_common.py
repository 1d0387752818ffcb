"""Places and the pen, in the database that several kernels share (`cluster.places`)."""

from collections.abc import Sequence
from typing import Final

from psycopg import Connection, sql

from orlop.abi.ids import JournalId, Seq
from orlop.cluster.places import Placed, Standing
from orlop.cluster.postgres_shared import PostgresShared, let_go
from orlop.store import postgres_schema

_LOOK: Final = """
SELECT coalesce((SELECT max(place) FROM orlop_kernels.common WHERE cluster = %s), 0),
  (SELECT holder FROM orlop_kernels.pen WHERE cluster = %s),
  (SELECT cardinality(array_remove(wanted, %s)) > 0 FROM orlop_kernels.pen WHERE cluster = %s)
"""
_LINE: Final = "SELECT holder, wanted FROM orlop_kernels.pen WHERE cluster = %s FOR UPDATE"
_SET: Final = "UPDATE orlop_kernels.pen SET holder = %s, wanted = %s WHERE cluster = %s"
_ROWS: Final = """
SELECT c.place, c.journal, k.schema, c.seq FROM orlop_kernels.common c
JOIN orlop_kernels.kernel k ON k.journal = c.journal
WHERE c.cluster = %s AND c.place BETWEEN %s AND %s
  AND (%s::text[] IS NULL OR c.kind = ANY(%s::text[]))
ORDER BY c.place LIMIT %s
"""


class PostgresCommon(PostgresShared):
    """cluster: the shared secret's name."""

    def __init__(self, url: str, cluster: str) -> None:
        super().__init__(url)
        self.cluster = cluster

    def look(self, me: JournalId) -> Standing:
        with self.asked() as connection:
            return self._standing(connection, me)

    def ask(self, me: JournalId) -> Standing:
        with self.asked() as connection, connection.transaction():
            holder, wanted = self._line(connection)
            first = wanted[0] if wanted else me
            if holder is None and first == me:
                holder, wanted = me, wanted[1:]
                self._set(connection, holder, wanted)
            elif holder is None:  # It was let go of by one that is gone: the line goes on.
                rest = wanted[1:]
                self._set(connection, first, rest if me in rest else [*rest, me])
            elif holder != me and me not in wanted:
                self._set(connection, holder, [*wanted, me])
            # After that, so that all is seen that the last holder has written.
            return self._standing(connection, me)

    def pass_on(self, me: JournalId, *, is_last: bool = False) -> None:
        with self.asked() as connection, connection.transaction():
            holder, wanted = self._line(connection)
            if holder == me:
                others = [one for one in wanted if one != me]
                self._set(connection, others[0] if others else None, others[1:])
            elif is_last:
                let_go(connection, self.cluster, me)

    def rows(
        self, first: Seq, last: Seq, limit: int, kinds: Sequence[str] | None = None
    ) -> list[Placed]:
        wanted = None if kinds is None else list(kinds)
        with self.asked() as connection:
            values = (self.cluster, first, last, wanted, wanted, limit)
            return [Placed(*row) for row in connection.execute(_ROWS, values).fetchall()]

    def schemas(self) -> list[str]:
        asked = "SELECT schema FROM orlop_kernels.kernel WHERE cluster = %s ORDER BY journal"
        with self.asked() as connection:
            return [name for (name,) in connection.execute(asked, (self.cluster,)).fetchall()]

    def strike(self, schema: str, seqs: Sequence[Seq]) -> int:
        statement = sql.SQL(postgres_schema.STRIKE).format(schema=sql.Identifier(schema))
        with self.asked() as connection:
            return connection.execute(statement, (list(seqs),)).rowcount

    def _standing(self, connection: Connection, me: JournalId) -> Standing:
        values = (self.cluster, self.cluster, me, self.cluster)
        found = connection.execute(_LOOK, values).fetchone()
        head, holder, is_wanted = found if found is not None else (0, None, False)
        return Standing(
            head=Seq(head),
            holder=None if holder is None else JournalId(holder),
            is_wanted=bool(is_wanted),
        )

    def _line(self, connection: Connection) -> tuple[str | None, list[str]]:
        found = connection.execute(_LINE, (self.cluster,)).fetchone()
        if found is None:
            connection.execute(
                "INSERT INTO orlop_kernels.pen(cluster) VALUES (%s) ON CONFLICT DO NOTHING",
                (self.cluster,),
            )
            found = connection.execute(_LINE, (self.cluster,)).fetchone()
        return (None, []) if found is None else (found[0], found[1])

    def _set(self, connection: Connection, holder: str | None, wanted: Sequence[str]) -> None:
        connection.execute(_SET, (holder, list(wanted), self.cluster))
