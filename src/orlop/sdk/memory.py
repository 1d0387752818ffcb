"""What operators may ask of memories."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from orlop.abi.ids import Seq
from orlop.abi.limits import CLIENT_PATIENCE_S
from orlop.abi.memory import Memory, MemoryKindSet, MemoryShared, SubjectsLinked, Written
from orlop.abi.memory_orders import (
    Certificate,
    Difference,
    EraseOrder,
    KindOrder,
    MemoryStats,
    ReembedOrder,
    RollbackOrder,
    ShareOrder,
    SubjectOrder,
    Why,
)
from orlop.sdk.exchange import ROOT
from orlop.sdk.link import Link
from orlop.sdk.operator import Operator
from orlop.sdk.place import find


def memory_operator(
    url: str = "",
    *,
    token: str = "",
    home: Path | None = None,
    tenant: str = "",
    patience_s: float = CLIENT_PATIENCE_S,
) -> "MemoryOperator":
    """The kernel's memories, for operators; arguments as for `orlop.connect`."""
    return MemoryOperator(Link(find(url, token=token, home=home, tenant=tenant), patience_s))


class MemoryOperator(Operator):
    """Beside what every process may: the past, the shares, the subjects."""

    def stats(self) -> MemoryStats:
        return self._get("/memory", MemoryStats)

    def history(self, memory: str) -> list[Memory]:
        """All versions, oldest first."""
        return self._get(f"/memories/{quote(memory, safe='')}", list[Memory])

    def evidence(self, name: str) -> Why:
        """name: of a memory, or of a call: what its answer may rest on."""
        return self._get(f"/memories/{quote(name, safe='')}/why", Why)

    def diff(self, namespace: str, before: Seq, after: Seq) -> list[Difference]:
        query = urlencode({"namespace": namespace, "before": before, "after": after})
        return self._get(f"/memory/diff?{query}", list[Difference])

    def rollback(self, order: RollbackOrder) -> list[Written]:
        return self._post("/memory/rollback", order, list[Written])

    def share(self, order: ShareOrder) -> list[MemoryShared]:
        return self._post("/memory/shares", order, list[MemoryShared])

    def shares(self) -> list[MemoryShared]:
        return self._get("/memory/shares", list[MemoryShared])

    def kinds(self) -> list[MemoryKindSet]:
        return self._get("/memory/kinds", list[MemoryKindSet])

    def set_kind(self, order: KindOrder) -> MemoryKindSet:
        return self._post("/memory/kinds", order, MemoryKindSet)

    def subjects(self, order: SubjectOrder) -> SubjectsLinked:
        """Merge or split what is known of whom."""
        return self._post("/memory/subjects", order, SubjectsLinked)

    def erase(self, order: EraseOrder) -> Certificate:
        return self._post("/memory/erasures", order, Certificate)

    def reembed(self, order: ReembedOrder) -> MemoryStats:
        """Returns at once; `stats` shows how far it is."""
        return self._post("/memory/model", order, MemoryStats)

    def exported(
        self, namespaces: Sequence[str], *, past: bool, vectors: bool = False
    ) -> Iterator[bytes]:
        """Lines of JSON, one version each; namespaces: with all below them."""
        asked = {"namespace": ",".join(namespaces), "past": int(past), "vectors": int(vectors)}
        query = urlencode(asked)
        yield from self._lines(f"{ROOT}/memory/export?{query}")
