"""A llama.cpp server that somebody else runs: `llama-server`, by its own words beside OpenAI's.

What it is told: the slot (`id_slot`) where the program's context lies; a call that gave its seat
back is gone on with from its token ids.  What it tells: its slots and their context (`/props`), its
load (`/metrics`, where started with `--metrics`).  Contexts are saved, restored and erased where it
was started with `--slot-save-path`; models are loaded and unloaded where it is a router.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.calls import Infer
from orlop.abi.cards import ModelCard
from orlop.abi.errors import DeviceFailed, DeviceRefused, KernelError
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import (
    ENGINE_CALLS_MAX,
    ENGINE_KV_TOKENS_MAX,
    ENGINE_LOOK_S,
    ENGINE_START_S_MAX,
)
from orlop.abi.replies import Generated
from orlop.devices.device import (
    ALONE,
    Capacity,
    Contexts,
    EngineLoad,
    Preempted,
    Resident,
    Sink,
    Turn,
)
from orlop.devices.llamacpp_calls import Props, asked, goes_on, one_choice, passing, together
from orlop.devices.openai import Manner
from orlop.drivers import stoppable
from orlop.drivers.llama_slots import SlotTable
from orlop.drivers.loading import Loading
from orlop.drivers.metrics_text import bounded, read
from orlop.drivers.watch import WATCH_S, LoadNames, read_load
from orlop.drivers.watched import Watched
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock, deadline
from orlop.wire.openai import write_chat_request

T = TypeVar("T")

_NAMES: Final = LoadNames(
    running="llamacpp:requests_processing", waiting="llamacpp:requests_deferred"
)
_SLOTS_UNTOLD: Final = 1
_SEATS: Final = 256
"""Connections at once, whatever its slots turn out to be."""

_FOREIGN: Final = "another tenant's"
"""The salt of a call whose slot holds what it must not see."""


class _Told(Struct, frozen=True):
    """Of `/props`, beside what `Props` reads."""

    total_slots: int = _SLOTS_UNTOLD
    model_path: str = ""
    build_info: str = ""


class _Status(Struct, frozen=True):
    value: str = ""


class _Entry(Struct, frozen=True):
    id: str
    status: _Status | None = None


class _List(Struct, frozen=True):
    data: list[_Entry] = []


class _Saved(Struct, frozen=True):
    n_saved: int = 0


class _Prompt(Struct, frozen=True):
    prompt: str


class _Piece(Struct, frozen=True):
    """A token; its text as bytes where it is no whole letter."""

    id: int
    piece: str | list[int]


class _Ids(Struct, frozen=True):
    tokens: list[int]


class _Pieces(Struct, frozen=True):
    tokens: list[_Piece]


class LlamaServer(Watched):
    """An `Engine`, and the `Contexts` of its programs."""

    def __init__(
        self,
        name: EngineName,
        url: str,
        *,
        clock: Clock,
        chance: Chance,
        key: str = "",
        slots: int = 0,
        watch_s: float = WATCH_S,
    ) -> None:
        manner = Manner(
            driver="llama-server", words=self._words, own_fields=("id_slot", "cache_prompt")
        )
        super().__init__(
            name,
            url,
            clock=clock,
            chance=chance,
            key=key,
            slots=slots or _SEATS,
            manner=manner,
            watch_s=watch_s,
        )
        self._slots = slots or _SLOTS_UNTOLD
        self._wants_slots = slots
        self._props = Props()
        self._told = _Told()
        self._table = SlotTable(self._slots)
        self._saved: set[str] = set()
        """Programs whose context is on the server's disk."""
        self._salts: dict[int, str] = {}
        """Whose context lies in each slot: the salt of its tenant."""
        self._can_save = False
        self._can_split = False
        """It tells tokens by their texts, so that a call can be stopped and gone on with."""
        self._loading = Loading(
            name,
            bring=lambda model: self._order("models/load", model),
            send_away=lambda model: self._order("models/unload", model),
            needs="start it as a router, without a model",
        )

    def capacity(self) -> Capacity:
        tokens = self._props.default_generation_settings.n_ctx * self._slots
        kv_tokens = int(bounded(tokens, ENGINE_KV_TOKENS_MAX) or 0) or None
        return Capacity(
            slots=self.slots,
            kv_tokens=kv_tokens,
            moves_contexts=self._can_save,
            continues=self._can_split and self._can_save,
        )

    @property
    def contexts(self) -> Contexts | None:
        return self if self._can_save else None

    @property
    def residence(self) -> Loading:
        return self._loading

    async def models(self) -> Sequence[ModelCard]:
        context_tokens = max(0, self._props.default_generation_settings.n_ctx)
        cards = await super().models()
        return [replace(card, context_tokens=context_tokens or None) for card in cards]

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        ends_s = self._clock.now_s() + deadline_s
        try:
            with self._table.held(turn.program) as (slot, is_there):
                if slot is not None and not is_there and turn.program in self._saved:
                    await self._restore(turn.program, slot, deadline_s)
                return await self._answer(call, model, sink, ends_s, turn, slot)
        except Preempted:
            # What is computed anew is rounded otherwise, and a near tie may fall to another token:
            # from its own context it goes on as if never stopped.
            with suppress(DeviceFailed, DeviceRefused):
                await self.save(turn.program)
            raise

    async def _answer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        ends_s: float,
        turn: Turn,
        slot: int | None,
    ) -> Generated:
        wanted, leg = asked(call, self._props, self.name), super().infer
        place = "" if slot is None else str(slot)

        async def ask(one: Infer, pass_on: Sink) -> Generated:
            left_s = max(0.001, ends_s - self._clock.now_s())
            placed = Turn(program=place, salt=self._foreign(slot, turn.salt))
            return await leg(one, model, pass_on, left_s, placed)

        # Several choices are asked for one by one: between them nothing could be gone on from.
        may_stop = call.sampling.n == 1 and (turn.yield_now is not None or turn.so_far is not None)
        if may_stop:
            made = await stoppable.infer(wanted, turn, passing(call, sink, 0), ask, self)
            return together(call, [made])
        answers = [
            await ask(one_choice(wanted, index), passing(call, sink, index))
            for index in range(call.sampling.n)
        ]
        return together(call, answers)

    tells_more = False

    def goes_on(self, call: Infer) -> bool:
        return goes_on(call)

    async def said(self, pieces: Sequence[str]) -> tuple[int, ...] | None:
        return stoppable.ids_of(pieces, await self.tokens("".join(pieces)))

    async def prompt(self, call: Infer) -> tuple[int, ...]:
        """The ids that the call's prompt begins with, as the server itself makes them."""
        if isinstance(call.prompt, tuple):
            return call.prompt
        text = call.prompt
        if text is None:
            body = write_chat_request(call, ModelName(call.model), stream=False)
            text = (await self._say("apply-template", body, _Prompt)).prompt
        wanted = {"content": text, "add_special": True, "parse_special": True}
        return tuple((await self._say("tokenize", msgspec.json.encode(wanted), _Ids)).tokens)

    async def tokens(self, text: str) -> Sequence[tuple[int, bytes]]:
        """Of a piece of an answer, each with its own text."""
        wanted = {"content": text, "add_special": False, "with_pieces": True}
        said = await self._say("tokenize", msgspec.json.encode(wanted), _Pieces)
        return [(one.id, _bytes(one.piece)) for one in said.tokens]

    async def save(self, program: str) -> int:
        """Copy the context to the server's disk and free its slot; 0 tokens: nothing was there."""
        slot = self._table.of(program)
        if slot is None:
            return 0
        with self._table.held(program):
            body = msgspec.json.encode({"filename": self._file(program)})
            said = await self._slot(slot, "save", body)
            await self._slot(slot, "erase", b"{}")
        self._table.empty(program)
        try:
            tokens = msgspec.json.decode(said, type=_Saved).n_saved
        except msgspec.MsgspecError as error:
            raise DeviceFailed(f"what {self.name} saved can't be read: {error}") from error
        if tokens > 0:
            self._saved.add(program)
        return tokens

    async def drop(self, program: str) -> None:
        """A saved file stays until the program's next one: the server deletes none."""
        self._saved.discard(program)
        slot = self._table.of(program)
        if slot is not None:
            with self._table.held(program):
                await self._slot(slot, "erase", b"{}")
            self._table.empty(program)

    def _foreign(self, slot: int | None, salt: str) -> str:
        """Not empty: what lies in the slot is another tenant's, and is not to be used."""
        if slot is None:  # The server takes any.
            others = {self._salts.get(number, "") for number in range(self.slots)}
        else:
            others = {self._salts.get(slot, "")}
            self._salts[slot] = salt
        return "" if others == {salt} else _FOREIGN

    def _words(self, call: Infer, turn: Turn) -> Mapping[str, object]:
        """turn: as `_answer` has placed it, by the number of a slot and not by a program."""
        words: dict[str, object] = {"cache_prompt": not turn.salt}
        if turn.program:
            words["id_slot"] = int(turn.program)
        return words

    async def _restore(self, program: str, slot: int, deadline_s: float) -> None:
        """A context that can't be brought back is computed again: slower, never wrong."""
        self._saved.discard(program)
        body = msgspec.json.encode({"filename": self._file(program)})
        try:
            async with deadline(deadline_s, f"restoring a context on {self.name}"):
                await self._slot(slot, "restore", body)
        except (DeviceFailed, DeviceRefused):
            await self._slot(slot, "erase", b"{}")

    def _file(self, program: str) -> str:
        """Another model or build has other files, so none is restored into the wrong one."""
        told = self._told
        held = (program, told.model_path, told.build_info, self._props.default_generation_settings)
        return f"orlop-{hashlib.sha256(repr(held).encode()).hexdigest()[:32]}.kv"

    async def _say(self, path: str, body: bytes, kind: type[T]) -> T:
        try:
            said = await self.server.look(path, ENGINE_LOOK_S, method="POST", body=body)
            return msgspec.json.decode(said, type=kind)
        except msgspec.MsgspecError as error:
            raise DeviceFailed(f"{self.name}: {path} can't be read: {error}") from error

    async def _slot(self, slot: int, action: str, body: bytes) -> bytes:
        path = f"slots/{slot}?action={action}"
        return await self.server.look(path, ENGINE_START_S_MAX, method="POST", body=body)

    async def _learn(self) -> None:
        """Slots, model, and what it was started with."""
        before = self._told
        try:
            page = await self.server.look("props", ENGINE_LOOK_S)
            self._props = msgspec.json.decode(page, type=Props)
            self._told = msgspec.json.decode(page, type=_Told)
        except (KernelError, msgspec.MsgspecError):
            self._props, self._told = Props(), _Told()  # A router has none of its own.
        told = int(bounded(self._told.total_slots, ENGINE_CALLS_MAX) or 1)
        slots = self._wants_slots or min(told, _SEATS)
        if slots != self._slots or self._told != before:
            self._slots, self._table = max(1, slots), SlotTable(max(1, slots))
            self._saved.clear()
        self._can_save = await self._saves()
        self._can_split = await self._splits()
        await self._learn_models()

    async def _saves(self) -> bool:
        """No such action: 400 where slots can be saved, 501 where they can't."""
        try:
            await self._slot(0, "none", b"{}")
        except DeviceRefused as error:
            return "action" in error.message.lower()
        except KernelError:
            return False
        return False

    async def _splits(self) -> bool:
        """Older servers give ids alone; a router has no tokens of its own."""
        try:
            return bool(await self.tokens("so far"))
        except KernelError:
            return False

    async def _learn_models(self) -> None:
        try:
            entries = msgspec.json.decode(
                await self.server.look("models", ENGINE_LOOK_S), type=_List
            ).data
        except (KernelError, msgspec.MsgspecError):
            entries = []
        found: dict[ModelName, Resident] = {}
        for entry in entries:
            is_here = entry.status is None or entry.status.value == "loaded"
            found[ModelName(entry.id)] = Resident(state="hot" if is_here else "disk")
        is_router = any(entry.status is not None for entry in entries)
        self._loading.learn(found, can_load=is_router)

    async def _order(self, path: str, model: ModelName) -> None:
        """The router answers at once and loads on: wait until its list says so."""
        body = msgspec.json.encode({"model": model})
        await self.server.look(path, ENGINE_LOOK_S, method="POST", body=body)
        wanted = "hot" if path.endswith("/load") else "disk"
        while True:
            await self._learn_models()
            now = self._loading.resident().get(model)
            if now is None:
                raise DeviceFailed(f"{self.name} does not list {model} any more")
            if now.state == wanted:
                return
            await self._clock.sleep(0.1)

    async def _look(self) -> EngineLoad | None:
        page = await self.server.look("metrics", ENGINE_LOOK_S)
        return read_load(read(page, _NAMES.all()), _NAMES, self._clock.now_s())


def _bytes(piece: str | list[int]) -> bytes:
    try:
        return piece.encode() if isinstance(piece, str) else bytes(piece)
    except ValueError as error:
        raise DeviceFailed(f"no bytes: {piece}") from error
