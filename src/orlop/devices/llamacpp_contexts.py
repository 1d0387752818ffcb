"""Programs' contexts on one host: in slots, saved in RAM or on disk, or computed again.

A call gets a slot with as much of its prompt as can be brought there for less than computing it.
llama.cpp compares the tokens in the slot with the prompt's, so a wrong guess here is only slower.

Invariants: 1. a slot is busy from `enter` to `leave`; 2. what leaves a slot and is worth it is
saved first; 3. a snapshot is restored only after `Snapshots.ready` has checked it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from orlop.abi.errors import DeviceFailed, DeviceRefused
from orlop.devices import slot_map
from orlop.devices.engine_host import HostState
from orlop.devices.llamacpp_api import Restored, Saved
from orlop.devices.llamacpp_slots import Held, Match, Table
from orlop.devices.slot_map import Seat
from orlop.devices.snapshots import READ_BYTES_S, Note, Snapshots
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.machine.offload import Offload

log = logging.getLogger(__name__)

_WORTH_TOKENS: Final = 64
"""Fewer are computed again within a piece of a prompt."""

_BLOCK_TOKENS: Final = 30
"""In a block of text, about: for plans before anything was counted."""


class Measured(Struct):
    """What was seen of this engine; kept, so that the next kernel need not learn it again."""

    kv_bytes_per_token: int = 0
    restore_bytes_s: float = 0.0
    restored: int = 0


class SlotHost(Protocol):
    """What of a host is needed here; `HostApi` has it."""

    async def save(self, slot: int, file: str) -> Saved: ...

    async def restore(self, slot: int, file: str) -> Restored: ...

    async def erase(self, slot: int) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A slot that a call holds, and whose context lies in it."""

    held: Held
    slot: int
    new_tokens: int = 0
    """Of its prompt, those that are not there; about."""


