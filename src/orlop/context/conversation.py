"""Conversations by reference: each message stored once, each call naming only what is new.

Agents send everything again with each call.  A message's name is a keyed digest of its canonical
form; a conversation's digest is the chain of its messages' names.  A call refers to the longest
prefix that an earlier call of its process has left behind, and names the rest.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256

from orlop.abi.events import ContextRef
from orlop.abi.ids import DEFAULT_TENANT, Digest, Seq, TenantId
from orlop.abi.messages import Message
from orlop.store.journal import Part
from orlop.wire.canonical import canonical

NAMES_CACHED_MAX = 16_384
"""Names of short plain messages kept in RAM, so that a resent one costs a look-up."""

CACHED_CHARS_MAX = 4_096
"""Longer messages are named anew each time: keeping them would cost more than it saves."""

CONTEXTS_KNOWN_MAX = 256
"""Conversations that a process may continue by reference; older ones are named in full."""

EMPTY = Digest(bytes(32))


class Namer:
    """Messages to parts, with a bounded cache."""

    def __init__(self, name_of: Callable[[TenantId, bytes], bytes]) -> None:
        self._name_of = name_of
        self._salts: dict[TenantId, str] = {}
        self._cache: OrderedDict[tuple[str, ...], Part] = OrderedDict()

    def part(self, tenant: TenantId, message: Message) -> Part:
        """The message's canonical bytes and its name, 16 bytes."""
        text = message.content
        plain = isinstance(text, str) and len(text) <= CACHED_CHARS_MAX
        if not plain or message.tool_uses or message.extra or message.reasoning or message.refusal:
            return self._make(tenant, message)
        key = (tenant, message.role, str(text), message.name, message.tool_use_id)
        part = self._cache.get(key)
        if part is None or message.is_error:
            part = self._make(tenant, message)
            if not message.is_error:
                self._cache[key] = part
            if len(self._cache) > NAMES_CACHED_MAX:
                self._cache.popitem(last=False)
        return part

    def salt(self, tenant: TenantId) -> str:
        """What engines keep a tenant's prefixes apart by; nobody else can know it."""
        if tenant == DEFAULT_TENANT:
            return ""
        if tenant not in self._salts:
            self._salts[tenant] = self._name_of(tenant, b"the salt of its prefixes").hex()
        return self._salts[tenant]

    def _make(self, tenant: TenantId, message: Message) -> Part:
        data = canonical(message)
        return Part(self._name_of(tenant, data), data)


def extend(digest: Digest, name: bytes) -> Digest:
    """The conversation `digest` with one more message."""
    return Digest(sha256(digest + name).digest())


class Contexts:
    """The conversations that one process has left behind, the newest last."""

    def __init__(self) -> None:
        self._known: dict[Digest, tuple[Seq, bool]] = {}
        """By the conversation's digest: the call that was shown it, and whether its answer is in
        it too."""

    def remember(self, digest: Digest, seq: Seq, *, reply: bool) -> None:
        """`digest` is what the call at `seq` was shown, or (with `reply`) that and its answer."""
        self._known[digest] = (seq, reply)
        if len(self._known) > CONTEXTS_KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def refer(self, parts: Sequence[Part]) -> tuple[Digest, ContextRef]:
        """The conversation's digest, and the shortest way to name it."""
        digests = [EMPTY]
        for part in parts:
            digests.append(extend(digests[-1], part.name))
        digest = digests[-1]
        for length in range(len(parts), 0, -1):
            if (found := self._known.get(digests[length])) is not None:
                seq, reply = found
                new = tuple(part.name.hex() for part in parts[length:])
                return digest, ContextRef(digest.hex(), new, seq, reply)
        return digest, ContextRef(digest.hex(), tuple(part.name.hex() for part in parts))
