"""The `infer` and `embed` system calls."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec.structs import replace

from orlop.abi.calls import CallTool, Embed, Infer
from orlop.abi.cards import ModelCard
from orlop.abi.errors import BadCall
from orlop.abi.hints import Facts
from orlop.abi.limits import CALL_DEADLINE_S, EMBED_INPUTS_MAX
from orlop.abi.replies import Completion, Vectors
from orlop.devices.device import Engine
from orlop.kernel import devices
from orlop.kernel.core import Kernel
from orlop.kernel.held import Held
from orlop.kernel.process import Process
from orlop.kernel.running import Running
from orlop.machine.clock import NS_PER_S
from orlop.meter.usage import cost
from orlop.models.route import route
from orlop.sched.work import Work


@dataclass(frozen=True, slots=True)
class Seat:
    """A slot that the call holds."""

    engine: Engine
    card: ModelCard
    why: str
    deadline_s: float
    device: str = ""


async def infer(
    kernel: Kernel, process: Process, running: Running, call: Infer, cards: Sequence[ModelCard]
) -> Completion:
    if not call.messages and call.prompt is None:
        raise BadCall("messages: at least one is needed")
    async with (
        Held(kernel, cards) as hot,
        seat(kernel, process, running, call, hot) as seated,
    ):
        sink = running.put if call.stream else None
        generated = await seated.engine.infer(call, seated.card.name, sink, seated.deadline_s)
    facts = facts_of(running, seated)
    return Completion(
        choices=generated.choices,
        usage=generated.usage,
        model=generated.model or seated.card.name,
        created_s=kernel.clock.wall_ns() // NS_PER_S,
        fingerprint=generated.fingerprint,
        extra=generated.extra,
        facts=replace(
            facts,
            prefill_s=generated.prefill_s,
            decode_s=generated.decode_s,
            usage=generated.usage,
            cost=cost(generated.usage, seated.card),
        ),
    )


async def embed(
    kernel: Kernel, process: Process, running: Running, call: Embed, cards: Sequence[ModelCard]
) -> Vectors:
    if not 1 <= len(call.inputs) <= EMBED_INPUTS_MAX:
        raise BadCall(f"input: from 1 to {EMBED_INPUTS_MAX} texts, not {len(call.inputs)}")
    async with (
        Held(kernel, cards) as hot,
        seat(kernel, process, running, call, hot) as seated,
    ):
        embedded = await seated.engine.embed(call, seated.card.name, seated.deadline_s)
    facts = facts_of(running, seated)
    return Vectors(
        vectors=embedded.vectors,
        usage=embedded.usage,
        model=embedded.model or seated.card.name,
        facts=replace(facts, usage=embedded.usage, cost=cost(embedded.usage, seated.card)),
    )


@asynccontextmanager
async def seat(
    kernel: Kernel,
    process: Process,
    running: Running,
    call: Infer | Embed,
    cards: Sequence[ModelCard],
) -> AsyncGenerator[Seat]:
    """Route the call, wait for its turn, and hold a slot while it runs."""
    states = {}
    for name in {card.engine for card in cards}:
        busy, waiting = kernel.scheduler.load(name)
        state = replace(kernel.registry.engines[name].card(), running=busy, waiting=waiting)
        states[name] = devices.as_usable(kernel, state, process.row.tenant)
    card = route(cards, states)
    why = "the only engine" if len(states) == 1 else f"least loaded of {len(states)}"
    engine = kernel.registry.engines[card.engine]
    arrived_s = kernel.clock.now_s()
    latency_class = call.hints.latency_class or process.row.latency_class
    work = Work(process.id, engine.name, latency_class, arrived_s)
    async with kernel.scheduler.slot(work, states[card.engine].slots):
        granted_s = kernel.clock.now_s()
        running.queue_s = granted_s - arrived_s
        running.asked = True
        left = left_s(kernel, running, call)
        yield Seat(engine, card, why, left, devices.name_of(kernel, engine))
        kernel.scheduler.observe(engine.name, kernel.clock.now_s() - granted_s)


def left_s(kernel: Kernel, running: Running, call: Infer | Embed | CallTool) -> float:
    """Seconds until the call's deadline; small but positive when it is over."""
    allowed = call.hints.deadline_s or CALL_DEADLINE_S
    return max(0.001, allowed - (kernel.clock.now_s() - running.started_s))


def facts_of(running: Running, seated: Seat) -> Facts:
    return Facts(
        call=running.id,
        engine=seated.engine.name,
        device=seated.device,
        model=seated.card.name,
        artefact=seated.card.artefact,
        route=seated.why,
        queue_s=running.queue_s,
    )
