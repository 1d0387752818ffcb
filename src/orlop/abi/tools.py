"""What servers say of their tools, whether that is trusted, and what the journal knows of it."""

from typing import Literal

from msgspec import Struct

from orlop.abi.cards import ToolCard

PinReason = Literal["first", "configured", "trusted"]
"""Nobody had seen it before; orlop.toml names its digest; an operator has looked at it."""


ToolState = Literal["ready", "changed", "refused"]


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
    """One tool in `orlop tools`."""

    name: str
    state: ToolState
    reason: str = ""
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
