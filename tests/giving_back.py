"""What every engine that `continues` promises: a call that gave its seat back says in the end what
it would have said."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from orlop.abi.calls import Infer
from orlop.abi.ids import ModelName
from orlop.abi.replies import Delta
from orlop.devices.device import Engine, Preempted, Turn


async def goes_on_as_if_never_stopped(
    engine: Engine,
    call: Infer,
    model: ModelName,
    stops_after: int,
    meanwhile: Callable[[], Awaitable[None]],
) -> None:
    """call: greedy, so that each token follows from those before it.

    stops_after: deltas; 0: before its prompt was read.  meanwhile: what others do with its seat.
    """
    assert engine.capacity().continues and engine.goes_on(call)
    whole = await engine.infer(call, model, None, 120.0, Turn(program="whole"))
    deltas, stop = list[Delta](), asyncio.Event()

    def read(delta: Delta) -> None:
        deltas.append(delta)
        if len(deltas) == stops_after:
            stop.set()

    if not stops_after:
        stop.set()
    turn = Turn(program="cut", urgency=2, yield_now=stop)
    with pytest.raises(Preempted) as stopped:
        await engine.infer(call, model, read, 120.0, turn)
    partial = stopped.value.partial
    assert partial.deltas == len(deltas) and (len(partial.tokens) > 0) is (stops_after > 0)
    await meanwhile()
    turn = Turn(program="cut", urgency=2, yield_now=asyncio.Event(), so_far=partial)
    made = await engine.infer(call, model, read, 120.0, turn)
    assert "".join(delta.text for delta in deltas) == whole.choices[0].message.text()
    assert made.choices == whole.choices
    assert made.usage.input_tokens == whole.usage.input_tokens
    assert made.usage.output_tokens == whole.usage.output_tokens == call.output_tokens_max
