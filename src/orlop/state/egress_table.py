"""What each process has sent out: a fold of the journal."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.egress import EgressClosed, EgressEvent, EgressRow
from orlop.abi.events import Header
from orlop.abi.ids import ProcessId

NOTHING = EgressRow()


class EgressEntry(Struct, frozen=True):
    process: ProcessId
    row: EgressRow


@dataclass(eq=False, slots=True)
class EgressTable:
    rows: dict[ProcessId, EgressRow] = field(default_factory=dict)

    def fold(self, header: Header, event: EgressEvent) -> None:
        row = self.rows.get(header.process, NOTHING)
        if isinstance(event, EgressClosed):
            self.rows[header.process] = replace(
                row,
                connections=row.connections + 1,
                exchanges=row.exchanges + event.exchanges,
                tunnels=row.tunnels + (event.how == "tunnel"),
                sent=row.sent + event.sent,
                received=row.received + event.received,
            )
        else:
            self.rows[header.process] = replace(row, refused=row.refused + event.times)

    def of(self, process: ProcessId) -> EgressRow:
        return self.rows.get(process, NOTHING)

    def drop(self, process: ProcessId) -> None:
        """The process has left the table."""
        self.rows.pop(process, None)

    def state(self) -> list[EgressEntry]:
        return [EgressEntry(process, row) for process, row in self.rows.items()]


def restored(entries: Iterable[EgressEntry]) -> EgressTable:
    return EgressTable({entry.process: entry.row for entry in entries})
