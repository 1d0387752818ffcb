"""The `[scheduler]` table of orlop.toml."""

from dataclasses import dataclass, field

from orlop.abi.hints import LatencyClass
from orlop.abi.limits import WAITING_PER_ENGINE_MAX
from orlop.machine.ranges import Chances, Limit, Many, Seconds
from orlop.sched.policy import PolicyName


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """The `[scheduler]` table of orlop.toml."""

    policy: PolicyName = "programs"
    """Who goes next.  `programs`: bands by latency class, tenants in turn, least attained or least
    predicted work, bounded waiting.  Also `fifo`, `rr`, `priority`, `las`, `predicted`, `fair`,
    `deadline`: see docs/scheduling.md."""
    classes: dict[LatencyClass, PolicyName] = field(default_factory=dict)
    """Other policies for single latency classes, as in `batch = "fifo"`."""
    weights: dict[str, float] = field(default_factory=dict)
    """Shares of tenants, > 0; 1 where none is given."""
    waiting_max: Many = WAITING_PER_ENGINE_MAX
    """Calls that may wait for the same engines; one more is refused with `Exhausted`."""
    patience: Seconds = 100.0
    """A call that has waited so many times what its program takes alone is let on before its turn,
    and any call after half of the time that its deadline leaves it; 0: never."""
    patience_min_s: Limit = 60.0
    """But never sooner than this."""
    quantum_s: Limit = 4.0
    """Engine seconds in the first level of least attained service; each next is twice as long."""
    fade_s: Limit = 30.0
    """In which what is kept for a program that is away counts half."""
    pause_at: Chances = 0.95
    """Share of the memory in use and retained at which contexts begin to lose their place."""
    pause_to: Chances = 0.8
    """And at which that ends."""
    admit_to: Chances = 0.95
    """Up to this share new and paused programs are let on."""
    hibernate_s: Limit = 600.0
    """A program that is away for longer has nothing kept on any device."""
    reserved: Chances = 0.25
    """Share of an engine's seats kept free for interactive calls while such calls come: a lesser
    call gives its seat up only once."""
    slice_tokens: Many = 256
    """Under `rr`: output tokens before a call gives its seat to the next."""
    seconds_per_dollar: Limit = 1000.0
    """What a dollar is worth in seconds of a call's waiting, where engines differ in what it costs
    to move bytes to them and back (a device's `egress_dollars_gb`): 1,000 is that of an accelerator
    at 3.60 dollars an hour."""
    preempt_s: Seconds = 0.25
    """An interactive call that would wait longer takes the seat of a lesser one; where engines
    `continue` what was stopped."""
