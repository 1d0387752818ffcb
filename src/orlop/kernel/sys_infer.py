"""The `infer` and `embed` system calls."""

from collections.abc import Awaitable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from orlop.abi.calls import Embed, Infer
from orlop.abi.cards import ModelCard
from orlop.abi.errors import (
    BadCall,
    DeadlineMissed,
    DeviceBusy,
    DeviceFailed,
    Exhausted,
    KernelError,
)
from orlop.abi.hints import Facts
from orlop.abi.ids import EngineName
from orlop.abi.limits import EMBED_INPUTS_MAX
from orlop.abi.replies import Completion, Generated, Vectors
from orlop.devices.device import Engine, Partial, Preempted
from orlop.machine.clock import NS_PER_S, deadline
from orlop.meter.usage import cost
from orlop.sched.work import Grant, Used, Work
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import devices, ladders, seating, ways
from orlop.subsystems.anew import Anew
from orlop.subsystems.held import Held
from orlop.subsystems.ladders import Attempt


class Placed(Struct, frozen=True):
    """Where the scheduler has put a call."""

    engine: Engine
    card: ModelCard
    grant: Grant
    device: str
    is_alone: bool
    """No other call ran there when it began: its pace is the device's own."""


def infer(
    kernel: Kernel, process: Process, running: Running, call: Infer, attempts: Sequence[Attempt]
) -> Awaitable[Completion]:
    """By the first rung that can; most models are a ladder of one."""
    if not call.messages and call.prompt is None:
        raise BadCall("messages: at least one is needed")
    if len(attempts) == 1 and not attempts[0].rung.defer_s:
        return on_rung(kernel, process, running, call, attempts[0], "")
    return down(kernel, process, running, call, attempts)


async def down(
    kernel: Kernel, process: Process, running: Running, call: Infer, attempts: Sequence[Attempt]
) -> Completion:
    """A ladder of several rungs."""
    refused: list[KernelError] = []
    for attempt in attempts:
        wanted = ladders.as_tried(call, attempt.rung)
        try:
            async with deadline(seating.left_s(kernel, running, wanted), attempt.rung.model):
                why = refused[0].message if refused else ""
                return await on_rung(kernel, process, running, wanted, attempt, why)
        except (Exhausted, DeadlineMissed, DeviceFailed) as error:
            if running.asked and not isinstance(error, DeviceBusy):
                raise  # An engine has begun: what it did may have to be paid.
            refused.append(error)
    if not refused:
        raise BadCall(f"{call.model} has no rungs")
    # Where waiting helps on any rung, that is what the caller is told.
    raise next((error for error in refused if error.retry), refused[0])


async def on_rung(
    kernel: Kernel, process: Process, running: Running, call: Infer, attempt: Attempt, why: str
) -> Completion:
    """why: what the rungs above said."""
    rung, latency_class = attempt.rung, call.hints.latency_class or process.row.latency_class
    async with (held := Held(kernel, attempt.cards, latency_class)) as hot:
        seats = dict(seating.seats(kernel, process, hot))
        size, limit = seating.size(running, call), call.output_tokens_max
        tokens = kernel.estimates.tokens(rung.model, size, limit, call.hints.output_tokens)
        start_s = ways.starts_s(kernel, seats, size, tokens[1])
        work = seating.work(kernel, process, running, call, tuple(seats), tokens, start_s)
        name = rung.named(why)
        if call.model != rung.model:
            call, shrunk = ladders.shortened(kernel, call, rung, work)
            name = "; ".join(filter(None, (name, shrunk)))
        running.rung = name
        anew = Anew(kernel, process, running, held, rung.model, attempt.cards, seats, work)
        placed, generated = await generate(kernel, running, call, work, seats, anew)
    kernel.estimates.learn(rung.model, size, seating.used(generated))
    return Completion(
        choices=generated.choices,
        usage=generated.usage,
        model=generated.model or placed.card.name,
        created_s=kernel.clock.wall_ns() // NS_PER_S,
        fingerprint=generated.fingerprint,
        extra=generated.extra,
        facts=replace(
            facts_of(running, placed),
            rung=name,
            load_s=held.waited_s,
            prefill_s=generated.prefill_s,
            decode_s=generated.decode_s,
            switched=work.preemptions,
            usage=generated.usage,
            cost=cost(generated.usage, placed.card),
        ),
    )


