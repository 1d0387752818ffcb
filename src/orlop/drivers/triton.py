"""A Triton server (or another of the KServe v2 protocol, over HTTP): embedders and classifiers.

Tensors travel as JSON.  A model is used if it takes one text tensor (BYTES).  One that gives text,
or numbers for which its configuration names labels, is a classifier, which is asked with `infer`
and answers with the label; one that gives other numbers makes vectors.  Models are loaded and
unloaded where the repository lets that be done (`--model-control-mode=explicit`).  Triton does not
notice a caller that leaves: what runs is milliseconds long, and its answer is thrown away.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import Struct
from yarl import URL

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import EngineCard, ModelCard
from orlop.abi.errors import DeadlineMissed, DeviceFailed, DeviceRefused, KernelError
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import (
    EMBED_BATCH,
    EMBED_DIMENSIONS_MAX,
    ENGINE_LOOK_S,
    ENGINE_START_S_MAX,
)
from orlop.abi.replies import Embedded, Generated
from orlop.devices.device import ALONE, Capacity, EngineLoad, Resident, Sink, Turn
from orlop.devices.server import Server
from orlop.drivers.classes import answer_of, text_to_classify
from orlop.drivers.loading import Loading
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock, deadline
from orlop.wire.openai_stream import whole

SLOTS: Final = 16

_FLOATS: Final = ("FP16", "FP32", "FP64", "BF16")
_LABELS_MAX: Final = 1_000
_LIST_S: Final = 10.0

Kind = Literal["embed", "classify"]
T = TypeVar("T")


class _Tensor(Struct, frozen=True):
    """Of a model's metadata, and of an answer: its data flat, row by row."""

    name: str
    datatype: str
    shape: list[int]
    data: list[object] = []


class _Metadata(Struct, frozen=True):
    name: str
    inputs: list[_Tensor]
    outputs: list[_Tensor]


class _Output(Struct, frozen=True):
    """Of a model's configuration."""

    name: str = ""
    label_filename: str = ""


class _Config(Struct, frozen=True):
    output: list[_Output] = []


class _Entry(Struct, frozen=True):
    name: str
    state: str = ""


class _Answer(Struct, frozen=True):
    outputs: list[_Tensor]


@dataclass(frozen=True, slots=True)
class _Model:
    """How one model is asked."""

    kind: Kind
    input: _Tensor
    output: _Tensor


