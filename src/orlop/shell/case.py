"""A hand-over on a terminal: the question, what was said, what was done."""

import json

import click

from orlop.abi.messages import Message
from orlop.abi.people import CaseEffect, CaseFile
from orlop.console.frame import Frame
from orlop.console.screen import counted, date, fields, money, show_json
from orlop.shell.answers import harmless

CHARS_MAX = 4_000
"""Of one message on the terminal; `--json` has all."""


def show_case(frame: Frame, case: CaseFile) -> None:
    if frame.as_json:
        show_json(case)
    else:
        click.echo("\n\n".join(part for part in parts(case) if part))


def parts(case: CaseFile) -> list[str]:
    row, process = case.question, case.process
    head = [
        ("question", f"{row.id} ({row.state}): {harmless(row.text)}"),
        ("arguments", json.dumps(row.arguments, ensure_ascii=True)),
        ("asked by", row.asked_by or "the agent"),
        ("process", f"{process.pid} ({process.name}), {process.state}"),
        ("so far", f"{counted(process.calls, 'call')}, {money(process.cost)}"),
    ]
    said = [f"{_bold(message.role)}: {_text(message)}" for message in case.conversation]
    if case.left_out:
        said.insert(0, f"({case.left_out} earlier messages are in the journal)")
    return [
        fields(head),
        _section("What was said", said),
        _section("What was done", [_effect(effect) for effect in case.effects]),
        _section(
            "What else was asked",
            [
                f"{one.id} {one.state} {harmless(one.tool or one.text[:80])}"
                for one in case.questions
            ],
        ),
        _section(
            "Grants", [f"{one.id} {one.tool}: {counted(one.calls, 'call')}" for one in case.grants]
        ),
    ]


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([_bold(title), *lines]) if lines else ""


def _bold(text: str) -> str:
    return click.style(text, bold=True)


def _effect(effect: CaseEffect) -> str:
    by = f"  by {effect.cleared_by}" if effect.cleared_by else ""
    result = json.dumps(effect.result, ensure_ascii=True)[:200]
    arguments = json.dumps(effect.arguments, ensure_ascii=True)
    return f"{date(effect.at_ns)}  {effect.tool} {arguments}: {effect.status} {result}{by}"


def _text(message: Message) -> str:
    text = message.text() or ", ".join(f"{use.name}({use.arguments})" for use in message.tool_uses)
    shown = harmless(text)
    return shown if len(shown) <= CHARS_MAX else f"{shown[:CHARS_MAX]}…"
