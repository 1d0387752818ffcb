"""Which conversations are taken to begin alike."""

from orlop.abi.calls import Infer
from orlop.abi.messages import Message, ToolSpec
from orlop.context.beginning import BYTES_MIN, beginning

RULES = Message("system", "You are a careful clerk. " * 20)


def call(*messages: Message, tools: tuple[str, ...] = (), model: str = "m") -> Infer:
    specs = tuple(ToolSpec(name) for name in tools)
    return Infer(model=model, messages=messages, tools=specs, dialect="openai")


def test_equal_rules_and_tools_are_one_beginning_whatever_follows() -> None:
    first = beginning(call(RULES, Message("user", "one"), tools=("read", "write")))
    second = beginning(call(RULES, Message("user", "two"), tools=("read", "write")))
    assert first == second and first[0] and first[1] == len(RULES.text())


def test_other_rules_other_tools_or_another_model_are_another_beginning() -> None:
    said = Message("user", "one")
    other = Message("system", RULES.text() + "!")
    found = {
        beginning(call(RULES, said))[0],
        beginning(call(other, said))[0],
        beginning(call(RULES, said, tools=("read",)))[0],
        beginning(call(RULES, said, model="n"))[0],
        beginning(call(RULES, other, said))[0],
    }
    assert len(found) == 5


def test_a_short_beginning_and_none_at_all_count_for_nothing() -> None:
    assert beginning(call(Message("system", "x" * (BYTES_MIN - 1)))) == (0, 0)
    assert beginning(call(Message("user", "x" * 2 * BYTES_MIN))) == (0, 0)
    assert beginning(Infer(model="m", prompt="x" * 2 * BYTES_MIN, dialect="openai")) == (0, 0)