async def generate(
    kernel: Kernel,
    running: Running,
    call: Infer,
    work: Work,
    seats: Mapping[EngineName, ModelCard],
    anew: Anew,
) -> tuple[Placed, Generated]:
    """Wait for the call's turn and run it; again where it had to give its seat back."""
    sink = running.put if call.stream else None
    so_far: Partial | None = None
    read_s = wrote_s = 0.0  # Until it gave its seat back.
    while True:
        arrived_s = work.arrived_s = kernel.clock.now_s()
        # Nobody else can go on from an engine's tokens.
        seat = kernel.turns.seat(work, None if so_far is not None and so_far.deltas else anew)
        async with seat as grant:
            placed = placed_at(kernel, running, grant, seats, arrived_s)
            left = seating.left_s(kernel, running, call)
            turn = seating.turn(kernel, work, grant, so_far)
            work.goes_on = turn.yield_now is None or placed.engine.goes_on(call)
            try:
                generated = await placed.engine.infer(call, placed.card.name, sink, left, turn)
            except Preempted as stopped:
                so_far = stopped.partial
                held_s = kernel.clock.now_s() - work.granted_s
                wrote_s += held_s if so_far.deltas else 0.0
                read_s += 0.0 if so_far.deltas else held_s
                seat.used = Used(input_tokens=work.input_tokens, preempted=True)
                if so_far.deltas:
                    work.candidates = (grant.engine,)
                continue
            except DeviceFailed as error:
                devices.failed(kernel, placed.engine, error)
                seat.used = seating.lost(kernel, placed.engine)
                raise
            seat.used = seating.used(generated)
            if placed.is_alone:
                devices.timed(kernel, placed.engine, generated)
            if read_s or wrote_s:
                generated = replace(
                    generated,
                    prefill_s=generated.prefill_s + read_s,
                    decode_s=generated.decode_s + wrote_s,
                )
            return placed, generated


async def embed(
    kernel: Kernel, process: Process, running: Running, call: Embed, cards: Sequence[ModelCard]
) -> Vectors:
    if not 1 <= len(call.inputs) <= EMBED_INPUTS_MAX:
        raise BadCall(f"input: from 1 to {EMBED_INPUTS_MAX} texts, not {len(call.inputs)}")
    latency_class = call.hints.latency_class or process.row.latency_class
    async with (held := Held(kernel, cards, latency_class)) as hot:
        seats = dict(seating.seats(kernel, process, hot))
        work = seating.work(kernel, process, running, call, tuple(seats))
        anew = Anew(kernel, process, running, held, call.model, cards, seats, work)
        async with kernel.turns.seat(work, anew) as grant:
            placed = placed_at(kernel, running, grant, seats, work.arrived_s)
            left = seating.left_s(kernel, running, call)
            embedded = await placed.engine.embed(call, placed.card.name, left)
    return Vectors(
        vectors=embedded.vectors,
        usage=embedded.usage,
        model=embedded.model or placed.card.name,
        facts=replace(
            facts_of(running, placed),
            load_s=held.waited_s,
            usage=embedded.usage,
            cost=cost(embedded.usage, placed.card),
        ),
    )


def placed_at(
    kernel: Kernel,
    running: Running,
    grant: Grant,
    seats: Mapping[EngineName, ModelCard],
    arrived_s: float,
) -> Placed:
    """The call begins: from here on nobody can be sure that its engine has done nothing."""
    now_s = kernel.clock.now_s()
    running.queue_s += now_s - arrived_s
    running.ask(now_s)
    name = EngineName(grant.engine)
    engine = kernel.registry.engines[name]
    is_alone = kernel.scheduler.load(name)[0] == 1
    return Placed(engine, seats[name], grant, devices.name_of(kernel, engine), is_alone)


def facts_of(running: Running, placed: Placed) -> Facts:
    return Facts(
        call=running.id,
        engine=placed.engine.name,
        device=placed.device,
        model=placed.card.name,
        artefact=placed.card.artefact,
        form=placed.card.form,
        route=placed.grant.why,
        queue_s=running.queue_s,
    )
