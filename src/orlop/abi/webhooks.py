"""Webhooks that start programs."""

from msgspec import Struct

from orlop.abi.ids import Pid, ProcessId


class WebhookReceived(Struct, frozen=True, kw_only=True, tag_field="kind", tag="webhook.received"):
    """A signed message has started the process of this header; a second delivery starts none."""

    name: str
    message: str
    """Its sender's id for it, the same with each delivery."""


class WebhookTaken(Struct, frozen=True, kw_only=True):
    """What the sender is told."""

    process: ProcessId
    pid: Pid
    again: bool
    """It had been delivered before."""
