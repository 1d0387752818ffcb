"""Which process a client with a key speaks for, found by what the client says of itself.

Invariant: a name's entry is the first process that took it; a nameless client's is its newest.
"""

from typing import TypeAlias

from orlop.abi.ids import KeyId, TenantId
from orlop.state.process import Process
from orlop.state.process_table import NAMELESS, OVER

Said: TypeAlias = tuple[TenantId, KeyId | None, str, str]
"""Tenant, key, program (empty: whichever it is) and name."""


class Clients:
    """Looked up once a call, so nothing here walks the process table."""

    def __init__(self) -> None:
        self._by_said: dict[Said, Process] = {}

    def find(self, tenant: TenantId, key: KeyId | None, program: str, name: str) -> Process | None:
        """A named client goes on where it was, also if it has ended; a nameless one does not."""
        found = self._by_said.get((tenant, key, program, name or NAMELESS))
        if found is not None and _is_left(found):
            return None
        return found

    def add(self, process: Process) -> None:
        for said in _ways(process):
            earlier = self._by_said.get(said)
            if earlier is None or _is_left(earlier):
                self._by_said[said] = process

    def discard(self, process: Process) -> None:
        """It has left the process table."""
        for said in _ways(process):
            if self._by_said.get(said) is process:
                del self._by_said[said]


def _ways(process: Process) -> tuple[Said, Said]:
    """How a client may refer to it: with its program, or without."""
    row = process.row
    who = (row.tenant, row.key_id)
    return (*who, row.program, row.name), (*who, "", row.name)


def _is_left(process: Process) -> bool:
    return process.row.is_nameless and process.row.state in OVER
