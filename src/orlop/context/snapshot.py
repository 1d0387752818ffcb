"""A context as text: what is kept of it for engines that can neither save nor restore one.

The same context is always the same bytes (canonical JSON), whoever writes them and when.  They say
of which weights and tokenizer it is, since token ids mean nothing to another, and end in no answer
but a refusal where one bit of them is another.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.calls import Infer
from orlop.abi.errors import BadCall
from orlop.abi.messages import Message, ToolSpec
from orlop.devices.device import Partial
from orlop.wire.canonical import canonical

FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Into what a context may go back."""

    model: str
    artefact: str = ""
    """SHA-256 of the weights, which for most formats hold the tokenizer; empty: nobody says."""
    tokenizer: str = ""
    """SHA-256 of the tokenizer where it is a file of its own."""


class _Body(Struct, frozen=True, kw_only=True):
    model: str
    artefact: str
    tokenizer: str
    messages: tuple[Message, ...]
    prompt: str | tuple[int, ...] | None
    tools: tuple[ToolSpec, ...]
    text: str
    tokens: tuple[int, ...]
    deltas: int


class _File(Struct, frozen=True, kw_only=True):
    format: int
    sha256: str
    """Of `body`'s canonical bytes."""
    body: msgspec.Raw


def pack(call: Infer, so_far: Partial, fingerprint: Fingerprint) -> bytes:
    """What the call shows its model, and the answer as far as it is."""
    body = _Body(
        model=fingerprint.model,
        artefact=fingerprint.artefact,
        tokenizer=fingerprint.tokenizer,
        messages=call.messages,
        prompt=call.prompt,
        tools=call.tools,
        text=so_far.text,
        tokens=so_far.tokens,
        deltas=so_far.deltas,
    )
    data = canonical(body)
    return canonical(_File(format=FORMAT, sha256=sha256(data).hexdigest(), body=msgspec.Raw(data)))


def unpack(data: bytes, fingerprint: Fingerprint) -> tuple[Infer, Partial]:
    """A call that shows what the packed one did, and its answer so far.

    Raises `BadCall` where the snapshot is damaged, of a newer format, or of another model.
    """
    own, call, so_far = opened(data)
    if own != fingerprint:
        raise BadCall(f"the snapshot of a context is of {_said(own)}, not of {_said(fingerprint)}")
    return call, so_far


def opened(data: bytes) -> tuple[Fingerprint, Infer, Partial]:
    """Likewise, whatever model it is of.  Token ids mean nothing to any other."""
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadCall(f"the snapshot of a context can't be read: {error}") from error
    if file.format != FORMAT:
        raise BadCall(f"the snapshot of a context has format {file.format}, not {FORMAT}")
    if canonical(file) != data or sha256(file.body).hexdigest() != file.sha256:
        raise BadCall("the snapshot of a context is damaged: its checksum does not match")
    try:
        body = msgspec.json.decode(file.body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadCall(f"the snapshot of a context can't be read: {error}") from error
    own = Fingerprint(model=body.model, artefact=body.artefact, tokenizer=body.tokenizer)
    call = Infer(model=body.model, messages=body.messages, prompt=body.prompt, tools=body.tools)
    return own, call, Partial(body.text, body.tokens, body.deltas)


def _said(fingerprint: Fingerprint) -> str:
    parts = (fingerprint.artefact[:12], fingerprint.tokenizer[:12])
    return " ".join([f"`{fingerprint.model}`", *(part for part in parts if part)])
