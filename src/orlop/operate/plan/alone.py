"""How long a task takes with an engine to itself: what slowdowns are measured against."""

from orlop.devices.device import Capacity
from orlop.devices.model import EngineModel
from orlop.devices.model_calls import Job
from orlop.operate.plan.tasks import Task


def alone_s(capacity: Capacity, task: Task) -> float:
    """Its gaps, and the model's time for its calls; its shared beginning is there already."""
    engine, shared = EngineModel(capacity), task.shared_tokens
    engine.submit(_job(task, 0, "warm", shared + 1, 1, 0), 0.0)
    began_s = now_s = _finish(engine)
    for number, step in enumerate(task.steps, 1):
        now_s += step.gap_s
        prefix = max(step.prefix, shared)
        engine.submit(_job(task, number, "alone", step.prompt, step.output, prefix), now_s)
        now_s = _finish(engine)
    return now_s - began_s


def _job(task: Task, number: int, chain: str, prompt: int, output: int, prefix: int) -> Job:
    return Job(
        id=number,
        chain=chain,
        prompt=prompt,
        output=output,
        prefix=prefix,
        shared=task.shared,
        shared_tokens=task.shared_tokens,
    )


def _finish(engine: EngineModel) -> float:
    while True:
        for end in engine.advance(engine.next_s()):
            return end.at_s
