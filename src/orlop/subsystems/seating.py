"""A call as the scheduler sees it, and the engines that it may run on."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from orlop.abi.calls import CallTool, Embed, Infer
from orlop.abi.cards import EngineCard, ModelCard, ToolCard
from orlop.abi.egress import Fetch
from orlop.abi.ids import EngineName, TenantId
from orlop.abi.limits import CALL_DEADLINE_S
from orlop.abi.replies import Generated
from orlop.context.beginning import beginning
from orlop.devices.device import Capacity, Engine, Turn
from orlop.devices.device import Partial as Piece
from orlop.models.route import servable
from orlop.sched.work import NOTHING, Grant, Used, Work
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import devices

LONG: Final = 2
"""Few answers are shorter than the mean by this factor: of calls that are expected to take longer
than they may, those are refused that could hardly be in time."""


def left_s(kernel: Kernel, running: Running, call: Infer | Embed | CallTool | Fetch) -> float:
    """Seconds until the call's deadline; small but positive when it is over."""
    allowed = call.hints.deadline_s or CALL_DEADLINE_S
    return max(0.001, allowed - (kernel.clock.now_s() - running.started_s))


def size(running: Running, call: Infer) -> int:
    """Bytes of what the model is shown, about; token ids count as four each."""
    prompt = call.prompt
    if prompt is None:
        return running.size
    return len(prompt) if isinstance(prompt, str) else 4 * len(prompt)


def seats(
    kernel: Kernel, process: Process, cards: Sequence[ModelCard]
) -> Mapping[EngineName, ModelCard]:
    """The engines that can serve the call now, each with its card.  Raises `DeviceFailed`."""
    states: dict[EngineName, EngineCard] = {}
    for card in cards:
        if card.engine not in states:
            state = kernel.registry.engines[card.engine].card()
            states[card.engine] = devices.as_usable(kernel, state, process.row.tenant)
    found = servable(cards, states)
    for name, state in states.items():
        if name in found:
            _attach(kernel, kernel.registry.engines[name], state.slots, paid=found[name].paid)
        elif state.health not in ("ready", "starting"):
            kernel.scheduler.detach(name, kernel.clock.now_s())
    return found


def _attach(kernel: Kernel, engine: Engine, slots: int, *, paid: bool) -> None:
    """Known to the scheduler, with as many seats as its device is good for.

    A call that is paid for is not stopped: what it had read would be paid for once more.
    """
    station = kernel.scheduler.stations.get(engine.name)
    capacity = engine.capacity()
    if capacity.slots != slots or (paid and capacity.continues):
        capacity = replace(capacity, slots=slots, continues=capacity.continues and not paid)
    is_new = station is None or not station.attached
    if is_new or (station is not None and station.capacity != capacity):
        kernel.scheduler.attach(engine.name, capacity)
    if is_new:
        kernel.turns.news(engine.name)
    if (load := engine.load()) is not None:
        kernel.scheduler.heard(engine.name, load, kernel.clock.now_s())
    if (holdings := engine.holdings()) is not None:
        kernel.scheduler.told(engine.name, holdings, kernel.clock.now_s())


def look(kernel: Kernel, engine: Engine) -> None:
    """What an engine can do may have changed, or whether it is there at all."""
    state = devices.as_usable(kernel, engine.card())
    if state.health == "ready":
        paid = any(card.paid for card in kernel.registry.cards() if card.engine == engine.name)
        _attach(kernel, engine, state.slots, paid=paid)
    elif state.health != "starting":
        kernel.scheduler.detach(engine.name, kernel.clock.now_s())
    kernel.turns.look()


def attach_tool(kernel: Kernel, name: str, concurrency: int) -> None:
    station = kernel.scheduler.stations.get(name)
    if station is None or station.capacity.slots != concurrency:
        kernel.scheduler.attach(name, Capacity(slots=concurrency))


def places(kernel: Kernel, card: ToolCard) -> list[tuple[str, int]]:
    """What a call of a tool must hold, each with the calls that may hold it at once.

    All take them in the order of their names, so that no two wait for each other.
    """
    alone = [(f"alone:{name}", 1) for name in sorted(set(card.conflicts))]
    shared = kernel.systems.concurrency(card.system)
    if shared:
        alone.append((f"system:{card.system}", shared))
    return [*alone, (f"tool:{card.name}", card.concurrency)]


def work(
    kernel: Kernel,
    process: Process,
    running: Running,
    call: Infer | Embed | CallTool,
    candidates: tuple[str, ...],
    tokens: tuple[int, int] = (0, 0),
    start_s: Mapping[str, float] = NOTHING,
) -> Work:
    """tokens: expected of the input and of the output; none where no model writes.  start_s: before
    each engine could begin."""
    row, hints = process.row, call.hints
    now_s = kernel.clock.now_s()
    program, context = str(row.program or row.id), str(row.id)
    if row.is_nameless and running.root:
        # Nobody says what belongs together, but each conversation is one program at least.
        program = context = f"{row.id}/{running.root}"
    agent, salt = f"{row.name} {row.version}", kernel.namer.salt(row.tenant)
    if salt:  # Names are a tenant's own: another's program of that name is another.
        program, agent = f"{row.tenant}/{program}", f"{row.tenant}/{agent}"
    head, common = beginning(call) if isinstance(call, Infer) else (0, 0)
    return Work(
        process=row.id,
        candidates=candidates,
        arrived_s=now_s,
        latency_class=hints.latency_class or row.latency_class,
        program=program,
        context=context,
        tenant=row.tenant,
        agent=agent,
        deadline_s=now_s + left_s(kernel, running, call),
        is_hard=hints.deadline_s is not None and hints.latency_class != "batch",
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        least_tokens=tokens[1] if hints.output_tokens else tokens[1] // LONG,
        head=hash((head, salt)) if head and salt else head,
        head_tokens=min(tokens[0], tokens[0] * common // max(1, running.size)),
        tool_gap_s=hints.tool_gap_s,
        start_s=start_s,
    )


def turn(kernel: Kernel, work: Work, grant: Grant, so_far: Piece | None) -> Turn:
    """What its engine is told."""
    continues = kernel.scheduler.stations[grant.engine].capacity.continues
    return Turn(
        program=work.context,
        latency_class=work.latency_class,
        urgency=grant.urgency,
        yield_now=kernel.turns.stop_of(work) if continues else None,
        so_far=so_far,
        salt=kernel.namer.salt(TenantId(work.tenant)),
    )


def lost(kernel: Kernel, engine: Engine) -> Used:
    """A call has failed on its engine: what of the engine and of the call's context is left."""
    if engine.card().health in ("ready", "starting"):
        return Used()
    kernel.scheduler.detach(engine.name, kernel.clock.now_s())
    return Used(lost=True)


def used(generated: Generated) -> Used:
    """What the scheduler learns from an answer."""
    usage = generated.usage
    uses = generated.choices[0].message.tool_uses if generated.choices else ()
    return Used(
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        tool=uses[0].name if uses else "",
    )
