"""All routes.  Tests hold them against what is really served, in both directions."""

from typing import Final

from orlop.http.operations import (
    dialects,
    effects,
    installation,
    memory,
    people,
    policy,
    processes,
    programs,
)
from orlop.http.operations.operation import Operation

OPERATIONS: Final[tuple[Operation, ...]] = (
    *dialects.OPERATIONS,
    *programs.OPERATIONS,
    *processes.OPERATIONS,
    *people.OPERATIONS,
    *effects.OPERATIONS,
    *memory.OPERATIONS,
    *policy.OPERATIONS,
    *installation.OPERATIONS,
)
