"""What a caller may say about a call, and what a reply says about how it was served."""

from typing import Literal

from msgspec import Struct

from orlop.abi.ids import CallId, EngineName, ModelName, NanoDollars, Seq, TaskId

LatencyClass = Literal["interactive", "standard", "batch"]

Step = Literal["shrink", "down", "defer"]
"""What a call that can't be served in time may become: shorter, a smaller model's, later."""


class Hints(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Wishes; none changes what a call means, so none is part of its digest."""

    latency_class: LatencyClass | None = None
    """None: the process's own class."""
    deadline_s: float | None = None
    """Seconds from now; at most `CALL_DEADLINE_S_MAX`."""
    tier: str = ""
    region: str = ""
    quality_min: float | None = None
    """0 to 1, on the model card's labelled set."""
    cost_max: NanoDollars | None = None
    device: str = ""
    """A predicate over the device table."""
    concurrency: int | None = None
    """Calls that the program expects to have in flight."""
    output_tokens: int | None = None
    """The output length that the caller expects."""
    tool_gap_s: float | None = None
    """How long the tool that follows will take."""
    ladder: tuple[Step, ...] | None = None
    """Of a ladder's steps, those that will do; None: all that it has; empty: none."""
    subject: str = ""
    """Whose case it is: a customer, an order, an asset."""
    task: TaskId | None = None
    task_type: str = ""
    """What kind of task it is: autonomy is kept apart by it."""


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens as the engine counted them."""

    input_tokens: int = 0
    cached_tokens: int = 0
    """Of the input tokens, those that the engine did not compute again."""
    output_tokens: int = 0
    reasoning_tokens: int = 0
    """Of the output tokens."""


class Facts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a call was served."""

    call: CallId
    seq: Seq = Seq(0)
    """Of the outcome in the journal."""
    engine: EngineName = EngineName("")
    device: str = ""
    model: ModelName = ModelName("")
    version: str = ""
    artefact: str = ""
    """SHA-256 of the weights, where known."""
    form: str = ""
    """Of a model with several artefacts: which one, as its card calls it."""
    route: str = ""
    """Why this engine."""
    rung: str = ""
    load_s: float = 0.0
    """Waiting for its model to be brought to a device; `queue_s` begins after it."""
    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    switched: int = 0
    """Times that it gave its seat to a more urgent call, and went on later."""
    usage: Usage = Usage()
    cost: NanoDollars = NanoDollars(0)
    replayed: bool = False
    """Answered from the record: nothing was computed, nothing is paid."""
