"""A call as the journal names it: its digest, and its conversation by reference."""

from collections.abc import Sequence

from orlop.abi.calls import Call, Infer, Normalizer
from orlop.abi.events import ContextRef
from orlop.abi.ids import Digest, TenantId
from orlop.context.conversation import EMPTY, extend
from orlop.context.normal import normal
from orlop.state import codec
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.store.journal import Part


class Described:
    """`digest` is what later calls are compared by; `context` and `parts` say what was shown."""

    __slots__ = ("context", "context_digest", "digest", "parts", "size")

    def __init__(
        self, digest: Digest, context: ContextRef | None, context_digest: Digest, parts: list[Part]
    ) -> None:
        self.digest = digest
        self.context = context
        self.context_digest = context_digest
        self.parts = parts
        self.size = sum([len(part.data) for part in parts])


def describe(kernel: Kernel, process: Process, call: Call) -> Described:
    tenant = process.row.tenant
    context: ContextRef | None = None
    context_digest = EMPTY
    parts: list[Part] = []
    if isinstance(call, Infer) and call.messages:
        parts = [kernel.namer.part(tenant, message) for message in call.messages]
        context_digest, context = process.contexts.refer(parts)
    meaning, shown = codec.meaning(call), context_digest
    if rules := process.row.normalize:
        meaning = normal(meaning.decode(), rules).encode()
        shown = _normal_context(kernel, tenant, parts, rules)
    digest = kernel.journal.args_digest(tenant, meaning + shown)
    return Described(Digest(digest), context, context_digest, parts)


def _normal_context(
    kernel: Kernel, tenant: TenantId, parts: Sequence[Part], rules: Sequence[Normalizer]
) -> Digest:
    """The conversation's digest but for what does not count."""
    digest = EMPTY
    for part in parts:
        text = normal(part.data.decode(), rules)
        digest = extend(digest, kernel.journal.name_of(tenant, text.encode()))
    return digest


def root(process: Process, call: Call, described: Described) -> str:
    """How a nameless client's conversation began: its first message that is nobody's rule."""
    if not process.row.is_nameless or not isinstance(call, Infer):
        return ""
    for message, part in zip(call.messages, described.parts, strict=False):
        if message.role not in ("system", "developer"):
            return part.name.hex()
    return ""