class HostContexts:
    """The `Contexts` of one engine.  `api` is set while a host answers."""

    def __init__(
        self,
        slots: int,
        snapshots: Snapshots,
        recompute_s: Callable[[int], float],
        *,
        map_path: Path,
        offload: Offload,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._slots = slots
        self._snapshots = snapshots
        self._recompute_s = recompute_s
        self._map_path = map_path
        self._offload = offload
        self._clock = clock
        self._chance = chance
        self._table = Table(slots)
        self._salts: dict[int, str | None] = {}
        """Whose context lay in each slot last; None: nobody here knows."""
        self._host: HostState | None = None
        self._api: SlotHost | None = None
        self._keeping: set[asyncio.Task[None]] = set()
        self._is_scanned = False
        self.measured = Measured()

    async def attach(self, host: HostState, api: SlotHost) -> None:
        """A host answers: what lies in its slots, if a kernel before us has said so."""
        if not self._is_scanned:
            self._is_scanned = True
            await self._offload(self._snapshots.scan)
            for _, note in self._snapshots.notes.values():
                self._table.add(_held(note))
        self._host, self._api = host, api
        known_before = await self._offload(slot_map.read, self._map_path, host)
        self._salts = dict.fromkeys(range(self._slots), None)
        for seat in known_before:
            if seat.slot < self._slots and self._table.occupant(seat.slot) is None:
                known = self._snapshots.notes.get(seat.id)
                held = Held(seat.id, seat.program, saved_tokens=known[1].tokens if known else 0)
                self._table.seat(held, seat.slot)
                self._table.grown(held, seat.blocks)
                held.tokens = seat.tokens

    async def detach(self) -> None:
        """The host is gone; what was saved is not."""
        self._table.forget_slots()
        api, self._api = self._api, None
        if api is not None:
            await api.close()

    async def close(self) -> None:
        """Let go; nothing saved is lost."""
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await self.detach()

    async def erase(self) -> None:
        """The model leaves this machine's memory, and its contexts with it."""
        self._table = Table(self._slots)
        await self._offload(self._snapshots.erase)

    def host_tokens(self) -> int:
        """What our store in RAM can hold."""
        each = self.measured.kv_bytes_per_token
        return self._snapshots.ram_bytes // each if each else 0

    async def enter(self, program: str, blocks: tuple[int, ...], salt: str = "") -> Place:
        """A busy slot for this call, holding what could be brought there.  Waits for one.

        salt: as in `Turn`; what another's context has left in the slot is wiped out first.
        """
        while True:
            match = self._table.match(program, blocks)
            if match.saving is not None:
                await match.saving.wait()
                continue
            own = match.own or Held(self._chance.token(8).hex(), program)
            slot = self._table.take(own.slot)
            if slot is not None:
                break
            await self._table.wait()
        place = Place(own, slot)
        own.is_moving = True
        try:
            await self._prepare(place, match, salt)
        except BaseException:
            self._table.give_back(slot)
            raise
        finally:
            own.is_moving = False
        self._table.grown(own, blocks)
        own.is_released, own.is_changed = False, True
        there = match.shared if own.tokens else 0
        return Place(own, slot, (len(blocks) - there) * _BLOCK_TOKENS)

    async def _prepare(self, place: Place, match: Match, salt: str) -> None:
        if place.held.slot == place.slot:
            return
        await self._clear(place.slot)
        if self._salts.get(place.slot) != salt:
            await self._erase(place.slot)
        self._salts[place.slot] = salt
        source = match.own or match.like
        tokens = await self._bring(source, place.slot, match.shared) if source is not None else 0
        self._table.seat(place.held, place.slot)
        place.held.tokens = tokens

    def leave(self, place: Place, tokens: int | None) -> None:
        """The call is over.  tokens: what its slot holds now; None: not known."""
        held = place.held
        if held.slot == place.slot:
            if tokens is not None:
                held.tokens = tokens
            if held.is_doomed:
                self._table.forget(held)
        self._table.give_back(place.slot)
        self._note_seats()

    async def save(self, program: str) -> int:
        saved = 0
        for held in self._table.of(program):
            slot = held.slot
            if slot is None or self._table.take(slot) is None:
                continue
            held.saving = asyncio.Event()
            try:
                saved += await self.write(held)
                held.is_released = True
            except (DeviceFailed, DeviceRefused, OSError) as error:
                log.warning("a context of %s is not saved: %s", program, error)
            finally:
                held.saving.set()
                held.saving = None
                self._table.give_back(slot)
            if held.is_doomed:
                await self._drop(held)
        return saved

    async def drop(self, program: str) -> None:
        for held in self._table.of(program):
            await self._drop(held)
        self._note_seats()

    async def _drop(self, held: Held) -> None:
        await self._settled(held)
        await self._offload(self._snapshots.forget, [held.id])
        held.saved_tokens = 0
        slot = held.slot
        if slot is None:
            self._table.forget(held)
        elif self._table.take(slot) is None:
            held.is_doomed = True
        else:
            try:
                self._table.forget(held)
                await self._erase(slot)
            finally:
                self._table.give_back(slot)

    async def write(self, held: Held) -> int:
        """Save a context that lies in a busy slot; it stays there too.  Returns its tokens.

        The host waits until the slot's own work has stopped.  The checksum is made afterwards in
        a thread, and who reads the snapshot waits for that.
        """
        api, slot = self._attached(), held.slot
        if slot is None:
            return 0
        if not held.is_changed and held.saved_tokens and not self._is_lost(held):
            return held.saved_tokens
        size = max(held.tokens, len(held.blocks) * _BLOCK_TOKENS)
        size *= self.measured.kv_bytes_per_token
        if not await self._offload(self._snapshots.room, size):
            return 0
        path = await self._offload(self._snapshots.fresh)
        done = await api.save(slot, path.name)
        if done.n_saved <= 0:
            await self._offload(path.unlink, missing_ok=True)
            return 0
        self.measured.kv_bytes_per_token = done.n_written // done.n_saved
        held.tokens = held.saved_tokens = done.n_saved
        held.is_changed = False
        note = Note(
            context=held.id,
            program=held.program,
            tokens=done.n_saved,
            bytes=done.n_written,
            crc32=0,
            fingerprint="",
            blocks=held.blocks,
        )
        keeping = asyncio.create_task(self._keep(path, note, held), name=held.id)
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)
        return done.n_saved

    async def tokens_saved(self, held: Held) -> tuple[int, ...]:
        """The ids of a context that was just written; empty where they can't be told."""
        await self._settled(held)
        return await self._offload(self._snapshots.tokens, held.id)

    async def _settled(self, held: Held) -> None:
        """Its checksum is made, if it was saved just now."""
        making = [task for task in self._keeping if task.get_name() == held.id]
        if making:
            await asyncio.wait(making)

    async def _keep(self, path: Path, note: Note, held: Held) -> None:
        try:
            await self._offload(self._snapshots.keep, path, note)
        except OSError as error:
            log.warning("a context of %d tokens is not kept: %s", note.tokens, error)
            self._table.lost(held)
        for gone in self._table.unsaved(self._snapshots.notes):
            if not any(gone.id == other for other in self._writing()):
                self._table.lost(gone)

    async def _clear(self, slot: int) -> None:
        """Whoever lies in this busy slot goes; saved, if it is worth it."""
        held = self._table.occupant(slot)
        if held is not None and held.tokens >= _WORTH_TOKENS and self._is_worth(held.tokens):
            try:
                await self.write(held)
            except (DeviceRefused, OSError) as error:
                log.warning("a context of %d tokens is not saved: %s", held.tokens, error)
        self._table.unseat(slot)

    def _is_worth(self, tokens: int) -> bool:
        """Saving it and bringing it back costs less than computing it."""
        each, rate = self.measured.kv_bytes_per_token, self.measured.restore_bytes_s
        if not each or not rate:
            return True
        size = tokens * each
        return size * (2 / rate + 2 / READ_BYTES_S) < self._recompute_s(tokens)

    async def _bring(self, source: Held, slot: int, shared: int) -> int:
        """Put what `source` holds into the slot; returns the tokens that are there then."""
        part = shared / len(source.blocks) if source.blocks else 0.0
        wanted = int(part * max(source.tokens, source.saved_tokens))
        if wanted < _WORTH_TOKENS:
            return 0
        try:
            if source.slot is not None and source.saved_tokens < wanted:
                await self._copy_out(source)
            return await self._restore(source, slot, wanted)
        except (DeviceRefused, OSError) as error:
            log.warning("a context of %d tokens is not restored: %s", wanted, error)
            await self._offload(self._snapshots.forget, [source.id])
            self._table.lost(source)
            await self._erase(slot)
            return 0

    async def _copy_out(self, source: Held) -> None:
        """Save a context that lies in another slot, unless a call runs on it."""
        if source.saving is not None:
            await source.saving.wait()
            return
        slot = source.slot
        if slot is None or self._table.take(slot) is None:
            return
        try:
            await self.write(source)
        finally:
            self._table.give_back(slot)

    async def _restore(self, source: Held, slot: int, wanted: int) -> int:
        await self._settled(source)
        size = source.saved_tokens * self.measured.kv_bytes_per_token
        rate = self.measured.restore_bytes_s or READ_BYTES_S
        bring_s = self._snapshots.bring_s(source.id) + size * (1 / rate + 1 / READ_BYTES_S)
        if not source.saved_tokens or bring_s > self._recompute_s(wanted):
            return 0
        ready = await self._offload(self._snapshots.ready, source.id)
        if ready is None:
            self._table.lost(source)
            return 0
        path, note = ready
        begun_s = self._clock.now_s()
        done = await self._attached().restore(slot, path.name)
        if done.n_restored != note.tokens:
            raise DeviceRefused(f"{done.n_restored} tokens came back, not {note.tokens}")
        taken_s = max(1e-6, self._clock.now_s() - begun_s)
        rate = done.n_read / taken_s
        known = self.measured.restore_bytes_s or rate
        self.measured.restore_bytes_s = known + (rate - known) / 8
        self.measured.restored += 1
        return done.n_restored

    async def _erase(self, slot: int) -> None:
        if self._api is not None:
            try:
                await self._api.erase(slot)
            except DeviceRefused as error:
                log.warning("slot %d is not erased: %s", slot, error)

    def _is_lost(self, held: Held) -> bool:
        return held.id not in self._snapshots.notes and held.id not in self._writing()

    def _writing(self) -> set[str]:
        """Contexts whose checksum is being made."""
        return {task.get_name() for task in self._keeping}

    def _attached(self) -> SlotHost:
        if self._api is None:
            raise DeviceFailed("the engine host is gone")
        return self._api

    def _note_seats(self) -> None:
        if self._host is None:
            return
        seats = [
            Seat(slot, held.id, held.program, held.tokens, held.blocks)
            for slot, held in self._table.seated()
        ]
        writing = asyncio.create_task(
            self._offload(slot_map.write, self._map_path, self._host, seats)
        )
        self._keeping.add(writing)
        writing.add_done_callback(self._keeping.discard)


def _held(note: Note) -> Held:
    return Held(note.context, note.program, note.blocks, saved_tokens=note.tokens)
