"""The tables, triggers and views of `journal.db`.  `docs/journal.md` explains them to readers."""

from functools import cache
from typing import Final

EVENT: Final = ("seq", "header", "hash", "parts")
BODY: Final = ("id", "name", "key_id", "digest", "data", "blob")

_TABLES: Final = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE boot(epoch INTEGER PRIMARY KEY, id TEXT NOT NULL);
CREATE TABLE event(
  seq INTEGER PRIMARY KEY,
  header TEXT NOT NULL,             -- JSON, exactly as hashed
  hash BLOB NOT NULL,               -- SHA-256(hash of the event before || header)
  parts BLOB,                       -- SHA-256 of each part that came with it, joined
  process TEXT AS (json_extract(header, '$.process')) VIRTUAL,
  process_seq INTEGER AS (json_extract(header, '$.process_seq')) VIRTUAL,
  kind TEXT AS (json_extract(header, '$.kind')) VIRTUAL,
  call TEXT AS (json_extract(header, '$.call')) VIRTUAL,
  key TEXT AS (json_extract(header, '$.key')) VIRTUAL
);
CREATE UNIQUE INDEX event_process ON event(process, process_seq);
CREATE UNIQUE INDEX event_outcome_once ON event(key) WHERE key IS NOT NULL;
CREATE INDEX event_call ON event(call) WHERE call IS NOT NULL;
CREATE INDEX event_snapshot ON event(seq) WHERE kind = 'kernel.snapshot';
CREATE TABLE body(
  id INTEGER PRIMARY KEY,           -- seq << 16 | part; part 0 is the event's own
  name BLOB,                        -- of a part: HMAC of its content
  key_id INTEGER NOT NULL,
  digest BLOB,                      -- SHA-256 of the ciphertext, where `data` is not there
  data BLOB,                        -- the ciphertext; NULL: pruned, or in a blob
  blob TEXT
);
CREATE UNIQUE INDEX body_name ON body(name) WHERE name IS NOT NULL;
CREATE TABLE checkpoint(
  size INTEGER PRIMARY KEY, root BLOB NOT NULL, frontier BLOB NOT NULL, note TEXT NOT NULL
);
"""

# INSERT OR REPLACE deletes without asking the delete trigger, so inserts are checked too.
_GUARDS: Final = """
CREATE TRIGGER event_no_update BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER event_no_delete BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER event_append BEFORE INSERT ON event
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM event)
  OR EXISTS (SELECT 1 FROM event WHERE process = NEW.process AND process_seq = NEW.process_seq)
  OR (NEW.key IS NOT NULL AND EXISTS (SELECT 1 FROM event WHERE key = NEW.key))
BEGIN SELECT RAISE(ABORT, 'events are append-only, gap-free, and one outcome a key'); END;
CREATE TRIGGER body_no_delete BEFORE DELETE ON body
BEGIN SELECT RAISE(ABORT, 'bodies are pruned, not deleted'); END;
CREATE TRIGGER body_prune_only BEFORE UPDATE ON body
WHEN NEW.id IS NOT OLD.id OR NEW.key_id IS NOT OLD.key_id OR NEW.data IS NOT NULL
  OR NEW.blob IS NOT NULL OR NEW.name IS NOT NULL OR NEW.digest IS NULL
  OR (OLD.digest IS NOT NULL AND NEW.digest IS NOT OLD.digest)
BEGIN SELECT RAISE(ABORT, 'a body can only be pruned'); END;
CREATE TRIGGER body_append BEFORE INSERT ON body
WHEN EXISTS (SELECT 1 FROM body WHERE id = NEW.id)
  OR (NEW.name IS NOT NULL AND EXISTS (SELECT 1 FROM body WHERE name = NEW.name))
BEGIN SELECT RAISE(ABORT, 'bodies are append-only'); END;
"""

_TIME: Final = """strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000000, 'unixepoch')
    || printf('.%09dZ', {0} % 1000000000)"""

_VIEWS: Final = f"""
CREATE VIEW events AS
SELECT e.seq, e.process, e.process_seq, e.kind, e.call,
  json_extract(e.header, '$.cause') AS cause,
  coalesce(json_extract(e.header, '$.actor'), e.process) AS actor,
  coalesce(json_extract(e.header, '$.tenant'), 'default') AS tenant,
  {_TIME.format("json_extract(e.header, '$.wall_ns')")} AS time,
  json_extract(e.header, '$.wall_ns') AS wall_ns,
  json_extract(e.header, '$.epoch') AS epoch, b.id AS boot, e.key,
  json_extract(e.header, '$.args_digest') AS args_digest,
  lower(hex(e.hash)) AS hash, coalesce(length(e.parts), 0) / 32 AS parts_brought
FROM event e LEFT JOIN boot b ON b.epoch = json_extract(e.header, '$.epoch');
CREATE VIEW calls AS
SELECT i.call, i.process, i.tenant, i.seq AS entered_seq, o.seq AS ended_seq,
  i.time AS entered, o.time AS ended, (o.wall_ns - i.wall_ns) / 1e9 AS seconds,
  CASE o.kind WHEN 'call.returned' THEN 'returned' WHEN 'call.failed' THEN 'failed'
    ELSE 'open' END AS status
FROM events i LEFT JOIN events o
  ON o.call = i.call AND o.kind IN ('call.returned', 'call.failed')
  AND (o.cause IS NULL OR o.cause = i.seq)
WHERE i.kind = 'call.entered'
UNION ALL
SELECT call, process, tenant, seq, seq, time, time, 0.0, 'returned'
FROM events WHERE kind = 'call.whole';
CREATE VIEW processes AS
SELECT process, min(tenant) AS tenant, count(*) AS events, min(seq) AS first_seq,
  max(seq) AS last_seq, sum(kind IN ('call.entered', 'call.whole')) AS calls_entered,
  sum(kind IN ('call.returned', 'call.whole')) AS calls_returned,
  sum(kind = 'call.failed') AS calls_failed,
  sum(kind = 'process.started') AS incarnations,
  (max(wall_ns) - min(wall_ns)) / 1e9 AS seconds
FROM events GROUP BY process;
"""

CREATE: Final = f"BEGIN IMMEDIATE;{_TABLES}{_GUARDS}{_VIEWS}"
"""Leaves the transaction open: the identity goes into it."""

VIEWS_ARE_OLD: Final = """
SELECT count(*) FROM sqlite_master WHERE name = 'calls' AND instr(sql, 'call.whole') = 0
"""
RENEW_VIEWS: Final = f"""
BEGIN IMMEDIATE;
DROP VIEW calls; DROP VIEW processes; DROP VIEW events;{_VIEWS}COMMIT;
"""
"""Of journals that release 0.1 has made; views hold nothing."""


@cache
def insert(table: str, columns: tuple[str, ...], rows: int) -> str:
    """One statement for so many rows: one step, hence one hand-over of the interpreter's lock,
    instead of one a row."""
    row = f"({','.join('?' for _ in columns)})"
    return f"INSERT INTO {table}({','.join(columns)}) VALUES {','.join(row for _ in range(rows))}"


SELECT: Final = """
SELECT e.seq, CAST(e.header AS BLOB), e.hash, coalesce(e.parts, x''), {prev}, b.key_id, b.data,
  b.digest, b.blob
FROM event e LEFT JOIN body b ON b.id = e.seq << 16
"""
IN_ORDER: Final = SELECT.format(prev="NULL")
"""For reads of a range, where the row before says `prev`."""
SINGLY: Final = SELECT.format(prev="(SELECT p.hash FROM event p WHERE p.seq = e.seq - 1)")
