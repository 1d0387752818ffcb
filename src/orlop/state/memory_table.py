"""What the kernel must know of memories at each call: a fold of the journal, small.

Shares, schemas, and whose vectors are searched.  The memories themselves are a projection.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec import Struct

from orlop.abi.events import Header
from orlop.abi.ids import TenantId
from orlop.abi.memory import MemoryKindSet, MemoryModelChosen, MemoryShared, ShareAccess

MemoryRule: TypeAlias = MemoryShared | MemoryKindSet | MemoryModelChosen


class MemoryRules(Struct, frozen=True, kw_only=True):
    """In a snapshot."""

    tenant: TenantId
    shares: tuple[MemoryShared, ...] = ()
    kinds: tuple[MemoryKindSet, ...] = ()
    model: str | None = None
    model_before: str = ""
    model_wanted: str = ""


@dataclass(eq=False, slots=True)
class MemoryTable:
    shares: dict[tuple[TenantId, str], dict[str, tuple[ShareAccess, ...]]] = field(
        default_factory=dict
    )
    """By namespace: who else, and how."""
    kinds: dict[tuple[TenantId, str], MemoryKindSet] = field(default_factory=dict)
    """The newest schema of each kind."""
    models: dict[TenantId, MemoryModelChosen] = field(default_factory=dict)

    def fold(self, header: Header, event: MemoryRule) -> None:
        self._put(header.tenant, event)

    def access(self, tenant: TenantId, namespace: str, names: Iterable[str]) -> set[ShareAccess]:
        """How a private namespace is open to whoever goes by one of `names`: by a share of it, or
        of one above it."""
        found: set[ShareAccess] = set()
        words = namespace.split("/")
        for length in range(1, len(words) + 1):
            shared = self.shares.get((tenant, "/".join(words[:length])))
            for name in names if shared else ():
                found.update(shared.get(name, ()) if shared else ())
        return found

    def state(self) -> list[MemoryRules]:
        tenants = {*self.models, *(key[0] for key in (*self.shares, *self.kinds))}
        return [self._rules(tenant) for tenant in sorted(tenants)]

    def _rules(self, tenant: TenantId) -> MemoryRules:
        chosen = self.models.get(tenant)
        return MemoryRules(
            tenant=tenant,
            shares=tuple(
                MemoryShared(namespace=namespace, whom=whom, access=access)
                for (owner, namespace), shared in self.shares.items()
                if owner == tenant
                for whom, access in shared.items()
            ),
            kinds=tuple(kind for (owner, _), kind in self.kinds.items() if owner == tenant),
            model=chosen.model if chosen is not None else None,
            model_before=chosen.before if chosen is not None else "",
            model_wanted=chosen.wanted if chosen is not None else "",
        )

    def _put(self, tenant: TenantId, event: MemoryRule) -> None:
        match event:
            case MemoryShared():
                shared = self.shares.setdefault((tenant, event.namespace), {})
                if event.access:
                    shared[event.whom] = event.access
                else:
                    shared.pop(event.whom, None)
                if not shared:
                    del self.shares[(tenant, event.namespace)]
            case MemoryKindSet():
                self.kinds[(tenant, event.memory_kind)] = event
            case MemoryModelChosen():
                self.models[tenant] = event

    def forget(self, tenant: TenantId) -> None:
        self.shares = {key: held for key, held in self.shares.items() if key[0] != tenant}
        self.kinds = {key: kind for key, kind in self.kinds.items() if key[0] != tenant}
        self.models.pop(tenant, None)

    def put(self, rules: Iterable[MemoryRules]) -> None:
        """From a snapshot."""
        for one in rules:
            for share in one.shares:
                self._put(one.tenant, share)
            for kind in one.kinds:
                self._put(one.tenant, kind)
            if one.model is not None:
                chosen = MemoryModelChosen(
                    model=one.model, before=one.model_before, wanted=one.model_wanted
                )
                self._put(one.tenant, chosen)


def restored(rules: Iterable[MemoryRules]) -> MemoryTable:
    table = MemoryTable()
    table.put(rules)
    return table
