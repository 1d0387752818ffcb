"""What is llama.cpp's own about a call."""

import pytest

from orlop.abi.calls import Infer, Sampling
from orlop.abi.errors import DeviceRefused
from orlop.abi.hints import Usage
from orlop.abi.ids import EngineName
from orlop.abi.messages import Image, Message, Text, TokenLogprob, ToolSpec
from orlop.abi.replies import Choice, Delta, Generated
from orlop.devices.llamacpp_calls import Props, asked, goes_on, one_choice, passing, together

LOCAL = EngineName("local")
PLAIN = Props()
TALENTED = Props(chat_template_caps={"supports_tools": True}, modalities={"vision": True})

FORCED = Infer(
    model="m", messages=(Message("user", "x"),), tools=(ToolSpec("f"),), tool_choice="required"
)
SEEN = Infer(model="m", messages=(Message("user", (Text("what?"), Image("data:,"))),))


def an_answer(text: str, tokens: int) -> Generated:
    top = (TokenLogprob(text, -0.1), TokenLogprob("other", -3.0))
    return Generated(
        choices=(
            Choice(Message("assistant", text), logprobs=(TokenLogprob(text, -0.1, top=top),)),
        ),
        usage=Usage(input_tokens=10, cached_tokens=4, output_tokens=tokens),
        extra={"timings": {"prompt_ms": 1.0}, "prompt_progress": {}, "other": 1},
        prefill_s=0.5,
        decode_s=1.0,
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (FORCED, "can't be made to call a tool"),
        (SEEN, "no part of kind Image"),
        (Infer(model="m", prompt="x", suffix="y"), "suffix"),
        (Infer(model="m", prompt="x", echo=True), "echo"),
    ],
)
def test_what_llama_cpp_would_ignore_in_silence_is_refused(call: Infer, said: str) -> None:
    with pytest.raises(DeviceRefused, match=said):
        asked(call, PLAIN, LOCAL)


@pytest.mark.parametrize("call", [FORCED, SEEN])
def test_a_model_that_can_is_asked(call: Infer) -> None:
    assert asked(call, TALENTED, LOCAL).messages == call.messages


def test_tools_that_a_model_may_leave_alone_are_no_reason_to_refuse() -> None:
    call = Infer(model="m", messages=(Message("user", "x"),), tools=(ToolSpec("f"),))
    assert asked(call, PLAIN, LOCAL).tools == call.tools


def test_every_call_asks_for_progress_and_keeps_its_own_fields() -> None:
    call = Infer(model="m", prompt="x", dialect="openai", extra={"top_k": 5})
    assert asked(call, PLAIN, LOCAL).extra == {"top_k": 5, "return_progress": True}


def test_words_of_another_dialect_stay_here() -> None:
    call = Infer(model="m", prompt="x", dialect="anthropic", extra={"metadata": {"user_id": "7"}})
    assert asked(call, PLAIN, LOCAL).extra == {"return_progress": True}


def test_each_choice_has_a_seed_of_its_own() -> None:
    call = asked(Infer(model="m", prompt="x", sampling=Sampling(n=2, seed=7)), PLAIN, LOCAL)
    seeds = [one_choice(call, index).sampling.seed for index in range(3)]
    assert seeds == [7, 8, 9]
    assert call.sampling.n == 1


def test_choices_are_paid_for_one_by_one_and_their_prompt_once() -> None:
    call = Infer(model="m", prompt="x", sampling=Sampling(n=2))
    both = together(call, [an_answer("a", 3), an_answer("b", 5)])
    assert [(choice.index, choice.message.content) for choice in both.choices] == [
        (0, "a"),
        (1, "b"),
    ]
    assert both.usage == Usage(input_tokens=10, cached_tokens=4, output_tokens=8)
    assert both.decode_s == 2.0
    assert both.extra == {"other": 1}


@pytest.mark.parametrize(("top", "kept"), [(None, 0), (0, 0), (2, 2)])
def test_alternatives_are_told_only_to_who_asks(top: int | None, kept: int) -> None:
    call = Infer(model="m", prompt="x", sampling=Sampling(logprobs=True, top_logprobs=top))
    whole = together(call, [an_answer("a", 1)])
    assert len(whole.choices[0].logprobs[0].top) == kept
    deltas: list[Delta] = []
    passing(call, deltas.append, 0)(Delta(text="a", logprobs=an_answer("a", 1).choices[0].logprobs))
    assert len(deltas[0].logprobs[0].top) == kept


def test_pieces_of_the_second_choice_say_so() -> None:
    deltas: list[Delta] = []
    passing(Infer(model="m", prompt="x"), deltas.append, 1)(Delta(text="a"))
    assert deltas == [Delta(choice=1, text="a")]


@pytest.mark.parametrize(
    ("call", "may"),
    [
        (Infer(model="m", prompt="x"), True),
        (Infer(model="m", prompt="x", sampling=Sampling(temperature=0.7, stop=("a",))), True),
        (Infer(model="m", prompt="x", sampling=Sampling(temperature=0.0, seed=3)), True),
        (Infer(model="m", prompt="x", sampling=Sampling(temperature=0.7, seed=3)), False),
        (Infer(model="m", prompt="x", sampling=Sampling(logprobs=True)), False),
        (Infer(model="m", prompt="x", sampling=Sampling(n=2)), False),
        (Infer(model="m", prompt="x", response_format={"type": "text"}), True),
        (Infer(model="m", prompt="x", response_format={"type": "json_object"}), False),
        (Infer(model="m", prompt="x", extra={"grammar": "root ::= x"}), False),
        (FORCED, False),
    ],
)
def test_an_answer_goes_on_from_its_tokens_only_where_they_say_all(call: Infer, may: bool) -> None:
    assert goes_on(call) is may
