"""What one engine remembers: its programs' contexts, and how fast it is, over all its hosts.

The store's folders and bounds are chosen here.  RAM is a folder on a file system in memory, since
the host writes and reads files: it outlives host and kernel, and goes when the host ends in order.
"""

import hashlib
import importlib.metadata
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import psutil
from msgspec import Struct

from orlop.abi.calls import Infer
from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.replies import Generated
from orlop.devices.artefact import write_atomic
from orlop.devices.device import Capacity, Sink, Turn
from orlop.devices.engine_host import MEMORY, HostState
from orlop.devices.llamacpp_api import HostApi, Timings
from orlop.devices.llamacpp_contexts import HostContexts, Measured
from orlop.devices.llamacpp_slots import blocks_of
from orlop.devices.llamacpp_speed import Learned, linear, terms
from orlop.devices.llamacpp_turns import Feed, Job, Runner
from orlop.devices.openai import OpenAI
from orlop.devices.snapshots import READ_BYTES_S, Folders, Snapshots, may_own, own_folder
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.machine.offload import ThreadOffload
from orlop.machine.ranges import Count

log = logging.getLogger(__name__)

_RAM_SHARE: Final = 8
"""Saved contexts take at most this part of RAM, and half of what is free where they lie."""

_DISK_SHARE: Final = 8
"""And this part of what the disk has free."""

_TIER_BYTES_MAX: Final = 64 * 1024**3
_NEAR: Final = 0.15
"""What differs by less than this part is not told anew."""

_PROBE_TEXT: Final = "Grüße, 世界! The quick brown fox jumps over 12,345 lazy dogs\n" * 6
_PROBE_TOKENS: Final = 64
_PROBE_STEPS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextsConfig:
    """One `[engines.NAME.contexts]` table of orlop.toml; of engines with driver `llamacpp`."""

    moves: bool = True
    """The kernel says which context lies in which slot, and saves what leaves one; without it
    llama.cpp does as it ships."""
    ram_mib: Count = 0
    """Saved contexts in RAM take at most this; 0: an eighth of RAM, and half of what is free."""
    disk_mib: Count = 0
    """Those that RAM has no room for, on disk; 0: an eighth of what is free there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig:
    """Where contexts are kept, and how much of them."""

    name: EngineName
    folder: Path
    """On disk."""
    slots: int
    context_tokens: int
    ram_bytes: int | None = None
    """None: as much as is fair."""
    disk_bytes: int | None = None


class _Kept(Struct, frozen=True):
    """What was measured of an engine; of another fingerprint it says nothing."""

    fingerprint: str
    measured: Measured
    speed: tuple[float, float, float, float, float, float]
    """The terms of a `Linear`, decode's first."""


