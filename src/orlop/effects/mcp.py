"""Tools on an MCP server: found, described, called.

What the server says of its tools is handed to whoever was given as `found` and used only once he
has agreed: a description is shown to models, so whoever may change it at will gives them orders.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn, Protocol

import msgspec
from msgspec import Raw

from orlop.abi.cards import Approval, Effect, ToolCard, Trust
from orlop.abi.errors import BadCall, DeviceFailed, KernelError, Misconfigured, ToolFailed
from orlop.abi.limits import (
    ENGINE_RETRY_S_MAX,
    MCP_ANSWER_S,
    MCP_PAGES_MAX,
    MCP_ROUNDS_MAX,
    MCP_TOOL_BYTES_MAX,
    MCP_TOOLS_MAX,
    STEADY_S,
)
from orlop.abi.sandbox import Sandbox
from orlop.effects.asking import ASKER, Asker, ask
from orlop.effects.command import INHERITED
from orlop.effects.found import Found, Teller
from orlop.effects.lifeline import Lifeline, Seal
from orlop.effects.mcp_stdio import StdioLink, environment
from orlop.machine import redaction
from orlop.machine.clock import Clock
from orlop.machine.ranges import Limit, Many
from orlop.machine.tasks import TaskOwner
from orlop.wire import mcp

log = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 1.0

SERVER_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class McpConfig:
    """One `[mcp.NAME]` table of orlop.toml: a server of tools, which are called `NAME.TOOL`."""

    command: tuple[str, ...] = ()
    """Starts the server; it is spoken to on its standard input and output."""
    url: str = ""
    """Where the server is, instead of a command, as in `http://127.0.0.1:8000/mcp`."""
    protocol: Literal["auto", "handshake", "stateless"] = "auto"
    """`handshake`: up to 2025-11-25; `stateless`: 2026-07-28; by default it is found out."""
    tools: tuple[str, ...] = ()
    """The only ones of its tools that may be called; empty: all."""
    effect: Effect = "irreversible"
    """What a second execution would do, of all of its tools; what the server says of that itself
    decides nothing."""
    effects: dict[str, Effect] = field(default_factory=dict)
    """The same by tool, as in `effects = { read = "pure" }`."""
    trust: Trust = "untrusted"
    """Whether what its tools say is trusted.  By default it is not: strangers may have written it,
    and rules can keep what was made from it from doing harm."""
    labels: tuple[str, ...] = ()
    """More labels for what they say."""
    approval: Approval = "never"
    """`always`: a person must agree to each call of each of its tools, with its arguments."""
    approvals: dict[str, Approval] = field(default_factory=dict)
    """The same by tool, as in `approvals = { delete = "always" }`."""
    approval_s: Limit = 604_800.0
    """How long that may take; then the call is refused."""
    pins: dict[str, str] = field(default_factory=dict)
    """By tool, the SHA-256 of its description and schemas; without one, that of the first time."""
    timeout_s: Limit = 60.0
    """A call that takes longer is given up."""
    concurrency: Many = 8
    """Calls of one tool that may run at once."""
    system: str = ""
    """The external system whose limits its calls share; by default a server with `url` is one."""
    look_s: Limit = 300.0
    """Between two looks at what the server offers."""
    elicits: bool = False
    """It may ask people in the middle of a call (elicitation): its calls run one after another,
    each within `timeout_s`, the person's time included."""
    cwd: str = ""
    """The folder that the command runs in."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables beside PATH, HOME, LANG and the like."""
    sandbox: Sandbox | None = None
    """Of a command: what it may touch (see `[tools.NAME] sandbox`)."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent to `url` with each call."""


def check(servers: Mapping[str, McpConfig]) -> None:
    """Raises `Misconfigured`."""
    for name, config in servers.items():
        if not SERVER_NAME.fullmatch(name):
            raise Misconfigured(f"[mcp.{name}]: names are letters, digits, `_` and `-`")
        if bool(config.command) == bool(config.url):
            raise Misconfigured(f"[mcp.{name}]: needs `command` or `url`, and not both")
        if config.url and not config.url.startswith(("http://", "https://")):
            raise Misconfigured(f"[mcp.{name}] url: write http://… or https://…, not {config.url}")


class Link(Protocol):
    """One connection to a server."""

    version: str
    stirred: asyncio.Event
    lost: KernelError | None
    asker: Asker | None
    """Whom the server may ask now."""

    async def ask(self, method: str, params: Mapping[str, object], limit_s: float) -> Raw: ...

    async def tell(self, method: str) -> None: ...

    async def close(self) -> None: ...


