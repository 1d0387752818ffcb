"""An Ollama server: OpenAI's dialect for calls, its own for where models lie.

`/api/tags` lists what is on its disk, `/api/ps` what is loaded, until when, and with how large a
context; an empty `/api/generate` with `keep_alive` loads (-1: stays) and unloads (0).  A call in
OpenAI's dialect sets the time that its model stays back to the server's own, so what the kernel
loaded is told to stay again.  Ollama cuts a prompt that is larger than its context without a word:
the context that `/api/ps` names is therefore on the card, and the server's
`OLLAMA_CONTEXT_LENGTH` should be set to what agents need.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.cards import ModelCard
from orlop.abi.errors import DeviceFailed, DeviceRefused, KernelError
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import ENGINE_LOOK_S, ENGINE_START_S_MAX
from orlop.devices.device import EngineLoad, Resident
from orlop.devices.openai import Manner, OpenAI
from orlop.drivers.loading import Loading
from orlop.drivers.metrics_text import bounded
from orlop.drivers.watch import WATCH_S, Watch
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock

SLOTS: Final = 4
"""`OLLAMA_NUM_PARALLEL` of most installations, all models together."""

_FOR_EVER: Final = -1
_AT_ONCE: Final = 0
_BYTES_MAX: Final = 2.0**50
_FAR_YEAR: Final = "2200"

T = TypeVar("T")


class _Named(Struct, frozen=True):
    name: str


class _Tags(Struct, frozen=True):
    models: list[_Named] | None = None


class _Loaded(Struct, frozen=True):
    name: str
    size_vram: float = 0
    size: float = 0
    context_length: int = 0
    expires_at: str = ""


class _Ps(Struct, frozen=True):
    models: list[_Loaded] | None = None


class Ollama(OpenAI):
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
    ) -> None:
        manner = Manner(driver="ollama", own_fields=("keep_alive",))
        super().__init__(name, url, clock=clock, chance=chance, key=key, slots=slots, manner=manner)
        self._loading = Loading(
            name, bring=self._bring, send_away=self._send_away, needs="it is no Ollama server"
        )
        self._contexts: dict[ModelName, int] = {}
        self._kept: set[ModelName] = set()
        """Models that the kernel loaded: they stay until it unloads them."""
        self._watch = Watch(
            name, self._look, clock=clock, is_busy=lambda: self.running > 0, every_s=watch_s
        )

    @property
    def residence(self) -> Loading:
        return self._loading

    async def start(self) -> None:
        await super().start()
        self._watch.start()

    async def models(self) -> Sequence[ModelCard]:
        cards = await super().models()
        with suppress(KernelError):  # Then where models lie is not known, and calls go on.
            await self._learn()
        return [
            replace(card, context_tokens=self._contexts.get(card.name, card.context_tokens))
            for card in cards
        ]

    async def close(self) -> None:
        await self._watch.close()
        await super().close()

    async def _bring(self, model: ModelName) -> None:
        await self._keep(model, _FOR_EVER)
        self._kept.add(model)

    async def _send_away(self, model: ModelName) -> None:
        self._kept.discard(model)
        await self._keep(model, _AT_ONCE)

    async def _keep(self, model: ModelName, seconds: int) -> None:
        """Ollama answers when the model is loaded, or on its way out."""
        body = msgspec.json.encode({"model": model, "keep_alive": seconds, "stream": False})
        try:
            await self.server.look("api/generate", ENGINE_START_S_MAX, method="POST", body=body)
        except DeviceRefused as error:
            raise DeviceFailed(error.message) from error

    async def _look(self) -> EngineLoad | None:
        """It tells nothing of its load; but what we keep is told to stay if it would go."""
        for loaded in await self._learn():
            # For ever is some centuries away.
            if loaded.name in self._kept and loaded.expires_at[:4] < _FAR_YEAR:
                await self._keep(ModelName(loaded.name), _FOR_EVER)
        return None

    async def _learn(self) -> Sequence[_Loaded]:
        tags = await self._ask("api/tags", _Tags)
        ps = await self._ask("api/ps", _Ps)
        models = {ModelName(each.name): Resident(state="disk") for each in tags.models or ()}
        for loaded in ps.models or ():
            size = int(bounded(loaded.size_vram or loaded.size, _BYTES_MAX) or 0)
            models[ModelName(loaded.name)] = Resident(state="hot", device_bytes=size)
            if loaded.context_length > 0:
                self._contexts[ModelName(loaded.name)] = loaded.context_length
        self._loading.learn(models)
        return ps.models or ()

    async def _ask(self, path: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(await self.server.look(path, ENGINE_LOOK_S), type=kind)
        except msgspec.MsgspecError as error:
            raise DeviceFailed(f"{self.name}'s {path} can't be read: {error}") from error
