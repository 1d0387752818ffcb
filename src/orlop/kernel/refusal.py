"""What the door says of a call that no record knows: who was refused before is refused again.

What is refused has no intent, so nothing of it is in the record; a program that went on after a
refusal keeps to its path when it hears the same once more, in a resume and in a replay.
"""

from contextlib import suppress

from orlop.abi.errors import BudgetHeld
from orlop.kernel.admit import admit
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import engines, policy, questions, tainted
from orlop.subsystems.described import Described


async def waits_for_a_person(
    kernel: Kernel, process: Process, running: Running, described: Described, *, is_live: bool
) -> bool:
    """Whether somebody was asked about this very call, and it was left at that: then it goes on.

    is_live: it may run, as it may not in a replay.  Raises what the call is refused with.
    """
    asked = kernel.office.questions.about(process.id, running.digest)
    if asked is not None:
        if asked.state == "denied" or (asked.state == "expired" and not is_live):
            raise questions.refusal(asked)
        if is_live:
            return True
    await engines.heard(kernel, running.call)
    await tainted.look_up(kernel, process)
    running.labels = tainted.of_call(kernel, process, running, described)
    policy.judge(kernel, process, running)
    need = questions.needed(kernel, process, running, was_denied=False)
    if need is not None and need.form == "observation":
        raise questions.only_observed(process, need.what)
    with suppress(BudgetHeld):  # It would wait, and is not refused.
        admit(kernel, process, running)
    return False
