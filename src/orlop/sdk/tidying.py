"""Consolidation and forgetting: an ordinary program of the batch class, over a kernel's memories.

Every step is one transaction against the versions that it read: what changed meanwhile is left
alone and counted.  Nothing is lost: what is closed stays in the history, with who closed it.
"""

from collections.abc import Sequence

from msgspec import Struct

from orlop.abi.errors import Conflict, NotFound
from orlop.abi.hints import Hints
from orlop.abi.memory import Item, Memory, Remember, Target
from orlop.abi.memory_orders import TidyReport
from orlop.sdk.sync import SyncKernel

READ_MAX = 1_000
"""Memories that one run looks at, the newest."""
NEAR = 6
GROUP_MIN = 3
"""Facts about one subject from which on a summary is worth it."""
BATCH = Hints(latency_class="batch")
_NS_PER_S = 1_000_000_000


class Tidying(Struct, frozen=True, kw_only=True):
    """What is to be done."""

    namespace: str
    alike: float = 0.95
    """Cosine from which on two memories say the same; 1: equal words only."""
    fade_s: float = 0.0
    """In so many seconds confidence halves; 0: nothing fades."""
    fade_below: float = 0.2
    """Confidence from which on a memory is forgotten."""
    summarise: str = ""
    """A chat model that puts what is known of one subject into a sentence; empty: none."""
    dry: bool = False
    """Only count."""


class Tidier:
    """One run."""

    def __init__(self, kernel: SyncKernel, what: Tidying, now_ns: int) -> None:
        self._kernel = kernel
        self._what = what
        self._now_ns = now_ns
        self._gone: set[str] = set()
        self.merged = self.resolved = self.faded = self.summarised = self.conflicts = 0

    def run(self) -> TidyReport:
        place = (self._what.namespace,)
        found = self._kernel.recall(namespaces=place, limit=READ_MAX, hints=BATCH)
        rows = [row for row in found.memories if _is_ours(row)]
        self._resolve(rows)
        self._fade(rows)
        for row in rows:
            self._merge(row)
        if self._what.summarise:
            self._summarise(rows)
        return TidyReport(
            read=len(rows),
            merged=self.merged,
            resolved=self.resolved,
            faded=self.faded,
            summarised=self.summarised,
            conflicts=self.conflicts,
            note=f"only the newest {READ_MAX} were read" if len(rows) == READ_MAX else "",
        )

    def _resolve(self, rows: Sequence[Memory]) -> None:
        """Of facts that say what they are `about`, one a subject holds: the newest."""
        newest: dict[tuple[str, str, str], Memory] = {}
        for row in rows:  # Newest first.
            about = row.attributes.get("about")
            if not isinstance(about, str) or not row.subject:
                continue
            first = newest.setdefault((row.subject, row.kind, about), row)
            if first is not row:
                self.resolved += self._step([], [row])

    def _fade(self, rows: Sequence[Memory]) -> None:
        """Confidence halves with time; what was sure is never forgotten for its age alone."""
        if self._what.fade_s <= 0:
            return
        for row in rows:
            age_s = (self._now_ns - row.wall_ns) / _NS_PER_S
            left = row.confidence * 0.5 ** (age_s / self._what.fade_s)
            if row.confidence < 1 and left < self._what.fade_below:
                self.faded += self._step([], [row])

    def _merge(self, row: Memory) -> None:
        """What says the same as `row` is closed, and its sources go over."""
        if row.memory in self._gone:
            return
        same = [other for other in self._near(row) if self._says_the_same(row, other)]
        if not same:
            return
        sources = dict.fromkeys([*row.sources, *(f"{one.memory}@{one.version}" for one in same)])
        merged = Item(
            text=row.text,
            memory=row.memory,
            expected=row.version,
            key=row.key,
            kind=row.kind,
            attributes=row.attributes,
            subjects=(row.subject,) if row.subject else (),
            valid_from_ns=row.valid_from_ns,
            valid_to_ns=row.valid_to_ns,
            confidence=max(row.confidence, *(one.confidence for one in same)),
            sources=tuple(sources),
            model=row.model,
        )
        if self._step([merged], same):
            self.merged += len(same)
            self._gone.add(row.memory)

    def _near(self, row: Memory) -> Sequence[Memory]:
        words_only = self._what.alike >= 1
        found = self._kernel.recall(
            row.text,
            namespaces=(self._what.namespace,),
            kinds=(row.kind,),
            mode="words" if words_only else "dense",
            limit=NEAR,
            hints=BATCH,
        )
        return [one for one in found.memories if one.memory != row.memory and _is_ours(one)]

    def _says_the_same(self, row: Memory, other: Memory) -> bool:
        if other.memory in self._gone or row.subject != other.subject or other.key != row.key:
            return False
        if row.text.split() == other.text.split():
            return True
        return self._what.alike < 1 and other.score >= self._what.alike

    def _summarise(self, rows: Sequence[Memory]) -> None:
        """A summary beside the facts, which stay; made again when they have changed."""
        by_subject: dict[str, list[Memory]] = {}
        for row in rows:
            is_for_good = row.valid_to_ns is None and row.memory not in self._gone
            if row.subject and row.kind != "summary" and is_for_good:
                by_subject.setdefault(row.subject, []).append(row)
        known = {row.key: row for row in rows if row.kind == "summary"}
        for subject, facts in by_subject.items():
            sources = tuple(sorted(f"{fact.memory}@{fact.version}" for fact in facts))
            before = known.get(f"summary {subject}")
            if len(facts) < GROUP_MIN or (before is not None and before.sources == sources):
                continue
            if self._what.dry:
                self.summarised += 1
                continue
            listed = "\n".join(f"- {fact.text}" for fact in reversed(facts))
            done = self._kernel.infer(
                f"Put these facts, the newest last, into one short paragraph:\n{listed}",
                model=self._what.summarise,
                hints=BATCH,
            )
            if text := done.text().strip():
                summary = Item(
                    text=text,
                    key=f"summary {subject}",
                    expected=before.version if before is not None else 0,
                    kind="summary",
                    subjects=(subject,),
                    sources=sources,
                    model=self._what.summarise,
                )
                self.summarised += self._step([summary], [])

    def _step(self, items: Sequence[Item], closed: Sequence[Memory]) -> int:
        """One transaction; 0 where something had changed."""
        closed = [one for one in closed if one.memory not in self._gone]
        if not items and not closed:
            return 0
        if not self._what.dry:
            call = Remember(
                items=tuple(items),
                forget=tuple(Target(one.memory, one.version) for one in closed),
                namespace=self._what.namespace,
                hints=BATCH,
            )
            try:
                self._kernel.call(call)
            except (Conflict, NotFound):
                self.conflicts += 1
                return 0
        self._gone.update(one.memory for one in closed)
        return 1


def _is_ours(row: Memory) -> bool:
    """What expires does so by itself: nothing that stays may come of it, or end for it."""
    return not row.sealed and row.expires_ns is None
