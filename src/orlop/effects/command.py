"""Tools as subprocesses: arguments as JSON in, the result as JSON out."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from orlop.abi.cards import Approval, Effect, ToolCard, Trust
from orlop.abi.errors import DeadlineMissed, DeviceFailed, Misconfigured, ToolFailed
from orlop.abi.ids import NanoDollars
from orlop.abi.limits import KILL_GRACE_S, TOOL_OUTPUT_BYTES_MAX, TOOL_RETRIES_MAX
from orlop.abi.sandbox import Sandbox
from orlop.effects.lifeline import Lifeline, Seal
from orlop.machine import redaction
from orlop.machine.clock import deadline
from orlop.machine.ranges import Count, Limit, Many

log = logging.getLogger(__name__)

SAID_CHARS_MAX: Final = 2_000
"""Of what a failing tool printed, the end, in the error."""

INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")
"""Environment variables that a tool gets from the kernel; all else comes from its card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolConfig:
    """One `[tools.NAME]` table of orlop.toml."""

    command: tuple[str, ...] = ()
    """Run once a call: arguments as JSON on standard input, the result as JSON on standard output;
    `ORLOP_KEY` names the effect for ever.  A status other than 0 is a failure."""
    python: str = ""
    """A function instead of a command, as in `package.module:function`: it runs in a process of its
    own, and what is not said here (schemas, description) comes from its types and its docstring."""
    description: str = ""
    """For models and people."""
    effect: Effect = "irreversible"
    """What a second execution would do; decides what happens to a call that a crash cut off."""
    query: tuple[str, ...] = ()
    """Of a `queryable` tool: prints `true` or `false`, given {"key": …}."""
    preview: tuple[str, ...] = ()
    """Given the same arguments, prints what a call would change, for the person who is to approve
    it; it must change nothing itself."""
    timeout_s: Limit = 60.0
    """A call that takes longer is ended."""
    concurrency: Many = 8
    """Calls that may run at once."""
    conflicts: tuple[str, ...] = ()
    """What it needs for itself, as in `["ledger"]`: two calls whose tools name the same thing never
    run together, two of the same tool neither."""
    approval: Approval = "never"
    """`always`: a person must agree to each call, with its arguments."""
    approval_s: Limit = 604_800.0
    """How long that may take; then the call is refused."""
    retries: Count = 0
    """Times that a failed call is made again, each with twice the pause; of `pure` and `idempotent`
    tools only."""
    compensate: str = ""
    """The tool that undoes a call of this one, when its saga is given up."""
    compensate_with: dict[str, object] = field(default_factory=dict)
    """That tool's arguments, with places as in `{ id = "{result.id}" }`, `{arguments.x}`, `{key}`;
    empty: those of the call."""
    compensate_unknown: bool = False
    """It may also be called where nobody knows whether there is anything to undo; then its
    arguments can't use the result."""
    system: str = ""
    """The external system whose limits its calls share: a `[systems.NAME]` table."""
    cwd: str = ""
    """The folder it runs in."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables beside PATH, HOME, LANG and the like."""
    parameters: dict[str, object] = field(default_factory=dict)
    """JSON schema of the arguments: others are refused."""
    results: dict[str, object] = field(default_factory=dict)
    """JSON schema of what it prints; a call whose result breaks it fails."""
    trust: Trust = "trusted"
    """`untrusted`: strangers may have written what it says, as of web pages and mail.  Rules can
    keep what was made from that from doing harm."""
    labels: tuple[str, ...] = ()
    """More labels for what it says, as in `["mail"]`."""
    sandbox: Sandbox | None = None
    """What it may touch, as in `sandbox = { write = ["/reports"], net = ["api.example.com"] }`;
    without one, all that the kernel's user may."""
    price: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """Dollars that a call costs."""

    def card(self, name: str) -> ToolCard:
        """Raises `Misconfigured`."""
        redaction.hide_named(self.env)
        if bool(self.command) == bool(self.python):
            raise Misconfigured(f"[tools.{name}]: needs `command` or `python`, and not both")
        if self.effect == "compensable" and not self.compensate:
            log.warning("tool %s is compensable and names no `compensate`: nothing undoes it", name)
        if self.retries and self.effect not in ("pure", "idempotent"):
            raise Misconfigured(
                f"[tools.{name}] retries = {self.retries}: a tool that is {self.effect} is never "
                "called again unseen; only `pure` and `idempotent` ones are"
            )
        if self.retries > TOOL_RETRIES_MAX:
            raise Misconfigured(f"[tools.{name}] retries: at most {TOOL_RETRIES_MAX}")
        return ToolCard(
            name=name,
            description=self.description,
            parameters=self.parameters,
            results=self.results,
            effect=self.effect,
            timeout_s=self.timeout_s,
            concurrency=self.concurrency,
            conflicts=self.conflicts,
            approval=self.approval,
            approval_s=self.approval_s,
            retries=self.retries,
            command=self.command,
            query=self.query,
            preview=self.preview,
            cwd=self.cwd,
            env=self.env,
            compensate=self.compensate,
            compensate_with=self.compensate_with,
            compensate_unknown=self.compensate_unknown,
            system=self.system,
            trust=self.trust,
            labels=self.labels,
            price=NanoDollars(round(self.price * 1e9)),
        )


