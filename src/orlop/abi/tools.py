"""What servers say of their tools, whether that is trusted, and what the journal knows of it."""

from typing import Literal

from msgspec import Struct

from orlop.abi.cards import Approval, Effect, ToolCard

PinReason = Literal["first", "configured", "trusted"]
"""Nobody had seen it before; orlop.toml names its digest; an operator has looked at it."""


ToolState = Literal["ready", "changed", "refused", "away"]
"""`away`: its server, or the document that describes it, could not be reached at the last look."""


class ToolPinned(Struct, frozen=True, kw_only=True, tag_field="kind", tag="tool.pinned"):
    """From here on the tool may be called as long as its server describes it so."""

    tool: str
    digest: str
    """SHA-256, hexadecimal, of the canonical JSON of `manifest`."""
    manifest: dict[str, object]
    """Its name, description, schemas and annotations, as its server gives them."""
    reason: PinReason


class ToolChanged(Struct, frozen=True, kw_only=True, tag_field="kind", tag="tool.changed"):
    """An alarm: a server describes a tool in another way than was agreed.  It is not called."""

    tool: str
    was: str
    """The digest that was agreed; likewise `digest` for what its server says now."""
    digest: str
    manifest: dict[str, object]


class ToolRefused(Struct, frozen=True, kw_only=True, tag_field="kind", tag="tool.refused"):
    """A server offers a tool that can't be used: a wrong schema, a name with odd characters."""

    tool: str
    digest: str
    reason: str


class Manifest(Struct, frozen=True, kw_only=True):
    """What is known of one tool of a server: what was agreed, and what it says instead."""

    pinned: ToolPinned | None = None
    changed: ToolChanged | None = None


class ToolView(Struct, frozen=True, kw_only=True):
    """One tool in `orlop tools`; `NAME.*` is all that a server offers that is away."""

    name: str
    state: ToolState
    reason: str = ""
    fix: str = ""
    """What to do about it."""
    card: ToolCard | None = None
    digest: str = ""
    """Of a server's tool: of what was agreed."""
    agreed: dict[str, object] | None = None
    offered: dict[str, object] | None = None
    """What its server says now, where that is something else."""
    offered_digest: str = ""


class TrustOrder(Struct, frozen=True, kw_only=True):
    """`orlop tools trust`: agree to what a server says of its tool now.

    digest: of what was looked at; another one is refused, since it may have changed once more.
    """

    digest: str = ""


# Functions of running programs.


class FunctionCard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function of a program, as it offers it."""

    name: str
    description: str = ""
    parameters: dict[str, object] = {}
    results: dict[str, object] = {}
    effect: Effect = "irreversible"
    timeout_s: float = 60.0
    concurrency: int = 8
    conflicts: tuple[str, ...] = ()
    approval: Approval = "never"
    retries: int = 0
    compensate: str = ""
    compensate_with: dict[str, object] = {}
    compensate_unknown: bool = False
    system: str = ""
    shared: bool = False
    """Its descendants may call it too."""


class ToolsOffered(Struct, frozen=True, kw_only=True, tag_field="kind", tag="tool.offered"):
    """All functions that a program offers from here on, in this incarnation."""

    incarnation: int
    functions: tuple[FunctionCard, ...]


class OfferOrder(Struct, frozen=True, kw_only=True):
    """What a program says when it begins to serve its functions."""

    functions: tuple[FunctionCard, ...]


class Offered(Struct, frozen=True, kw_only=True, tag="offered"):
    """The kernel's first word to it: from now on they can be called."""

    tools: tuple[str, ...]


class Invoke(Struct, frozen=True, kw_only=True, tag="invoke"):
    """Call a function; the answer is posted under `id`."""

    id: str
    function: str
    arguments: dict[str, object]
    key: str
    """The effect's name for ever."""


class Withdraw(Struct, frozen=True, kw_only=True, tag="withdraw"):
    """Nobody waits for that answer any more."""

    id: str


Errand = Offered | Invoke | Withdraw


class FunctionAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a function came to."""

    value: object = None
    error: str = ""
    """It raised; empty: it did not."""


class SystemView(Struct, frozen=True, kw_only=True):
    """One external system in `orlop systems`."""

    name: str
    rate_s: float | None
    """Calls a second that it bears; None: as many as come."""
    is_learned: bool
    """It has complained, and this is what it bore."""
    concurrency: int
    """Calls at once; 0: as many as its tools allow."""
    waiting: int
    paused_s: float
    """Seconds for which it is left alone."""
