"""Capabilities: the tokens of processes, made and read; what is kept of those that were read.

A token is a fact about the past: who it was made for, and how it was narrowed since.  What its
process may do *now* is in the kernel's table, so a token never gives more than that.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from orlop.abi.calls import Budget
from orlop.abi.errors import Unauthenticated
from orlop.abi.ids import Nanoseconds, ProcessId, TenantId
from orlop.abi.limits import TOKENS_READ_MAX
from orlop.abi.rights import EVERYTHING, Rights
from orlop.access.rights import Narrowing, compiled
from orlop.machine.clock import NS_PER_S
from orlop.machine.ranges import Seconds
from orlop.store.signing_keys import SigningKeys
from orlop.wire import tokens
from orlop.wire.claims import First, Said, whole_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenConfig:
    """The `[tokens]` table of orlop.toml."""

    format: tokens.Format = "biscuit"
    """Of new tokens: `biscuit`, or `ed25519`, a chain of signatures that needs no library of its
    own.  Both are read."""
    lifetime_s: Seconds = 0.0
    """How long a process's token is good for; 0: as long as its incarnation lives."""


class Holder(Protocol):
    """What a token says of its process; the kernel's rows have it."""

    @property
    def id(self) -> ProcessId: ...
    @property
    def tenant(self) -> TenantId: ...
    @property
    def incarnation(self) -> int: ...
    @property
    def rights(self) -> Rights: ...
    @property
    def budget(self) -> Budget: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """A token that one of our keys signed.  `refusal`: why it is refused all the same."""

    process: ProcessId
    incarnation: int
    said: Said
    names: frozenset[str]
    """Any of which revokes it: its blocks' ids, and its incarnation."""
    narrowing: Narrowing | None
    expires_ns: Nanoseconds | None
    refusal: str = ""

    def fault(self, now_ns: Nanoseconds) -> str:
        """Why it is refused at that time; empty: it is not."""
        if self.expires_ns is not None and now_ns >= self.expires_ns:
            late_s = (now_ns - self.expires_ns) / NS_PER_S
            return f"expired token: it was good until {late_s:.0f} s ago"
        return self.refusal


def incarnation_name(process: ProcessId, incarnation: int) -> str:
    """What revokes all tokens of one incarnation."""
    return f"{process}.{incarnation}"


def _budgets(said: Said) -> tuple[tuple[str, Budget], ...]:
    """Those of its narrowings, the newest first."""
    pairs = zip(said.ids[1:], said.blocks, strict=True)
    found = [(id, block.budget) for id, block in pairs if block.budget not in (None, Budget())]
    return tuple((id, budget) for id, budget in reversed(found) if budget is not None)


class Capabilities:
    """Makes and reads tokens.  What was verified is kept, up to TOKENS_READ_MAX."""

    def __init__(self, keys: SigningKeys, config: TokenConfig) -> None:
        self.keys = keys
        self._config = config
        self._read: OrderedDict[str, Capability] = OrderedDict()

    def make(self, holder: Holder, now_ns: Nanoseconds) -> str:
        """The whole token of a process's present incarnation."""
        expires_ns = None
        if self._config.lifetime_s:
            lifetime_ns = round(self._config.lifetime_s * NS_PER_S)
            expires_ns = whole_seconds(Nanoseconds(now_ns + lifetime_ns))
        first = First(
            tenant=holder.tenant,
            process=holder.id,
            incarnation=holder.incarnation,
            allow=holder.rights,
            budget=holder.budget,
            expires_ns=expires_ns,
        )
        key = self.keys.newest
        return tokens.make(self._config.format, first, key.number, key.private)

    def read(self, text: str, now_ns: Nanoseconds) -> Capability:
        """Raises `Unauthenticated` where it is not one of ours, whole and unchanged."""
        found = self._read.get(text)
        if found is None:
            found = self._read[text] = self._verified(text, now_ns)
            if len(self._read) > TOKENS_READ_MAX:
                self._read.popitem(last=False)
        else:
            self._read.move_to_end(text)
        return found

    def rotated(self) -> None:
        """The keys have changed: what was verified by them is verified anew."""
        self._read.clear()

    def _verified(self, text: str, now_ns: Nanoseconds) -> Capability:
        until: list[Nanoseconds] = []

        def public(number: int) -> bytes | None:
            key = self.keys.find(number, now_ns)
            if key is not None and key.until_ns is not None:
                until.append(key.until_ns)
            return None if key is None else key.public

        try:
            said = tokens.read(text, public, now_ns)
        except Unauthenticated:
            if (found := self._of_another_kernel(text, now_ns)) is None:
                raise
            said = found
        first, refusal = said.first, ""
        try:
            said.require_narrowing()
        except Unauthenticated as error:
            refusal = error.message
        expires = [*until, *([said.expires_ns] if said.expires_ns is not None else [])]
        narrowing = None
        if said.blocks:
            is_less = any(block.allow is not None for block in said.blocks)
            held = compiled(said.allow if is_less else EVERYTHING)
            narrowing = Narrowing(held, said.ids[-1], _budgets(said), said.expires_ns)
        return Capability(
            process=first.process,
            incarnation=first.incarnation,
            said=replace(said, first=replace(first, budget=Budget())),
            names=frozenset((*said.ids, incarnation_name(first.process, first.incarnation))),
            narrowing=narrowing,
            expires_ns=min(expires, default=None),
            refusal=refusal,
        )

    def _of_another_kernel(self, text: str, now_ns: Nanoseconds) -> Said | None:
        """What a token says that was made where its process lived before."""
        for other in self.keys.others:
            if other.until_ns is not None and now_ns >= other.until_ns:
                continue
            numbered = {other.number: other.public}
            try:
                return tokens.read(text, numbered.get, now_ns)
            except Unauthenticated:
                continue
        return None
