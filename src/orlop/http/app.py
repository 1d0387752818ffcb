"""The route table.  Who may ask what is decided here and nowhere else in HTTP."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec

from orlop.abi.calls import Call, Infer
from orlop.abi.cards import ModelCard
from orlop.abi.errors import Broken, Denied, KernelError, NotFound, NotReady, WrongMethod
from orlop.abi.ids import DEFAULT_TENANT, CallId
from orlop.abi.replies import Completion
from orlop.access.principal import Tokens
from orlop.access.rights import Narrowing
from orlop.effects.webhooks import WebhookConfig
from orlop.http import (
    anthropic,
    files,
    functions,
    mcp,
    metrics,
    native,
    openai,
    openapi,
    own_claims,
    responses,
    scope,
)
from orlop.http.admin import Admin, missing
from orlop.http.auth import Doorman
from orlop.http.bodies import Bodies
from orlop.http.budgets import Budgets
from orlop.http.devices import Devices
from orlop.http.effects import Effects
from orlop.http.egress import Egress
from orlop.http.exchange import Event, Exchange, InFlight, Receive, Route, Send
from orlop.http.memory import Memories
from orlop.http.models import Models
from orlop.http.people import People
from orlop.http.place import HttpConfig, Place
from orlop.http.policy import PolicyRoutes
from orlop.http.questions import Questions
from orlop.http.rights import RightsRoutes
from orlop.http.tenants import TenantRoutes
from orlop.http.tools import Tools
from orlop.http.webhooks import Webhooks
from orlop.kernel import syscall
from orlop.kernel.schedule import Schedules
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.subsystems import forms, history, rights
from orlop.wire import problem

log = logging.getLogger(__name__)

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "orlop"})
"""Names of this machine; `orlop` is what our own client says over the Unix socket."""

OURS: Final = "/orlop/v1/"
METHODS: Final = ("GET", "POST", "DELETE")
OPEN_PATHS: Final = ("/health", "/ready")
TOLD_PATHS: Final = {"/metrics": "metrics", "/openapi.json": "openapi"}
"""What a token is asked for, unless `http.open` names it."""

SIGNED_PATH: Final = "/orlop/v1/webhooks/answers"
"""What its signature lets in, and no token."""

DIALECT_ROUTES: Final = {**openai.ROUTES, **anthropic.ROUTES, **responses.ROUTES}
PREFIX_ROUTES: Final = {**openai.PREFIX_ROUTES, **responses.PREFIX_ROUTES}

NativeRoute: TypeAlias = Callable[[Kernel, Process, Exchange], Awaitable[None]]
NATIVE_ROUTES: Final[Mapping[tuple[str, ...], NativeRoute]] = {
    ("POST", "calls"): native.call,
    ("GET", "calls", "{ref}"): native.find_call,
    ("POST", "functions"): functions.offer,
    ("POST", "functions", "{ref}"): functions.answer,
    ("POST", "process", "claims"): own_claims.claim,
    ("GET", "process", "claims", "{ref}"): own_claims.listen,
    ("DELETE", "process", "claims", "{ref}"): own_claims.give_back,
    ("POST", "pieces"): files.store_pieces,
    ("GET", "files"): files.download,
    ("POST", "files"): files.upload,
    ("DELETE", "files"): files.delete,
}
"""Below `/orlop/v1`; for processes."""

R = TypeVar("R")


class KernelDoor:
    """The kernel as one process sees it."""

    __slots__ = ("_incarnation", "_kernel", "_narrowing", "_process")

    def __init__(
        self, kernel: Kernel, process: Process, narrowing: Narrowing | None = None
    ) -> None:
        self._kernel = kernel
        self._process = process
        self._incarnation = process.row.incarnation
        self._narrowing = narrowing

    def enter(self, call: Call, *, retry: bool = False) -> InFlight:
        return syscall.enter(
            self._kernel,
            self._process,
            call,
            retry=retry,
            incarnation=self._incarnation,
            narrowing=self._narrowing,
        )

    def models(self) -> Sequence[ModelCard]:
        """Those that the process may ask."""
        cards = (*self._kernel.registry.cards(), *forms.listed(self._kernel))
        return rights.usable(self._process, self._narrowing, cards)

    async def recorded(self, call: CallId) -> tuple[Infer, Completion]:
        return await history.answered(self._kernel, self._process, call)


class App:
    """An ASGI application.  Until `open` it says that the kernel is starting."""

    def __init__(self, place: Place, config: HttpConfig, tokens: Tokens) -> None:
        self._place = place
        named = {config.host, f"[{config.host}]", config.name} - {""}
        self._hosts = LOOPBACK | named | {*config.allowed_hosts}
        self._open_words = config.open
        self._bodies = Bodies(config.bodies_bytes)
        self._tokens = tokens
        self._kernel: Kernel | None = None
        self._doorman: Doorman | None = None
        self._admin: dict[tuple[str, ...], Route] = {}
        self._native: Mapping[tuple[str, ...], NativeRoute] = NATIVE_ROUTES
        self._signed: Route | None = None
        self._hooks: Webhooks | None = None
        self._refusal: KernelError = NotReady("the kernel is starting", retry_after_s=0.5)

    def open(
        self,
        kernel: Kernel,
        schedules: Schedules,
        look_again: Callable[[], None],
        hooks: Mapping[str, WebhookConfig] | None = None,
    ) -> None:
        """From here on calls are answered.  look_again: models have been pulled."""
        self._kernel = kernel
        self._doorman = Doorman(kernel, self._tokens)
        admin = Admin(kernel, schedules, self._place, look_again)
        rights_routes = RightsRoutes(kernel, self._tokens.capabilities)
        self._admin = {
            **admin_routes(admin),
            **Models(kernel).routes(),
            **Devices(kernel).routes(),
            **Budgets(kernel).routes(),
            **Egress(kernel).routes(),
            **files.Mounts(kernel).routes(),
            **rights_routes.routes(),
        }
        self._native = {**NATIVE_ROUTES, ("POST", "token"): rights_routes.renew}
        self._admin |= Effects(kernel).routes() | Memories(kernel).routes()
        questions, people = Questions(kernel), People(kernel)
        self._signed = questions.signed
        self._hooks = Webhooks(kernel, hooks or {})
        self._admin |= Tools(kernel).routes() | questions.routes() | people.routes()
        self._admin |= PolicyRoutes(kernel).routes() | TenantRoutes(kernel).routes()
        scope.require_rows((*self._native, *self._admin))
        self._metrics = metrics.registry(kernel)

    def refuse(self, error: KernelError) -> None:
        """No call will ever be answered in this life; say why."""
        self._refusal = error

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, self._bodies)
        try:
            await self._route(exchange)
        except KernelError as error:
            await self._refuse(exchange, error)
        except Exception as bug:  # The client is told; the bug goes to the log.
            log.exception("a bug in %s %s", exchange.method, exchange.path)
            # Its class and no more: what it says may be another's secret.
            what = f"a bug in {exchange.method} {exchange.path}: {type(bug).__name__}"
            await self._refuse(exchange, Broken(f"{what}; the kernel's log has it"))
        except asyncio.CancelledError:
            # The server gives up what still runs when it stops, and would say so in its own words.
            await self._refuse(exchange, NotReady("the kernel is stopping", retry_after_s=1.0))
        finally:
            exchange.close()

    async def _route(self, exchange: Exchange) -> None:
        self._check_host(exchange)
        path = exchange.path
        if path in OPEN_PATHS:
            await self._open(exchange)
            return
        if self._kernel is None or self._doorman is None:
            raise self._refusal
        if (without_caller := self._without_caller(self._doorman, exchange)) is not None:
            await without_caller
            return
        caller = self._doorman.caller(exchange)
        exchange.narrowing = caller.narrowing
        route = find_dialect(exchange.method, path)
        if route is not None:
            process = await self._doorman.process(caller, exchange)
            exchange.door = KernelDoor(self._kernel, process, caller.narrowing)
            await route(exchange)
            return
        if path == mcp.PATH and exchange.method == "POST":
            process = await self._doorman.process(caller, exchange)
            await mcp.serve(self._kernel, process, exchange)
            return
        matched = match(self._native, exchange.method, path)
        if matched is not None:
            process = await self._doorman.process(caller, exchange)
            exchange.params = {"ref": matched.ref}
            await matched.route(self._kernel, process, exchange)
            return
        found = match(self._admin, exchange.method, path)
        if found is None:
            raise self._no_route(exchange)
        scope.admit(caller, exchange, found.pattern)
        exchange.params = {"ref": found.ref}
        await found.route(exchange)

    def _without_caller(self, doorman: Doorman, exchange: Exchange) -> Awaitable[None] | None:
        """What answers for paths that ask in their own way who calls; None: it is not one."""
        path, is_post = exchange.path, exchange.method == "POST"
        if path in TOLD_PATHS:
            return self._told(doorman, exchange)
        if path == SIGNED_PATH and is_post and self._signed is not None:
            return self._signed(exchange)
        if self._hooks is not None and is_post and self._hooks.takes(path):
            return self._hooks.receive(exchange)
        return None

    def _no_route(self, exchange: Exchange) -> NotFound:
        others = self.methods(exchange.path)
        if others:
            return WrongMethod(f"{exchange.path} takes {', '.join(others)}, not {exchange.method}")
        return NotFound(f"there is no {exchange.method} {exchange.path}")

    def methods(self, path: str) -> list[str]:
        """Those that some route has for `path`."""
        if path in OPEN_PATHS or path in TOLD_PATHS:
            return ["GET", "HEAD"]
        is_hook = self._hooks is not None and self._hooks.takes(path)
        if path in (SIGNED_PATH, mcp.PATH) or is_hook:
            return ["POST"]
        ours = dict.fromkeys([*self._native, *self._admin], True)
        return [
            method for method in METHODS if find_dialect(method, path) or match(ours, method, path)
        ]

    async def _open(self, exchange: Exchange) -> None:
        """What needs no token: it says nothing about anybody's calls."""
        if exchange.method not in ("GET", "HEAD"):
            raise self._no_route(exchange)
        if exchange.path == "/health":
            await exchange.send_json(200, b'{"status":"ok"}')
            return
        reasons = [self._refusal.message] if self._kernel is None else missing(self._kernel)
        body = {"ready": not reasons, "missing": reasons}
        await exchange.send_json(503 if reasons else 200, msgspec.json.encode(body))

    async def _told(self, doorman: Doorman, exchange: Exchange) -> None:
        """What is for machines that look after this one: any token, or none if `http.open` says so;
        for the metrics, one with that right, and of a tenant but `default` its own."""
        if exchange.method not in ("GET", "HEAD"):
            raise self._no_route(exchange)
        shown = self._metrics
        if TOLD_PATHS[exchange.path] not in self._open_words:
            caller = doorman.caller(exchange)
            if exchange.path == "/metrics":
                doorman.require(caller, "metrics")
                if caller.tenant != DEFAULT_TENANT:
                    shown = metrics.registry(doorman.kernel, caller.tenant)
        if exchange.path == "/openapi.json":
            await exchange.send_json(200, openapi.text())
        else:
            kind = "text/plain; version=0.0.4; charset=utf-8"
            await exchange.send(200, metrics.text(shown), kind)

    async def _refuse(self, exchange: Exchange, error: KernelError) -> None:
        """The error in the shape of the path's dialect; a stream that has begun is cut instead."""
        if exchange.started:
            log.warning("%s broke off: %s", exchange.path, error.message)
            raise error
        said = shape_of(exchange.path)(error)
        headers = said.headers
        if isinstance(error, WrongMethod):
            headers = (*headers, ("allow", ", ".join(self.methods(exchange.path))))
        await exchange.send_json(said.status, said.body, headers)

    def _check_host(self, exchange: Exchange) -> None:
        """A page in a browser may not reach us under another name, nor from another origin."""
        host = exchange.header("host")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if host and name.lower() not in self._hosts:
            raise Denied(f"Host {host!r} is not one of this kernel's names (http.allowed_hosts)")
        origin = exchange.header("origin")
        if origin and host_of(origin) not in {name.strip("[]") for name in self._hosts}:
            raise Denied(f"Origin {origin!r} may not call this kernel (http.allowed_hosts)")


