"""Admission: what a call may use is reserved here, before anything has happened.

One place for budgets and for the choice of what may serve; `dispatch` then only runs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from orlop.abi.calls import Call, CallTool, Embed, Infer
from orlop.abi.cards import ModelCard, ModelKind
from orlop.abi.errors import BadCall, BudgetSpent, EffectUnknown
from orlop.abi.limits import CHOICES_MAX, OUTPUT_TOKENS_MAX
from orlop.abi.replies import Completion, Done, Vectors
from orlop.devices.device import Tool
from orlop.kernel import devices, forms
from orlop.kernel.core import Kernel
from orlop.kernel.process import Process
from orlop.kernel.running import Running
from orlop.meter import budget
from orlop.meter.budget import Hold

TEMPLATE_TOKENS: Final = 32
"""What a chat template adds to one message at most, in tokens."""


@dataclass(eq=False, slots=True, kw_only=True)
class Admitted:
    """A call that may run.  `call` has the output maximum that its budget allows."""

    call: Call
    cards: Sequence[ModelCard] = ()
    tool: Tool | None = None
    was_cut_off: bool = False
    """The same tool call began before, and whether it took effect is not known."""
    hold: Hold | None = None
    tokens: int = 0
    durable_intent: bool = False

    def settle(self, done: Done | None, booked: int) -> None:
        """Book what was used, or `booked` tokens where that is unknown."""
        if self.hold is not None:
            usage = done.usage if isinstance(done, Completion | Vectors) else None
            used = usage.input_tokens + usage.output_tokens if usage is not None else booked
            self.hold.settle(used)

    def undo(self) -> None:
        """The call did not begin after all."""
        if self.hold is not None:
            self.hold.settle(0, calls=0)


def admit(kernel: Kernel, process: Process, running: Running) -> Admitted:
    """Reserve what `running` may use.  Raises before anything has changed."""
    call = running.call
    match call:
        case Infer():
            return _infer(kernel, process, call)
        case Embed():
            cards = _cards(kernel, process, call)
            tokens = 0
            if budget.tokens_left(process.accounts) is not None:
                tokens = sum(len(text.encode()) + TEMPLATE_TOKENS for text in call.inputs)
            hold = budget.hold(process.accounts, tokens)
            paid = any(card.paid for card in cards)
            return Admitted(call=call, cards=cards, hold=hold, tokens=tokens, durable_intent=paid)
        case CallTool():
            return _tool(kernel, process, running, call)
        case _:
            return Admitted(call=call)


def _infer(kernel: Kernel, process: Process, call: Infer) -> Admitted:
    cards = _cards(kernel, process, call)
    if not 1 <= call.sampling.n <= CHOICES_MAX:
        raise BadCall(f"n: from 1 to {CHOICES_MAX}, not {call.sampling.n}")
    tokens = 0
    left = budget.tokens_left(process.accounts)
    if left is not None:
        call, tokens = _within(call, cards, left)
    hold = budget.hold(process.accounts, tokens)
    paid = any(card.paid for card in cards)
    return Admitted(call=call, cards=cards, hold=hold, tokens=tokens, durable_intent=paid)


def _cards(kernel: Kernel, process: Process, call: Infer | Embed) -> Sequence[ModelCard]:
    """What may serve the call: by its model's name, and by what it asks of a device."""
    kind: ModelKind = "embed" if isinstance(call, Embed) else "chat"
    found = forms.find(kernel, call.model, kind, call.hints)
    return devices.eligible(kernel, found, call.hints, process.row.tenant)


def _within(call: Infer, cards: Sequence[ModelCard], left: int) -> tuple[Infer, int]:
    """The call with an output maximum that fits `left` tokens, and the most that it can use.

    The bound on the input is what can be proven without its tokenizer: no token is shorter than a
    byte, and the template adds a constant to each message.
    """
    text = msgspec.json.encode((call.messages, call.prompt, call.tools, call.response_format))
    given = len(text) + TEMPLATE_TOKENS * (len(call.messages) + 1)
    capped = [card.output_tokens_max for card in cards if card.output_tokens_max is not None]
    cap = call.output_tokens_max or min([*capped, OUTPUT_TOKENS_MAX])
    room = (left - given) // call.sampling.n
    if room < 1 or (call.output_tokens_max is not None and call.output_tokens_max > room):
        raise BudgetSpent(
            f"the budget has {left} tokens left; this call may use {given} for its input and "
            f"{cap} for each of {call.sampling.n} answers"
        )
    cap = min(cap, room)
    return replace(call, output_tokens_max=cap), given + cap * call.sampling.n


def _tool(kernel: Kernel, process: Process, running: Running, call: CallTool) -> Admitted:
    tool = kernel.tools.find(call.tool)
    unknown = kernel.tables.unknown.get((process.id, running.digest))
    if unknown and tool.card.effect in ("compensable", "irreversible"):
        raise EffectUnknown(
            f"{call.tool} was called with these arguments before and cut off; it is "
            f"{tool.card.effect}, so it is not called again unseen"
        )
    hold = budget.hold(process.accounts, 0)
    running.effect = unknown[0] if unknown else call.key or running.id
    return Admitted(
        call=call,
        tool=tool,
        was_cut_off=bool(unknown),
        hold=hold,
        durable_intent=tool.card.effect != "pure",
    )
