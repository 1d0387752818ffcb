"""Moving the model of an engine host: to load is to start the host, to unload is to end it."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import psutil

from orlop.abi.errors import DeviceRefused
from orlop.abi.ids import ModelName
from orlop.devices.device import ModelState, Resident
from orlop.devices.engine_host import HostKeeper

_BESIDE_WEIGHTS: Final = 1.25
"""What a host takes, for each byte of its weights, until one has been looked at: small models'
caches and buffers are about a quarter of them."""


class HostResidence:
    """A `Residence`.  The weights are mapped, so what leaves may stay in the page cache.

    attached: starts the host, or finds the one that runs.  ended: ends it.
    """

    def __init__(
        self,
        model: ModelName,
        path: Path,
        keeper: HostKeeper,
        attached: Callable[[], Awaitable[object]],
        ended: Callable[[], Awaitable[object]],
    ) -> None:
        self._model = model
        self._path = path
        self._keeper = keeper
        self._attached = attached
        self._ended = ended
        self._measured_bytes = 0

    @property
    def loads(self) -> bool:
        return True

    @property
    def sleeps(self) -> bool:
        return False

    def resident(self) -> Mapping[ModelName, Resident]:
        """Where the host's own file says that it answers, also before anybody has asked it."""
        host = self._keeper.seen()
        state: ModelState = "disk" if host is None else "hot"
        if host is not None:
            self._measured_bytes = max(self._measured_bytes, _taken_by(host.pid))
        return {self._model: Resident(state=state, device_bytes=self._bytes())}

    async def load(self, model: ModelName) -> None:
        await self._attached()

    async def unload(self, model: ModelName) -> None:
        await self._ended()

    async def sleep(self) -> None:
        raise DeviceRefused(f"{self._model}'s engine does not sleep: unload it")

    async def wake(self) -> None:
        raise DeviceRefused(f"{self._model}'s engine does not sleep: load it")

    def _bytes(self) -> int:
        """As measured where a host has been looked at, else by the weights' size."""
        if self._measured_bytes:
            return self._measured_bytes
        try:
            return int(self._path.stat().st_size * _BESIDE_WEIGHTS)
        except OSError:
            return 0


def _taken_by(pid: int) -> int:
    """RAM that the process holds, the pages of its mapped weights among it."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