def find_dialect(method: str, path: str) -> Route | None:
    route = DIALECT_ROUTES.get((method, path))
    if route is not None:
        return route
    for (wanted, prefix), found in PREFIX_ROUTES.items():
        if method == wanted and path.startswith(prefix):
            return found
    return None


@dataclass(frozen=True, slots=True)
class Matched(Generic[R]):
    """A route, by method and the words below `/orlop/v1`, and the word for its `{ref}`."""

    route: R
    pattern: tuple[str, ...]
    ref: str = ""


def match(routes: Mapping[tuple[str, ...], R], method: str, path: str) -> Matched[R] | None:
    if not path.startswith(OURS):
        return None
    words = path.removeprefix(OURS).split("/")
    for place in range(1, len(words)):
        pattern = (method, *words[:place], "{ref}", *words[place + 1 :])
        if (found := routes.get(pattern)) is not None:
            return Matched(found, pattern, words[place])
    found = routes.get((method, *words))
    return None if found is None else Matched(found, (method, *words))


def host_of(origin: str) -> str:
    """The name in an `Origin`; empty where it has none (`null`, or nonsense)."""
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def shape_of(path: str) -> Callable[[KernelError], problem.Problem]:
    """How the path's dialect says errors."""
    if path.startswith("/v1/messages"):
        return problem.anthropic
    return problem.openai if path.startswith("/v1/") else problem.native