class SubprocessTool:
    """One command a call.  The effect's key is in `ORLOP_KEY`, for tools that can use one."""

    def __init__(self, card: ToolCard, lifeline: Lifeline, seal: Seal | None = None) -> None:
        self._card = card
        self._seal = seal
        self._lifeline = lifeline
        self._env = {name: os.environ[name] for name in INHERITED if name in os.environ}

    @property
    def card(self) -> ToolCard:
        return self._card

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        output = await self._run(
            self._card.command, msgspec.json.encode(arguments), key, deadline_s
        )
        if not output.strip():
            return None
        try:
            return msgspec.json.decode(output)
        except msgspec.DecodeError as error:
            shown = output[:200].decode(errors="replace")
            raise ToolFailed(f"{self._card.name} printed no JSON: {shown!r} ({error})") from error

    async def preview(self, arguments: Mapping[str, object], limit_s: float) -> str:
        """What its `preview` command prints."""
        if not self._card.preview:
            return ""
        given = msgspec.json.encode(arguments)
        output = await self._run(self._card.preview, given, "", limit_s)
        return output.decode(errors="replace").strip()

    async def happened(self, key: str) -> bool | None:
        """What the tool's `query` command says: `true`, `false` or `null` as JSON.

        It is not asked before whatever an earlier kernel left running has ended: until then it
        could say `false`, and be wrong a moment later.
        """
        if not self._card.query:
            return None
        async with deadline(self._card.timeout_s, "the end of an earlier kernel's tools"):
            await self._lifeline.alone()
        query = msgspec.json.encode({"key": key})
        output = await self._run(self._card.query, query, key, self._card.timeout_s)
        try:
            return msgspec.json.decode(output, type=bool | None)
        except msgspec.DecodeError as error:
            raise ToolFailed(f"the query of {self._card.name} said {output[:200]!r}") from error

    async def _run(
        self, command: tuple[str, ...], given: bytes, key: str, deadline_s: float
    ) -> bytes:
        started: Sequence[str] = command
        env: Mapping[str, str] = self._env | self._card.env | {"ORLOP_KEY": key}
        cwd = self._card.cwd
        if self._seal is not None:
            started, env = await self._seal(command, env, cwd)
            cwd = "/"
        try:
            child = await asyncio.create_subprocess_exec(
                *self._lifeline.under(started),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=cwd or None,
                env=env,
                pass_fds=self._lifeline.descriptors,
                start_new_session=True,
                limit=TOOL_OUTPUT_BYTES_MAX,
            )
        except OSError as error:
            raise ToolFailed(f"{self._card.name} can't be started: {error}") from error
        try:
            async with asyncio.timeout(deadline_s):
                output, said = await self._converse(child, given)
        except TimeoutError as error:
            raise DeadlineMissed(f"{self._card.name} took more than {deadline_s:g} s") from error
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await _end(child)
        if child.returncode != 0:
            tail = (said.strip() or output).decode(errors="replace")[-SAID_CHARS_MAX:].strip()
            raise ToolFailed(f"{self._card.name} ended with status {child.returncode}: {tail}")
        return output

    async def _converse(
        self, child: asyncio.subprocess.Process, given: bytes
    ) -> tuple[bytes, bytes]:
        """What the tool printed on each stream, read side by side and within bounds."""
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        async with asyncio.TaskGroup() as tasks:
            output = tasks.create_task(self._bounded(child.stdout))
            said = tasks.create_task(self._bounded(child.stderr))
            try:
                child.stdin.write(given)
                await child.stdin.drain()
                child.stdin.close()
            except (BrokenPipeError, ConnectionResetError):
                pass  # A tool need not read its arguments.
            await child.wait()
        return output.result(), said.result()

    async def _bounded(self, stream: asyncio.StreamReader) -> bytes:
        read = bytearray()
        while piece := await stream.read(65_536):
            read += piece
            if len(read) > TOOL_OUTPUT_BYTES_MAX:
                raise DeviceFailed(
                    f"{self._card.name} printed more than {TOOL_OUTPUT_BYTES_MAX} bytes "
                    "(TOOL_OUTPUT_BYTES_MAX)"
                )
        return bytes(read)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Whatever the tool started ends with it, before anybody may call it again."""
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_GRACE_S):
            await child.wait()
