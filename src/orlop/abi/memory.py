"""What agents remember between runs: calls, events, records.

A memory has versions, and a version has two times: when the system knew it (`known_from`,
`known_to`: sequence numbers of the journal) and when it is true (`valid_from_ns`, `valid_to_ns`).
Nothing is overwritten: a change closes versions and opens others, in one event.
"""

from typing import ClassVar, Literal, NewType

from msgspec import Struct

from orlop.abi.hints import Facts, Hints
from orlop.abi.ids import CallId, Nanoseconds, ProcessId, Seq

MemoryId = NewType("MemoryId", str)
"""`mem_…`: one memory, in all its versions."""

MemoryState = Literal["current", "superseded", "forgotten", "expired", "erased", "unknown"]
SearchMode = Literal["fused", "words", "dense", "newest"]
ShareAccess = Literal["read", "write"]
How = Literal["new", "superseded", "forgotten", "restored", "merged"]

# Calls.


class Item(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to remember: it revises `memory`, or what has `key` in the namespace, or is new."""

    text: str
    memory: MemoryId = MemoryId("")
    key: str = ""
    """The caller's own name for the fact, as in `address`: a new one supersedes the old one."""
    expected: int | None = None
    """The version that the caller knows (0: there is none); another one is a `Conflict`."""
    kind: str = "fact"
    attributes: dict[str, object] = {}
    subjects: tuple[str, ...] = ()
    """Whom it is about, as `channel:value`; several are from now on known to be the same."""
    valid_from_ns: Nanoseconds | None = None
    """When it began to be true; None: not said, so what it supersedes was simply wrong."""
    valid_to_ns: Nanoseconds | None = None
    ttl_s: float | None = None
    """Seconds until it is not recalled any more."""
    confidence: float = 1.0
    sources: tuple[str, ...] = ()
    """What taught it: calls (`cal_…`), events (`seq:…`), memories (`mem_…@2`), addresses."""
    model: str = ""
    """Which model said it, if one did."""
    vector: tuple[float, ...] = ()
    """Its embedding, where the caller has it; else the kernel computes one."""
    vector_model: str = ""
    sealed: bool = False
    """Nobody may supersede or forget it; operators may erase it."""
    labels: tuple[str, ...] = ()
    """Where its text came from, beside what the kernel knows."""


class Target(Struct, frozen=True, omit_defaults=True):
    """A version that the caller knows; 0: whichever is current."""

    memory: MemoryId
    version: int = 0


class Remember(Struct, frozen=True, kw_only=True, tag="remember", omit_defaults=True):
    """Write memories, all or none of them."""

    TRANSPORT: ClassVar = ("hints",)

    items: tuple[Item, ...] = ()
    forget: tuple[Target, ...] = ()
    """In the same step: what the items replace."""
    namespace: str = ""
    """Empty: the agent's own; `session`: the process's own."""
    embed: bool = True
    """False: found by its words only."""
    hints: Hints = Hints()


class Recall(Struct, frozen=True, kw_only=True, tag="recall", omit_defaults=True):
    """Find memories: by id, by key, or by what they say; without any of these, the newest."""

    TRANSPORT: ClassVar = ("hints",)

    query: str = ""
    memory: MemoryId = MemoryId("")
    key: str = ""
    namespaces: tuple[str, ...] = ()
    """`a/b`, or `a/*` with all below.  Empty: the agent's own and the process's own."""
    kinds: tuple[str, ...] = ()
    subject: str = ""
    """Whoever has this identifier, under all others that are his."""
    attributes: dict[str, object] = {}
    """That must be equal."""
    as_of: Seq | None = None
    """What was known when the journal was there."""
    valid_at_ns: Nanoseconds | None = None
    """What was true then, as far as is known; None: now, or as of `as_of`."""
    confidence_min: float = 0.0
    limit: int = 10
    mode: SearchMode = "fused"
    vector: tuple[float, ...] = ()
    """The query's embedding, where the caller has it."""
    vector_model: str = ""
    rerank: str = ""
    """A model that orders anew what was found: by its vectors, or by reading it where it chats.
    Empty: the one of the settings, if there is one; `none`: no model."""
    holding: tuple[Target, ...] = ()
    """Versions that the caller works with: the reply says which are stale."""
    hints: Hints = Hints()


class Forget(Struct, frozen=True, kw_only=True, tag="forget", omit_defaults=True):
    """Recall no more; what was known stays in the history."""

    TRANSPORT: ClassVar = ("hints",)

    targets: tuple[Target, ...] = ()
    keys: tuple[str, ...] = ()
    namespace: str = ""
    """Of the keys; empty: the agent's own."""
    hints: Hints = Hints()


# Events.


class Version(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version as the journal has it; its namespace and who wrote it are the event's."""

    memory: MemoryId
    version: int
    copy_of: int = 0
    """Of another validity only: the content is that version's."""
    text: str = ""
    key: str = ""
    kind: str = "fact"
    attributes: dict[str, object] = {}
    subject: str = ""
    valid_from_ns: Nanoseconds | None = None
    valid_to_ns: Nanoseconds | None = None
    expires_ns: Nanoseconds | None = None
    confidence: float = 1.0
    sources: tuple[str, ...] = ()
    model: str = ""
    sealed: bool = False
    schema: int = 0
    """The version of its kind's schema; 0: none."""
    vector: bytes = b""
    """16-bit floats, little-endian, of length 1."""
    labels: tuple[str, ...] = ()
    """Of whoever wrote it; a copy has those of its content too."""


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What becomes of one memory."""

    memory: MemoryId
    how: How
    closes: tuple[int, ...] = ()
    opens: tuple[Version, ...] = ()
    blind: bool = False
    """It superseded what another process had written, and the writer did not say it knew that."""


class MemoryWritten(Struct, frozen=True, kw_only=True, tag_field="kind", tag="memory.written"):
    """All of it or nothing: one commit."""

    namespace: str
    changes: tuple[Change, ...]
    vector_model: str = ""
    links: tuple[tuple[str, ...], ...] = ()
    """Identifiers that are one subject's, from here on."""
    reason: str = ""
    """Of a rollback, a consolidation, an import."""


class Evidence(Struct, frozen=True, array_like=True):
    """A version that a recall gave, and how well it fitted."""

    memory: MemoryId
    version: int
    score: float = 0.0
    found_by: tuple[str, ...] = ()


class MemoryRecalled(Struct, frozen=True, kw_only=True, tag_field="kind", tag="memory.recalled"):
    """What an answer may rest on."""

    given: tuple[Evidence, ...]


class MemoryEmbedded(Struct, frozen=True, kw_only=True, tag_field="kind", tag="memory.embedded"):
    """Vectors of versions that are there already, by another model."""

    model: str
    vectors: tuple[tuple[MemoryId, int, bytes], ...]


class MemoryModelChosen(Struct, frozen=True, kw_only=True, tag_field="kind", tag="memory.model"):
    """From here on a tenant's memories are searched by this model's vectors.  Empty: by words."""

    model: str
    before: str = ""
    wanted: str = ""
    """Whose vectors shall be searched once all memories have one of them."""


class MemoryShared(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="memory.shared", omit_defaults=True
):
    """A private namespace, and all below it, is open to others; no access: it is closed again."""

    namespace: str
    whom: str
    """`agent:NAME`, `team:NAME`, or `*`."""
    access: tuple[ShareAccess, ...] = ()


class MemoryKindSet(Struct, frozen=True, kw_only=True, tag_field="kind", tag="memory.kind"):
    """What the attributes of a kind must look like; versions count from 1."""

    memory_kind: str
    version: int
    schema: dict[str, object]


class SubjectsLinked(Struct, frozen=True, kw_only=True, tag_field="kind", tag="memory.subjects"):
    """From here on these identifiers are one subject's; before, they may have been others'."""

    subject: str
    identifiers: tuple[str, ...]
    reason: str = ""


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version that lay in an event whose body an erasure struck out, once more."""

    record: Version
    namespace: str
    known_from: Seq
    known_to: Seq | None
    closed: str
    process: ProcessId
    call: CallId
    wall_ns: Nanoseconds
    blind: bool
    vector_model: str


class KeptLink(Struct, frozen=True, array_like=True):
    identifier: str
    subject: str
    known_from: Seq
    known_to: Seq | None


class KeptVector(Struct, frozen=True, array_like=True):
    model: str
    memory: MemoryId
    version: int
    data: bytes


class MemoryErased(Struct, frozen=True, kw_only=True, tag_field="kind", tag="memory.erased"):
    """A subject's memories are gone: the bodies of these events are struck out."""

    subject_digest: str
    """SHA-256 over the journal's id and the subject's identifiers, hexadecimal: whoever knows them
    can check the certificate, nobody can read them in it."""
    versions: int
    struck: tuple[Seq, ...]
    kept: tuple[Kept, ...] = ()
    links: tuple[KeptLink, ...] = ()
    """Of other subjects, that lay in those events; likewise `vectors`."""
    vectors: tuple[KeptVector, ...] = ()
    reason: str = ""


# Replies and views.


class Memory(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version, as agents and people see it."""

    memory: MemoryId
    version: int
    namespace: str
    text: str
    state: MemoryState = "current"
    key: str = ""
    kind: str = "fact"
    attributes: dict[str, object] = {}
    subject: str = ""
    known_from: Seq
    known_to: Seq | None = None
    closed: str = ""
    """How: superseded, forgotten, restored, merged."""
    valid_from_ns: Nanoseconds | None = None
    valid_to_ns: Nanoseconds | None = None
    expires_ns: Nanoseconds | None = None
    confidence: float = 1.0
    sources: tuple[str, ...] = ()
    model: str = ""
    process: ProcessId
    call: CallId
    wall_ns: Nanoseconds
    """When it was written."""
    sealed: bool = False
    schema: int = 0
    blind: bool = False
    labels: tuple[str, ...] = ()
    """Where its text came from, as far as that is not trusted."""
    score: float = 0.0
    found_by: tuple[str, ...] = ()
    """`words`, `dense`, `newest`, each with its rank, as in `words:1`."""


class Written(Struct, frozen=True, omit_defaults=True):
    """What became of one item."""

    memory: MemoryId
    version: int
    supersedes: int = 0
    blind: bool = False
    """It superseded a version of another process that you gave no sign of knowing."""


class Remembered(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="remembered"):
    """The end of a `remember`: safe, and seen by whoever recalls from now on."""

    written: tuple[Written, ...]
    namespace: str
    embedded_by: str = ""
    """The model; empty: found by words only."""
    note: str = ""
    facts: Facts


class Recalled(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="recalled"):
    """The end of a `recall`, best first."""

    memories: tuple[Memory, ...] = ()
    given: tuple[Evidence, ...] = ()
    """As the journal has it; in replies, `memories` says it."""
    stale: tuple[Memory, ...] = ()
    """What is current instead of versions that the caller holds (or how those ended)."""
    gone: tuple[Evidence, ...] = ()
    """Recorded, and erased since."""
    searched: tuple[str, ...] = ()
    """By which ways: `words`, `numbers`, `dense`, `newest`, `key`, `id`."""
    known_seq: Seq = Seq(0)
    """All that was written up to there was looked at: what came later, it does not know."""
    tier: str = ""
    """Which memory answered: `session`, or `long-term`; from RAM or from disk."""
    note: str = ""
    """What could not be done, as a search by meaning without a model."""
    facts: Facts


class Forgotten(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="forgotten"):
    """The end of a `forget`."""

    forgotten: tuple[Written, ...]
    facts: Facts


MemoryCall = Remember | Recall | Forget
MemoryReply = Remembered | Recalled | Forgotten
MemoryEvent = (
    MemoryWritten
    | MemoryRecalled
    | MemoryEmbedded
    | MemoryErased
    | SubjectsLinked
    | MemoryModelChosen
    | MemoryShared
    | MemoryKindSet
)
