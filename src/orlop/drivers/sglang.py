"""An SGLang server: OpenAI's dialect, and what SGLang knows beside it.

What it is told: `session_id`, `priority` (where it schedules by that; which way its numbers go is
asked for), and a `rid`, by which a call whose caller left is aborted: for a whole answer it would
notice that only seconds later.  What it tells: its load and its KV memory (`/v1/loads`), and
which blocks it holds (`--kv-events-config`; `engines.NAME.kv_events` says where).  It frees
the device and takes it back where it was started with `--enable-memory-saver`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceFailed, KernelError
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import ENGINE_CALLS_MAX, ENGINE_KV_TOKENS_MAX, ENGINE_LOOK_S
from orlop.abi.replies import Generated
from orlop.devices.device import EngineLoad, Sink, Turn
from orlop.devices.openai import Manner
from orlop.drivers.kv_stream import KVSource
from orlop.drivers.metrics_text import bounded
from orlop.drivers.naps import Naps
from orlop.drivers.told_ids import TellsIds, Text, version
from orlop.drivers.watch import WATCH_S
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.machine.tasks import TaskOwner
from orlop.wire.token_trace import TokenTrace

SLOTS: Final = 64

_RANKS_MAX: Final = 4_096

TELLS_IDS: Final = (0, 5, 23)
"""Of which it is known that it tells token ids in the stream of the old completions."""
_OWN: Final = ("priority", "session_id", "rid", "cache_salt", "extra_key")


class _Info(Struct, frozen=True):
    """Of `/server_info`, what matters here."""

    enable_priority_scheduling: bool = False
    schedule_low_priority_values_first: bool = False
    enable_memory_saver: bool = False
    version: str = ""


class _Text(Struct, frozen=True):
    text: str


class _Rank(Struct, frozen=True):
    """Of one data-parallel rank."""

    num_running_reqs: float
    num_waiting_reqs: float
    token_usage: float = 0.0
    max_total_num_tokens: float = 0


class _Loads(Struct, frozen=True):
    loads: list[_Rank]


class _Named(Turn, frozen=True, kw_only=True):
    """A turn, and the name by which its call can be aborted."""

    rid: str


class SGLang(TellsIds):
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
        manner = Manner(driver="sglang", words=self._words, own_fields=_OWN)
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
        self._chance = chance
        self._may_continue = continues
        self._info = _Info()
        self._aborts = TaskOwner(f"aborts on {name}")
        self._naps = Naps(
            self,
            down="release_memory_occupation",
            up="resume_memory_occupation",
            needs="--enable-memory-saver",
        )

    def goes_on(self, call: Infer) -> bool:
        """It tells no ids in the stream of a chat."""
        return call.prompt is not None and super().goes_on(call)

    async def _sent(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        ends_s: float,
        turn: Turn,
        trace: TokenTrace | None,
    ) -> Generated:
        """One call, sent with a name to abort it by."""
        rid = self._chance.token(16).hex()
        named = _Named(
            program=turn.program,
            latency_class=turn.latency_class,
            urgency=turn.urgency,
            salt=turn.salt,
            rid=rid,
        )
        try:
            return await self.leg(call, model, sink, self._left_s(ends_s), named, trace)
        except (asyncio.CancelledError, KernelError):
            # A deadline or a caller that left; of a call that it refused it knows nothing more.
            self._aborts.start(self._abort(rid))
            raise

    @property
    def _said_by(self) -> Text:
        return self._text

    async def _text(self, ids: Sequence[int]) -> str:
        """What they say: it gives away the printable part of a letter that is not whole."""
        body = msgspec.json.encode({"tokens": list(ids)})
        said = await self.server.look("detokenize", ENGINE_LOOK_S, method="POST", body=body)
        try:
            return msgspec.json.decode(said, type=_Text).text
        except msgspec.MsgspecError as error:
            raise DeviceFailed(f"{self.name}: what tokens say can't be read: {error}") from error

    async def close(self) -> None:
        await self._aborts.close()
        await super().close()

    def _words(self, call: Infer, turn: Turn) -> Mapping[str, object]:
        words: dict[str, object] = {}
        if isinstance(turn, _Named):
            words["rid"] = turn.rid
        if turn.program:
            words["session_id"] = turn.program
        if turn.salt:
            words["cache_salt"] = turn.salt
        if turn.urgency and self._info.enable_priority_scheduling:
            low_first = self._info.schedule_low_priority_values_first
            words["priority"] = turn.urgency if low_first else -turn.urgency
        return words

    async def _abort(self, rid: str) -> None:
        with suppress(KernelError):  # Then it has found out, or will, that its caller left.
            body = msgspec.json.encode({"rid": rid})
            await self.server.look("abort_request", ENGINE_LOOK_S, method="POST", body=body)

    async def _learn(self) -> None:
        """What it was started with; one that does not say is asked for nothing special."""
        try:
            said = await self.server.look("server_info", ENGINE_LOOK_S)
            self._info = msgspec.json.decode(said, type=_Info)
        except (KernelError, msgspec.MsgspecError):
            self._info = _Info()
        self._tells_ids = version(self._info.version) >= TELLS_IDS
        self._naps.learn(can_sleep=self._info.enable_memory_saver)

    async def _look(self) -> EngineLoad | None:
        """Raises `DeviceFailed` where what it says can't be read."""
        try:
            page = await self.server.look("v1/loads?include=core", ENGINE_LOOK_S)
            ranks = msgspec.json.decode(page, type=_Loads).loads[:_RANKS_MAX]
        except msgspec.MsgspecError as error:
            raise DeviceFailed(f"{self.name}'s loads can't be read: {error}") from error
        tokens = bounded(sum(rank.max_total_num_tokens for rank in ranks), ENGINE_KV_TOKENS_MAX)
        self._kv_tokens = int(tokens or 0) or None
        running = bounded(sum(rank.num_running_reqs for rank in ranks), ENGINE_CALLS_MAX)
        waiting = bounded(sum(rank.num_waiting_reqs for rank in ranks), ENGINE_CALLS_MAX)
        if not ranks or running is None or waiting is None:
            return None
        return EngineLoad(
            running=int(running),
            waiting=int(waiting),
            kv_usage=bounded(sum(rank.token_usage for rank in ranks) / len(ranks), 1.0),
            seen_s=self._clock.now_s(),
        )
