"""The tables of a journal on PostgreSQL: one PostgreSQL schema a journal, so that several kernels
share a database and neither their numbers nor their chains."""

from typing import Final, LiteralString

LAYOUT: Final = 2
"""Of these tables; `meta` says which one a journal has (where it says nothing: 1)."""

_OWNER: Final[LiteralString] = """
CREATE TABLE {schema}.owner(
  one boolean PRIMARY KEY DEFAULT true CHECK (one), epoch bigint NOT NULL
);
INSERT INTO {schema}.owner(epoch) SELECT coalesce(max(epoch), 0) FROM {schema}.boot;
"""

STEPS: Final[dict[int, tuple[str, LiteralString]]] = {
    2: ("a row that says which epoch may write, so that an owner of the past can't", _OWNER),
}
"""How an older layout becomes the next one: what for, and the statements.  None takes anything
away, so that they may run before anybody is asked; `orlop upgrade --plan` shows them."""

CREATE: Final[LiteralString] = (
    """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE {schema}.meta(name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE {schema}.boot(epoch bigint PRIMARY KEY, id text NOT NULL);
CREATE TABLE {schema}.event(
  seq bigint PRIMARY KEY,
  header text NOT NULL,             -- JSON, exactly as hashed
  hash bytea NOT NULL,              -- SHA-256(hash of the event before || header)
  parts bytea,                      -- SHA-256 of each part that came with it, joined
  process text NOT NULL,
  process_seq bigint NOT NULL,
  kind text NOT NULL,
  call text,
  key bytea,
  wall_ns bigint NOT NULL
);
CREATE UNIQUE INDEX event_process ON {schema}.event(process, process_seq);
CREATE UNIQUE INDEX event_outcome_once ON {schema}.event(key) WHERE key IS NOT NULL;
CREATE INDEX event_call ON {schema}.event(call) WHERE call IS NOT NULL;
CREATE INDEX event_snapshot ON {schema}.event(seq) WHERE kind = 'kernel.snapshot';
CREATE TABLE {schema}.body(
  id bigint PRIMARY KEY,            -- seq << 16 | part; part 0 is the event's own
  name bytea,                       -- of a part: HMAC of its content
  key_id integer NOT NULL,
  digest bytea,                     -- SHA-256 of the ciphertext, where that is long or pruned
  data bytea,                       -- the ciphertext; NULL: pruned
  blob text
);
CREATE UNIQUE INDEX body_name ON {schema}.body(name) WHERE name IS NOT NULL;
CREATE TABLE {schema}.checkpoint(
  size bigint PRIMARY KEY, root bytea NOT NULL, frontier bytea NOT NULL, note text NOT NULL
);
CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$;
CREATE FUNCTION {schema}.prune_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.id <> OLD.id OR NEW.key_id <> OLD.key_id OR NEW.data IS NOT NULL OR NEW.blob IS NOT NULL
    OR NEW.name IS NOT NULL OR NEW.digest IS NULL
    OR (OLD.digest IS NOT NULL AND NEW.digest <> OLD.digest)
  THEN RAISE EXCEPTION 'a body can only be pruned'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE ON {schema}.event
  FOR EACH ROW EXECUTE FUNCTION {schema}.refuse();
CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON {schema}.event
  FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse();
CREATE TRIGGER body_no_delete BEFORE DELETE ON {schema}.body
  FOR EACH ROW EXECUTE FUNCTION {schema}.refuse();
CREATE TRIGGER body_no_truncate BEFORE TRUNCATE ON {schema}.body
  FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse();
CREATE TRIGGER body_prune_only BEFORE UPDATE ON {schema}.body
  FOR EACH ROW EXECUTE FUNCTION {schema}.prune_only();
"""
    + _OWNER
)

SET_LAYOUT: Final = """
INSERT INTO {schema}.meta VALUES ('layout', %s)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
INSERT_CHECKPOINTS: Final = """
INSERT INTO {schema}.checkpoint(size, root, frontier, note)
SELECT * FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[], %s::text[])
"""
PRUNE: Final = """
UPDATE {schema}.body SET digest = coalesce(digest, sha256(data)), data = NULL, blob = NULL,
  name = NULL
WHERE id < %s AND data IS NOT NULL AND id >> 16 IN
  (SELECT seq FROM {schema}.event WHERE seq < %s AND kind <> ALL(%s) AND wall_ns < %s)
"""

FORGET: Final = """
UPDATE {schema}.body SET digest = coalesce(digest, sha256(data)), data = NULL, blob = NULL,
  name = NULL
WHERE data IS NOT NULL AND id = ANY(%s)
"""
STRIKE: Final = """
UPDATE {schema}.body SET digest = coalesce(digest, sha256(data)), data = NULL, blob = NULL,
  name = NULL
WHERE data IS NOT NULL AND id >> 16 = ANY(%s)
"""

SELECT: Final = """
SELECT e.seq, e.header, e.hash, coalesce(e.parts, ''::bytea), {prev}, b.key_id, b.data, b.digest,
  b.blob
FROM {schema}.event e LEFT JOIN {schema}.body b ON b.id = e.seq << 16
"""
PREV: Final = "(SELECT p.hash FROM {schema}.event p WHERE p.seq = e.seq - 1)"
BODY: Final = "SELECT id, key_id, data, name, digest, blob FROM {schema}.body "
