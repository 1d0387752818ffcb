"""Databases of tools, looked at while nobody asks them: whether they are there and will answer.

Their tools are those of orlop.toml, so nothing is found here; what is wrong is told wherever tools
are listed, before an agent meets it.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from orlop.abi.errors import KernelError
from orlop.abi.limits import ENGINE_RETRY_S_MAX
from orlop.effects.found import Teller
from orlop.effects.sql import Database, SqlConfig
from orlop.machine.clock import Clock
from orlop.machine.tasks import TaskOwner

log = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 1.0


class SqlSource:
    """`lost`: it is not there; else `reason` is what some statement or user lacks."""

    kind: Final = "database"
    wanted: Sequence[str] = ()
    pins: Mapping[str, str] = {}

    def __init__(self, name: str, config: SqlConfig, database: Database, clock: Clock) -> None:
        self.name = name
        self.reason = "not reached yet"
        self.lost = self.reason
        self.fix = "it is looked at again in a moment"
        self._config = config
        self._database = database
        self._clock = clock

    async def run(self, found: Teller, tasks: TaskOwner) -> None:
        """For ever, until cancelled."""
        delay_s = FIRST_RETRY_S
        while True:
            try:
                await self._look()
            except KernelError as error:
                place = f"{self._config.place} ([sql.{self.name}] url)"
                self._tell(error.message, f"is {place} right, and there?  It is looked at again")
                self.lost = self.reason
            if not self.reason:
                delay_s = FIRST_RETRY_S
            await self._clock.sleep(delay_s if self.reason else self._config.look_s)
            delay_s = min(2 * delay_s, self._config.look_s, ENGINE_RETRY_S_MAX)

    async def _look(self) -> None:
        """Raises `KernelError` where it can't be reached."""
        config, complaints = self._config, []
        writes = any(statement.writes for statement in config.statements.values())
        if lack := await self._database.lacks(writes, config.timeout_s):
            complaints.append(lack)
        for word, statement in config.statements.items():
            if wrong := await self._database.wrong(statement.sql, config.timeout_s):
                complaints.append(f"statement {word}: {wrong}")
        self.lost = ""
        fix = f"give its user the rights that it lacks, or mend [sql.{self.name}.statements]"
        self._tell("; ".join(complaints), fix)

    def _tell(self, reason: str, fix: str) -> None:
        if reason and reason != self.reason:
            log.warning("database %s: %s", self.name, reason)
        self.reason, self.fix = reason, fix
