"""`orlop budget`: what accounts may use, have used, and hold."""

from typing import Final

import click

from orlop.abi.admin import ProcessView
from orlop.abi.budgets import AccountName, AccountView, BudgetOrder, BudgetTable, Limit, Period
from orlop.abi.calls import Budget
from orlop.abi.ids import NanoDollars
from orlop.console.frame import Frame, framed
from orlop.console.screen import counted, date, fields, money, show_json, table

PERIODS: Final[dict[str, Period]] = {
    "ever": "ever",
    "hour": "hour",
    "day": "day",
    "week": "week",
    "month": "month",
}
TITLES: Final = ("ACCOUNT", "CALLS", "TOKENS", "DOLLARS", "SECONDS", "A MINUTE", "REFILLS")
NS: Final = 1_000_000_000


@click.group(invoke_without_command=True)
@click.option("-a", "--all", "everything", is_flag=True, help="Also tasks, agents and processes.")
@framed
def budget(frame: Frame, everything: bool) -> None:
    """Show and set what accounts may use.

    ACCOUNT is organisation, team:NAME, agent:NAME, task:NAME, or a process by pid, id or name.
    A call uses its process's account, its parents', its task's, agent's and team's, and the
    organisation's, and runs only where all have enough.  agent:* and task:* are for each that
    has no budget of its own.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        _show(frame, frame.operator().budgets(everything=everything))


@budget.command()
@click.argument("account")
@framed
def show(frame: Frame, account: str) -> None:
    """Show all about one account."""
    view = frame.operator().budget(account)
    if frame.as_json:
        show_json(view)
    else:
        click.echo(fields(_details(view)))


@budget.command("set")
@click.argument("account")
@click.option("--calls", type=click.IntRange(0), help="Calls of models and tools.")
@click.option("--tokens", type=click.IntRange(0), help="Input and output together.")
@click.option("--usd", type=click.FloatRange(0, 1e6), help="Dollars.")
@click.option("--seconds", type=click.FloatRange(0), help="That its calls run, waiting apart.")
@click.option("--per", type=click.Choice(list(PERIODS)), default="ever", help="When it refills.")
@click.option("--calls-per-minute", type=click.IntRange(1), help="In any 60 seconds.")
@click.option("--tokens-per-minute", type=click.IntRange(1), help="In any 60 seconds.")
@framed
def set_budget(
    frame: Frame,
    account: str,
    calls: int | None,
    tokens: int | None,
    usd: float | None,
    seconds: float | None,
    per: str,
    calls_per_minute: int | None,
    tokens_per_minute: int | None,
) -> None:
    """Say what an account may use; what is not named has no limit.

    What it has used stays.  A period that it did not have before is counted from now.
    """
    limit = Limit(
        budget=Budget(
            calls=calls,
            tokens=tokens,
            nano_dollars=None if usd is None else NanoDollars(round(usd * 1e9)),
            seconds=seconds,
        ),
        per=PERIODS[per],
        calls_per_minute=calls_per_minute,
        tokens_per_minute=tokens_per_minute,
    )
    if limit == Limit(per=PERIODS[per]):
        raise click.UsageError("say how much: --calls, --tokens, --usd, --seconds, or a rate")
    _show(
        frame, frame.operator().set_budget(BudgetOrder(account=AccountName(account), limit=limit))
    )


@budget.command()
@click.argument("account")
@framed
def remove(frame: Frame, account: str) -> None:
    """Take a budget back that was set; a process then has the one it was started with."""
    _show(frame, frame.operator().remove_budget(account))


def _show(frame: Frame, found: BudgetTable) -> None:
    if frame.as_json:
        show_json(found)
        return
    rows = [_row(view) for view in found.accounts]
    rows += [
        (order.account, *_limits(order.limit), _rates(order.limit), order.limit.per)
        for order in found.templates
    ]
    click.echo(table(TITLES, rows, frozenset({1, 2, 3, 4})))


def _row(view: AccountView) -> tuple[str, ...]:
    """Used, and held by calls in flight, of what is allowed."""
    used, held, most = view.used, view.held, _limits(view.limit)
    cells = (
        _cell(f"{used.calls:,}", f"{held.calls:,}" if held.calls else "", most[0]),
        _cell(f"{used.tokens:,}", f"{held.tokens:,}" if held.tokens else "", most[1]),
        _cell(
            money(used.nano_dollars), money(held.nano_dollars) if held.nano_dollars else "", most[2]
        ),
        _cell(f"{used.ns / NS:,.1f}", f"{held.ns / NS:,.1f}" if held.ns else "", most[3]),
    )
    refills = view.limit.per if view.refills_ns is None else date(view.refills_ns)
    return (view.label, *cells, _rates(view.limit), "-" if refills == "ever" else refills)


def _cell(used: str, held: str, most: str) -> str:
    return used + (f"+{held}" if held else "") + (f" of {most}" if most != "-" else "")


def _limits(limit: Limit) -> tuple[str, str, str, str]:
    most = limit.budget
    return (
        "-" if most.calls is None else f"{most.calls:,}",
        "-" if most.tokens is None else f"{most.tokens:,}",
        "-" if most.nano_dollars is None else money(most.nano_dollars),
        "-" if most.seconds is None else f"{most.seconds:,g}",
    )


def _rates(limit: Limit) -> str:
    calls, tokens = limit.calls_per_minute, limit.tokens_per_minute
    said = [] if calls is None else [counted(calls, "call")]
    said += [] if tokens is None else [counted(tokens, "token")]
    return ", ".join(said) or "-"


def _details(view: AccountView) -> list[tuple[str, str]]:
    row = _row(view)
    ever = view.used_ever
    return [
        ("account", view.account),
        ("known as", view.label),
        (
            "limit",
            {"set": "set by an operator", "none": "none"}.get(view.source, f"its {view.source}'s"),
        ),
        *((title.lower(), cell) for title, cell in zip(TITLES[1:], row[1:], strict=True)),
        (
            "ever",
            f"{counted(ever.calls, 'call')}, {counted(ever.tokens, 'token')}, "
            f"{money(ever.nano_dollars)}, {ever.ns / NS:,.1f} s",
        ),
    ]


def budget_text(view: ProcessView) -> str:
    """What a process and its children have used of what they may."""
    most, used = _limits(Limit(budget=view.budget)), view.used
    amounts = (
        f"{used.calls:,}",
        f"{used.tokens:,}",
        money(used.nano_dollars),
        f"{used.ns / NS:,.1f}",
    )
    units = (" calls", " tokens", "", " seconds")
    shown = [
        f"{amount} of {limit}{unit}"
        for amount, limit, unit in zip(amounts, most, units, strict=True)
        if limit != "-"
    ]
    return ", ".join(shown) or "no limit"
