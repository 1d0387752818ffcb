"""One call waiting for a slot."""

import asyncio
from dataclasses import dataclass, field

from orlop.abi.hints import LatencyClass
from orlop.abi.ids import ProcessId


@dataclass(eq=False, slots=True)
class Work:
    """`device`: the queue it stands in: an engine, a tool, a store.  `arrived_s`: monotonic."""

    process: ProcessId
    device: str
    latency_class: LatencyClass
    arrived_s: float
    granted: asyncio.Event = field(default_factory=asyncio.Event)
