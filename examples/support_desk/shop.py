"""The shop's tools, as the kernel runs them: `python shop.py lookup|decide SHOP.db`.

Arguments come as JSON on standard input, the result goes as JSON to standard output.  Standard
library only, and nothing of Orlop but the environment variable `ORLOP_KEY`: the effect's name.
"""

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

BUSY_S: Final = 20.0
"""How long one execution waits for the others' writes."""


def make(path: Path) -> None:
    """A fresh shop, with its customers and orders, and nothing decided."""
    with closing(sqlite3.connect(path)) as books, books:
        books.executescript(Path(__file__).with_name("shop.sql").read_text())


def lookup(books: sqlite3.Connection, order: object = None, email: object = None) -> object:
    """An order by its number, else the customer's newest one; null where there is none."""
    row = books.execute(
        'SELECT * FROM "order" JOIN customer ON customer.id = "order".customer'
        " WHERE number = ? OR email = ? ORDER BY number = ? DESC, number DESC",
        (order, email, order),
    ).fetchone()
    if row is None:
        return None
    items = books.execute('SELECT * FROM item WHERE "order" = ?', (row["number"],)).fetchall()
    return {
        "order": row["number"],
        "customer": row["name"],
        "status": row["status"],
        "days_late": row["days_late"],
        "delivered_days_ago": row["delivered_days_ago"],
        "overpaid_cents": row["paid_cents"] - sum(i["cents"] * i["quantity"] for i in items),
        "items": [f"{item['quantity']} {item['name']}" for item in items],
        "known_faults": [item["known_fault"] for item in items if item["known_fault"]],
    }


def decide(books: sqlite3.Connection, **decision: object) -> object:
    """Write a decision once for a key, however often it is executed."""
    given = {**decision, "key": os.environ["ORLOP_KEY"]}
    with books:
        books.execute('INSERT INTO attempt (key, "order") VALUES (:key, :order)', given)
    with books:
        books.execute(
            "INSERT INTO decision VALUES (:key, :order, :label, :verdict, :reply)"
            " ON CONFLICT (key) DO NOTHING",
            given,
        )
    return {"order": given["order"], "verdict": given["verdict"]}


TOOLS: Final[Mapping[str, Callable[..., object]]] = {"lookup": lookup, "decide": decide}


def main() -> None:
    """One execution; an exception is a failure that the caller is told."""
    name, path = sys.argv[1:]
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as books:
        books.row_factory = sqlite3.Row
        json.dump(TOOLS[name](books, **json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