def admin_routes(admin: Admin) -> dict[tuple[str, ...], Route]:
    """Below `/orlop/v1`; for operators only."""
    return {
        ("GET", "info"): admin.info,
        ("GET", "inventory"): admin.inventory,
        ("POST", "pulled"): admin.pulled,
        ("GET", "kernels"): admin.kernels,
        ("POST", "journal", "prune"): admin.prune,
        ("POST", "journal", "forget", "{ref}"): admin.forget,
        ("GET", "processes"): admin.processes,
        ("POST", "processes"): admin.spawn,
        ("GET", "processes", "{ref}"): admin.process,
        ("POST", "processes", "{ref}", "signal"): admin.signal,
        ("POST", "processes", "{ref}", "resume"): admin.resume,
        ("POST", "processes", "{ref}", "replay"): admin.replay,
        ("GET", "processes", "{ref}", "wait"): admin.wait,
        ("GET", "processes", "{ref}", "logs"): admin.logs,
        ("GET", "processes", "{ref}", "trace"): admin.trace,
        ("GET", "keys"): admin.keys,
        ("POST", "keys"): admin.create_key,
        ("DELETE", "keys", "{ref}"): admin.revoke_key,
        ("GET", "schedules"): admin.schedules,
        ("POST", "schedules"): admin.set_schedule,
        ("DELETE", "schedules", "{ref}"): admin.remove_schedule,
        ("GET", "journal", "export"): admin.export,
    }
