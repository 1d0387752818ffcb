"""Models that come in several forms, as calls and operators see them."""

from collections.abc import Sequence

from msgspec.structs import replace

from orlop.abi.cards import ArtefactView, CardView, Measured, ModelCard, ModelKind
from orlop.abi.errors import BadCall, DeviceFailed, NotFound
from orlop.abi.hints import Hints
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, ModelName
from orlop.abi.limits import LABELLED_MAX, NAME_CHARS_MAX
from orlop.abi.residency import ModelMeasured
from orlop.models.forms import CardConfig, Form, forms, picks, refusals
from orlop.state.core import Kernel


def find(kernel: Kernel, model: str, kind: ModelKind, hints: Hints) -> Sequence[ModelCard]:
    """What may serve `model`: of a model with several forms one a device, else as registered.

    Raises as `Registry.find`; `DeviceFailed` where no form may serve, with each one's reason.
    """
    name = kernel.registry.meant(model)
    card = kernel.cards.get(name)
    if card is None or card.kind != kind:
        return kernel.registry.find(model, kind)
    found = _forms(kernel, name, card)
    picked = picks(found, hints.quality_min)
    if not picked:
        raise DeviceFailed(
            f"no form of {name} may serve: {refusals(found, hints.quality_min)}", retry_after_s=1.0
        )
    return picked


def place_of(kernel: Kernel, model: str) -> str:
    """Where a model is waited for: of one with several forms, where its reference is."""
    if (ladder := kernel.ladders.get(model)) is not None:
        model = ladder.rungs[0]
    card = kernel.cards.get(kernel.registry.meant(model))
    if card is None:
        return model
    reference = card.artefacts[card.reference]
    return f"{reference.engine}/{reference.model or kernel.registry.meant(model)}"


def listed(kernel: Kernel) -> list[ModelCard]:
    """Cards with several forms, and ladders, as clients see them: by their names, one of each."""
    found = list[ModelCard]()
    for name, card in kernel.cards.items():
        if picked := picks(_forms(kernel, name, card)):
            found.append(replace(picked[0], name=ModelName(name)))
    for name, ladder in kernel.ladders.items():
        if best := [card for rung in ladder.rungs for card in _named(kernel, rung)]:
            found.append(replace(best[0], name=ModelName(name)))
    return found


def _named(kernel: Kernel, model: str) -> Sequence[ModelCard]:
    try:
        return find(kernel, model, "chat", Hints())
    except (DeviceFailed, NotFound):
        return ()


def views(kernel: Kernel) -> list[CardView]:
    return [view(kernel, name) for name in kernel.cards]


def view(kernel: Kernel, name: str) -> CardView:
    """Raises `NotFound`."""
    card = _card(kernel, name)
    return CardView(
        name=ModelName(name),
        kind=card.kind,
        reference=card.reference,
        loss_max=card.loss_max,
        cases_min=card.cases_min,
        artefacts=tuple(
            ArtefactView(
                artefact=form.artefact,
                device=form.device.name if form.device is not None else "",
                serves=not form.reason,
                reason=form.reason,
                measured=form.measured,
            )
            for form in _forms(kernel, name, card)
        ),
    )


async def measure(kernel: Kernel, said: Measured) -> None:
    """Keep a measurement.  Raises `NotFound`, `BadCall`; durable when it returns."""
    card = _card(kernel, said.card)
    form = next(
        (one for one in _forms(kernel, said.card, card) if one.artefact.name == said.artefact), None
    )
    if form is None:
        raise NotFound(f"{said.card} has no artefact {said.artefact[:NAME_CHARS_MAX]!r}")
    if not 1 <= said.cases <= LABELLED_MAX:
        raise BadCall(f"cases: from 1 to {LABELLED_MAX}, not {said.cases}")
    parts = (said.right, said.worse, said.better)
    if min(parts) < 0 or said.better > said.right or said.right + said.worse > said.cases:
        raise BadCall("right, worse, better: they don't add up to the cases")
    current = await _digest(kernel, form)
    if said.digest and said.digest != current:
        raise BadCall(f"digest: {said.artefact} has the weights {current or '(not told)'} now")
    said = replace(said, digest=current)
    header = kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, ModelMeasured(measured=said))
    await kernel.journal.durable(header.seq)


async def _digest(kernel: Kernel, form: Form) -> str:
    """Of the weights, as the engine tells it now: it may know since it has loaded them."""
    engine = kernel.registry.engines.get(form.artefact.engine)
    cards = await engine.models() if engine is not None else ()
    return next((card.artefact for card in cards if card.name == form.artefact.model), "")


def _card(kernel: Kernel, name: str) -> CardConfig:
    if (card := kernel.cards.get(name)) is None:
        names = ", ".join(kernel.cards) or "none"
        raise NotFound(f"no model {name[:NAME_CHARS_MAX]!r} with several forms; there is: {names}")
    return card


def _forms(kernel: Kernel, name: str, card: CardConfig) -> list[Form]:
    engines = {artefact.engine for artefact in card.artefacts.values()}
    devices = {
        engine: kernel.devices.device_of(engine)
        for engine in kernel.registry.engines
        if engine in engines
    }
    measured = {
        artefact: row for (of, artefact), row in kernel.tables.models.measured.items() if of == name
    }
    return forms(name, card, kernel.registry.cards(), devices, measured)
