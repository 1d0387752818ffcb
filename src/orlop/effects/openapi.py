"""Operations of an OpenAPI document as tools.

The document is looked at again and again, as MCP servers are: an operation that is described
otherwise than was agreed is not called.  Its credential is the kernel's; no agent sees it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from orlop.abi.cards import Approval, Effect, ToolCard, Trust
from orlop.abi.errors import (
    BadCall,
    DeviceBusy,
    DeviceFailed,
    KernelError,
    Misconfigured,
    ToolFailed,
)
from orlop.abi.limits import (
    ENGINE_RETRY_S_MAX,
    MCP_ANSWER_S,
    OPENAPI_BYTES_MAX,
    OPERATIONS_MAX,
    TOOL_RETRIES_MAX,
)
from orlop.effects.found import Found, Teller
from orlop.machine.clock import Clock
from orlop.machine.credential import KeyConfig, hidden
from orlop.machine.ranges import Count, Limit, Many
from orlop.machine.tasks import TaskOwner
from orlop.wire import openapi
from orlop.wire.canonical import canonical
from orlop.wire.problem import retry_after_s

log = logging.getLogger(__name__)

SAID_CHARS_MAX: Final = 1_000
"""Of what a server says when it refuses."""

FIRST_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenApiConfig(KeyConfig):
    """One `[openapi.NAME]` table of orlop.toml: operations become tools called `NAME.OPERATION`."""

    document: str
    """A file or a URL; OpenAPI 3.0 or 3.1 as JSON."""
    base_url: str = ""
    """Where the operations are; by default the document's first server."""
    operations: tuple[str, ...] = ()
    """The only ones that may be called, by operationId; empty: all."""
    effects: dict[str, Effect] = field(default_factory=dict)
    """What a second execution would do, by operation, as in `effects = { refund = "idempotent" }`.
    By default GET is `pure` and all else `irreversible`; `idempotent` ones send their key."""
    compensate: dict[str, str] = field(default_factory=dict)
    """By operation, the tool that undoes a call of it when its saga is given up."""
    compensate_with: dict[str, dict[str, object]] = field(default_factory=dict)
    """By operation, that tool's arguments, with places as in `{ id = "{result.id}" }`."""
    key_header: str = ""
    """Where the credential goes; by default where the document says, else as a bearer token."""
    approval: Approval = "never"
    """`always`: a person must agree to each call that is not a GET."""
    approval_s: Limit = 604_800.0
    """How long that may take; then the call is refused."""
    pins: dict[str, str] = field(default_factory=dict)
    """By operation, the SHA-256 of its description; without one, that of the first time."""
    retries: Count = 0
    """Times that a failed call is made again, of `pure` and `idempotent` operations."""
    timeout_s: Limit = 60.0
    """A call that takes longer is given up."""
    concurrency: Many = 8
    """Calls of one operation that may run at once."""
    system: str = ""
    """The external system whose limits its calls share; by default the name of this table."""
    trust: Trust = "trusted"
    """`untrusted`: strangers may have written what it says."""
    look_s: Limit = 300.0
    """Between two looks at the document."""


def check(documents: Mapping[str, OpenApiConfig]) -> None:
    """Raises `Misconfigured`."""
    for name, config in documents.items():
        where = f"openapi.{name}"
        if not openapi.NAME.fullmatch(name):
            raise Misconfigured(f"[{where}]: names are letters, digits, `_` and `-`")
        if config.base_url and not config.base_url.startswith(("http://", "https://")):
            raise Misconfigured(f"[{where}] base_url: write http://… or https://…")
        if config.retries > TOOL_RETRIES_MAX:
            raise Misconfigured(f"[{where}] retries: at most {TOOL_RETRIES_MAX}")
        for operation, effect in config.effects.items():
            if effect == "queryable":
                raise Misconfigured(
                    f"[{where}] effects: {operation} can't be `queryable`; say `idempotent` if the "
                    "server does nothing twice under one Idempotency-Key"
                )
        config.key(f"[{where}]")


