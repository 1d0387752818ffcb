"""The `fetch` system call."""

from functools import partial

import msgspec

from orlop.abi.egress import Fetch, Fetched, Onward
from orlop.abi.errors import NotReady
from orlop.abi.hints import Facts
from orlop.kernel import effects
from orlop.kernel.admit import Admitted
from orlop.machine.faults import point
from orlop.state.core import Kernel
from orlop.state.running import Running
from orlop.subsystems import seating, tainted

HAPPENED = (("orlop-happened", "true"),)
"""The answer's only header where a person has said that the effect took place: what the server said
is lost, unless he has said that too."""


async def fetch(kernel: Kernel, running: Running, call: Fetch, admitted: Admitted) -> Fetched:
    """Ask once.  What was cut off is sent again only where that does no harm, by the same key."""
    if admitted.settled is not None:
        known = await effects.result(kernel, admitted.settled)
        body = b"" if known is None else msgspec.json.encode(known)
        return Fetched(status=200, headers=HAPPENED, body=body, facts=Facts(call=running.id))
    if kernel.web is None:
        raise NotReady("this kernel asks no servers outside")
    running.ask(kernel.clock.now_s())
    point("fetch.before")
    left_s = seating.left_s(kernel, running, call)
    said = await kernel.web.fetch(call, running.effect, left_s, partial(passed, kernel, running))
    point("fetch.after")
    return Fetched(
        status=said.status,
        headers=said.headers,
        body=said.body,
        chunks=said.chunks,
        facts=Facts(call=running.id),
    )


def passed(kernel: Kernel, running: Running, piece: Onward) -> None:
    """Pass on what has come.  Its labels are on it before anybody can use it."""
    if running.onward is not None:
        tainted.passing(kernel, running, piece)
        running.onward(piece)