class EngineMemory:
    """An engine's `Contexts`, and more; there is one, whatever host it has."""

    def __init__(self, config: MemoryConfig, *, clock: Clock, chance: Chance) -> None:
        self._config = config
        self._clock = clock
        self._chance = chance
        self._disk = config.folder / f"{config.name}.contexts"
        self._ram = _ram_folder(self._disk)
        self._offload = ThreadOffload(f"contexts-{config.name}")
        self._feed = Feed()
        self._contexts: HostContexts | None = None
        self._runner: Runner | None = None
        self._fingerprint = ""
        self._running = 0
        self.learned = Learned()
        self._capacity = Capacity(slots=config.slots, continues=True, moves_contexts=True)
        self._tell()

    @property
    def slot_folder(self) -> Path:
        """Where the host writes and reads."""
        return self._ram

    @property
    def contexts(self) -> HostContexts | None:
        """None before the first host has answered."""
        return self._contexts

    def capacity(self) -> Capacity:
        """As last told: it is told anew only when something has changed by more than a little."""
        return self._capacity

    def _tell(self) -> None:
        contexts, measured = self._contexts, Measured()
        if contexts is not None:
            measured = contexts.measured
        rate, slots = measured.restore_bytes_s, self._config.slots
        fresh = Capacity(
            slots=slots,
            kv_tokens=slots * self._config.context_tokens,
            host_tokens=0 if contexts is None else contexts.host_tokens(),
            kv_bytes_per_token=measured.kv_bytes_per_token,
            restore_bytes_s=1 / (1 / rate + 1 / READ_BYTES_S) if rate else 0.0,
            speed=self.learned.speed,
            continues=True,
            moves_contexts=True,
        )
        if not _is_like(fresh, self._capacity):
            self._capacity = fresh

    def prepare(self) -> None:
        """Before a host starts.  Raises `DeviceFailed` where its folder is somebody else's."""
        if not own_folder(self._ram):
            raise DeviceFailed(f"{self._ram} belongs to somebody else: remove it")

    async def attach(self, host: HostState, inner: OpenAI, template: str) -> None:
        """A host answers; what is known of its slots and its speed is learned once."""
        api = HostApi(self._config.name, host.url, host.key, clock=self._clock, chance=self._chance)
        await api.start()
        try:
            if self._contexts is None:
                self._contexts = await self._begin(host, api, template)
            await self._contexts.attach(host, api)
            self._runner = Runner(api, inner, self._contexts, self._feed, self._clock)
            if not self._contexts.measured.kv_bytes_per_token:
                await self._probe(api, self._contexts)
        except BaseException:
            await api.close()
            raise
        self._tell()

    async def _begin(self, host: HostState, api: HostApi, template: str) -> HostContexts:
        told = await api.tokens(_PROBE_TEXT, special=True)
        tokens = told[:_PROBE_TOKENS]
        own = [host.sha256, tokens, template, self._config.context_tokens, _library()]
        self._fingerprint = hashlib.sha256(msgspec.json.encode(own)).hexdigest()
        ram_bytes, disk_bytes = self._bounds()
        folders = Folders(
            ram=self._ram, disk=self._disk, ram_bytes=ram_bytes, disk_bytes=disk_bytes
        )
        snapshots = Snapshots(folders, self._fingerprint, self._recompute_s, self._clock)
        contexts = HostContexts(
            self._config.slots,
            snapshots,
            self._recompute_s,
            map_path=self._ram / "slots.map",
            offload=self._offload,
            clock=self._clock,
            chance=self._chance,
        )
        kept = await self._offload(_read_kept, self._kept_path, self._fingerprint)
        if kept is not None:
            contexts.measured = kept.measured
            self.learned = Learned(linear(kept.speed))
        return contexts

    def _recompute_s(self, tokens: int) -> float:
        return self.learned.speed.prefill_s(tokens, 0)

    def _bounds(self) -> tuple[int, int]:
        """Of both tiers, in bytes, as configured or as fair."""
        ram, disk = self._config.ram_bytes, self._config.disk_bytes
        if ram is None:
            free = shutil.disk_usage(self._ram).free // 2
            ram = min(psutil.virtual_memory().total // _RAM_SHARE, free, _TIER_BYTES_MAX)
        if disk is None:
            self._disk.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk = min(shutil.disk_usage(self._disk).free // _DISK_SHARE, _TIER_BYTES_MAX)
        return ram, disk

    @property
    def _kept_path(self) -> Path:
        return self._config.folder / f"{self._config.name}.measured"

    async def _probe(self, api: HostApi, contexts: HostContexts) -> None:
        """A first look at the speed and at a context's size, so that nobody plans with guesses."""
        tokens = await api.tokens(_PROBE_TEXT, special=False)
        try:
            timings = await api.probe(0, tokens[:_PROBE_TOKENS], _PROBE_STEPS)
            saved = await api.save(0, "probe.part")
            begun_s = self._clock.now_s()
            restored = await api.restore(0, "probe.part")
            taken_s = max(1e-6, self._clock.now_s() - begun_s)
            await api.erase(0)
        except DeviceRefused as error:
            log.warning("%s can't save contexts: %s", self._config.name, error)
            return
        finally:
            (self._ram / "probe.part").unlink(missing_ok=True)
        self._learn(timings, alone=True)
        contexts.measured.kv_bytes_per_token = saved.n_written // max(1, saved.n_saved)
        contexts.measured.restore_bytes_s = restored.n_read / taken_s

    async def run(
        self, call: Infer, model: ModelName, sink: Sink, turn: Turn, ends_s: float
    ) -> Generated:
        """One answer, in the slot that suits its context best."""
        runner, contexts = self._runner, self._contexts
        if runner is None or contexts is None:
            raise DeviceFailed(f"{self._config.name} has no host")
        place = await contexts.enter(turn.program, blocks_of(call, turn.salt), turn.salt)
        job = Job(call=call, model=model, sink=sink, turn=turn, place=place, ends_s=ends_s)
        tokens: int | None = None
        self._running += 1
        alone = self._running == 1
        try:
            made = await runner.run(job)
            alone = alone and self._running == 1
            # The last token was drawn, but nothing was computed after it.
            tokens = max(0, made.usage.input_tokens + made.usage.output_tokens - 1)
            self._note(made, alone=alone)
            return made
        finally:
            self._running -= 1
            contexts.leave(place, tokens)

    def _note(self, made: Generated, *, alone: bool) -> None:
        with suppress(msgspec.ValidationError):
            self._learn(msgspec.convert(made.extra.get("timings"), Timings), alone=alone)

    def _learn(self, told: Timings, *, alone: bool) -> None:
        if alone:
            self.learned.prefilled(told.prompt_n, told.cache_n, told.prompt_ms / 1e3)
        batch = max(1, self._running)
        context = batch * (told.cache_n + told.prompt_n + told.predicted_n / 2)
        # The first token comes with the prompt.
        self.learned.decoded(told.predicted_n - 1, batch, context, told.predicted_ms / 1e3)
        self._tell()

    async def save(self, program: str) -> int:
        return 0 if self._contexts is None else await self._contexts.save(program)

    async def drop(self, program: str) -> None:
        if self._contexts is not None:
            await self._contexts.drop(program)

    async def detach(self) -> None:
        self._runner = None
        if self._contexts is not None:
            await self._contexts.detach()

    async def erase(self) -> None:
        if self._contexts is not None:
            await self._contexts.erase()

    async def close(self) -> None:
        contexts, self._contexts = self._contexts, None
        if contexts is not None:
            kept = _Kept(self._fingerprint, contexts.measured, terms(self.learned.speed))
            await contexts.close()
            await self._offload(_write_kept, self._kept_path, kept)
        self._offload.close()


def _is_like(one: Capacity, other: Capacity) -> bool:
    """Whether nobody would plan otherwise with `one` than with `other`."""

    def numbers(capacity: Capacity) -> tuple[float, ...]:
        speed, slots = capacity.speed, capacity.slots
        return (
            capacity.kv_tokens or 0,
            capacity.host_tokens,
            capacity.kv_bytes_per_token,
            capacity.restore_bytes_s,
            speed.prefill_s(500, 0),
            speed.prefill_s(100, 1_500),
            speed.decode_s(1, 500),
            speed.decode_s(slots, 1_000 * slots),
        )

    pairs = zip(numbers(one), numbers(other), strict=True)
    return all(abs(new - old) <= _NEAR * max(new, old) for new, old in pairs)


def _ram_folder(disk: Path) -> Path:
    """Always the same for one engine of one home, so that the next kernel finds it."""
    name = hashlib.sha256(str(disk.resolve()).encode()).hexdigest()[:16]
    folder = MEMORY / f"orlop-{os.getuid()}-{name}"
    # Made when a host starts, not before: an engine that is never asked leaves nothing there.
    if MEMORY.is_dir() and may_own(folder):
        return folder
    disk.mkdir(mode=0o700, parents=True, exist_ok=True)
    return disk


def _library() -> str:
    """The format of a slot's file is llama.cpp's own, and may change with it."""
    try:
        return importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _read_kept(path: Path, fingerprint: str) -> _Kept | None:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return None
    return kept if kept.fingerprint == fingerprint else None


def _write_kept(path: Path, kept: _Kept) -> None:
    try:
        write_atomic(path, msgspec.json.encode(kept))
    except OSError as error:
        log.warning("what was measured is not kept: %s", error)
