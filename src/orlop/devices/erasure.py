"""What a tenant that had a device alone leaves on it, and how that is erased.

An engine is erased when nothing of any earlier call can be read through it any more.  Each driver
says how, in words that go into the journal.  What can't be erased from here is not lent alone.
"""

from typing import Protocol, runtime_checkable

from orlop.devices.device import Engine


@runtime_checkable
class Erases(Protocol):
    """An engine that can forget all calls."""

    async def erase(self) -> str:
        """Returns when nothing is left, and says what was done.  Raises `DeviceFailed`."""
        ...


def unerasable(engine: Engine) -> str:
    """Why an engine can't be erased; empty: it can."""
    if isinstance(engine, Erases):
        return ""
    return (
        f"{engine.name} ({engine.card().driver}) keeps what it likes of earlier calls, "
        "and can't be told to forget it"
    )


async def erase(engine: Engine) -> str:
    """Raises `DeviceFailed`."""
    if not isinstance(engine, Erases):
        return f"{engine.name}: nothing, it can't be told to forget"
    return f"{engine.name}: {await engine.erase()}"
