"""`orlop token`: narrow, look at, and revoke the tokens of processes."""

import os
import sys

import click

from orlop.abi.budgets import NOTHING
from orlop.abi.calls import Budget
from orlop.abi.capabilities import BlockView, TokenView
from orlop.abi.rights import Rights
from orlop.console.frame import Frame, framed, homed
from orlop.console.screen import date, money, show_json, table
from orlop.sdk.tokens import narrowed, own_token, said
from orlop.shell.options import DURATION, BudgetType, allow_option

STANDARD_INPUT = "-"


@click.group()
def token() -> None:
    """Narrow, show and revoke the tokens of processes.

    TOKEN is a token, `-` for standard input, or left out: then it is $ORLOP_TOKEN.
    """


@token.command()
@click.argument("text", metavar="[TOKEN]", default="")
@allow_option
@click.option("--expires", "expires_s", type=DURATION, help="After how long: 30m, 24h, 90d.")
@click.option(
    "--budget", type=BudgetType(), help="What may be used with it, as in --budget of run."
)
@homed
def narrow(
    frame: Frame,
    text: str,
    allow: Rights | None,
    expires_s: float | None,
    budget: Budget | None,
) -> None:
    """Print a token with fewer rights, a budget, or for a shorter time.  Asks no kernel."""
    if allow is None and expires_s is None and budget is None:
        raise click.UsageError(
            "say what it may still do (--allow), how long (--expires), or use (--budget)"
        )
    made = narrowed(_given(text), allow=allow, expires_s=expires_s, budget=budget)
    if frame.as_json:
        show_json({"token": made, "id": said(made).ids[-1]})
    else:
        click.echo(made)


@token.command()
@click.argument("text", metavar="[TOKEN]", default="")
@click.option("--offline", is_flag=True, help="Only what it says; nobody checks who signed it.")
@framed
def show(frame: Frame, text: str, offline: bool) -> None:
    """Show what a token says, and whether the kernel accepts it."""
    given = _given(text)
    view = _unverified(given) if offline else frame.operator().token(given)
    if frame.as_json:
        show_json(view)
        return
    click.echo(f"process      {view.process}, incarnation {view.incarnation} ({view.tenant})")
    click.echo(f"format       {view.format}, signed with key {view.key}")
    rows = [
        (
            "revoked" if block.revoked else "",
            "as before" if block.allow is None else ", ".join(block.allow) or "nothing",
            date(block.expires_ns),
            spent(block),
            block.id,
        )
        for block in view.blocks
    ]
    click.echo(table(("", "MAY", "EXPIRES", "USED OF BUDGET", "ID"), rows, frozenset()))
    unknown = "nobody has checked it" if offline else "accepted"
    click.echo(view.refusal or unknown)


@token.command()
@click.argument("what")
@click.option("--reason", default="", help="Told to whoever calls with it.")
@framed
def revoke(frame: Frame, what: str, reason: str) -> None:
    """Refuse a token from now on, and all that were narrowed from it.

    WHAT is the token, the id of one of its blocks (`orlop token show`), or a process: then it is
    every token of its present incarnation.
    """
    meant = _given(what) if what == STANDARD_INPUT else what
    view = frame.operator().revoke_token(meant, reason)
    if frame.as_json:
        show_json(view)
    else:
        click.echo(f"revoked {view.id}")


@token.command()
@framed
def revoked(frame: Frame) -> None:
    """List what was revoked."""
    found = frame.operator().revoked_tokens()
    if frame.as_json:
        show_json(found)
    elif not found:
        click.echo("no revoked tokens")
    else:
        rows = [(date(row.revoked_ns), date(row.expires_ns), row.reason, row.id) for row in found]
        click.echo(table(("REVOKED", "EXPIRES", "REASON", "ID"), rows, frozenset()))


@token.command()
@homed
def keys(frame: Frame) -> None:
    """List the public keys that tokens are checked with."""
    found = frame.operator().signing_keys()
    if frame.as_json:
        show_json(found)
        return
    rows = [(str(row.key), date(row.made_ns), date(row.until_ns), row.public) for row in found]
    click.echo(table(("KEY", "MADE", "ACCEPTED UNTIL", "ED25519"), rows, frozenset({0})))


def spent(block: BlockView) -> str:
    """Of each unit that its budget counts."""
    budget, used = block.budget or Budget(), block.used or NOTHING
    said = [
        (f"{used.calls:,} of {budget.calls:,} calls") if budget.calls is not None else "",
        (f"{used.tokens:,} of {budget.tokens:,} tokens") if budget.tokens is not None else "",
        f"{money(used.nano_dollars)} of {money(budget.nano_dollars)}"
        if budget.nano_dollars is not None
        else "",
        f"{used.ns / 1e9:g} of {budget.seconds:g} s" if budget.seconds is not None else "",
    ]
    return ", ".join(text for text in said if text)


def _given(text: str) -> str:
    if text == STANDARD_INPUT:
        return sys.stdin.readline(1 << 16).strip()
    return text or os.environ.get("ORLOP_TOKEN", "") or own_token()


def _unverified(text: str) -> TokenView:
    read = said(text)
    return TokenView(
        format=read.format,
        process=read.first.process,
        incarnation=read.first.incarnation,
        tenant=read.first.tenant,
        key=read.key,
        blocks=tuple(
            BlockView(
                id=id,
                allow=block.allow,
                expires_ns=block.expires_ns,
                budget=block.budget if block is not read.first else None,
            )
            for id, block in zip(read.ids, (read.first, *read.blocks), strict=True)
        ),
    )
