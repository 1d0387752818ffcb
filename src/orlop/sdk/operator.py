"""The operator's side of the HTTP API: one typed method an order.  The shell is made of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec.structs import replace

from orlop.abi.admin import (
    Info,
    Inventory,
    KeyOrder,
    KeyView,
    NewKey,
    OutputLine,
    ProcessView,
    ReplayOrder,
    ResumeOrder,
    ScheduleOrder,
    ScheduleView,
    SignalOrder,
    Trace,
)
from orlop.abi.budgets import AccountView, BudgetOrder, BudgetTable
from orlop.abi.calls import SignalName, Spawn
from orlop.abi.capabilities import (
    RevokedView,
    RevokeOrder,
    RightsOrder,
    RightsView,
    RotateOrder,
    SigningKeyView,
    TokenOrder,
    TokenView,
)
from orlop.abi.cards import CardView, Measured
from orlop.abi.devices import ClaimPlacement, ClaimView, DeviceCard, DeviceTable, DrainOrder
from orlop.abi.effects import EffectView, SettleOrder
from orlop.abi.egress import Coverage
from orlop.abi.errors import Broken
from orlop.abi.files import FileView, MountOrder
from orlop.abi.kernels import ForgetOrder, KernelView, PruneOrder, PruneView
from orlop.abi.limits import CLIENT_PATIENCE_S, PARKED_POLL_S
from orlop.abi.overview import Overview
from orlop.abi.policy import (
    BacktestOrder,
    BacktestReport,
    CaseOrder,
    CaseResult,
    Explanation,
    Files,
    PolicyOrder,
    PolicyReport,
    PolicyView,
    RuleChange,
)
from orlop.abi.questions import AnswerOrder, Question
from orlop.abi.residency import ModelOrder, ResidencyView
from orlop.abi.rights import EVERYTHING, Rights
from orlop.abi.sagas import SagaOrder, SagaView
from orlop.abi.tenants import TenantOrder, TenantRemoval, TenantView
from orlop.abi.tools import SystemView, ToolView, TrustOrder
from orlop.sdk.exchange import JSON, NDJSON, ROOT, Order
from orlop.sdk.link import Link
from orlop.sdk.place import find

T = TypeVar("T")


def operator(
    url: str = "",
    *,
    token: str = "",
    home: Path | None = None,
    tenant: str = "",
    patience_s: float = CLIENT_PATIENCE_S,
) -> "Operator":
    """The kernel, for operators; arguments as for `orlop.connect`.

    tenant: within which one the installation's operator orders; empty: $ORLOP_TENANT, or `default`.
    """
    return Operator(Link(find(url, token=token, home=home, tenant=tenant), patience_s))


class Operator:
    """What operators may ask.  `ref`: a pid, an id (`prc_…`), or a name that only one has."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def info(self) -> Info:
        return self._get("/info", Info)

    def inventory(self) -> Inventory:
        return self._get("/inventory", Inventory)

    def overview(self) -> Overview:
        return self._get("/overview", Overview)

    def residency(self) -> ResidencyView:
        return self._get("/models", ResidencyView)

    def order_model(self, order: ModelOrder) -> ResidencyView:
        """Returns when it is done; a load takes as long as its engine's start."""
        return self._post("/models", order, ResidencyView)

    def devices(self) -> DeviceTable:
        return self._get("/devices", DeviceTable)

    def device(self, name: str) -> DeviceCard:
        return self._get(f"/devices/{quote(name, safe='')}", DeviceCard)

    def drain(self, name: str, order: DrainOrder) -> DeviceCard:
        return self._post(f"/devices/{quote(name, safe='')}/drain", order, DeviceCard)

    def restore(self, name: str) -> DeviceCard:
        path = f"{ROOT}/devices/{quote(name, safe='')}/restore"
        return _decode(self._link.ask(Order("POST", path)).body, DeviceCard)

    def claim(self, placement: ClaimPlacement) -> ClaimView:
        return self._post("/claims", placement, ClaimView)

    def release(self, claim: str) -> None:
        self._delete(f"/claims/{quote(claim, safe='')}")

    def cards(self) -> list[CardView]:
        return self._get("/cards", list[CardView])

    def card(self, name: str) -> CardView:
        return self._get(f"/cards/{quote(name, safe='')}", CardView)

    def measured(self, measured: Measured) -> CardView:
        return self._post("/cards", measured, CardView)

    def pulled(self) -> None:
        """Look at the models directory again."""
        self._link.ask(Order("POST", f"{ROOT}/pulled"))

    def prune(self, order: PruneOrder) -> PruneView:
        return self._post("/journal/prune", order, PruneView)

    def forget_tenant(self, tenant: str, order: ForgetOrder) -> None:
        self._send(f"/journal/forget/{quote(tenant, safe='')}", order)

    def kernels(self) -> list[KernelView]:
        """Those that share this one's database, itself included; none where it shares none."""
        return self._get("/kernels", list[KernelView])

    def processes(self, *, ended: bool = False) -> list[ProcessView]:
        return self._get(f"/processes?all={int(ended)}", list[ProcessView])

    def process(self, ref: str) -> ProcessView:
        return self._get(f"/processes/{quote(ref, safe='')}", ProcessView)

    def spawn(self, order: Spawn) -> ProcessView:
        return self._post("/processes", order, ProcessView)

    def signal(self, ref: str, signal: SignalName) -> None:
        self._send(f"/processes/{quote(ref, safe='')}/signal", SignalOrder(signal=signal))

    def resume(self, ref: str, order: ResumeOrder) -> ProcessView:
        return self._post(f"/processes/{quote(ref, safe='')}/resume", order, ProcessView)

    def replay(self, ref: str, *, strict: bool) -> ProcessView:
        order = ReplayOrder(strict=strict)
        return self._post(f"/processes/{quote(ref, safe='')}/replay", order, ProcessView)

    def wait(self, ref: str, limit_s: float = PARKED_POLL_S) -> ProcessView | None:
        """The ended process, or None where it still runs after `limit_s`."""
        path = f"{ROOT}/processes/{quote(ref, safe='')}/wait?timeout={limit_s:g}"
        answer = self._link.ask(Order("GET", path))
        return None if answer.is_parked else _decode(answer.body, ProcessView)

    def trace(self, ref: str) -> Trace:
        """All its calls and its children's, however many answers those take."""
        return self._whole(self._get(f"/processes/{quote(ref, safe='')}/trace", Trace))

    def _whole(self, found: Trace) -> Trace:
        calls, rest = list(found.calls), found.rest
        while rest is not None:
            more = self._get(f"/processes/{found.process.id}/trace?after={rest}", Trace)
            calls += more.calls
            rest = more.rest
        children = tuple(map(self._whole, found.children))
        return replace(found, calls=tuple(calls), children=children, rest=None)

    def output(
        self,
        ref: str,
        *,
        stream: str = "all",
        offset: int = 0,
        incarnation: int | None = None,
        follow: bool = False,
    ) -> Iterator[OutputLine]:
        """What a process printed.  Raises `LostAnswer` where the kernel goes away in between."""
        query: dict[str, str | int] = {"stream": stream, "offset": offset, "follow": int(follow)}
        if incarnation is not None:
            query["incarnation"] = incarnation
        path = f"{ROOT}/processes/{quote(ref, safe='')}/logs?{urlencode(query)}"
        for line in self._lines(path):
            yield _decode(line, OutputLine)

    def budgets(self, *, everything: bool = False) -> BudgetTable:
        return self._get(f"/budgets?all={int(everything)}", BudgetTable)

    def budget(self, account: str) -> AccountView:
        return self._get(f"/budgets/{quote(account, safe='')}", AccountView)

    def set_budget(self, order: BudgetOrder) -> BudgetTable:
        return self._post("/budgets", order, BudgetTable)

    def remove_budget(self, account: str) -> BudgetTable:
        path = f"{ROOT}/budgets/{quote(account, safe='')}"
        return _decode(self._link.ask(Order("DELETE", path, repeatable=False)).body, BudgetTable)

    def create_key(
        self,
        name: str,
        team: str = "",
        *,
        allow: Rights = EVERYTHING,
        expires_s: float | None = None,
        operator: bool = False,
    ) -> NewKey:
        """operator: for an operator of the tenant, who may order all that is within it."""
        order = KeyOrder(name=name, team=team, allow=allow, expires_s=expires_s, operator=operator)
        return self._post("/keys", order, NewKey)

    def rights(self, ref: str) -> RightsView:
        return self._get(f"/processes/{quote(ref, safe='')}/rights", RightsView)

    def grant(self, ref: str, right: str) -> RightsView:
        order = RightsOrder(right=right)
        return self._post(f"/processes/{quote(ref, safe='')}/grant", order, RightsView)

    def revoke(self, ref: str, right: str) -> RightsView:
        order = RightsOrder(right=right)
        return self._post(f"/processes/{quote(ref, safe='')}/revoke", order, RightsView)

    def token(self, token: str) -> TokenView:
        """What it says, and whether it is accepted."""
        return self._post("/tokens/read", TokenOrder(token=token), TokenView)

    def revoke_token(self, what: str, reason: str = "") -> RevokedView:
        """A token, the id of one of its blocks, or a process: all tokens of its incarnation."""
        return self._post("/tokens/revoke", RevokeOrder(what=what, reason=reason), RevokedView)

    def revoked_tokens(self) -> list[RevokedView]:
        return self._get("/tokens/revoked", list[RevokedView])

    def signing_keys(self) -> list[SigningKeyView]:
        return self._get("/tokens/keys", list[SigningKeyView])

    def rotate_key(self, accept_s: float) -> SigningKeyView:
        return self._post("/tokens/rotate", RotateOrder(accept_s=accept_s), SigningKeyView)

    def questions(self, *, closed: bool = False) -> list[Question]:
        return self._get(f"/questions?all={int(closed)}", list[Question])

    def question(self, id: str) -> Question:
        return self._get(f"/questions/{quote(id, safe='')}", Question)

    def answer(self, id: str, order: AnswerOrder) -> Question:
        """Once: a second answer is a `Conflict`."""
        return self._post(f"/questions/{quote(id, safe='')}/answer", order, Question)

    def policy(self) -> PolicyView:
        return self._get("/policy", PolicyView)

    def set_policy(self, order: PolicyOrder) -> PolicyView:
        return self._post("/policy", order, PolicyView)

    def remove_policy(self, *, shadow: bool = False) -> PolicyView:
        order = Order("DELETE", f"{ROOT}/policy?shadow={int(shadow)}", repeatable=False)
        return _decode(self._link.ask(order).body, PolicyView)

    def reload_policy(self) -> PolicyView:
        order = Order("POST", f"{ROOT}/policy/reload", repeatable=False)
        return _decode(self._link.ask(order).body, PolicyView)

    def check_policy(self, order: PolicyOrder) -> PolicyReport:
        return self._post("/policy/check", order, PolicyReport)

    def test_policy(self, order: CaseOrder) -> list[CaseResult]:
        return self._post("/policy/test", order, list[CaseResult])

    def diff_policy(self, order: PolicyOrder) -> list[RuleChange]:
        return self._post("/policy/diff", order, list[RuleChange])

    def backtest_policy(self, order: BacktestOrder) -> BacktestReport:
        """What a policy would have decided of the calls in the journal."""
        return self._post("/policy/backtest", order, BacktestReport)

    def policy_templates(self) -> dict[str, Files]:
        return self._get("/policy/templates", dict[str, Files])

    def why(self, call: str) -> Explanation:
        """Which rules decided a call, and with what facts."""
        return self._get(f"/policy/why/{quote(call, safe='')}", Explanation)

    def systems(self) -> list[SystemView]:
        return self._get("/systems", list[SystemView])

    def effects(self) -> list[EffectView]:
        return self._get("/effects", list[EffectView])

    def settle_effect(self, id: str, order: SettleOrder) -> EffectView:
        """Say whether an unknown effect happened, once."""
        return self._post(f"/effects/{quote(id, safe='')}/settle", order, EffectView)

    def sagas(self, *, over: bool = False) -> list[SagaView]:
        return self._get(f"/sagas?all={int(over)}", list[SagaView])

    def saga(self, id: str) -> SagaView:
        return self._get(f"/sagas/{quote(id, safe='')}", SagaView)

    def settle_saga(self, id: str, order: SagaOrder) -> SagaView:
        return self._post(f"/sagas/{quote(id, safe='')}/settle", order, SagaView)

    def coverage(self, reference: str) -> Coverage:
        """Which share of its effects passed the door."""
        return self._get(f"/processes/{quote(reference, safe='')}/coverage", Coverage)

    def tools(self) -> list[ToolView]:
        return self._get("/tools", list[ToolView])

    def tool(self, name: str) -> ToolView:
        return self._get(f"/tools/{quote(name, safe='')}", ToolView)

    def trust(self, name: str, digest: str) -> ToolView:
        """Agree to what a server says of its tool now; `digest`: of what was looked at."""
        path = f"/tools/{quote(name, safe='')}/trust"
        return self._post(path, TrustOrder(digest=digest), ToolView)

    def part(self, name: str) -> bytes:
        """A stored message, by its name; canonical JSON."""
        return self._link.ask(Order("GET", f"{ROOT}/parts/{quote(name, safe='')}")).body

    def mount(self, order: MountOrder) -> FileView:
        return self._post("/mounts", order, FileView)

    def unmount(self, path: str) -> None:
        self._delete(f"/mounts?path={quote(path, safe='')}")

    def mounts(self) -> list[FileView]:
        return self._get("/mounts", list[FileView])

    def keys(self) -> list[KeyView]:
        return self._get("/keys", list[KeyView])

    def revoke_key(self, key: str) -> None:
        self._delete(f"/keys/{quote(key, safe='')}")

    def tenants(self, *, removed: bool = False) -> list[TenantView]:
        return self._get(f"/tenants?all={int(removed)}", list[TenantView])

    def tenant(self, name: str) -> TenantView:
        return self._get(f"/tenants/{quote(name, safe='')}", TenantView)

    def create_tenant(self, order: TenantOrder) -> TenantView:
        return self._post("/tenants", order, TenantView)

    def remove_tenant(self, name: str, reason: str) -> TenantView:
        """End its clients, take its keys and schedules back, and close its name."""
        path = f"/tenants/{quote(name, safe='')}/remove"
        return self._post(path, TenantRemoval(reason=reason), TenantView)

    def schedule(self, order: ScheduleOrder) -> ScheduleView:
        return self._post("/schedules", order, ScheduleView)

    def schedules(self) -> list[ScheduleView]:
        return self._get("/schedules", list[ScheduleView])

    def remove_schedule(self, ref: str) -> None:
        self._delete(f"/schedules/{quote(ref, safe='')}")

    def export(self, *, process: str, first: int, last: int | None) -> Iterator[bytes]:
        """The journal's events, one JSON line each."""
        query: dict[str, str | int] = {"process": process, "first": first}
        if last is not None:
            query["last"] = last
        yield from self._lines(f"{ROOT}/journal/export?{urlencode(query)}")

    def _get(self, path: str, kind: type[T]) -> T:
        return _decode(self._link.ask(Order("GET", ROOT + path)).body, kind)

    def _post(self, path: str, order: msgspec.Struct, kind: type[T]) -> T:
        return _decode(self._send(path, order), kind)

    def _send(self, path: str, order: msgspec.Struct) -> bytes:
        body = msgspec.json.encode(order)
        return self._link.ask(Order("POST", ROOT + path, body, JSON, repeatable=False)).body

    def _delete(self, path: str) -> None:
        self._link.ask(Order("DELETE", ROOT + path, repeatable=False))

    def _lines(self, path: str) -> Iterator[bytes]:
        with self._link.opened(Order("GET", path, accept=NDJSON), again=False) as exchange:
            yield from exchange.lines()


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise Broken(f"the kernel's answer can't be read: {error}") from error