class McpServer:
    """A server that is kept: connected, looked at, connected again."""

    def __init__(
        self,
        name: str,
        config: McpConfig,
        *,
        lifeline: Lifeline,
        clock: Clock,
        seal: Seal | None = None,
    ) -> None:
        self.name = name
        self.config = config
        redaction.hide_named({**config.env, **config.headers})
        self.reason = "not asked yet"
        """Why it can't be called; empty: it can."""
        self._lifeline = lifeline
        self._seal = seal
        self._clock = clock
        self._link: Link | None = None
        self._alone = asyncio.Lock()

    @property
    def kind(self) -> str:
        return "MCP server"

    @property
    def fix(self) -> str:
        """What to look at where it can't be reached."""
        if self.config.url:
            return f"is it up, and [mcp.{self.name}] url (and headers) right?  It is asked again"
        program = self.config.command[0]
        return (
            f"does {program} start by hand, as [mcp.{self.name}] command says?  It is tried again"
        )

    @property
    def lost(self) -> str:
        return "" if self._link is not None else self.reason or "it has gone"

    @property
    def wanted(self) -> Sequence[str]:
        return self.config.tools

    @property
    def pins(self) -> Mapping[str, str]:
        return self.config.pins

    @property
    def version(self) -> str:
        """Of the protocol, as agreed; empty while there is no connection."""
        return self._link.version if self._link is not None else ""

    async def run(self, found: Teller, tasks: TaskOwner) -> None:
        """For ever, until cancelled.  tasks: who owns the reading of what it says."""
        delay_s = FIRST_RETRY_S
        while True:
            link: Link | None = None
            began_s = self._clock.now_s()
            try:
                link = await self._open(tasks)
                await self._introduce(link)
                self._link, self.reason = link, ""
                await self._watch(link, found)
            except KernelError as error:
                reason = error.message
            finally:
                self._link = None
                if link is not None:
                    await link.close()
            self.reason = reason
            log.warning("MCP server %s: %s", self.name, reason)
            if self._clock.now_s() - began_s >= STEADY_S:
                delay_s = FIRST_RETRY_S
            await self._clock.sleep(delay_s)
            delay_s = min(2 * delay_s, ENGINE_RETRY_S_MAX)

    async def _watch(self, link: Link, found: Teller) -> NoReturn:
        """Tell what it offers, now and whenever that may have changed.  Raises why it is lost."""
        while link.lost is None:
            link.stirred.clear()
            await found(self, await self._list(link))
            await self._rest(link)
        raise link.lost

    async def call(
        self, tool: str, arguments: Mapping[str, object], limit_s: float, key: str = ""
    ) -> object:
        """key: the effect's name, told to the server in `_meta`.

        Raises `ToolFailed`, `DeviceFailed`, `DeadlineMissed`.
        """
        if (link := self._link) is None:
            raise DeviceFailed(f"MCP server {self.name} can't be reached: {self.lost}")
        params: dict[str, object] = {"name": tool, "arguments": dict(arguments)}
        if key:
            params["_meta"] = {mcp.KEY: key}
        try:
            if not self.config.elicits:
                return mcp.value(self.name, await link.ask("tools/call", params, limit_s))
            async with self._alone:
                link.asker = ASKER.get()
                return mcp.value(self.name, await self._rounds(link, params, limit_s))
        except mcp.Refused as error:
            raise ToolFailed(str(error)) from error

    async def _rounds(self, link: Link, params: dict[str, object], limit_s: float) -> Raw:
        """The result, after all that the server wants to know has been answered (2026-07-28)."""
        ends_s = self._clock.now_s() + limit_s
        for _ in range(MCP_ROUNDS_MAX):
            left_s = max(0.0, ends_s - self._clock.now_s())
            answer = await link.ask("tools/call", params, left_s)
            if (result := mcp.wanted(answer)) is None:
                return answer
            said: dict[str, object] = {}
            for key, wanted in result.input_requests.items():
                asked = mcp.elicitation(wanted.params) if wanted.method == mcp.ELICIT else None
                said[key] = await ask(link.asker, self.name, asked)
            params = {**params, "inputResponses": said}
            if result.request_state is not None:
                params["requestState"] = result.request_state
        raise ToolFailed(f"{self.name} asked {MCP_ROUNDS_MAX} times (MCP_ROUNDS_MAX)")

    async def _open(self, tasks: TaskOwner) -> Link:
        config = self.config
        if config.url:
            from orlop.effects.mcp_http import HttpLink

            return HttpLink(self.name, config.url, config.headers, 4 * config.concurrency)
        link = StdioLink(self.name, self._lifeline, tasks)
        command: Sequence[str] = config.command
        env: Mapping[str, str] = environment(config.env, INHERITED)
        if self._seal is not None:
            command, env = await self._seal(command, env, config.cwd)
        await link.open(command, "/" if self._seal is not None else config.cwd, env)
        return link

    async def _introduce(self, link: Link) -> None:
        """Agree on a version: first as of today, then with the handshake of older servers."""
        if self.config.protocol != "handshake":
            link.version = mcp.MODERN
            try:
                said = await self._ask(link, "server/discover", {}, mcp.Discovered)
                if mcp.MODERN in said.supported_versions:
                    return
            except KernelError as error:
                if self.config.protocol == "stateless" or link.lost is not None:
                    raise
                log.info("%s has no server/discover: %s", self.name, error.message)
        if self.config.protocol == "stateless":
            raise DeviceFailed(f"MCP server {self.name} does not speak {mcp.MODERN}")
        link.version = ""
        greeted = await self._ask(link, "initialize", mcp.opening(), mcp.Initialized)
        if greeted.protocol_version not in mcp.HANDSHAKE:
            raise DeviceFailed(
                f"MCP server {self.name} speaks {greeted.protocol_version[:40]!r}, "
                f"not {mcp.MODERN} or {mcp.HANDSHAKE[0]}"
            )
        link.version = greeted.protocol_version
        await link.tell("notifications/initialized")

    async def _list(self, link: Link) -> list[Found]:
        """All pages.  Raises `DeviceFailed` where there are too many, or two of one name."""
        found: dict[str, Found] = {}
        params: dict[str, object] = {}
        for _ in range(MCP_PAGES_MAX):
            page = await self._ask(link, "tools/list", params, mcp.ToolPage)
            for raw in page.tools:
                one = self._read(raw)
                if one.name in found:
                    raise DeviceFailed(f"MCP server {self.name} offers {one.name} twice")
                found[one.name] = one
            if len(found) > MCP_TOOLS_MAX:
                break
            if not page.next_cursor:
                return [found[name] for name in sorted(found)]
            params = {"cursor": page.next_cursor}
        raise DeviceFailed(
            f"MCP server {self.name} offers more than {MCP_TOOLS_MAX} tools (MCP_TOOLS_MAX)"
        )

    async def _rest(self, link: Link) -> None:
        """Until it is time to look again, or something has happened."""
        try:
            async with asyncio.timeout(self.config.look_s):
                await link.stirred.wait()
        except TimeoutError:
            pass

    async def _ask(
        self, link: Link, method: str, params: Mapping[str, object], kind: type[mcp.R]
    ) -> mcp.R:
        try:
            return msgspec.json.decode(await link.ask(method, params, MCP_ANSWER_S), type=kind)
        except mcp.Refused as error:
            raise DeviceFailed(str(error)) from error
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise DeviceFailed(f"{self.name} answered {method} with nonsense: {error}") from error

    def _read(self, raw: Raw) -> Found:
        """Raises `DeviceFailed` for what is no tool at all."""
        if len(bytes(raw)) > MCP_TOOL_BYTES_MAX:
            raise DeviceFailed(
                f"MCP server {self.name} describes a tool in more than {MCP_TOOL_BYTES_MAX} bytes "
                "(MCP_TOOL_BYTES_MAX)"
            )
        try:
            listed = msgspec.json.decode(raw, type=mcp.Listed)
            digest = listed.digest
        except (msgspec.MsgspecError, ValueError, RecursionError, BadCall) as error:
            raise DeviceFailed(f"{self.name} describes a tool wrongly: {error}") from error
        name = f"{self.name}.{listed.name}"
        wrong = mcp.unusable(listed, over_http=bool(self.config.url))
        tool = None if wrong else McpTool(self, listed)
        manifest = msgspec.to_builtins(listed)
        return Found(
            tool=tool,
            name=name,
            plain=listed.name,
            manifest=manifest,
            digest=digest,
            wrong=wrong,
        )


class McpTool:
    """One tool on a server."""

    def __init__(self, server: McpServer, listed: mcp.Listed) -> None:
        self._server = server
        self._name = listed.name
        config = server.config
        self.card = ToolCard(
            name=f"{server.name}.{listed.name}",
            description=listed.description or listed.title or "",
            parameters=listed.input_schema,
            results=listed.output_schema or {},
            effect=config.effects.get(listed.name, config.effect),
            approval=config.approvals.get(listed.name, config.approval),
            approval_s=config.approval_s,
            timeout_s=config.timeout_s,
            concurrency=config.concurrency,
            server=server.name,
            system=config.system or (server.name if config.url else ""),
            trust=config.trust,
            labels=config.labels,
        )

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        return await self._server.call(self._name, arguments, deadline_s, key)

    async def happened(self, key: str) -> bool | None:
        return None
