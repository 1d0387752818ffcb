"""Proof that one event is in a journal: for an auditor who gets neither the journal nor its keys.

The event's header as it was hashed, the hash before it, its path in the RFC 6962 tree, and the
signed checkpoint over that tree.  Whoever has the public key (`keys/journal.pub`) can check it.
"""

import base64
import binascii
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.errors import BadCall, Conflict, JournalStopped, NotFound
from orlop.abi.ids import JournalId, Seq
from orlop.store import checkpoint, merkle
from orlop.store.home import Home
from orlop.store.keyring import Verifier
from orlop.store.rows import Row
from orlop.store.tape import Reading
from orlop.store.tapes import ON_SQLITE, JournalConfig
from orlop.store.tapes import tape as open_tape

FORMAT: Final = 1
ROWS_AT_ONCE: Final = 10_000


class Proof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `orlop journal prove` writes.  Hashes in base 64."""

    format: int = FORMAT
    journal: JournalId
    seq: Seq
    header: str
    """The event's JSON, exactly as it was hashed; its body is named by `body_digest` in it."""
    before: str
    """The hash of the event before it."""
    path: tuple[str, ...]
    note: str
    """The signed checkpoint."""


class Proven(Struct, frozen=True, kw_only=True):
    """What a proof shows."""

    journal: JournalId
    seq: Seq
    hash: str
    """The event's, hexadecimal."""
    events: int
    """In the journal when the checkpoint was signed."""
    header: dict[str, object]


def prove(path: Path, seq: Seq, config: JournalConfig = ON_SQLITE) -> Proof:
    """From the files alone.  Raises `NotFound` where there is no such event, `Conflict` where no
    checkpoint covers it yet, `JournalStopped` where there is no journal."""
    tape = open_tape(Home(path), config)
    try:
        meta = tape.look()
        if meta is None:
            raise JournalStopped(f"there is no journal in {path}")
        found = tape.rows(seq, seq, 1)
        if not found:
            raise NotFound(f"event {seq} is not in the journal in {path}")
        newest = next(iter(tape.checkpoints(1)), None)
        if newest is None or newest.size < seq:
            size = 0 if newest is None else newest.size
            raise Conflict(
                f"event {seq} is newer than the newest checkpoint, over {size} events: one is "
                "signed every 1,024 events and at each clean stop (`orlop down`)"
            )
        siblings = merkle.path(_leaves(tape, Seq(newest.size)), seq - 1)
        return Proof(
            journal=meta.journal,
            seq=seq,
            header=found[0].text.decode(),
            before=_text(found[0].prev),
            path=tuple(map(_text, siblings)),
            note=newest.note,
        )
    finally:
        tape.close()


def check(data: bytes, public_key: bytes) -> Proven:
    """Raises `BadCall` that says what of the proof does not hold.

    public_key: the content of `keys/journal.pub`.
    """
    try:
        proof = msgspec.json.decode(data, type=Proof)
        key = Verifier(base64.b64decode(public_key, validate=False))
        before, siblings = _bytes(proof.before), [_bytes(each) for each in proof.path]
        header = msgspec.json.decode(proof.header, type=dict[str, object])
    except (msgspec.DecodeError, ValueError, binascii.Error) as error:
        raise BadCall(f"this is no proof, or no public key: {error}") from error
    if proof.format != FORMAT:
        raise BadCall(f"the proof has format {proof.format}, which this release does not know")
    said = checkpoint.read(proof.note, key)
    if said is None:
        raise BadCall("the checkpoint is not signed by this key")
    if said.journal != proof.journal or header.get("seq") != proof.seq:
        raise BadCall("the header or the checkpoint is another event's, or another journal's")
    hash_ = sha256(before + proof.header.encode()).digest()
    if merkle.root_by(siblings, merkle.leaf(hash_), proof.seq - 1, said.size) != said.root:
        raise BadCall(f"event {proof.seq} as shown here is not in the tree that was signed")
    return Proven(
        journal=said.journal, seq=proof.seq, hash=hash_.hex(), events=said.size, header=header
    )


def _leaves(tape: Reading, size: Seq) -> list[bytes]:
    leaves, first = list[bytes](), Seq(1)
    while len(leaves) < size:
        rows: list[Row] = tape.rows(first, size, ROWS_AT_ONCE)
        if not rows:
            raise JournalStopped(f"events from {first} on are missing: `orlop journal verify`")
        leaves += [merkle.leaf(row.hash) for row in rows]
        first = Seq(rows[-1].seq + 1)
    return leaves


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
