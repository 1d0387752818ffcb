"""What a process brings along when it is taken over: all that the tables hold of it."""

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.effects import SettledEffect, UnknownEffect
from orlop.abi.ids import Pid
from orlop.abi.kernels import ProcessArrived
from orlop.abi.questions import Question
from orlop.abi.sagas import SagaView
from orlop.meter.ledger import AccountRow, Held
from orlop.state.call_table import OpenCall
from orlop.state.process_table import ALIVE, Row, State

LOST = "the kernel that it ran under was lost"


class Belongings(Struct, frozen=True, kw_only=True):
    """Of one process.  What another release adds has a default, so that this one reads it."""

    row: Row
    account: AccountRow | None = None
    """Its own: what it may use goes with it.  Those that it shares stay where they are."""
    holds: list[Held] = []
    open_calls: list[OpenCall] = []
    unknown: list[UnknownEffect] = []
    settled: list[SettledEffect] = []
    questions: list[Question] = []
    sagas: list[SagaView] = []


def belongings(event: ProcessArrived) -> Belongings:
    return msgspec.json.decode(event.state, type=Belongings)


def packed(belongings: Belongings) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(belongings))


def settled_row(row: Row, pid: Pid) -> Row:
    """As it begins its stay: nothing of it runs; a client only goes on calling."""
    if row.is_client or row.state not in ALIVE:
        return replace(row, pid=pid)
    return replace(row, pid=pid, state=State.INTERRUPTED, reason=LOST)
