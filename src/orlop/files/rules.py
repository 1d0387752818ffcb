"""What is said of folders, and what lies in pipes: small, and asked at every call of files.

A fold of the journal, in RAM.  Files themselves are a projection (`files.tree`).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from orlop.abi.budgets import AccountName
from orlop.abi.events import Header
from orlop.abi.files import (
    FileEvent,
    FileRight,
    FileShared,
    FileSnapshot,
    FolderMounted,
    FolderUnmounted,
    Piece,
    PipePut,
    PipeTaken,
)
from orlop.abi.ids import Nanoseconds, ProcessId, Seq, TenantId
from orlop.files import paths

RANK: Final[dict[FileRight, int]] = {"none": 0, "read": 1, "write": 2}


class Made(Struct, frozen=True, kw_only=True, gc=False):
    """By which event, when, and by whom."""

    seq: Seq
    at_ns: Nanoseconds
    process: ProcessId


class ShareRow(Struct, frozen=True, kw_only=True):
    tenant: TenantId
    path: str
    who: AccountName
    right: FileRight
    made: Made


class SnapshotRow(Struct, frozen=True, kw_only=True):
    tenant: TenantId
    path: str
    name: str
    at: Seq
    made: Made


class MountRow(Struct, frozen=True, kw_only=True):
    tenant: TenantId
    path: str
    folder: str
    writable: bool
    made: Made


class Message(Struct, frozen=True, kw_only=True):
    """In a pipe.  `put`: the event that put it there."""

    tenant: TenantId
    pipe: str
    put: Seq
    pieces: tuple[Piece, ...]
    labels: tuple[str, ...] = ()


class FileState(Struct, frozen=True, kw_only=True):
    """In the kernel's snapshot."""

    shares: list[ShareRow] = []
    snapshots: list[SnapshotRow] = []
    mounts: list[MountRow] = []
    messages: list[Message] = []


Place = tuple[TenantId, str]


@dataclass(eq=False, slots=True)
class FileTable:
    """Each by tenant and path."""

    shares: dict[Place, dict[AccountName, ShareRow]] = field(default_factory=dict)
    snapshots: dict[Place, dict[str, SnapshotRow]] = field(default_factory=dict)
    mounts: dict[Place, MountRow] = field(default_factory=dict)
    pipes: dict[Place, deque[Message]] = field(default_factory=dict)
    """Those with something in them, the oldest first."""

    def fold(self, header: Header, event: FileEvent) -> None:
        tenant = header.tenant
        made = Made(seq=header.moment, at_ns=header.wall_ns, process=header.process)
        match event:
            case FileShared():
                self._share(tenant, event, made)
            case FileSnapshot():
                row = SnapshotRow(
                    tenant=tenant, path=event.path, name=event.name, at=event.at, made=made
                )
                self.snapshots.setdefault((tenant, event.path), {})[event.name] = row
            case FolderMounted():
                self.mounts[tenant, event.path] = MountRow(
                    tenant=tenant,
                    path=event.path,
                    folder=event.folder,
                    writable=event.writable,
                    made=made,
                )
            case FolderUnmounted():
                self.mounts.pop((tenant, event.path), None)
            case PipePut():
                message = Message(
                    tenant=tenant,
                    pipe=event.pipe,
                    put=header.moment,
                    pieces=event.pieces,
                    labels=event.labels,
                )
                self.pipes.setdefault((tenant, event.pipe), deque()).append(message)
            case PipeTaken():
                self._taken(tenant, event)
            case _:
                pass  # The tree's.

    def _share(self, tenant: TenantId, event: FileShared, made: Made) -> None:
        who = AccountName(event.who)
        rows = self.shares.setdefault((tenant, event.path), {})
        if event.right is not None:
            rows[who] = ShareRow(
                tenant=tenant, path=event.path, who=who, right=event.right, made=made
            )
        else:
            rows.pop(who, None)
        if not rows:
            del self.shares[tenant, event.path]

    def _taken(self, tenant: TenantId, event: PipeTaken) -> None:
        waiting = self.pipes.get((tenant, event.pipe))
        if waiting is None:
            return
        for message in tuple(waiting):
            if message.put == event.put:
                waiting.remove(message)
        if not waiting:
            del self.pipes[tenant, event.pipe]

    def forget(self, tenant: TenantId) -> None:
        for table in (self.shares, self.snapshots, self.mounts, self.pipes):
            for place in [place for place in table if place[0] == tenant]:
                del table[place]

    # Asking.

    def right(self, tenant: TenantId, accounts: tuple[AccountName, ...], path: str) -> FileRight:
        """What whoever has these accounts may do there.

        An agent may do everything in its own home.  Else the nearest folder of which anything is
        said decides; a home says that it is its agent's.  Of what nothing is said all agents of
        the tenant may write.
        """
        owner = owner_of(path)
        if owner in accounts:
            return "write"
        for folder in paths.upward(path):
            rows = self.shares.get((tenant, folder), {})
            if rows:
                found = [row.right for who, row in rows.items() if who in accounts]
                return max(found, key=RANK.__getitem__, default="none")
        return "write" if owner is None else "none"

    def mount(self, tenant: TenantId, path: str) -> MountRow | None:
        """The mount that a path lies in."""
        if not self.mounts:
            return None
        for folder in paths.upward(path):
            if (row := self.mounts.get((tenant, folder))) is not None:
                return row
        return None

    def moment(self, tenant: TenantId, path: str, name: str) -> Seq | None:
        """What a snapshot's name stands for, of this folder or of one above it."""
        for folder in paths.upward(path):
            if (row := self.snapshots.get((tenant, folder), {}).get(name)) is not None:
                return row.at
        return None

    # Keeping.

    def state(self) -> FileState:
        return FileState(
            shares=[row for rows in self.shares.values() for row in rows.values()],
            snapshots=[row for rows in self.snapshots.values() for row in rows.values()],
            mounts=list(self.mounts.values()),
            messages=[message for waiting in self.pipes.values() for message in waiting],
        )


def restored(state: FileState) -> FileTable:
    table = FileTable(mounts={(row.tenant, row.path): row for row in state.mounts})
    for share in state.shares:
        table.shares.setdefault((share.tenant, share.path), {})[share.who] = share
    for snapshot in state.snapshots:
        table.snapshots.setdefault((snapshot.tenant, snapshot.path), {})[snapshot.name] = snapshot
    for message in state.messages:
        table.pipes.setdefault((message.tenant, message.pipe), deque()).append(message)
    return table


def owner_of(path: str) -> AccountName | None:
    """In whose home a path lies."""
    name = path.removeprefix(paths.HOME).partition("/")[0]
    if not path.startswith(paths.HOME) or not name:
        return None
    return AccountName(
        "agent:" + name.replace("%2E.", "..").replace("%2F", "/").replace("%25", "%")
    )
