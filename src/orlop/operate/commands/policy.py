"""`orlop policy lint`: a policy checked on its files alone, for where no kernel runs (CI)."""

from collections.abc import Mapping
from pathlib import Path

import click

from orlop.abi.cards import ToolCard
from orlop.abi.policy import CaseResult, Finding
from orlop.access import policy_cases
from orlop.access.policy import Policy
from orlop.access.policy_reading import read
from orlop.console.exits import FAILED, OK
from orlop.console.frame import Frame, framed
from orlop.console.screen import counted, show_json
from orlop.settings import read_settings
from orlop.shell.policy import findings, read_cases, read_folder, results
from orlop.state.policy_facts import of_tool


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--cases",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Decide these too (TOML or JSON).",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The orlop.toml whose tools the rules speak of.  Default: the home's, if there is one.",
)
@framed
def lint(frame: Frame, folder: Path, cases: Path | None, config: Path | None) -> int:
    """Check a policy on its files alone, and decide cases; no kernel needs to run.

    Tools are those of orlop.toml; arguments of MCP servers' tools can't be checked here.
    """
    cards = _cards(config, frame.home)
    files = read_folder(folder)
    found = read(files, {card.name: card.parameters for card in cards.values()}.get)
    decided: list[CaseResult] = []
    if cases is not None and found.is_usable:
        made = Policy(files, str(folder), found)
        decided = [
            policy_cases.run(made, case, lambda action, name: _known(cards, action, name))
            for case in read_cases(cases)
        ]
    _say(frame, found.findings, len(found.rules), decided)
    is_right = found.is_usable and all(result.passed for result in decided)
    return OK if is_right else FAILED


def _cards(config: Path | None, home: Path) -> Mapping[str, ToolCard]:
    settings = read_settings(config, home, ())
    return {name: entry.card(name) for name, entry in settings.tools.items()}


def _known(cards: Mapping[str, ToolCard], action: str, name: str) -> Mapping[str, object]:
    return of_tool(cards[name]) if action == "call_tool" and name in cards else {}


def _say(frame: Frame, found: tuple[Finding, ...], rules: int, decided: list[CaseResult]) -> None:
    if frame.as_json:
        show_json({"rules": rules, "findings": found, "cases": decided})
        return
    findings(found)
    wrong = any(finding.severity == "error" for finding in found)
    click.echo(f"{counted(rules, 'rule')}: {'no use' if wrong else 'they can be used'}")
    if decided:
        results(decided)
