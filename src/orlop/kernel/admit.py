"""Admission: what a call may use at most is found here, before anything has happened.

One place for budgets and for the choice of what may serve; `dispatch` then only runs it.  Nothing
is held yet when `admit` returns: the intent that follows it at once, in the journal, is the hold.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from orlop.abi.budgets import NOTHING, Amount
from orlop.abi.calls import Budget, Call, CallTool, Embed, Infer
from orlop.abi.cards import ModelCard
from orlop.abi.effects import SettledEffect
from orlop.abi.egress import Fetch
from orlop.abi.errors import BadCall, EffectUnknown, Unpriced
from orlop.abi.files import FileCall
from orlop.abi.hints import Usage
from orlop.abi.ids import NanoDollars, Nanoseconds
from orlop.abi.limits import (
    ANSWER_TOKENS_LEAST,
    CALL_DEADLINE_S,
    CALL_DEADLINE_S_MAX,
    CHOICES_MAX,
    OUTPUT_TOKENS_MAX,
    RUN_S_LEAST,
)
from orlop.abi.replies import Completion, Done, Vectors
from orlop.abi.sagas import UndoPlan
from orlop.devices.device import Tool
from orlop.kernel import effects
from orlop.machine.clock import NS_PER_S
from orlop.meter import account, usage
from orlop.meter.account import Account
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import egress, files, ladders, saga, saga_plan, token_budgets
from orlop.subsystems.ladders import Attempt

TEMPLATE_TOKENS: Final = 32
"""What a chat template adds to one message at most, in tokens."""


@dataclass(eq=False, slots=True, kw_only=True)
class Admitted:
    """A call that may run.  `call` has the output maximum that its budgets allow."""

    call: Call
    cards: Sequence[ModelCard] = ()
    attempts: Sequence[Attempt] = ()
    """Of an `Infer`: what is tried, in this order."""
    limit_s: float | None = None
    """How long it may take, where that is longer than its deadline."""
    tool: Tool | None = None
    was_cut_off: bool = False
    """The same tool call began before, and whether it took effect is not known."""
    settled: SettledEffect | None = None
    """A person has said that it happened."""
    undo: UndoPlan | None = None
    """Of a step of a saga: what undoes it, for which its budgets have room too."""
    hold: Amount = NOTHING
    """What it may use at most, as far as anybody limits it."""
    run_s: float | None = None
    """How long it may have its device, where a budget says so; waiting is not counted."""
    is_limited: bool = False
    """One of its accounts has a limit, so its hold must be safe before it runs."""
    costs: bool = False
    """It costs money, or acts: what it comes to will be asked for again."""
    is_tight: bool = False
    """It may run for a shorter time, or answer in fewer words, than it well might need."""

    @property
    def durable_intent(self) -> bool:
        return self.is_limited or self.costs

    def is_untold(self, done: Done | None) -> bool:
        """An engine that tells no usage is taken to have used all that was held."""
        return isinstance(done, Completion | Vectors) and done.usage == Usage()


def admit(kernel: Kernel, process: Process, running: Running) -> Admitted:
    """What `running` may use.  Raises before anything has changed."""
    call = running.call
    match call:
        case Infer():
            return _infer(kernel, process, running, call)
        case Embed():
            return _embed(kernel, process, running, call)
        case CallTool():
            return _tool(kernel, process, running, call)
        case Fetch():
            return _fetch(kernel, process, running, call)
        case _:
            if isinstance(call, FileCall):
                files.check(kernel, process, call)
            return Admitted(call=call)


def _infer(kernel: Kernel, process: Process, running: Running, call: Infer) -> Admitted:
    if not 1 <= call.sampling.n <= CHOICES_MAX:
        raise BadCall(f"n: from 1 to {CHOICES_MAX}, not {call.sampling.n}")
    attempts: Sequence[Attempt] = ladders.attempts(kernel, process, running, call)
    limit_s = ladders.longest_s(call, attempts)
    accounts, now_ns = accounts_of(kernel, process, running), kernel.clock.wall_ns()
    room = account.room(accounts, now_ns)
    left = _wished(room, call.hints.cost_max)
    paid = any(card.paid for one in attempts for card in one.cards)
    if left is None and not paid:
        return Admitted(call=call, attempts=attempts, limit_s=limit_s, hold=Amount(calls=1))
    attempts = _priced_attempts(call.model, attempts, left)
    cards = [card for one in attempts for card in one.cards]
    given, cap = _given(running, call), _cap(call, cards)
    written = _fitting(call, cards, given, cap, left or Budget())
    total = given + written * call.sampling.n
    cost = usage.bound(cards, given, written * call.sampling.n)
    if call.hints.cost_max is not None and cost > call.hints.cost_max:
        raise BadCall(
            f"hints.cost_max: {call.model} may cost {cost} nano-dollars here, which is more"
        )
    run_s = _longest_s(call, left, CALL_DEADLINE_S_MAX)
    hold = Amount(1, total, cost, _ns(run_s))
    account.require(accounts, hold, now_ns)
    if left is not None:
        call = replace(call, output_tokens_max=written)
    return Admitted(
        call=call,
        attempts=attempts,
        limit_s=limit_s,
        hold=hold,
        run_s=run_s,
        is_limited=room is not None,
        costs=paid,
        is_tight=written < min(cap, ANSWER_TOKENS_LEAST) or _is_short(call, run_s),
    )


def accounts_of(kernel: Kernel, process: Process, running: Running) -> list[Account]:
    """Whose budgets it uses: its token's, its process's, and all above."""
    return kernel.accounts(process, token_budgets.used(kernel, process, running))


def _wished(room: Budget | None, cost_max: NanoDollars | None) -> Budget | None:
    """What the accounts have left, and of that what the caller is willing to spend."""
    if cost_max is None:
        return room
    left = (room or Budget()).nano_dollars
    return replace(room or Budget(), nano_dollars=cost_max if left is None else min(cost_max, left))


def _embed(kernel: Kernel, process: Process, running: Running, call: Embed) -> Admitted:
    cards = ladders.cards(kernel, process, running, call.model, "embed")
    accounts, now_ns = accounts_of(kernel, process, running), kernel.clock.wall_ns()
    left = account.room(accounts, now_ns)
    paid = any(card.paid for card in cards)
    if left is None and not paid:
        return Admitted(call=call, cards=cards, hold=Amount(calls=1))
    cards = _priced(call.model, cards, left)
    tokens = sum(len(text.encode()) + TEMPLATE_TOKENS for text in call.inputs)
    run_s = _longest_s(call, left, CALL_DEADLINE_S_MAX)
    hold = Amount(1, tokens, usage.bound(cards, tokens, 0), _ns(run_s))
    account.require(accounts, hold, now_ns)
    return Admitted(
        call=call,
        cards=cards,
        hold=hold,
        run_s=run_s,
        is_limited=left is not None,
        costs=paid,
        is_tight=_is_short(call, run_s),
    )


def _priced(model: str, cards: Sequence[ModelCard], left: Budget | None) -> Sequence[ModelCard]:
    """Those that money can be held for.  Raises `Unpriced` where there is none."""
    if left is None or left.nano_dollars is None:
        return cards
    priced = [card for card in cards if card.is_priced or not card.paid]
    if not priced:
        raise Unpriced(f"{model} costs money, and nobody has said how much it costs")
    return priced


def _priced_attempts(
    model: str, attempts: Sequence[Attempt], left: Budget | None
) -> Sequence[Attempt]:
    """Those with some card that money can be held for.  Raises `Unpriced` where there is none."""
    if len(attempts) == 1:
        return [Attempt(attempts[0].rung, _priced(model, attempts[0].cards, left))]
    found = list[Attempt]()
    for one in attempts:
        with suppress(Unpriced):
            found.append(Attempt(one.rung, _priced(one.rung.model, one.cards, left)))
    if not found:
        raise Unpriced(f"nobody has said how much the rungs of {model} cost")
    return found


def _given(running: Running, call: Infer) -> int:
    """The bound on the input that can be proven without its tokenizer.

    No token is shorter than a byte, and the template adds a constant to each message.
    """
    beside = len(msgspec.json.encode((call.prompt, call.suffix, call.tools, call.response_format)))
    shown = running.size or len(msgspec.json.encode(call.messages))
    return shown + beside + TEMPLATE_TOKENS * (len(call.messages) + 1)


def _cap(call: Infer, cards: Sequence[ModelCard]) -> int:
    """Tokens of one answer, at most."""
    capped = [card.output_tokens_max for card in cards if card.output_tokens_max is not None]
    return call.output_tokens_max or min([*capped, OUTPUT_TOKENS_MAX])


def _fitting(call: Infer, cards: Sequence[ModelCard], given: int, cap: int, left: Budget) -> int:
    """The output maximum that is left room for, where the caller has named none: at least 1."""
    if call.output_tokens_max is not None:
        return cap
    rooms = [] if left.tokens is None else [left.tokens - given]
    if left.nano_dollars is not None:
        affordable = usage.affordable(cards, given, NanoDollars(left.nano_dollars))
        rooms += [] if affordable is None else [affordable]
    return max(1, min([cap, *(room // call.sampling.n for room in rooms)]))


def _longest_s(
    call: Infer | Embed | CallTool | Fetch, left: Budget | None, most_s: float
) -> float | None:
    """How long it may have a device, where a budget of seconds is what ends it; else None."""
    if left is None or left.seconds is None:
        return None
    return min(call.hints.deadline_s or CALL_DEADLINE_S, most_s, left.seconds)


def _is_short(call: Infer | Embed | CallTool | Fetch, run_s: float | None) -> bool:
    return run_s is not None and run_s < min(call.hints.deadline_s or RUN_S_LEAST, RUN_S_LEAST)


def _ns(longest_s: float | None) -> Nanoseconds:
    return Nanoseconds(0 if longest_s is None else round(longest_s * NS_PER_S))


def _beside(left: Budget | None, reserve: Amount) -> Budget | None:
    """What is left for a step, beside what its undoing may take."""
    if left is None or left.seconds is None or not reserve.ns:
        return left
    return replace(left, seconds=max(0.0, left.seconds - reserve.ns / NS_PER_S))


def _fetch(kernel: Kernel, process: Process, running: Running, call: Fetch) -> Admitted:
    known = effects.settled(kernel, process, running)
    if known is not None:
        effect, name = "irreversible", known.effect
    else:
        effect, name = egress.named(kernel, process, running.digest, running.id, call)
    accounts, now_ns = accounts_of(kernel, process, running), kernel.clock.wall_ns()
    left = account.room(accounts, now_ns)
    run_s = _longest_s(call, left, CALL_DEADLINE_S_MAX)
    hold = Amount(1, 0, NanoDollars(0), _ns(run_s))
    account.require(accounts, hold, now_ns)
    # From here on nothing can fail.
    running.effect = name
    return Admitted(
        call=call,
        settled=known,
        hold=hold,
        run_s=run_s,
        is_limited=left is not None,
        costs=effect != "pure",
        is_tight=_is_short(call, run_s),
    )


def _tool(kernel: Kernel, process: Process, running: Running, call: CallTool) -> Admitted:
    tool = kernel.tools.find(call.tool)
    known = effects.settled(kernel, process, running)
    unknown = kernel.tables.calls.unknown.get((process.id, running.digest))
    if call.saga:
        saga.require_step(kernel, process, call, tool.card)
    if known is None and unknown and tool.card.effect in ("compensable", "irreversible"):
        raise EffectUnknown(
            f"{call.tool} was called with these arguments before and cut off; it is "
            f"{tool.card.effect}, so it is not called again unseen: look "
            f"whether it happened, then `orlop effects settle {unknown[0].call}`"
        )
    accounts, now_ns = accounts_of(kernel, process, running), kernel.clock.wall_ns()
    left = account.room(accounts, now_ns)
    if known is not None:
        effect = known.effect
    else:
        effect = unknown[0].effect if unknown else call.key or running.id
    undo = saga_plan.made(kernel, tool.card, left) if call.saga else None
    reserve = saga_plan.reserve(kernel, undo, effect)
    run_s = _longest_s(call, _beside(left, reserve), CALL_DEADLINE_S_MAX)
    cost = NanoDollars(tool.card.price * (1 + tool.card.retries))
    hold = Amount(1, 0, cost, _ns(run_s))
    account.require(accounts, hold + reserve, now_ns)
    # From here on nothing can fail.
    running.effect = effect
    return Admitted(
        call=call,
        tool=tool,
        was_cut_off=known is None and bool(unknown),
        settled=known,
        undo=undo,
        hold=hold,
        run_s=run_s,
        is_limited=left is not None,
        costs=tool.card.effect != "pure",
        is_tight=_is_short(call, run_s),
    )
