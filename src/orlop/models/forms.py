"""One model in several forms: which of its artefacts may serve, and which one serves on a device.

Pure functions.  The reference (most exact) may always serve.  A cheaper one may only once its loss
against the reference, on a labelled set, is measured for exactly these weights and within the
card's limit.  On each device the cheapest that may serve and fits is picked; between devices the
scheduler chooses, as between any engines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from orlop.abi.cards import Artefact, Measured, ModelCard, ModelKind
from orlop.abi.devices import DeviceCard
from orlop.abi.errors import Misconfigured
from orlop.abi.ids import EngineName, ModelName
from orlop.hardware.claim import meets
from orlop.hardware.predicate_text import read
from orlop.machine.ranges import Chances, Count, Many


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactConfig:
    """One `[models.cards.NAME.artefacts.FORM]` table of orlop.toml."""

    engine: str
    """The engine that serves it."""
    model: str = ""
    """What that engine calls it; by default as the card is called."""
    format: str = ""
    """gguf, onnx, tensorrt, safetensors."""
    precision: str = ""
    """fp16, int8, int4."""
    bytes: Count = 0
    """Of its weights; of two that may serve on a device, the smaller does."""
    digest: str = ""
    """SHA-256 that its weights must have."""
    tensor_parallel: Many = 1
    """Devices that it is spread over; its engine stands on a group of so many."""
    needs: str = ""
    """A predicate that its device must meet, as in `hbm_gb >= 40`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardConfig:
    """One `[models.cards.NAME]` table of orlop.toml: a model that comes in several forms."""

    kind: ModelKind = "chat"
    """What it does."""
    reference: str
    """The artefact that the others are measured against; it needs no measurement."""
    loss_max: Chances = 0.0
    """Of a labelled set, the share of cases by which a form may be worse than the reference."""
    cases_min: Many = 100
    """Labelled cases that a measurement must have."""
    quality_min: Chances = 0.5
    """Of the labelled set, what the reference itself must get right: a loss against something that
    is always wrong says nothing."""
    artefacts: dict[str, ArtefactConfig] = field(default_factory=dict)
    """Its forms by name, each in a table of its own."""


@dataclass(frozen=True, slots=True)
class Form:
    """An artefact as it is now.  `reason`: why it may not serve; empty: it may."""

    artefact: Artefact
    card: ModelCard | None
    device: DeviceCard | None
    measured: Measured | None
    reason: str


def check(cards: Mapping[str, CardConfig], engines: Sequence[str]) -> None:
    """Raises `Misconfigured`.  engines: those of orlop.toml and of the shelf."""
    for name, card in cards.items():
        where = f"models.cards.{name}"
        if card.reference not in card.artefacts:
            names = ", ".join(card.artefacts) or "none"
            raise Misconfigured(
                f"{where}: reference: no artefact {card.reference!r}; there is: {names}"
            )
        for form, artefact in card.artefacts.items():
            if artefact.engine not in engines:
                raise Misconfigured(
                    f"{where}.artefacts.{form}: engine: no engine {artefact.engine!r}; "
                    f"there is: {', '.join(engines) or 'none'}"
                )
            read(artefact.needs)


def artefacts(name: str, card: CardConfig) -> list[Artefact]:
    return [
        Artefact(
            name=form,
            engine=EngineName(config.engine),
            model=ModelName(config.model or name),
            format=config.format,
            precision=config.precision,
            bytes=config.bytes,
            digest=config.digest,
            tensor_parallel=config.tensor_parallel,
            needs=config.needs,
        )
        for form, config in card.artefacts.items()
    ]


def forms(
    name: str,
    card: CardConfig,
    cards: Sequence[ModelCard],
    devices: Mapping[EngineName, DeviceCard | None],
    measured: Mapping[str, Measured],
) -> list[Form]:
    """Every artefact of a card, and whether it may serve.

    cards: what engines run now.  devices: what they stand on.  measured: by artefact.
    """
    by_place = {(one.engine, one.name): one for one in cards if one.kind == card.kind}
    all_of_it = artefacts(name, card)
    reference = measured.get(card.reference)
    for artefact in all_of_it:
        serving = by_place.get((artefact.engine, artefact.model))
        if artefact.name == card.reference and reference is not None and serving is not None:
            reference = reference if reference.digest == serving.artefact else None
    found = list[Form]()
    for artefact in all_of_it:
        serving = by_place.get((artefact.engine, artefact.model))
        device, measure = devices.get(artefact.engine), measured.get(artefact.name)
        reason = _absence(artefact, serving) or _unfitness(artefact, device)
        if not reason and artefact.name != card.reference:
            reason = _doubt(card, serving, measure, reference)
        found.append(Form(artefact, serving, device, measure, reason))
    return found


