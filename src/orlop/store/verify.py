"""`orlop journal verify` and `accept-loss`: on the files alone, without a kernel."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from orlop.abi.errors import JournalStopped, NotFound
from orlop.abi.ids import JournalId, Seq
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.machine.offload import Offload
from orlop.store import checkpoint
from orlop.store.audit import Audit, Damage, Finding, Progress
from orlop.store.checkpoint import Statement
from orlop.store.home import Home
from orlop.store.journal import Journal
from orlop.store.keyring import Verifier, fingerprint, load_verifier
from orlop.store.tape import Reading
from orlop.store.tapes import ON_SQLITE, JournalConfig
from orlop.store.tapes import tape as open_tape

_NOTE: Final = re.compile(r"orlop\.journal/.+?\n\n— [^\n]+\n", re.DOTALL)
"""One signed note in a file of many."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What `verify` found.  The journal is whole where `damage` is empty."""

    journal: JournalId | None
    events: int
    """Good ones, from the first on."""
    head: str
    """The hash of the last good event, hexadecimal."""
    root: str
    """The RFC 6962 root over the good events, hexadecimal."""
    key: str
    """The fingerprint of the key that signs checkpoints; empty where it is missing."""
    checkpoints: int
    events_after_anchor: int
    damage: tuple[Damage, ...]
    warnings: tuple[str, ...]
    losses_accepted: tuple[Seq, ...]
    """Where an operator went on after a loss; `orlop journal export` shows what was given up."""

    @property
    def is_whole(self) -> bool:
        return not self.damage


def verify(
    path: Path,
    outside: Sequence[Path] = (),
    progress: Progress | None = None,
    config: JournalConfig = ON_SQLITE,
) -> Verdict:
    """Chain, bodies, blobs, checkpoints, anchor, gaps.  Needs no secret key; changes nothing.

    outside: copies of checkpoints that were kept elsewhere; the journal must still fit them.
    `NotFound` where there is nothing to verify.
    """
    home = Home(path)
    tape = open_tape(home, config)
    verifier = load_verifier(home.keys)
    try:
        found = Audit(tape, verifier, whole=True, progress=progress).run()
        if found.meta is None and found.anchor is None:
            raise NotFound(f"{path} holds no journal")
        for said in _statements(outside, verifier):
            found.damage += _against(tape, said, found)
        if verifier is None:
            found.warnings.append(f"no public key in {home.keys}: no signature was checked")
        return Verdict(
            journal=found.meta.journal if found.meta else None,
            events=found.head.seq if found.head else 0,
            head=found.head.hash.hex() if found.head else "",
            root=found.tree.root().hex(),
            key="" if verifier is None else fingerprint(verifier.public),
            checkpoints=found.checkpoints,
            events_after_anchor=found.events_after_anchor,
            damage=tuple(found.damage),
            warnings=tuple(found.warnings),
            losses_accepted=tuple(loss.seq for loss in found.losses),
        )
    finally:
        tape.close()


async def accept_loss(
    path: Path,
    reason: str,
    clock: Clock,
    chance: Chance,
    offload: Offload,
    config: JournalConfig = ON_SQLITE,
) -> list[Damage]:
    """Give up what `verify` finds damaged, by signed events; the old files are kept aside."""
    home = Home(path)
    home.require()
    tape = open_tape(home, config)
    keyring = home.keyring(chance, has_journal=tape.look() is not None)
    journal = Journal(tape, keyring, clock, chance, offload)
    try:
        return await journal.accept_loss(reason)
    finally:
        await journal.close()


def _statements(paths: Sequence[Path], verifier: Verifier | None) -> Iterator[Statement]:
    """Every checkpoint in these files that our key signed."""
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise JournalStopped(
                f"the outside checkpoints in {path} can't be read: {error}"
            ) from error
        for note in _NOTE.findall(text):
            said = None if verifier is None else checkpoint.read(note, verifier)
            if said is not None:
                yield said


def _against(tape: Reading, said: Statement, found: Finding) -> list[Damage]:
    """What was signed then must still be there, but for what was given up since."""
    given_up = any(loss.epoch > said.epoch and loss.seq <= said.size for loss in found.losses)
    if found.meta is None or said.journal != found.meta.journal or given_up:
        return []
    head = 0 if found.head is None else found.head.seq
    if said.size > head:
        return [Damage(Seq(head + 1), Seq(said.size), "lost: a checkpoint outside has seen them")]
    rows = tape.rows(Seq(said.size), Seq(said.size), 1)
    if not rows or rows[0].hash != said.head:
        return [Damage(Seq(said.size), None, "a checkpoint outside has seen another history")]
    return []
