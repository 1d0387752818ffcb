"""Which messages of a conversation stay when it must become shorter.  Pure."""

from collections.abc import Sequence
from typing import Final

from orlop.abi.messages import Message

RULES: Final = frozenset({"system", "developer"})
PINNED: Final = "pinned"
"""In a message's `extra`: whoever wrote it wants it kept."""

INSTRUCTIONS: Final = (
    "Summarise this part of a conversation for the assistant who continues it. Keep names, "
    "numbers, decisions, promises and open questions. Write plain sentences, no more than needed."
)


def kept(messages: Sequence[Message], keep_last: int, pins: Sequence[int]) -> list[int]:
    """Places of what stays, in order.

    A tool's answer stays only with the message that asked for it, and that one with all its
    answers, since no engine takes one without the other.
    """
    first_kept = len(messages) - keep_last
    stay = {
        place
        for place, message in enumerate(messages)
        if place >= first_kept
        or place in pins
        or message.role in RULES
        or message.extra.get(PINNED) is True
    }
    asked_at: dict[str, int] = {}
    answers: dict[int, list[int]] = {}
    for place, message in enumerate(messages):
        for use in message.tool_uses:
            asked_at[use.id] = place
        if message.tool_use_id in asked_at:
            answers.setdefault(asked_at[message.tool_use_id], []).append(place)
    for asking, answering in answers.items():
        if asking in stay or stay.intersection(answering):
            stay |= {asking, *answering}
    return sorted(stay)


def compacted(messages: Sequence[Message], stay: Sequence[int], summary: str) -> list[Message]:
    """The summary stands where the first message was dropped."""
    left_out = [place for place in range(len(messages)) if place not in set(stay)]
    if not left_out:
        return list(messages)
    said = Message("user", f"[Summary of {len(left_out)} earlier messages]\n{summary}")
    before = [messages[place] for place in stay if place < left_out[0]]
    return [*before, said, *(messages[place] for place in stay if place > left_out[0])]


def transcript(messages: Sequence[Message], stay: Sequence[int]) -> str:
    """What is left out, as text for whoever summarises it."""
    lines: list[str] = []
    for place, message in enumerate(messages):
        if place in set(stay):
            continue
        calls = "".join(f" [calls {use.name}({use.arguments})]" for use in message.tool_uses)
        lines.append(f"{message.role}: {message.text()}{calls}")
    return "\n".join(lines)
