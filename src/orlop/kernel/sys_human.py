"""The `ask` system call."""

from orlop.abi.calls import Ask
from orlop.abi.hints import Facts
from orlop.abi.replies import Answer
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import questions


async def ask(kernel: Kernel, process: Process, running: Running, call: Ask) -> Answer:
    """What a person says.  Parked: re-armed after a restart, it finds its question again."""
    row = await questions.ask(kernel, process, running, call)
    return Answer(text=row.answer, person=row.person, question=row.id, facts=Facts(call=running.id))