class OpenApiSource:
    """A document that is kept, and the server behind it."""

    def __init__(self, name: str, config: OpenApiConfig, clock: Clock) -> None:
        self.name = name
        self.config = config
        self.reason = "not read yet"
        """Why nothing of it can be called; empty: it can."""
        self._clock = clock
        self._key = config.key(f"[openapi.{name}]")
        self._base = config.base_url.rstrip("/")
        self._scheme = openapi.BEARER
        from orlop.effects.outgoing import Outgoing

        self._out = Outgoing(name, self._key)

    @property
    def kind(self) -> str:
        return "OpenAPI document"

    @property
    def fix(self) -> str:
        """What to look at where it can't be read."""
        place = hidden(self.config.document, self._key)
        return f"is {place} there, and JSON ([openapi.{self.name}] document)?  It is read again"

    @property
    def lost(self) -> str:
        """Operations are asked for where they were at the last look."""
        return ""

    @property
    def wanted(self) -> Sequence[str]:
        return self.config.operations

    @property
    def pins(self) -> Mapping[str, str]:
        return self.config.pins

    async def run(self, found: Teller, tasks: TaskOwner) -> None:
        """For ever, until cancelled."""
        delay_s = FIRST_RETRY_S
        try:
            while True:
                try:
                    await found(self, self.read(await self._text()))
                    self.reason, delay_s = "", FIRST_RETRY_S
                    await self._clock.sleep(self.config.look_s)
                except KernelError as error:
                    self.reason = error.message
                    log.warning("OpenAPI document %s: %s", self.name, error.message)
                    await self._clock.sleep(delay_s)
                    delay_s = min(2 * delay_s, ENGINE_RETRY_S_MAX)
        finally:
            await self._out.close()

    def read(self, text: bytes) -> list[Found]:
        """Raises `BadCall` for what is no document, `DeviceFailed` for one that is too large."""
        document = openapi.read(text)
        base = self.config.base_url.rstrip("/") or openapi.server(document).rstrip("/")
        if not base:
            raise BadCall("the document names no server: say `base_url`")
        operations = list(openapi.operations(document))
        if len(operations) > OPERATIONS_MAX:
            raise BadCall(f"it has more than {OPERATIONS_MAX} operations (OPERATIONS_MAX)")
        names = [one.name for one in operations]
        if twice := {name for name in names if names.count(name) > 1}:
            raise BadCall(f"two operations are called {sorted(twice)[0]}")
        # From here on nothing can fail.
        self._base, self._scheme = base, openapi.scheme(document)
        if self.config.key_header:
            self._scheme = openapi.Scheme("header", self.config.key_header)
        return [self._found(one) for one in operations]

    def _found(self, operation: openapi.Operation) -> Found:
        manifest = {**operation.manifest(), "base": self._base}
        return Found(
            tool=None if operation.wrong else OpenApiTool(self, operation),
            name=f"{self.name}.{operation.name}",
            plain=operation.name,
            manifest=manifest,
            digest=sha256(canonical(manifest)).hexdigest(),
            wrong=operation.wrong,
        )

    async def _text(self) -> bytes:
        place = self.config.document
        if not place.startswith(("http://", "https://")):
            text = _file(place)
        else:
            accept = {"accept": openapi.JSON}
            answered = await self._out.exchange("GET", place, accept, None, MCP_ANSWER_S)
            if answered.status != 200:
                raise DeviceFailed(f"its server answered {answered.status}")
            text = answered.body
        if len(text) > OPENAPI_BYTES_MAX:
            raise BadCall(f"it has more than {OPENAPI_BYTES_MAX} bytes (OPENAPI_BYTES_MAX)")
        return text

    async def call(self, request: openapi.Request, key: str, limit_s: float) -> object:
        """What the server answers.  Raises `ToolFailed` where it refuses, `DeviceBusy` where it was
        not reached or wants to be asked later, and `DeviceFailed` where nobody knows."""
        headers = {"accept": openapi.JSON, **request.headers}
        if key:
            headers["idempotency-key"] = f'"{key}"'
        url = self._base + request.path
        if self._key and self._scheme.place == "header":
            headers[self._scheme.name] = self._scheme.value(self._key)
        elif self._key:
            url += f"{'&' if '?' in url else '?'}{self._scheme.name}={self._key}"
        answered = await self._out.exchange(request.method, url, headers, request.body, limit_s)
        status, body = answered.status, answered.body
        if 200 <= status < 300:
            return _value(answered.headers, body)
        said = hidden(body.decode(errors="replace")[:SAID_CHARS_MAX], self._key)
        text = f"{self.name} answered {status}: {said or 'nothing'}"
        if status == 429:
            raise DeviceBusy(text, retry_after_s=retry_after_s(answered.headers))
        if status >= 500:
            raise DeviceFailed(text)
        raise ToolFailed(text)


class OpenApiTool:
    """One operation."""

    def __init__(self, source: OpenApiSource, operation: openapi.Operation) -> None:
        self._source = source
        self._operation = operation
        config = source.config
        usual: Effect = "pure" if operation.is_safe else "irreversible"
        effect = config.effects.get(operation.name, usual)
        self.card = ToolCard(
            name=f"{source.name}.{operation.name}",
            description=operation.description,
            parameters=dict(operation.arguments),
            results=dict(operation.results),
            effect=effect,
            approval="never" if operation.is_safe else config.approval,
            approval_s=config.approval_s,
            timeout_s=config.timeout_s,
            concurrency=config.concurrency,
            retries=config.retries if effect in ("pure", "idempotent") else 0,
            compensate=config.compensate.get(operation.name, ""),
            compensate_with=config.compensate_with.get(operation.name, {}),
            server=source.name,
            system=config.system or source.name,
            trust=config.trust,
        )

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        request = openapi.request(self._operation, arguments)
        named = key if self.card.effect == "idempotent" else ""
        return await self._source.call(request, named, deadline_s)

    async def happened(self, key: str) -> bool | None:
        return None


def _file(place: str) -> bytes:
    """Raises `DeviceFailed`."""
    try:
        with Path(place).expanduser().open("rb") as file:
            return file.read(OPENAPI_BYTES_MAX + 1)
    except OSError as error:
        raise DeviceFailed(f"{place} can't be read: {error}") from error


def _value(headers: Mapping[str, str], body: bytes) -> object:
    """JSON where it is said to be; else text.  Raises `DeviceFailed`."""
    if not body:
        return None
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != openapi.JSON and not media.endswith("+json"):
        return body.decode(errors="replace")
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DeviceFailed(f"the answer is no JSON: {error}") from error
    return value
