"""What this package needs of the kernel, and what it keeps in RAM beside the tables."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Protocol

from msgspec import Meta

from orlop.abi.cards import ToolCard
from orlop.abi.errors import Misconfigured
from orlop.abi.events import Header
from orlop.abi.ids import DEFAULT_TENANT, CallId, ProcessId, TenantId
from orlop.abi.people import PeopleEvent
from orlop.abi.questions import Proof
from orlop.machine.chance import Chance
from orlop.machine.clock import Clock
from orlop.machine.tasks import TaskOwner
from orlop.people.chains import ChainConfig
from orlop.people.office import Office
from orlop.people.rules import AutonomyConfig
from orlop.store.journal import Journal

Dollars = Annotated[float, Meta(ge=0, le=1e6)]

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]
"""Sends a body to a URL; the status of the answer.  Raises `DeviceFailed`, `DeadlineMissed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleConfig:
    """The `[people]` table of orlop.toml."""

    hourly_rate: Dollars = 0.0
    """Dollars that an hour of a person's work costs, for the accounts."""
    rates: dict[str, Dollars] = field(default_factory=dict)
    """The same by name, as in `rates = { grace = 95.0 }`."""
    require_token: bool = False
    """Only people with tokens of their own (`orlop people add NAME`) may answer."""
    webhook_url: str = ""
    """Is told of each question, and of each step of its escalation; signed as Standard Webhooks."""
    webhook_secret: str = ""
    """A file with the secret (`whsec_…`) that signs both ways; by default `keys/webhook.secret` in
    the home, made at the first start.  Others must not be able to read it."""
    webhook_answers: bool = False
    """Take people's answers by signed webhooks (`POST /orlop/v1/webhooks/answers`)."""


def check(config: PeopleConfig) -> None:
    """Raises `Misconfigured`."""
    url = config.webhook_url
    if url and not url.startswith(("http://", "https://")):
        raise Misconfigured(f"[people] webhook_url: write http://… or https://…, not {url!r}")


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who says something, and how that is known.  name: empty where an operator did not say."""

    name: str
    proof: Proof
    tenant: TenantId = DEFAULT_TENANT
    """Of whose questions he may speak."""

    @property
    def is_operator(self) -> bool:
        return self.proof == "operator"


OPERATOR: Final = Speaker("", "operator")
"""Somebody who holds the installation's token, and means its own tenant."""

UNNAMED: Final = "operator"
"""Who an operator is that does not say."""


@dataclass(eq=False, slots=True, kw_only=True)
class Desk:
    """Where people are asked: its settings, and who waits for what.  Built once."""

    config: PeopleConfig = field(default_factory=PeopleConfig)
    chains: Mapping[str, ChainConfig] = field(default_factory=dict)
    rules: Mapping[str, AutonomyConfig] = field(default_factory=dict)
    secret: bytes = b""
    """Signs webhooks; empty: there are none."""
    post: Post | None = None
    url: str = ""
    """Of the kernel, for those who are told of a question."""
    woken: dict[str, asyncio.Event] = field(default_factory=dict)
    """Set when something has become of a question that somebody waits for."""
    fresh: dict[str, None] = field(default_factory=dict)
    """Questions that somebody should look at now; `stirred` is set then."""
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    sending: set[str] = field(default_factory=set)
    """Questions of which the outgoing webhook is just being told."""
    untold: dict[str, None] = field(default_factory=dict)
    """Those of which it is to be told next, in this order."""

    def stir(self, id: str) -> None:
        """Something is new about a question."""
        self.fresh[id] = None
        self.stirred.set()

    def wake(self, id: str) -> None:
        if (woken := self.woken.pop(id, None)) is not None:
            woken.set()
        self.stir(id)


class House(Protocol):
    """The kernel, as this package sees it."""

    clock: Clock
    chance: Chance
    journal: Journal
    desk: Desk
    tasks: TaskOwner

    @property
    def office(self) -> Office: ...

    def emit(
        self,
        process: ProcessId,
        tenant: TenantId,
        event: PeopleEvent,
        *,
        call: CallId | None = None,
        args_digest: bytes | None = None,
    ) -> Header: ...

    def is_over(self, id: ProcessId) -> bool: ...

    def card_of(self, tool: str) -> ToolCard | None:
        """None: there is no such tool, or it may not be called."""
        ...

    def wrong_arguments(self, tool: str, arguments: object) -> str:
        """What breaks the tool's schema; empty: nothing."""
        ...

    def wrong_result(self, tool: str, value: object) -> str: ...

    def wrong_by(self, schema: dict[str, object], value: object) -> str:
        """Likewise for any schema."""
        ...
