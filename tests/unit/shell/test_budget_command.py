"""`orlop budget`, and budgets on other commands."""

from pathlib import Path

import pytest
from scripted_kernel import Said, scripted_kernel
from unit.shell.views import view

from orlop.shell.commands import run

DOLLAR = 1_000_000_000
VIEW = {
    "account": "team:support",
    "label": "team support",
    "limit": {
        "budget": {"nano_dollars": 5 * DOLLAR, "tokens": 100_000},
        "per": "day",
        "calls_per_minute": 60,
    },
    "source": "set",
    "used": {"calls": 12, "tokens": 40_000, "nano_dollars": 2 * DOLLAR, "ns": 1_500_000_000},
    "used_ever": {"calls": 99, "tokens": 900_000, "nano_dollars": 44 * DOLLAR},
    "held": {"calls": 1, "tokens": 500, "nano_dollars": DOLLAR // 4},
    "refills_ns": 1_790_000_000_000_000_000,
}
TABLE = {
    "accounts": [VIEW],
    "templates": [{"account": "task:*", "limit": {"budget": {"calls": 50}}}],
}


def test_budgets_are_listed_with_what_is_used_and_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/budgets", Said(TABLE))
        assert run(["budget", "--home", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for part in ("team support", "40,000+500 of 100,000", "$2.00+$0.25 of $5.00", "60 calls"):
        assert part in shown
    assert "task:*" in shown


def test_one_account_is_shown_with_all_that_it_ever_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("GET /orlop/v1/budgets/team%3Asupport", Said(VIEW))
        assert run(["budget", "show", "team:support", "--home", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "set by an operator" in shown and "99 calls, 900,000 tokens, $44.00" in shown


def test_a_budget_is_set_in_the_units_that_people_use(tmp_path: Path) -> None:
    options = ["--usd", "0.05", "--tokens", "900", "--per", "month", "--calls-per-minute", "3"]
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/budgets", Said(TABLE))
        assert run(["budget", "set", "task:*", *options, "--home", str(tmp_path)]) == 0
    assert kernel.heard[0].json() == {
        "account": "task:*",
        "limit": {
            "budget": {"nano_dollars": DOLLAR // 20, "tokens": 900},
            "per": "month",
            "calls_per_minute": 3,
        },
    }


def test_a_budget_of_nothing_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["budget", "set", "organisation", "--home", str(tmp_path)]) == 2
    assert "--usd" in capsys.readouterr().err


def test_a_budget_is_taken_back(tmp_path: Path) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("DELETE /orlop/v1/budgets/agent%3Atriage", Said({**TABLE, "accounts": []}))
        assert run(["budget", "remove", "agent:triage", "--home", str(tmp_path)]) == 0
    assert len(kernel.heard) == 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("usd=0.000000001", {"nano_dollars": 1}),
        ("usd=12,seconds=1.5", {"nano_dollars": 12 * DOLLAR, "seconds": 1.5}),
        ("calls=0", {"calls": 0}),
    ],
)
def test_a_program_s_budget_may_be_in_any_unit(
    tmp_path: Path, said: str, meant: dict[str, object]
) -> None:
    with scripted_kernel(tmp_path) as kernel:
        kernel.says("POST /orlop/v1/processes", Said(view(), 201))
        command = ["run", "-d", "--budget", said, "--team", "support"]
        assert run([*command, "--home", str(tmp_path), "--", "agent"]) == 0
    order = kernel.heard[0].json()
    assert order["budget"] == meant and order["team"] == "support"


@pytest.mark.parametrize(
    "said", ["usd=-1", "usd=1e3", "seconds=", "usd=nan", "tokens=1.5", "eur=1"]
)
def test_a_wrong_amount_is_a_usage_error(tmp_path: Path, said: str) -> None:
    assert run(["run", "--budget", said, "--home", str(tmp_path), "--", "agent"]) == 2
