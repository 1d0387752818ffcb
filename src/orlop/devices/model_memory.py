"""Which contexts an engine's memory holds: its prefix cache on the device, and a copy in host RAM.

As in vLLM: blocks of finished calls stay until their room is needed, the one longest unused goes
first, of a context its end before its beginning.  What counts is whole contexts, each a chain that
only grows at its end, so we count tokens a chain instead of blocks.  A chain may begin with a
shared one (a system prompt), which then has to be whole.  The host keeps a copy of what was
computed (write-through, as vLLM's native offloading), least recently used out first.

Invariants: 1. `held + idle <= kv_tokens`; 2. `idle` is the sum of chains that nobody uses; 3. the
host's copies are at most `host_tokens`; 4. nothing idle lies there beyond `chains_max` chains.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

BLOCK_TOKENS: Final = 16
"""vLLM's.  A running call holds up to one block more than it has tokens."""


@dataclass(slots=True)
class Chain:
    """One context on the device.  `lengths`: how much of it each running call reads."""

    tokens: int = 0
    lengths: list[int] = field(default_factory=list)

    @property
    def users(self) -> int:
        return len(self.lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What of a prompt need not be computed: it is on the device, or in host RAM."""

    device: int
    host: int

    @property
    def tokens(self) -> int:
        return self.device + self.host


NOTHING: Final = Hit(device=0, host=0)


@dataclass(slots=True)
class Copies:
    """Chains in host RAM, least recently used first."""

    tokens_max: int
    tokens: int = 0
    chains: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def put(self, name: str, tokens: int) -> None:
        if not self.tokens_max or not tokens:
            return
        self.tokens += tokens - self.chains.pop(name, 0)
        self.chains[name] = tokens
        while self.tokens > self.tokens_max:
            oldest, held = self.chains.popitem(last=False)
            over = self.tokens - self.tokens_max
            self.tokens -= min(held, over)
            if held > over:
                self.chains[oldest] = held - over
                self.chains.move_to_end(oldest, last=False)

    def touch(self, name: str) -> int:
        if name in self.chains:
            self.chains.move_to_end(name)
        return self.chains.get(name, 0)

    def drop(self, name: str) -> None:
        self.tokens -= self.chains.pop(name, 0)


class Memory:
    """Room for `kv_tokens` on the device and for `host_tokens` beside it."""

    __slots__ = ("_busy", "_chains_max", "_idle", "held", "host", "idle", "kv_tokens")

    def __init__(self, kv_tokens: int, host_tokens: int, chains_max: int | None = None) -> None:
        """chains_max: as many contexts lie on the device at most, however short, as in
        llama.cpp's slots; None: as many as there is room for."""
        self.kv_tokens = kv_tokens
        self._chains_max = chains_max
        self.held = 0
        """Tokens that running calls use or have been promised; they can't be evicted."""
        self.idle = 0
        self.host = Copies(host_tokens)
        self._busy: dict[str, Chain] = {}
        self._idle: OrderedDict[str, int] = OrderedDict()

    @property
    def free(self) -> int:
        """What running calls could still be given."""
        return self.kv_tokens - self.held

    def resident(self, name: str) -> int:
        """Tokens of the chain on the device."""
        chain = self._busy.get(name)
        return chain.tokens if chain is not None else self._idle.get(name, 0)

    def find(self, shared: str, shared_tokens: int, name: str, prefix: int, prompt: int) -> Hit:
        """prefix: tokens that continue what the chain held, with the shared ones.

        At least one token is left to compute: it brings the first one of the answer.
        """
        base, host_base = self.resident(shared), self.host.chains.get(shared, 0)
        base = min(base, shared_tokens)
        host = max(base, min(host_base, shared_tokens))
        if base == shared_tokens:
            base += min(self.resident(name), max(0, prefix - shared_tokens))
        if host == shared_tokens:
            own = self.host.chains.get(name, 0)
            host = max(base, host + min(own, max(0, prefix - shared_tokens)))
        device = min(base, prompt - 1)
        return Hit(device=device, host=max(0, min(host, prompt - 1) - device))

    def needs(self, shared: str, shared_tokens: int, name: str, prompt: int, hit: Hit) -> int:
        """Tokens of `free` that a call would use up: with idle ones that it takes into use."""
        need = prompt - hit.device + BLOCK_TOKENS
        if shared not in self._busy:
            need += min(self._idle.get(shared, 0), shared_tokens)
        if name not in self._busy:
            need += max(0, hit.device - shared_tokens)
        return need

    def take(self, shared: str, shared_tokens: int, name: str, prompt: int, hit: Hit) -> None:
        """Hold the whole prompt's room.  The caller has seen that it is there (`needs`)."""
        if shared_tokens:
            self._use(shared, shared_tokens, shared_tokens)
        own = prompt - shared_tokens
        self._use(name, own, max(0, hit.device - shared_tokens))
        self.held += BLOCK_TOKENS
        self._fit()

    def _use(self, name: str, tokens: int, valid: int) -> None:
        """One user more; of what lies there, `valid` tokens are still this context's."""
        chain = self._busy.get(name)
        if chain is None:
            idle = self._idle.pop(name, 0)
            self.idle -= idle
            chain = self._busy[name] = Chain(min(idle, valid))
            self.held += chain.tokens
        chain.lengths.append(tokens)
        if tokens > chain.tokens:
            self.held += tokens - chain.tokens
            chain.tokens = tokens

    def grow(self, tokens: int) -> None:
        """Running calls have generated so many."""
        self.held += tokens
        self._fit()

    def release(
        self, shared: str, shared_tokens: int, name: str, prompt: int, computed: int, generated: int
    ) -> None:
        """A call is over, done or not: what of it was computed stays until room is needed."""
        own = prompt - shared_tokens
        chain = self._busy[name]
        whole = computed >= prompt
        if not whole and chain.users == 1:
            kept = min(chain.tokens, max(0, computed - shared_tokens))
            self.held -= chain.tokens - kept
            chain.tokens = kept
        elif whole and chain.tokens == own:
            chain.tokens += generated
            generated = 0
        self.held -= generated + BLOCK_TOKENS
        self._leave(name, chain, own, whole)
        if shared_tokens:
            base = self._busy[shared]
            if computed < shared_tokens and base.users == 1:
                self.held -= base.tokens - computed
                base.tokens = computed
            self._leave(shared, base, shared_tokens, whole)
        self._fit()

    def _leave(self, name: str, chain: Chain, length: int, whole: bool) -> None:
        chain.lengths.remove(length)
        # A call that was stopped early has not made the older copy worthless.
        kept = 0 if whole else self.host.chains.get(name, 0)
        self.host.put(name, max(chain.tokens, kept))
        if chain.lengths:
            # What only the one who left had read is nobody's; it must not keep others waiting.
            over = max(0, chain.tokens - max(chain.lengths))
            chain.tokens -= over
            self.held -= over
        else:
            del self._busy[name]
            self.held -= chain.tokens
            self.idle += chain.tokens
            if chain.tokens:
                self._idle[name] = chain.tokens

    def drop(self, name: str) -> None:
        """Forget an idle chain on the device."""
        self.idle -= self._idle.pop(name, 0)

    def save(self, name: str) -> int:
        """Move an idle chain to host RAM; returns its tokens."""
        tokens = self._idle.get(name, 0)
        if tokens:
            self.host.put(name, tokens)
            self.drop(name)
        return tokens

    def forget(self) -> None:
        """All that is idle, as after the engine was started again."""
        self._idle.clear()
        self.idle = 0
        self.host = Copies(self.host.tokens_max)

    def _fit(self) -> None:
        while self.held + self.idle > self.kv_tokens and self._idle:
            over = self.held + self.idle - self.kv_tokens
            oldest, tokens = self._idle.popitem(last=False)
            self.idle -= min(tokens, over)
            if tokens > over:
                self._idle[oldest] = tokens - over
                self._idle.move_to_end(oldest, last=False)
        if self._chains_max is not None:
            while self._idle and len(self._busy) + len(self._idle) > self._chains_max:
                _, tokens = self._idle.popitem(last=False)
                self.idle -= tokens

    def check(self) -> None:
        """The invariants above."""
        busy = sum(chain.tokens for chain in self._busy.values())
        if self.held + self.idle > self.kv_tokens or busy > self.held:
            raise AssertionError(f"{self.held} held and {self.idle} idle of {self.kv_tokens}")
        chains = len(self._busy) + len(self._idle)
        if self._chains_max is not None and self._idle and chains > self._chains_max:
            raise AssertionError(f"{chains} contexts lie where {self._chains_max} may")
        if self.idle != sum(self._idle.values()):
            raise AssertionError("idle tokens are miscounted")
        if self.host.tokens > self.host.tokens_max:
            raise AssertionError("the host holds more than it can")
