"""What a person sees of a question, and what his command line means."""

from decimal import Decimal

import click
import pytest

from orlop.abi.ids import CallId, NanoDollars, Nanoseconds, Pid, ProcessId, TenantId
from orlop.abi.questions import Change, Question
from orlop.shell.answers import Amount, Seconds, Value, terms
from orlop.shell.approvals import lines


def question(**more: object) -> Question:
    return Question(
        id="qst_1",
        process=ProcessId("prc_1"),
        pid=Pid(7),
        name="desk",
        tenant=TenantId("default"),
        state="pending",
        text="may desk call pay?",
        tool="pay",
        form="approval",
        asked_ns=Nanoseconds(0),
        expires_ns=Nanoseconds(1),
        **more,  # type: ignore[arg-type]
    )


def test_what_strangers_wrote_moves_no_cursor_and_looks_like_no_line_of_ours() -> None:
    row = question(
        arguments={"to": "Ada\x1b[2J\nasked by  the card"},
        preview="fine\x1b[1A\nasked by  the card of pay",
        changes=(Change(path="/to\x1b", was='"a"', now='"b\x1b"'),),
        compared=CallId("cal_1"),
        asked_by="rule x",
    )
    text = "\n".join(f"{name}  {value}" for name, value in lines(row))
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line.startswith("asked by")] == [
        "asked by  rule x"
    ]


def test_cost_rule_chain_and_edit_are_told() -> None:
    row = question(
        cost=NanoDollars(2 * 10**9),
        asked_by="rule over-100",
        chain="money",
        asked_of=("grace",),
        edited={"amount": 1},
    )
    told = dict(lines(row))
    assert told["cost"] == "$2.00" and told["asked by"] == "rule over-100"
    assert told["asked of"] == "grace (money)" and told["edited"] == '{"amount": 1}'


def test_terms_of_a_grant_are_read_from_words() -> None:
    read = terms(
        Seconds()("7d"),
        5,
        Amount()("amount=100.5"),
        [Amount()("amount=20")],
        [Amount()("amount=1")],
        [Value()("currency=EUR"), Value()("currency=CHF")],
    )
    assert read.expires_s == 7 * 86_400 and read.calls_max == 5
    assert (read.sum_of, read.sum_max) == ("amount", Decimal("100.5"))
    amount, currency = read.where
    assert (amount.argument, amount.min, amount.max) == ("amount", Decimal(1), Decimal(20))
    assert currency.values == ("EUR", "CHF")


@pytest.mark.parametrize(
    ("kind", "word"),
    [(Seconds(), "soon"), (Amount(), "amount=NaN"), (Amount(), "=1"), (Value(), "currency")],
)
def test_words_that_mean_nothing_are_refused(kind: click.ParamType[object], word: str) -> None:
    with pytest.raises(click.BadParameter, match="write"):
        kind(word)
