"""The policy in force as the kernel holds it, and what has come of it since the kernel's start."""

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from orlop.abi.ids import DEFAULT_TENANT, TenantId
from orlop.abi.limits import DIFFERENCES_KEPT_MAX
from orlop.abi.policy import Difference, Files
from orlop.access.policy import Policy
from orlop.access.policy_reading import read
from orlop.machine.offload import InlineOffload, Offload
from orlop.state.policy_facts import World

OPEN_FILES: Final[Files] = {
    "open.cedar": '// Nothing is set: every call is permitted.\n@id("open")\n'
    "permit(principal, action, resource);\n"
}
"""What decides where no policy is set, so that nothing is in the way on a laptop."""

OPEN: Final = "built in"


def opened() -> Policy:
    return Policy(OPEN_FILES, OPEN, read(OPEN_FILES, lambda tool: None))


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """The `[policy]` table of orlop.toml."""

    dir: str = ""
    """The folder of the policy's files (`*.cedar`, `groups.toml`), a whole path; read at the start
    and by `orlop policy reload`.  Empty: what `orlop policy set` has said; at first, everything may
    be done."""
    shadow: str = ""
    """The folder of a second policy that is only asked beside: `orlop policy show` counts the calls
    that it would have decided otherwise."""
    zone: str = "UTC"
    """The time zone of `context.time`, as in `Europe/Berlin`."""


@dataclass(eq=False, slots=True)
class Tally:
    """Of one set, since the kernel's start."""

    decisions: int = 0
    refused: int = 0
    asked: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)


@dataclass(eq=False, slots=True)
class Guard:
    """`policy` decides; `shadow` is asked beside.  Either is replaced as a whole, never changed."""

    config: PolicyConfig = field(default_factory=PolicyConfig)
    policy: Policy = field(default_factory=opened)
    shadow: Policy | None = None
    offload: Offload = field(default_factory=InlineOffload)
    """Reads and checks large sets beside the loop."""
    zone: tzinfo = field(init=False)
    world: World | None = None
    """What exists beside the journal; made when it is first asked for."""
    problem: str = ""
    """Why the newest files are not in force; `shadow_problem` likewise."""
    shadow_problem: str = ""
    verdicts: Counter[str] = field(default_factory=Counter)
    """Of all sets since the kernel's start."""
    tally: Tally = field(default_factory=Tally)
    shadow_tally: Tally = field(default_factory=Tally)
    differing: int = 0
    differences: deque[Difference] = field(
        default_factory=lambda: deque(maxlen=DIFFERENCES_KEPT_MAX)
    )

    own: dict[TenantId, "Guard"] = field(default_factory=dict)
    """Of the installation's guard: the tenants' own, which are asked beside it.  A call needs what
    both permit, so that no tenant allows itself what the installation forbids."""

    def __post_init__(self) -> None:
        self.zone = ZoneInfo(self.config.zone)

    @property
    def is_idle(self) -> bool:
        """Nothing is set, so it has nothing to say."""
        return self.policy.is_open and self.shadow is None

    def over(self, tenant: TenantId) -> list["Guard"]:
        """Those that have something to say of a tenant's calls, the installation's first."""
        own = self.own.get(tenant) if self.own else None
        return [guard for guard in (self, own) if guard is not None and not guard.is_idle]

    def of(self, tenant: TenantId) -> "Guard":
        """The tenant's own; of `default` it is the installation's."""
        if tenant == DEFAULT_TENANT:
            return self
        if tenant not in self.own:
            self.own[tenant] = Guard(PolicyConfig(zone=self.config.zone), offload=self.offload)
        return self.own[tenant]

    def put(self, policy: Policy) -> None:
        self.policy, self.problem, self.tally = policy, "", Tally()

    def put_shadow(self, policy: Policy | None) -> None:
        self.shadow, self.shadow_problem, self.shadow_tally = policy, "", Tally()
        self.differing = 0
        self.differences.clear()
