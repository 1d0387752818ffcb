"""The calls about memories, from the words of the SDK."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from orlop.abi.hints import Hints
from orlop.abi.ids import Nanoseconds, Seq
from orlop.abi.memory import Forget, Item, MemoryId, Recall, Remember, SearchMode, Target


class RememberOptions(TypedDict, total=False):
    """See `orlop.abi.memory.Item`."""

    namespace: str
    memory: str
    key: str
    expected: int | None
    kind: str
    attributes: Mapping[str, object]
    subjects: Sequence[str]
    valid_from_ns: int | None
    valid_to_ns: int | None
    ttl_s: float | None
    confidence: float
    sources: Sequence[str]
    model: str
    vector: Sequence[float]
    vector_model: str
    sealed: bool
    labels: Sequence[str]
    embed: bool
    hints: Hints


class RecallOptions(TypedDict, total=False):
    """See `orlop.abi.memory.Recall`."""

    memory: str
    key: str
    namespaces: Sequence[str]
    kinds: Sequence[str]
    subject: str
    attributes: Mapping[str, object]
    as_of: int | None
    valid_at_ns: int | None
    confidence_min: float
    limit: int
    mode: SearchMode
    vector: Sequence[float]
    vector_model: str
    rerank: str
    hints: Hints


def remember_call(what: str | Sequence[Item], options: RememberOptions) -> Remember:
    """One text with its options, or items that have their own."""
    items = (_item(what, options),) if isinstance(what, str) else tuple(what)
    return Remember(
        items=items,
        namespace=options.get("namespace", ""),
        embed=options.get("embed", True),
        hints=options.get("hints", Hints()),
    )


def _item(text: str, options: RememberOptions) -> Item:
    valid_from_ns, valid_to_ns = options.get("valid_from_ns"), options.get("valid_to_ns")
    return Item(
        text=text,
        memory=MemoryId(options.get("memory", "")),
        key=options.get("key", ""),
        expected=options.get("expected"),
        kind=options.get("kind", "fact"),
        attributes=dict(options.get("attributes", {})),
        subjects=tuple(options.get("subjects", ())),
        valid_from_ns=None if valid_from_ns is None else Nanoseconds(valid_from_ns),
        valid_to_ns=None if valid_to_ns is None else Nanoseconds(valid_to_ns),
        ttl_s=options.get("ttl_s"),
        confidence=options.get("confidence", 1.0),
        sources=tuple(options.get("sources", ())),
        model=options.get("model", ""),
        vector=tuple(options.get("vector", ())),
        vector_model=options.get("vector_model", ""),
        sealed=options.get("sealed", False),
        labels=tuple(options.get("labels", ())),
    )


def recall_call(query: str, options: RecallOptions, holding: Iterable[Target] = ()) -> Recall:
    as_of, valid_at_ns = options.get("as_of"), options.get("valid_at_ns")
    return Recall(
        query=query,
        memory=MemoryId(options.get("memory", "")),
        key=options.get("key", ""),
        namespaces=tuple(options.get("namespaces", ())),
        kinds=tuple(options.get("kinds", ())),
        subject=options.get("subject", ""),
        attributes=dict(options.get("attributes", {})),
        as_of=None if as_of is None else Seq(as_of),
        valid_at_ns=None if valid_at_ns is None else Nanoseconds(valid_at_ns),
        confidence_min=options.get("confidence_min", 0.0),
        limit=options.get("limit", 10),
        mode=options.get("mode", "fused"),
        vector=tuple(options.get("vector", ())),
        vector_model=options.get("vector_model", ""),
        rerank=options.get("rerank", ""),
        holding=tuple(holding),
        hints=options.get("hints", Hints()),
    )


def forget_call(
    targets: Iterable[str | Target], keys: Sequence[str], namespace: str, hints: Hints
) -> Forget:
    return Forget(
        targets=tuple(
            target if isinstance(target, Target) else Target(MemoryId(target)) for target in targets
        ),
        keys=tuple(keys),
        namespace=namespace,
        hints=hints,
    )
