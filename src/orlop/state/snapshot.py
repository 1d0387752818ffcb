"""The tables as the journal keeps them from time to time, so that a boot starts from there."""

import logging
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.capabilities import RevokedView
from orlop.abi.cards import Measured
from orlop.abi.devices import (
    DeviceChanged,
    DeviceClaimed,
    DeviceName,
)
from orlop.abi.effects import SettledEffect, UnknownEffect
from orlop.abi.errors import JournalDamaged
from orlop.abi.events import Snapshot
from orlop.abi.ids import (
    ProcessId,
    Seq,
    TenantId,
)
from orlop.abi.kernels import (
    JournalKnown,
)
from orlop.abi.questions import Question
from orlop.abi.sagas import SagaView
from orlop.abi.tools import Manifest, ToolsOffered
from orlop.access import policy_table
from orlop.access.policy_table import PolicyState
from orlop.files import rules
from orlop.files.rules import FileState
from orlop.meter import ledger
from orlop.meter.ledger import LedgerState
from orlop.people import office
from orlop.people.office import OfficeState
from orlop.state import (
    call_table,
    egress_table,
    key_table,
    memory_table,
    saga_table,
    tenant_table,
    token_budgets,
    token_table,
)
from orlop.state.call_table import OpenCall
from orlop.state.claim_table import Claims
from orlop.state.egress_table import EgressEntry
from orlop.state.key_table import KeyRow
from orlop.state.memory_table import MemoryRules
from orlop.state.model_table import ModelRow, Models
from orlop.state.process_table import Row
from orlop.state.schedule_table import ScheduleRow, ScheduleTable
from orlop.state.tables import Tables
from orlop.state.tenant_table import TenantRow
from orlop.state.token_budgets import BudgetedRow

log = logging.getLogger(__name__)

STATE_FORMAT: Final = 2
"""Of the snapshot's body; another format is not read, and the journal is read from the start."""


class State2(Struct, kw_only=True):
    """A snapshot's body, format 2.  (Format 1 had no ledger.)"""

    next_pid: int
    rows: list[Row]
    keys: list[KeyRow]
    schedules: list[ScheduleRow]
    open_calls: list[OpenCall]
    unknown: list[UnknownEffect]
    exited: list[ProcessId]
    models: list[ModelRow] = []
    devices: list[DeviceChanged] = []
    claims: list[DeviceClaimed] = []
    unerased: dict[DeviceName, TenantId] = {}
    measured: list[Measured] = []
    manifests: dict[str, Manifest] = {}
    tokens: list[RevokedView] = []
    budgeted: list[BudgetedRow] = []
    egress: list[EgressEntry] = []
    questions: list[Question] = []
    memory: list[MemoryRules] = []
    people: OfficeState = OfficeState()
    sagas: list[SagaView] = []
    settled: list[SettledEffect] = []
    offers: dict[ProcessId, ToolsOffered] = {}
    webhooks: dict[str, ProcessId] = {}
    files: FileState = FileState()
    elders: list[JournalKnown] = []
    is_pruned: bool = False
    policies: PolicyState = PolicyState()
    tenants: list[TenantRow] = []
    place: Seq = Seq(0)
    ledger: LedgerState


def taken(tables: Tables) -> Snapshot:
    """The tables as they are."""
    state = State2(
        next_pid=tables.next_pid,
        rows=list(tables.rows.values()),
        keys=list(tables.keys.rows.values()),
        schedules=list(tables.schedules.rows.values()),
        open_calls=list(tables.calls.open.values()),
        unknown=tables.calls.unknown_effects(),
        exited=list(tables.exited),
        models=list(tables.models.rows.values()),
        devices=list(tables.claims.devices.values()),
        claims=list(tables.claims.held.values()),
        unerased=tables.claims.unerased,
        measured=list(tables.models.measured.values()),
        manifests=tables.manifests,
        tokens=list(tables.tokens.rows.values()),
        budgeted=list(tables.budgeted.rows.values()),
        questions=list(tables.people.questions.rows.values()),
        memory=tables.memory.state(),
        people=tables.people.state(),
        sagas=list(tables.sagas.rows.values()),
        settled=tables.calls.settled_effects(),
        offers=tables.offers,
        webhooks=tables.webhooks,
        files=tables.files.state(),
        egress=tables.egress.state(),
        elders=list(tables.elders.values()),
        is_pruned=tables.is_pruned,
        policies=tables.policies.state(),
        tenants=tables.tenants.state(),
        place=tables.place,
        ledger=tables.ledger.state(),
    )
    return Snapshot(format=STATE_FORMAT, state=msgspec.Raw(msgspec.json.encode(state)))


def restored(snapshot: Snapshot) -> Tables | None:
    """The tables as they were; None where the format is another release's."""
    if snapshot.format != STATE_FORMAT:
        log.warning("the snapshot has format %d; reading the whole journal", snapshot.format)
        return None
    try:
        state = msgspec.json.decode(snapshot.state, type=State2)
    except msgspec.DecodeError as error:
        raise JournalDamaged(f"the newest snapshot can't be read: {error}") from error
    tables = Tables(
        next_pid=state.next_pid,
        rows={row.id: row for row in state.rows},
        keys=key_table.restored(state.keys),
        schedules=ScheduleTable({row.set.schedule: row for row in state.schedules}),
        calls=call_table.restored(state.open_calls, state.unknown, state.settled),
        files=rules.restored(state.files),
        egress=egress_table.restored(state.egress),
        exited=dict.fromkeys(state.exited),
        pids={row.pid: row.id for row in state.rows},
        models=Models(
            rows={(row.engine, row.model): row for row in state.models},
            measured={(row.card, row.artefact): row for row in state.measured},
        ),
        claims=Claims(
            devices={row.device: row for row in state.devices},
            held={row.claim.id: row for row in state.claims},
            unerased=state.unerased,
        ),
        memory=memory_table.restored(state.memory),
        manifests=state.manifests,
        tokens=token_table.restored(state.tokens),
        budgeted=token_budgets.restored(state.budgeted),
        people=office.restored(state.questions, state.people),
        sagas=saga_table.restored(state.sagas),
        offers=state.offers,
        webhooks=state.webhooks,
        elders={known.number: known for known in state.elders},
        is_pruned=state.is_pruned,
        policies=policy_table.restored(state.policies),
        tenants=tenant_table.restored(state.tenants),
        place=state.place,
        ledger=ledger.restored(state.ledger),
    )
    users = [(token.tenant, token.line) for token in state.budgeted]
    users += [(row.tenant, row.accounts) for row in state.rows]
    for tenant, line in users:
        for account in tables.ledger.line(tenant, line):
            account.rows += 1
    return tables
