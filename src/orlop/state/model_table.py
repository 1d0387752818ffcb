"""What is remembered of models: their cold starts, their pins, their quality.  A fold."""

from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.cards import Measured
from orlop.abi.ids import EngineName, ModelName
from orlop.abi.limits import COLD_STARTS_KEPT
from orlop.abi.residency import ModelLoaded, ModelMeasured, ModelPinned


class ModelRow(Struct, frozen=True, kw_only=True):
    """What is remembered of a model on an engine: what its cold starts took, newest last."""

    engine: EngineName
    model: ModelName
    bytes: int = 0
    starts: dict[str, tuple[float, ...]] = {}
    """Seconds, by where it lay."""
    pinned: bool | None = None
    """What an operator has said; None: nothing."""


@dataclass(eq=False, slots=True)
class Models:
    rows: dict[tuple[EngineName, ModelName], ModelRow] = field(default_factory=dict)
    measured: dict[tuple[ModelName, str], Measured] = field(default_factory=dict)
    """The newest measurement of each artefact of each card."""

    def fold(self, event: ModelLoaded | ModelPinned | ModelMeasured) -> None:
        if isinstance(event, ModelMeasured):
            self.measured[event.measured.card, event.measured.artefact] = event.measured
            return
        place = (event.engine, event.model)
        row = self.rows.get(place) or ModelRow(engine=event.engine, model=event.model)
        if isinstance(event, ModelPinned):
            self.rows[place] = replace(row, pinned=event.pinned)
            return
        newest = (*row.starts.get(event.origin, ()), event.seconds)[-COLD_STARTS_KEPT:]
        starts = {**row.starts, event.origin: newest}
        self.rows[place] = replace(row, bytes=event.bytes or row.bytes, starts=starts)
