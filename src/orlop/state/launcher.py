"""What starts and ends the programs of processes."""

from collections.abc import Mapping
from typing import Protocol

from orlop.state.process_table import Row


class Launcher(Protocol):
    """Shims in production, coroutines in the simulation.  `row`: the process, as it is now."""

    async def launch(self, row: Row) -> tuple[int, float]:
        """Start the shim of the row's present incarnation; its process id and start time.

        The command itself waits for `go`.  Raises `DeviceFailed`.
        """
        ...

    def go(self, row: Row) -> None:
        """The shim's name is journaled: let the command run."""
        ...

    def alive(self, row: Row) -> bool:
        """Whether the program of the row's present incarnation (or its shim) still lives."""
        ...

    def ended(self, row: Row) -> tuple[int, str] | None:
        """The status and reason that the shim left behind, if it did."""
        ...

    def tally(self, row: Row) -> Mapping[str, int]:
        """What sandboxes of its incarnations have counted: files, programs, connections."""
        ...

    def signal(self, row: Row, name: str) -> None:
        """Deliver `kill`, `term`, `int`, `stop` or `cont` to the whole group; gone is fine."""
        ...

    async def watch(self, row: Row) -> None:
        """Return when the row's shim has ended, however it ended."""
        ...
