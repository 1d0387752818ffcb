"""Labels of what is kept: files, pipes, memories.  What is read has the labels it was written with.

A fold of calls: a write by a call with labels labels what it writes; a clean write of a whole file
makes it clean again; a copy has the labels of its original.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from orlop.abi.calls import Call
from orlop.abi.files import ChangeFiles, Put, ReadFiles, SearchFiles, Take, WriteFiles
from orlop.abi.ids import TenantId
from orlop.abi.limits import THINGS_LABELLED_MAX
from orlop.abi.memory import Recalled, Remembered
from orlop.abi.replies import Done
from orlop.access.policy_calls import targets
from orlop.access.taint import CLEAN, Labels

Key = tuple[str, str, str]
"""Tenant, kind, name."""


LOST: Final = "lost "
"""In a snapshot, before a kind: labels of things of that kind that are not known apart any more."""


class Labelled:
    """`things`: those with labels; the longest unwritten first.

    `lost`: by tenant and kind, the labels of those that were forgotten for want of room.  From then
    on all that is not known has these, and what is clean is known too: labels are lost to nobody's
    advantage.
    """

    def __init__(self, things: Iterable[tuple[Key, tuple[str, ...]]] = ()) -> None:
        self.things: OrderedDict[Key, Labels] = OrderedDict()
        self.lost: dict[tuple[str, str], Labels] = {}
        for (tenant, kind, name), labels in things:
            if kind.startswith(LOST):
                self.lost[tenant, kind.removeprefix(LOST)] = frozenset(labels)
            else:
                self.things[tenant, kind, name] = frozenset(labels)

    def of(self, key: Key) -> Labels:
        found = self.things.get(key)
        return found if found is not None else self.lost.get(key[:2], CLEAN)

    def _put(self, key: Key, labels: Labels, *, keep: bool) -> None:
        """keep: what it had before is still in it.  What a file is rid of, its past has."""
        before = self.of(key)
        if keep:
            labels |= before
        elif before - labels and key[1] == "file":
            self._put((key[0], "past", key[2]), before, keep=True)
        self.things.pop(key, None)
        if labels or key[:2] in self.lost:
            self.things[key] = labels
            if len(self.things) > THINGS_LABELLED_MAX:
                (tenant, kind, _), gone = self.things.popitem(last=False)
                self.lost[tenant, kind] = self.lost.get((tenant, kind), CLEAN) | gone

    def forget(self, tenant: TenantId) -> None:
        for key in [key for key in self.things if key[0] == tenant]:
            del self.things[key]
        for whose in [whose for whose in self.lost if whose[0] == tenant]:
            del self.lost[whose]

    def entered(self, tenant: TenantId, call: Call, labels: Labels) -> None:
        """A call begins that may write."""
        match call:
            case WriteFiles():
                for one in call.files:
                    had = self.of((tenant, "file", one.onto)) if one.onto else CLEAN
                    self._put((tenant, "file", one.path), labels | had, keep=one.append)
            case Put():
                self._put((tenant, "pipe", call.pipe), labels, keep=True)
            case ChangeFiles():
                self._changed(tenant, call, labels)
            case _ if not labels:
                pass
            case _:
                for action, name in targets(call):
                    if action == "write":
                        self._put((tenant, "file", name), labels, keep=True)

    def _changed(self, tenant: TenantId, call: ChangeFiles, labels: Labels) -> None:
        """Also a folder's: all that lies below it goes along."""
        below = list(self._below(tenant, call.path))
        if call.action in ("copy", "move"):
            for name, had in below:
                moved = call.to + name.removeprefix(call.path)
                self._put((tenant, "file", moved), had | labels, keep=True)
        if call.action in ("move", "delete"):
            for name, _ in below:
                self._put((tenant, "file", name), CLEAN, keep=False)
        if call.action in ("rollback", "restore"):
            for name, had in list(self._below(tenant, call.path, "past")):
                self._put((tenant, "file", name), had | labels, keep=True)
        if self.lost and call.action != "delete":
            # What was forgotten may have come here: nothing is known to be clean.
            for name, known in list(self._below(tenant, call.to or call.path)):
                if not known:
                    del self.things[tenant, "file", name]

    def _below(
        self, tenant: TenantId, path: str, wanted: str = "file"
    ) -> Iterator[tuple[str, Labels]]:
        inside = path.rstrip("/") + "/"
        for (owner, kind, name), labels in self.things.items():
            if owner == tenant and kind == wanted and (name == path or name.startswith(inside)):
                yield name, labels

    def returned(self, tenant: TenantId, done: Done, labels: Labels) -> None:
        """A call has returned that may have written memories."""
        if isinstance(done, Remembered):
            for one in done.written:
                self._put((tenant, "memory", one.memory), labels, keep=False)

    def brought(self, tenant: TenantId, call: Call, done: Done) -> Labels:
        """Of what a call has read."""
        if not self.things and not self.lost:
            return CLEAN
        match call, done:
            case ReadFiles(), _:
                keys = [(tenant, "file", one.path) for one in call.files]
                old = [one for one in call.files if call.at or one.version is not None]
                keys += [(tenant, "past", one.path) for one in old]
            case Take(), _:
                keys = [(tenant, "pipe", call.pipe)]
            case SearchFiles(), _:
                lost = self.lost.get((tenant, "file"), CLEAN)
                return lost.union(*(labels for _, labels in self._below(tenant, call.path)))
            case _, Recalled():
                found = (*done.memories, *done.stale)
                keys = [(tenant, "memory", one.memory) for one in found]
            case _:
                read = [name for action, name in targets(call) if action == "read"]
                keys = [(tenant, "file", name) for name in read]
        return CLEAN.union(*(self.of(key) for key in keys))

    def state(self) -> list[tuple[Key, tuple[str, ...]]]:
        things = [(key, tuple(sorted(labels))) for key, labels in self.things.items()]
        return things + [
            ((tenant, LOST + kind, ""), tuple(sorted(labels)))
            for (tenant, kind), labels in self.lost.items()
        ]
