"""The kernel's own scheduler in virtual time: the same code that runs in the kernel.

It is told what the kernel would know: a call's prompt, the tools that an answer asks for, the
engine's own counts.  It is not told how long an answer will be, nor how many calls will come.
"""

from collections import defaultdict
from typing import Final

from orlop.abi.ids import ProcessId
from orlop.devices.model_calls import Ended
from orlop.operate.plan.replay import Call, Fleet, Program
from orlop.sched.history import History
from orlop.sched.scheduler import Scheduler, SchedulerConfig
from orlop.sched.work import Grant, Used, Work

OUTPUT_GUESS: Final = 256.0
"""Tokens of an answer before any was seen; then a smoothed mean for each kind of program."""


class KernelDispatcher:
    """A `Dispatcher`."""

    def __init__(
        self, fleet: Fleet, config: SchedulerConfig, history: History | None = None
    ) -> None:
        self.scheduler = Scheduler(config, history)
        self.scheduler.on_grant = self._granted
        self.scheduler.on_yield = self._asked_to_stop
        self._fleet = fleet
        self._engines = {host.name: index for index, host in enumerate(fleet.hosts)}
        self._calls: dict[Work, Call] = {}
        self._works: dict[int, Work] = {}
        self._outputs: defaultdict[str, float] = defaultdict(lambda: OUTPUT_GUESS)
        self._stopping: list[Work] = []
        self._now_s = 0.0
        for host in fleet.hosts:
            self.scheduler.attach(host.name, host.capacity)

    def enter(self, call: Call, now_s: float) -> None:
        self._now_s = now_s
        task, name = call.program.task, f"p{call.program.number}"
        candidates = tuple(self._fleet.hosts[i].name for i in self._fleet.eligible(task))
        work = Work(
            process=ProcessId(name),
            candidates=candidates,
            arrived_s=now_s,
            latency_class=task.latency_class,
            program=name,
            context=name,
            agent=task.kind,
            input_tokens=call.step.prompt,
            output_tokens=round(self._outputs[task.kind]),
            head=hash(task.shared) if task.shared_tokens else 0,
            head_tokens=task.shared_tokens,
        )
        self._calls[work] = call
        self._works[call.id] = work
        self.scheduler.enter(work, now_s)

    def ended(self, call: Call, end: Ended, now_s: float) -> None:
        self._now_s = now_s
        work = self._works.pop(call.id)
        del self._calls[work]
        if work in self._stopping:
            self._stopping.remove(work)
        kind = call.program.task.kind
        self._outputs[kind] += (call.step.output - self._outputs[kind]) / 16
        comes_back = call.program.done < len(call.program.task.steps)
        tool = self._tool(call) if comes_back else ""
        self.scheduler.leave(
            work,
            now_s,
            Used(
                input_tokens=call.step.prompt,
                cached_tokens=end.cached + end.restored,
                output_tokens=call.step.output,
                tool=tool,
            ),
        )

    def program_ended(self, program: Program, now_s: float) -> None:
        self.scheduler.end(f"p{program.number}", now_s)

    def next_s(self) -> float:
        return self._now_s if self._stopping else self.scheduler.next_s()

    def wake(self, now_s: float) -> None:
        self._now_s = now_s
        stopping, self._stopping = self._stopping, []
        for work in stopping:
            self._stop(work, now_s)
        if self.scheduler.next_s() <= now_s:
            self.scheduler.wake(now_s)

    def _granted(self, work: Work, grant: Grant) -> None:
        engine = self._engines[grant.engine]
        self._fleet.submit(self._calls[work], engine, self._now_s, grant.urgency)

    def _asked_to_stop(self, work: Work) -> None:
        self._stopping.append(work)

    def _stop(self, work: Work, now_s: float) -> None:
        """What an engine that `continues` does: stop, and come again with what there is."""
        call = self._calls[work]
        before = call.generated
        self._fleet.cancel(call, now_s)
        made = call.generated - before
        call.generated = min(call.generated, call.step.output - 1)
        self.scheduler.leave(
            work,
            now_s,
            Used(input_tokens=work.input_tokens, output_tokens=made, preempted=True),
        )
        work.input_tokens += made
        work.output_tokens = max(1, work.output_tokens - made)
        self.scheduler.enter(work, now_s)

    def _tool(self, call: Call) -> str:
        following = call.program.task.steps[call.program.done]
        return following.tool or "tool"
