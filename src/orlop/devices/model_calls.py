"""The calls inside an engine model, and what it tells of them."""

from dataclasses import dataclass, field

from orlop.devices.model_memory import NOTHING, Hit


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One call.  All counts are tokens.

    prefix: of the prompt, what continues the chain's last context, with the shared ones.
    """

    id: int
    chain: str
    prompt: int
    output: int
    prefix: int = 0
    shared: str = ""
    shared_tokens: int = 0
    urgency: float = 0.0
    """Lower is sooner; equal ones in order of arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call that is done."""

    id: int
    at_s: float
    began_s: float
    """When it was let on for the first time."""
    first_token_s: float
    """When its first token came, for the first time; likewise a moment."""
    cached: int
    """Tokens of the prompt found on the device; `restored`: in host RAM; both when let on first."""
    restored: int
    computed: int
    """Prompt tokens computed, again and again where it was thrown out."""
    preemptions: int
    generated: int
    """Tokens of the answer."""


@dataclass(eq=False, slots=True)
class Run:
    """A call inside.  `prompt` grows by what was generated when it is thrown out."""

    job: Job
    arrived_s: float
    prompt: int
    left: int
    """Tokens to generate."""
    computed: int = 0
    finish_at: int = 0
    """The count of decode steps at which its last token comes; 0: not decoding."""
    began_s: float = -1.0
    first_token_s: float = -1.0
    hit: Hit = NOTHING
    first_hit: Hit = NOTHING
    prefilled: int = 0
    preemptions: int = 0
    number: int = 0

    @property
    def order(self) -> tuple[float, int]:
        return (self.job.urgency, self.number)


@dataclass(slots=True)
class Counters:
    """What the engine has done so far."""

    prefilled: int = 0
    decoded: int = 0
    cached: int = 0
    restored: int = 0
    prompts: int = 0
    preemptions: int = 0
    busy_s: float = 0.0


@dataclass(slots=True)
class Stretch:
    """Steps under way: `steps` of them from `start_s` on; pieces of prompts make it one."""

    start_s: float
    end_s: float
    steps: int
    pieces: list[tuple[Run, int]] = field(default_factory=list)