class Triton:
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
    ) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        base = URL(url.rstrip("/"))
        base = base if base.name == "v2" else base / "v2"
        self.server = Server(name, base, clock=clock, chance=chance, headers=headers)
        self.running = 0
        self._name = name
        self._slots = slots
        self._clock = clock
        self._known: dict[ModelName, _Model] = {}
        self._loading = Loading(
            name,
            bring=lambda model: self._order(model, "load"),
            send_away=lambda model: self._order(model, "unload"),
            needs="start it with --model-control-mode=explicit",
        )

    @property
    def name(self) -> EngineName:
        return self._name

    @property
    def slots(self) -> int:
        return self._slots

    def capacity(self) -> Capacity:
        return Capacity(slots=self._slots, prefix_cache=False)

    def holdings(self) -> None:
        """What it holds is what was sent to it."""

    def goes_on(self, call: Infer) -> bool:
        return False

    def load(self) -> EngineLoad | None:
        return None

    @property
    def contexts(self) -> None:
        return None

    @property
    def residence(self) -> Loading:
        return self._loading

    def card(self) -> EngineCard:
        return EngineCard(
            name=self._name,
            driver="triton",
            url=str(self.server.url),
            slots=self._slots,
            health=self.server.health,
            reason=self.server.reason,
            models=tuple(self._known),
            running=self.running,
        )

    async def start(self) -> None:
        await self.server.start()
        await self.models()

    async def models(self) -> Sequence[ModelCard]:
        try:
            async with deadline(_LIST_S, f"listing {self._name}'s models"):
                # Not `health/ready`: that is denied for as long as any model is unloaded.
                await self._open("GET", "health/live", None, _LIST_S)
                await self._learn()
        except (DeviceRefused, DeadlineMissed) as error:
            self.server.ailing(error.message)
            raise DeviceFailed(error.message) from error
        return [self._card(name, model) for name, model in self._known.items()]

    async def infer(
        self,
        call: Infer,
        model: ModelName,
        sink: Sink | None,
        deadline_s: float,
        turn: Turn = ALONE,
    ) -> Generated:
        known = self._model(model, "classify")
        text = text_to_classify(call)
        output = await self._ask(model, known, [text], deadline_s)
        made = answer_of(call, model, dict(map(_label, output.data)))
        if sink is not None:
            sink(whole(made.choices[0]))
        return made

    async def embed(self, call: Embed, model: ModelName, deadline_s: float) -> Embedded:
        known = self._model(model, "embed")
        ends_s = self._clock.now_s() + deadline_s
        vectors: list[tuple[float, ...]] = []
        for start in range(0, len(call.inputs), EMBED_BATCH):
            texts = call.inputs[start : start + EMBED_BATCH]
            left_s = max(0.001, ends_s - self._clock.now_s())
            output = await self._ask(model, known, texts, left_s)
            vectors += self._vectors(output, len(texts))
        sizes = {len(vector) for vector in vectors}
        if call.dimensions is not None and sizes != {call.dimensions}:
            raise DeviceRefused(f"{model} has {max(sizes)} dimensions, not {call.dimensions}")
        return Embedded(vectors=tuple(vectors), model=model)

    async def close(self) -> None:
        await self.server.close()

    async def _ask(
        self, model: ModelName, known: _Model, texts: Sequence[str], deadline_s: float
    ) -> _Tensor:
        body = _write(known, texts, deadline_s)
        self.running += 1
        try:
            async with deadline(deadline_s, f"{self._name}'s answer"):
                page = await self._open("POST", f"models/{model}/infer", body, deadline_s)
        finally:
            self.running -= 1
        outputs = _decode(page, _Answer, self._name).outputs
        for output in outputs:
            if output.name == known.output.name:
                return output
        raise DeviceFailed(f"{self._name}'s answer has no output {known.output.name!r}")

    def _vectors(self, output: _Tensor, count: int) -> list[tuple[float, ...]]:
        numbers = [float(n) for n in output.data if type(n) is float or type(n) is int]
        size, rest = divmod(len(numbers), count)
        if len(numbers) < len(output.data) or rest or not 0 < size <= EMBED_DIMENSIONS_MAX:
            raise DeviceFailed(
                f"{self._name} gave {len(output.data)} values for {count} texts: no vector each"
            )
        return [tuple(numbers[at * size : (at + 1) * size]) for at in range(count)]

    def _model(self, model: ModelName, kind: Kind) -> _Model:
        known = self._known.get(model)
        if known is None or known.kind != kind:
            there = ", ".join(each for each, held in self._known.items() if held.kind == kind)
            raise DeviceRefused(
                f"{self._name} has no model {model!r} to {kind}; there is: {there or 'none'}"
            )
        return known

    def _card(self, name: ModelName, model: _Model) -> ModelCard:
        size = model.output.shape[-1]
        is_embedder = model.kind == "embed"
        return ModelCard(
            name=name,
            engine=self._name,
            kind="embed" if is_embedder else "chat",
            dimensions=size if is_embedder and size > 0 else None,
        )

    async def _learn(self) -> None:
        """What lies in the repository, and of what is ready how it is asked."""
        page = await self._open("POST", "repository/index", b"{}", _LIST_S)
        entries = _decode(page, list[_Entry], self._name)
        states = {ModelName(each.name): each.state for each in entries}
        known = {}
        for name in states:
            if states[name] == "READY" and (model := await self._learn_model(name)) is not None:
                known[name] = model
        self._known = known
        self._loading.learn(
            {
                name: Resident(state="hot" if state == "READY" else "disk")
                for name, state in states.items()
            }
        )

    async def _learn_model(self, name: ModelName) -> _Model | None:
        try:
            page = await self.server.look(f"v2/models/{name}", ENGINE_LOOK_S)
            metadata = msgspec.json.decode(page, type=_Metadata)
        except (KernelError, msgspec.MsgspecError):
            return None
        try:
            page = await self.server.look(f"v2/models/{name}/config", ENGINE_LOOK_S)
            outputs = msgspec.json.decode(page, type=_Config).output
        except (KernelError, msgspec.MsgspecError):
            outputs = []  # Other servers of the protocol have no such page.
        return _usable(metadata, {each.name for each in outputs if each.label_filename})

    async def _order(self, model: ModelName, what: str) -> None:
        path = f"v2/repository/models/{model}/{what}"
        try:
            await self.server.look(path, ENGINE_START_S_MAX, method="POST", body=b"{}")
        except DeviceRefused as error:
            raise DeviceFailed(error.message) from error

    async def _open(self, method: str, path: str, body: bytes | None, left_s: float) -> bytes:
        ends_s = self._clock.now_s() + left_s
        response = await self.server.open(method, self.server.url / path, body, ends_s)
        return await self.server.read(response)


def _usable(metadata: _Metadata, labelled: Collection[str]) -> _Model | None:
    """One text in, numbers or labels out; what else there is, is for other clients."""
    if len(metadata.inputs) != 1 or metadata.inputs[0].datatype != "BYTES":
        return None
    first = metadata.inputs[0]
    for output in metadata.outputs:
        if output.datatype == "BYTES" or output.name in labelled:
            return _Model("classify", first, output)
    for output in metadata.outputs:
        if output.datatype in _FLOATS and output.shape:
            return _Model("embed", first, output)
    return None


def _write(known: _Model, texts: Sequence[str], deadline_s: float) -> bytes:
    shape = [len(texts)] + [1] * (len(known.input.shape) - 1)
    tensor = {"name": known.input.name, "datatype": "BYTES", "shape": shape, "data": list(texts)}
    wanted: dict[str, object] = {"binary_data": False}
    if known.kind == "classify" and known.output.datatype != "BYTES":
        wanted["classification"] = _LABELS_MAX
    output = {"name": known.output.name, "parameters": wanted}
    parameters: dict[str, object] = {"timeout": int(deadline_s * 1e6)}
    return msgspec.json.encode({"inputs": [tensor], "outputs": [output], "parameters": parameters})


def _label(raw: object) -> tuple[str, float]:
    """As Triton's classification extension writes it: `score:index:label`, or the bare label."""
    score, _, rest = str(raw).partition(":")
    try:
        return rest.partition(":")[2] or rest, float(score)
    except ValueError:
        return str(raw), 1.0


def _decode(page: bytes, kind: type[T], name: EngineName) -> T:
    try:
        return msgspec.json.decode(page, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DeviceFailed(f"{name}'s answer can't be read: {error}") from error
