"""A vLLM server: OpenAI's dialect, and what vLLM knows beside it.

What it is told: `session_id` (whose context this is; it comes back in KV events) and `priority`
(lower is sooner), which servers without `--scheduling-policy priority` refuse: then the call goes
again without, and so do all later ones.  What it tells: cached tokens
(`--enable-prompt-tokens-details`), its load and its KV memory (`/metrics`), which blocks it holds
(`--kv-events-config`; newer ones say where), and, from 0.10.2 on, the token ids of what it says: so
a call can be left, and gone on with from there.  A caller that leaves ends its call there.  In
development mode (`VLLM_SERVER_DEV_MODE=1`, `--enable-sleep-mode`) it sleeps and wakes.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceRefused, KernelError
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import ENGINE_KV_TOKENS_MAX, ENGINE_LOOK_S, KV_SOURCES_MAX
from orlop.abi.replies import Delta, Generated
from orlop.devices.device import EngineLoad, Sink, Turn
from orlop.devices.openai import Manner
from orlop.drivers.kv_stream import KVSource
from orlop.drivers.metrics_text import Samples, bounded, read
from orlop.drivers.naps import Naps
from orlop.drivers.told_ids import TellsIds, version
from orlop.drivers.watch import WATCH_S, LoadNames, read_load
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.wire.token_trace import TokenTrace

SLOTS: Final = 64

_NAMES: Final = LoadNames(
    running="vllm:num_requests_running",
    waiting="vllm:num_requests_waiting",
    kv_usage="vllm:kv_cache_usage_perc",
    preemptions="vllm:num_preemptions",
)
_CACHE: Final = "vllm:cache_config_info"

_OWN: Final = ("priority", "session_id", "cache_salt")

TELLS_IDS: Final = (0, 10, 2)
"""The first that tells token ids beside its pieces."""


class _Version(Struct, frozen=True):
    version: str


class _Sleeping(Struct, frozen=True):
    is_sleeping: bool


class _Published(Struct, frozen=True):
    """Of one rank's publisher, on `/kv_event_sources`: by rank in 0.32, a list later."""

    endpoint: str
    replay_endpoint: str | None = None
    topic: str | None = None
    publisher: str = "zmq"


class VLLM(TellsIds):
    """An `Engine`."""

    def __init__(
        self,
        name: EngineName,
        url: str,
        *,
        clock: Clock,
        chance: Chance,
        key: str = "",
        slots: int = SLOTS,
        watch_s: float = WATCH_S,
        kv_sources: Sequence[KVSource] = (),
        continues: bool = True,
    ) -> None:
        manner = Manner(driver="vllm", words=self._words, own_fields=_OWN)
        super().__init__(
            name,
            url,
            clock=clock,
            chance=chance,
            key=key,
            slots=slots,
            manner=manner,
            watch_s=watch_s,
            kv_sources=kv_sources,
        )
        self._has_priority = True
        self._may_continue = continues
        self._naps = Naps(
            self,
            down="sleep?level=1",
            up="wake_up",
            needs="VLLM_SERVER_DEV_MODE=1 and --enable-sleep-mode",
        )

    def _bounded(self, call: Infer, model: ModelName) -> Infer:
        """Its own default is short for an answer to token ids."""
        if call.output_tokens_max is not None or not isinstance(call.prompt, tuple):
            return call
        return replace(call, output_tokens_max=self._longest(model, call.prompt))

    async def _sent(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        ends_s: float,
        turn: Turn,
        trace: TokenTrace | None,
    ) -> Generated:
        """One call, sent with its priority unless the server takes none."""
        passed: list[Delta] = []

        def pass_on(delta: Delta) -> None:
            if not passed:
                passed.append(delta)
            if sink is not None:
                sink(delta)

        taken = None if sink is None else pass_on
        try:
            return await self.leg(call, model, taken, self._left_s(ends_s), turn, trace)
        except DeviceRefused as error:
            is_ours = self._has_priority and turn.urgency and "priority" in error.message.lower()
            if not is_ours or passed:
                raise
            self._has_priority = False
        return await self.leg(call, model, sink, self._left_s(ends_s), turn, trace)

    def _longest(self, model: ModelName, prompt: Sequence[int]) -> int | None:
        """What the model's context leaves; None: not known."""
        held = {card.name: card.context_tokens for card in self._models}.get(model)
        return None if held is None else max(1, held - len(prompt))

    def _words(self, call: Infer, turn: Turn) -> Mapping[str, object]:
        words: dict[str, object] = {}
        if turn.program:
            words["session_id"] = turn.program
        if turn.salt:
            words["cache_salt"] = turn.salt
        if turn.urgency and self._has_priority:
            words["priority"] = turn.urgency
        return words

    async def _publishers(self) -> Sequence[KVSource]:
        """Older ones have no such page; `*` is each address of the machine that it runs on."""
        try:
            said = await self.server.look("kv_event_sources", ENGINE_LOOK_S)
            found = msgspec.json.decode(said, type=list[_Published] | dict[str, _Published])
        except (KernelError, msgspec.MsgspecError):
            return ()
        host = self.server.url.host or "127.0.0.1"
        ranks = list(found.values() if isinstance(found, dict) else found)[:KV_SOURCES_MAX]
        return [_reached(one, host) for one in ranks if one.publisher == "zmq"]

    async def _learn(self) -> None:
        """Without development mode there is no page that says whether it sleeps."""
        self._tells_ids = await self._version() >= TELLS_IDS
        try:
            said = await self.server.look("is_sleeping", ENGINE_LOOK_S)
            is_asleep = msgspec.json.decode(said, type=_Sleeping).is_sleeping
        except (KernelError, msgspec.MsgspecError):
            self._naps.learn(can_sleep=False, is_asleep=False)
        else:
            self._naps.learn(can_sleep=True, is_asleep=is_asleep)

    async def _version(self) -> tuple[int, ...]:
        """As far as it is numbers."""
        try:
            said = await self.server.look("version", ENGINE_LOOK_S)
            return version(msgspec.json.decode(said, type=_Version).version)
        except (KernelError, msgspec.MsgspecError):
            return ()

    async def _look(self) -> EngineLoad | None:
        page = await self.server.look("metrics", ENGINE_LOOK_S)
        samples = read(page, (*_NAMES.all(), _CACHE))
        self._kv_tokens = _kv_tokens(samples)
        return read_load(samples, _NAMES, self._clock.now_s())


def _reached(source: _Published, host: str) -> KVSource:
    """As it is reached from here."""
    replay = source.replay_endpoint
    return KVSource(
        endpoint=_at(source.endpoint, host),
        replay_endpoint=None if replay is None else _at(replay, host),
        topic=source.topic or "",
    )


def _at(endpoint: str, host: str) -> str:
    named = f"[{host}]" if ":" in host else host
    for anywhere in ("//*:", "//0.0.0.0:", "//[::]:"):
        endpoint = endpoint.replace(anywhere, f"//{named}:")
    return endpoint


def _kv_tokens(samples: Samples) -> int | None:
    """Blocks times their size, over all ranks; None where that is missing or can't be true."""
    total = 0
    for sample in samples.of(_CACHE):
        try:
            blocks, size = (int(sample.labels[name]) for name in ("num_gpu_blocks", "block_size"))
        except (KeyError, ValueError):
            return None
        if min(blocks, size) <= 0:
            return None
        total += blocks * size
    return int(bounded(total, ENGINE_KV_TOKENS_MAX) or 0) or None
