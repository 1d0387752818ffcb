"""Signed checkpoints: C2SP tlog-checkpoint text in a C2SP signed note, by Ed25519.

orlop.journal/jrn_…            origin
1024                           size
base64 of the RFC 6962 root
head HEX                       extension: the hash of event number `size`
epoch 3                        extension: the epoch that signed

— orlop.journal/jrn_… base64(key hash (4) ‖ signature (64))
"""

import base64
import binascii
from hashlib import sha256

from msgspec import Struct

from orlop.abi.ids import JournalId
from orlop.store.keyring import Keyring, Verifier
from orlop.store.merkle import Tree
from orlop.store.rows import Checkpoint


class Statement(Struct, frozen=True):
    """What a note says."""

    journal: JournalId
    size: int
    root: bytes
    head: bytes
    epoch: int


def origin_of(journal: JournalId) -> str:
    return f"orlop.journal/{journal}"


def make(journal: JournalId, tree: Tree, head: bytes, epoch: int, keyring: Keyring) -> Checkpoint:
    """A checkpoint over the tree as it is now."""
    origin, root = origin_of(journal), tree.root()
    text = "\n".join(
        (origin, str(tree.size), _base64(root), f"head {head.hex()}", f"epoch {epoch}", "")
    )
    signature = _key_hash(origin, keyring.verifier.public) + keyring.sign(text.encode())
    note = f"{text}\n— {origin} {_base64(signature)}\n"
    return Checkpoint(tree.size, root, tree.packed(), note)


def read(note: str, verifier: Verifier) -> Statement | None:
    """None where the note is malformed, or not signed by this key."""
    text, gap, signatures = note.rpartition("\n\n")
    try:
        origin, size, root, head, epoch = text.split("\n")
        signed = (text + "\n").encode()
        if not gap or not _is_signed(origin, signed, signatures, verifier):
            return None
        return Statement(
            JournalId(origin.removeprefix("orlop.journal/")),
            int(size),
            base64.b64decode(root, validate=True),
            bytes.fromhex(head.removeprefix("head ")),
            int(epoch.removeprefix("epoch ")),
        )
    except (ValueError, binascii.Error):
        return None


def is_good(checkpoint: Checkpoint, journal: JournalId, verifier: Verifier) -> Statement | None:
    """The statement, where note, root and frontier agree and the signature is this journal's."""
    said = read(checkpoint.note, verifier)
    if said is None or said.journal != journal or said.size != checkpoint.size:
        return None
    try:
        root = Tree.unpack(checkpoint.size, checkpoint.frontier).root()
    except ValueError:
        return None
    return said if root == said.root == checkpoint.root else None


def _is_signed(origin: str, text: bytes, signatures: str, verifier: Verifier) -> bool:
    """Other signatures (witnesses') may stand beside ours."""
    wanted = _key_hash(origin, verifier.public)
    if not signatures.endswith("\n"):
        return False
    for line in signatures.removesuffix("\n").split("\n"):
        dash, name, encoded = line.split(" ")
        signature = base64.b64decode(encoded, validate=True)
        if dash == "—" and name == origin and signature[:4] == wanted:
            # One spelling only: base 64 has unused bits at its end.
            return encoded == _base64(signature) and verifier.fits(signature[4:], text)
    return False


def _key_hash(origin: str, public: bytes) -> bytes:
    """As the signed-note specification has it: the first 4 bytes name the key."""
    return sha256(origin.encode() + b"\n\x01" + public).digest()[:4]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
