"""Webhooks: signed messages to others as a tool, and what may be started by theirs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from orlop.abi.cards import Approval, ToolCard
from orlop.abi.errors import DeviceBusy, DeviceFailed, Misconfigured, ToolFailed
from orlop.abi.ids import DEFAULT_TENANT
from orlop.abi.limits import TOOL_RETRIES_MAX
from orlop.machine.clock import NS_PER_S, Clock
from orlop.machine.credential import from_file
from orlop.machine.ranges import Count, Limit
from orlop.wire import webhook
from orlop.wire.openapi import NAME
from orlop.wire.problem import retry_after_s

SAID_BYTES_MAX: Final = 500
"""Of what a receiver says that refuses."""

RESERVED: Final = "answers"
"""Where people's answers come in."""

PARAMETERS: Final[dict[str, object]] = {
    "type": "object",
    "required": ["type", "data"],
    "additionalProperties": False,
    "properties": {"type": {"type": "string", "maxLength": 200}, "data": {}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfig:
    """One `[webhooks.NAME]` table of orlop.toml, as Standard Webhooks have it: with a `url`, a tool
    called `NAME.send`; with `run`, what is started by messages to `/orlop/v1/webhooks/NAME`."""

    secret_file: str
    """Holds `whsec_` and base64; readable by its owner only."""
    url: str = ""
    """Where messages are sent."""
    run: tuple[str, ...] = ()
    """The program that a message starts, once for each of its ids.  It finds the message in
    `ORLOP_WEBHOOK` and its id in `ORLOP_WEBHOOK_ID`."""
    tenant: str = DEFAULT_TENANT
    """Whose program that is."""
    cwd: str = ""
    """The folder that it runs in."""
    team: str = ""
    """Whose budget it uses."""
    retries: Count = 3
    """Times that a message which was not taken is sent again, with the same id."""
    approval: Approval = "never"
    """`always`: a person must agree to each message that is sent."""
    timeout_s: Limit = 30.0
    """How long its receiver may take."""
    system: str = ""
    """The external system whose limits its calls share; by default the name of this table."""


def check(hooks: Mapping[str, WebhookConfig]) -> None:
    """Raises `Misconfigured`."""
    for name, config in hooks.items():
        if not NAME.fullmatch(name) or name == RESERVED:
            raise Misconfigured(f"[webhooks.{name}]: that name can't be had")
        if not config.url and not config.run:
            raise Misconfigured(f"[webhooks.{name}]: needs `url`, `run`, or both")
        if config.url and not config.url.startswith(("http://", "https://")):
            raise Misconfigured(f"[webhooks.{name}] url: write http://… or https://…")
        if config.retries > TOOL_RETRIES_MAX:
            raise Misconfigured(f"[webhooks.{name}] retries: at most {TOOL_RETRIES_MAX}")
        secret(name, config)


def secret(name: str, config: WebhookConfig) -> bytes:
    """Raises `Misconfigured`."""
    where = f"[webhooks.{name}] secret_file"
    try:
        return webhook.secret(from_file(where, config.secret_file))
    except ValueError as error:
        raise Misconfigured(f"{where}: {error}") from error


class WebhookTool:
    """Messages to one receiver.  Its id is the effect's key, by which receivers know a repeat."""

    def __init__(self, name: str, config: WebhookConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._secret = secret(name, config)
        from orlop.effects.outgoing import Outgoing

        self._out = Outgoing(config.url)
        self.card = ToolCard(
            name=f"{name}.send",
            description="Send a signed message.",
            parameters=PARAMETERS,
            effect="idempotent",
            timeout_s=config.timeout_s,
            retries=config.retries,
            approval=config.approval,
            system=config.system or name,
        )

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        """Raises `ToolFailed` where it is refused, `DeviceFailed` where nobody knows."""
        body = msgspec.json.encode(dict(arguments))
        now_s = self._clock.wall_ns() // NS_PER_S
        headers = webhook.headers(self._secret, key, now_s, body)
        answered = await self._out.exchange("POST", self._config.url, headers, body, deadline_s)
        said = answered.body[:SAID_BYTES_MAX].decode(errors="replace")
        return self._taken(answered.status, said, answered.headers)

    async def happened(self, key: str) -> bool | None:
        return None

    def _taken(self, status: int, said: str, headers: Mapping[str, str]) -> object:
        if 200 <= status < 300:
            return {"status": status}
        text = f"{self._config.url} answered {status}: {said or 'nothing'}"
        if status == 429:
            raise DeviceBusy(text, retry_after_s=retry_after_s(headers))
        raise DeviceFailed(text) if status >= 500 else ToolFailed(text)
