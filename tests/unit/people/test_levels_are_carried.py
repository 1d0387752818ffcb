"""How far an agent was trusted by a kernel that is lost, for the one that has its processes now."""

from dataclasses import dataclass, field

from msgspec.structs import replace

from orlop.abi.autonomy import AutonomyCarried, AutonomyKey, AutonomyMoved, AutonomyRow, Level
from orlop.abi.ids import Nanoseconds, TenantId
from orlop.people.autonomy_table import Autonomy
from orlop.people.carrying import trusted

KEY = AutonomyKey(tenant=TenantId("default"), agent="desk", tool="pay")
ROW = AutonomyRow(
    key=KEY,
    level="sample",
    since_ns=Nanoseconds(5),
    agreed=40,
    judged=41,
    window=(True, False, True),
    known=("model:m", "tool:t"),
    decisions=90,
    overrides=3,
)


@dataclass
class Table:
    autonomy: Autonomy = field(default_factory=Autonomy)

    def take(self, row: AutonomyRow, *seen: str) -> AutonomyCarried | AutonomyMoved | None:
        event = trusted(self.autonomy.rows.get(KEY), row, seen)
        if event is not None:
            self.autonomy.fold(KEY.tenant, Nanoseconds(9), event)
        return event


def at(level: Level) -> AutonomyRow:
    return replace(ROW, level=level)


def test_a_level_that_is_not_known_here_comes_with_all_its_evidence() -> None:
    table = Table()
    assert isinstance(table.take(ROW, "model:m", "prompt:p"), AutonomyCarried)
    assert table.autonomy.rows[KEY] == ROW
    assert list(table.autonomy.seen[KEY.tenant, "desk"]) == ["model:m", "prompt:p"]
    assert table.take(ROW) is None, "done twice, it is done once"


def test_of_two_levels_the_lower_one_holds_and_begins_its_evidence_anew() -> None:
    table = Table()
    table.take(at("approve"))
    assert table.take(at("autonomous")) is None
    moved = table.take(at("observe"))
    assert isinstance(moved, AutonomyMoved)
    assert (moved.was, moved.level, moved.cause) == ("approve", "observe", "arrival")
    row = table.autonomy.rows[KEY]
    assert (row.level, row.agreed, row.judged, row.window) == ("observe", 0, 0, ())
    assert row.decisions == 90 and row.moves[-1].move is moved