def picks(found: Sequence[Form], quality_min: float | None = None) -> list[ModelCard]:
    """The cheapest form that may serve, on each device; as the card that its engine will see.

    quality_min: the share of the labelled set that it must get right, 0 to 1.
    """
    best = dict[str, Form]()
    for form in found:
        if form.reason or form.card is None or not _is_good(form, quality_min):
            continue
        place = form.device.name if form.device is not None else form.artefact.engine
        rival = best.get(place)
        if rival is None or _cost(form) < _cost(rival):
            best[place] = form
    return [_served(form) for form in best.values()]


def refusals(found: Sequence[Form], quality_min: float | None) -> str:
    """Why no form may serve, in words."""
    return "; ".join(
        f"{form.artefact.name} on {form.artefact.engine}: "
        f"{form.reason or f'its quality is not known to be {quality_min:g} or more'}"
        for form in found
    )


def _absence(artefact: Artefact, card: ModelCard | None) -> str:
    if card is None:
        return f"{artefact.engine} does not run {artefact.model}"
    if artefact.digest and card.artefact and card.artefact != artefact.digest:
        return f"its weights are not those of the card (SHA-256 {card.artefact[:12]}…)"
    if artefact.digest and not card.artefact:
        return f"{artefact.engine} does not tell the SHA-256 of its weights"
    return ""


def _unfitness(artefact: Artefact, device: DeviceCard | None) -> str:
    if artefact.needs and (device is None or not meets(artefact.needs, device)):
        name = device.name if device is not None else "its device, which is not known,"
        return f"{name} does not meet {artefact.needs!r}"
    if artefact.tensor_parallel > 1:
        count = device.attributes.get("count", 1) if device is not None else 0
        if count != artefact.tensor_parallel:
            return f"it needs a group of {artefact.tensor_parallel} devices, not of {count}"
    memory = device.reading.memory_total_bytes if device is not None else None
    if memory is not None and artefact.bytes > memory:
        return f"it has {artefact.bytes:,} bytes, and {device.name} {memory:,}" if device else ""
    return ""


def _doubt(
    card: CardConfig,
    serving: ModelCard | None,
    measured: Measured | None,
    reference: Measured | None,
) -> str:
    """Why a form that is cheaper than the reference may not serve."""
    if measured is None:
        return "its loss is not measured yet"
    digest = serving.artefact if serving is not None else ""
    if measured.digest != digest:
        return "its loss was measured with other weights"
    if measured.cases < card.cases_min:
        return f"its loss was measured on {measured.cases} cases, and {card.cases_min} are needed"
    if reference is None or reference.labels_sha256 != measured.labels_sha256:
        return f"{card.reference}, as it is now, is not measured on the same labelled set"
    if reference.quality < card.quality_min:
        got = f"{reference.right} of {reference.cases}"
        return f"{card.reference} got {got} right: a loss against that says nothing"
    if measured.loss > card.loss_max:
        return f"its loss is {measured.loss:.3g}, more than {card.loss_max:g}"
    return ""


def _is_good(form: Form, quality_min: float | None) -> bool:
    if quality_min is None:
        return True
    return form.measured is not None and form.measured.quality >= quality_min


def _cost(form: Form) -> tuple[bool, int, str]:
    """The smaller is the cheaper; of what does not tell its size, nobody can say so."""
    return form.artefact.bytes == 0, form.artefact.bytes, form.artefact.name


def _served(form: Form) -> ModelCard:
    assert form.card is not None
    loss = form.measured.loss if form.measured is not None else None
    return replace(
        form.card, form=form.artefact.name, loss=loss, bytes=form.artefact.bytes or form.card.bytes
    )
