"""Contexts that outlive their engine: what a model was shown, as a file for any kernel."""

from typing import ClassVar

from msgspec import Struct

from orlop.abi.hints import Facts, Hints
from orlop.abi.ids import CallId, ModelName
from orlop.abi.messages import Message, ToolSpec
from orlop.abi.pieces import Piece


class SaveContext(Struct, frozen=True, kw_only=True, tag="save_context", omit_defaults=True):
    """Write what a model call was shown, and what it answered, to a file.

    The same conversation with the same model is always the same bytes.
    """

    TRANSPORT: ClassVar = ("hints",)

    path: str
    call: CallId
    """A model call of this tenant that has returned (`Facts.call`)."""
    if_version: int | None = None
    hints: Hints = Hints()


class OpenContext(Struct, frozen=True, kw_only=True, tag="open_context", omit_defaults=True):
    """Read such a file: the messages to go on with."""

    TRANSPORT: ClassVar = ("hints",)

    path: str
    version: int | None = None
    model: str = ""
    """That will go on; empty: the one that it was saved of."""
    hints: Hints = Hints()


class CompactContext(Struct, frozen=True, kw_only=True, tag="compact", omit_defaults=True):
    """Save a context without its middle: what is dropped is said in one message instead.

    Kept in any case: the rules (roles system and developer), messages that are pinned, the newest,
    and with a tool's answer the message that asked for it.
    """

    TRANSPORT: ClassVar = ("hints",)

    path: str
    call: CallId
    keep_last: int = 8
    pins: tuple[int, ...] = ()
    """Places of messages that must stay, from 0."""
    model: str = ""
    """That writes the summary; empty: the call's own."""
    summary: str = ""
    """Instead of a model's: the caller's own."""
    hints: Hints = Hints()


class Context(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="context"):
    """The end of `open_context`, `save_context` and `compact`.

    The journal keeps `pieces` instead of `messages` and `tools`.
    """

    path: str
    version: int
    model: ModelName
    artefact: str = ""
    """SHA-256 of the weights that it was made with, where known."""
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    exact: bool = True
    """The model that goes on is the same to the bit; else it reads the same text in its own way."""
    dropped: int = 0
    """Messages that a compaction left out."""
    pieces: tuple[Piece, ...] = ()
    labels: tuple[str, ...] = ()
    """Where it came from, as far as that is not trusted; of one's own calls it is not said."""
    facts: Facts


class ContextCompacted(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="context.compacted"
):
    """What was left out of a conversation, and where the rest lies."""

    of: CallId
    path: str
    version: int
    kept: tuple[int, ...]
    """Places of the messages that stayed."""
    dropped: int
    pins: tuple[int, ...]
    summarised_by: str
    """A model; empty: the caller."""


ContextCall = SaveContext | OpenContext | CompactContext
