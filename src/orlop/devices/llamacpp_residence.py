"""Moving the model of an engine host: to load is to start the host, to unload is to end it."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import psutil

from orlop.abi.errors import DeviceRefused
from orlop.abi.ids import ModelName
from orlop.devices.device import Resident
from orlop.devices.engine_host import HostKeeper
from orlop.devices.gguf import kv_bytes_per_token

_HOST_BYTES: Final = 64 << 20
"""What a host takes beside weights and KV cache: the interpreter, the library, its buffers."""

_BESIDE_WEIGHTS: Final = 1.25
"""Of a file that doesn't tell its model's shape: what is taken for each byte of it."""


class HostResidence:
    """A `Residence`.  The weights are mapped, so what leaves may stay in the page cache.

    context_tokens: of all slots together.  attached: starts the host, or finds the one that runs.
    ended: ends it.
    """

    def __init__(
        self,
        model: ModelName,
        path: Path,
        context_tokens: int,
        keeper: HostKeeper,
        attached: Callable[[], Awaitable[object]],
        ended: Callable[[], Awaitable[object]],
    ) -> None:
        self._model = model
        self._path = path
        self._context_tokens = context_tokens
        self._keeper = keeper
        self._attached = attached
        self._ended = ended
        self._expected_bytes: int | None = None

    @property
    def loads(self) -> bool:
        return True

    @property
    def sleeps(self) -> bool:
        return False

    def resident(self) -> Mapping[ModelName, Resident]:
        """Where the host's own file says that it answers, also before anybody has asked it."""
        host = self._keeper.seen()
        if host is None:
            return {self._model: Resident(state="disk", device_bytes=self._expected())}
        taken = max(self._expected(), _taken_by(host.pid))
        return {self._model: Resident(state="hot", device_bytes=taken)}

    async def load(self, model: ModelName) -> None:
        await self._attached()

    async def unload(self, model: ModelName) -> None:
        await self._ended()

    async def sleep(self) -> None:
        raise DeviceRefused(f"{self._model}'s engine does not sleep: unload it")

    async def wake(self) -> None:
        raise DeviceRefused(f"{self._model}'s engine does not sleep: load it")

    def _expected(self) -> int:
        if self._expected_bytes is None:
            self._expected_bytes = expected_bytes(self._path, self._context_tokens)
        return self._expected_bytes


def expected_bytes(path: Path, context_tokens: int) -> int:
    """Weights and KV cache; 0 where the file is not there."""
    try:
        weights = path.stat().st_size
    except OSError:
        return 0
    each = kv_bytes_per_token(path)
    if each is None:
        return int(weights * _BESIDE_WEIGHTS) + _HOST_BYTES
    return weights + each * context_tokens + _HOST_BYTES


def _taken_by(pid: int) -> int:
    """RAM that the process holds, the pages of its mapped weights among it."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
