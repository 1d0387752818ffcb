"""`orlop policy`: what may be done, by which rules, and what other rules would have done."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import click
import msgspec

from orlop.abi.ids import Nanoseconds
from orlop.abi.policy import (
    BacktestOrder,
    BacktestReport,
    Case,
    CaseOrder,
    CaseResult,
    Decision,
    Difference,
    Files,
    Finding,
    PolicyOrder,
    PolicyView,
    RuleView,
)
from orlop.console.exits import FAILED, OK
from orlop.console.frame import Frame, framed
from orlop.console.lazy import Entry, LazyGroup
from orlop.console.screen import counted, date, fields, show_json, table
from orlop.machine.plain_clock import wall_ns
from orlop.shell.options import DURATION

FOLDER: Final = click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
SHADOW: Final = click.option("--shadow", is_flag=True, help="The one that is only asked beside.")


SECTION: Final = "Commands"


class PolicyGroup(LazyGroup):
    entries: ClassVar = {
        "show": Entry(
            SECTION, "Show what is in force, and what it has decided.", "orlop.shell.policy:show"
        ),
        "check": Entry(SECTION, "Say what is wrong with a policy.", "orlop.shell.policy:check"),
        "lint": Entry(SECTION, "The same on the files alone, without a kernel."),
        "test": Entry(SECTION, "Decide written cases.", "orlop.shell.policy:run_cases"),
        "diff": Entry(
            SECTION, "Compare a policy with the one in force.", "orlop.shell.policy:diff"
        ),
        "backtest": Entry(
            SECTION, "Decide the calls in the journal.", "orlop.shell.policy:backtest"
        ),
        "set": Entry(SECTION, "Put a policy in force, or beside it.", "orlop.shell.policy:put"),
        "reload": Entry(
            SECTION, "Read the folders of orlop.toml again.", "orlop.shell.policy:reload"
        ),
        "remove": Entry(SECTION, "Go back to what is built in.", "orlop.shell.policy:remove"),
        "why": Entry(SECTION, "Say which rules decided a call.", "orlop.shell.policy:why"),
        "template": Entry(SECTION, "Print a policy to begin with.", "orlop.shell.policy:template"),
    }
    prefix = "policy."


@click.group(cls=PolicyGroup, invoke_without_command=True)
@framed
def policy(frame: Frame) -> None:
    """Show, check, set and test what may be done.

    A policy is a folder of Cedar rules (`*.cedar`) and, where they speak of groups, a
    `groups.toml`.  Without one everything is permitted.
    """
    if click.get_current_context().invoked_subcommand is None:
        _show(frame, text=False)


@click.command("show")
@click.option("--text", is_flag=True, help="Print the rules as they were written.")
@framed
def show(frame: Frame, text: bool) -> None:
    """Show the policy in force, and what it has decided since the kernel's start."""
    _show(frame, text=text)


def _show(frame: Frame, *, text: bool) -> None:
    view = frame.operator().policy()
    if frame.as_json:
        show_json(view)
        return
    if text:
        for name, content in view.files.items():
            click.echo(f"// {name}\n{content}")
        return
    lines = [
        ("from", view.origin),
        ("digest", view.digest[:16]),
        ("since", date(view.since_ns) if view.since_ns else "the kernel's start"),
        ("asked of", counted(view.decisions, "call")),
        ("of these", f"{view.refused} refused, {view.asked} put to people"),
    ]
    if view.problem:
        lines.append(("problem", f"newer files are not in force: {view.problem}"))
    click.echo(fields(lines))
    titles = ("RULE", "DOES", "WHERE", "DECIDED", "REASON")
    click.echo(table(titles, [_rule(rule) for rule in view.rules], frozenset({3})))
    findings(view.findings)
    _shadow(view)


def _rule(rule: RuleView) -> tuple[str, ...]:
    return rule.id, rule.effect, f"{rule.file}:{rule.line}", str(rule.decided), rule.reason or "-"


def _shadow(view: PolicyView) -> None:
    shadow = view.shadow
    if shadow is None:
        return
    click.echo(
        f"\nbeside it: {shadow.origin} {shadow.digest[:16]}, which would have decided "
        f"{shadow.differing} of {shadow.decisions} calls otherwise"
    )
    if shadow.problem:
        click.echo(f"problem: newer files are not asked: {shadow.problem}")
    _differences(shadow.newest)


@click.command("check")
@FOLDER
@framed
def check(frame: Frame, folder: Path) -> int:
    """Say what is wrong with a policy, where, and what to do; nothing changes."""
    report = frame.operator().check_policy(PolicyOrder(files=read_folder(folder)))
    if frame.as_json:
        show_json(report)
    else:
        findings(report.findings)
        click.echo(
            f"{counted(report.rules, 'rule')}: {'they can be used' if report.digest else 'no use'}"
        )
    return OK if report.digest else FAILED


@click.command("set")
@FOLDER
@SHADOW
@framed
def put(frame: Frame, folder: Path, shadow: bool) -> None:
    """Put a policy in force from the next call on, or beside the one that is."""
    order = PolicyOrder(files=read_folder(folder), origin=str(folder.resolve()), shadow=shadow)
    view = frame.operator().set_policy(order)
    if frame.as_json:
        show_json(view)
        return
    findings(view.findings)
    shown = view.shadow.digest if shadow and view.shadow is not None else view.digest
    click.echo(f"{'beside' if shadow else 'in force'}: {shown[:16]}")


@click.command("remove")
@SHADOW
@framed
def remove(frame: Frame, shadow: bool) -> None:
    """Go back to what is built in, where everything is permitted."""
    view = frame.operator().remove_policy(shadow=shadow)
    if frame.as_json:
        show_json(view)
    else:
        click.echo(f"in force: {view.origin} {view.digest[:16]}")


@click.command("reload")
@framed
def reload(frame: Frame) -> None:
    """Read the folders that orlop.toml names again; what is wrong changes nothing."""
    view = frame.operator().reload_policy()
    if frame.as_json:
        show_json(view)
    else:
        findings(view.findings)
        click.echo(
            f"in force: {view.digest[:16]} from {view.origin}, {counted(len(view.rules), 'rule')}"
        )


@click.command("test")
@click.argument("cases", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--dir",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Test this policy, not the one in force.",
)
@framed
def run_cases(frame: Frame, cases: Path, folder: Path | None) -> int:
    """Decide the calls that CASES (TOML or JSON) names, and compare with what must come of them."""
    order = CaseOrder(
        cases=read_cases(cases), files=read_folder(folder) if folder is not None else None
    )
    decided = frame.operator().test_policy(order)
    if frame.as_json:
        show_json(decided)
    else:
        results(decided)
    return OK if all(result.passed for result in decided) else FAILED


@click.command("diff")
@FOLDER
@framed
def diff(frame: Frame, folder: Path) -> None:
    """Show how a policy differs from the one in force, rule by rule."""
    changes = frame.operator().diff_policy(PolicyOrder(files=read_folder(folder)))
    if frame.as_json:
        show_json(changes)
        return
    if not changes:
        click.echo("they are the same")
    for change in changes:
        click.echo(f"{change.rule}: {change.change}")
        for mark, text in (("-", change.was), ("+", change.now)):
            for line in text.splitlines():
                click.echo(f"  {mark} {line}")


@click.command("backtest")
@FOLDER
@click.option("--since", type=DURATION, default=7 * 86_400.0, show_default="7d", help="How far.")
@framed
def backtest(frame: Frame, folder: Path, since: float) -> None:
    """Say what a policy would have decided of the calls in the journal."""
    since_ns = Nanoseconds(max(0, wall_ns() - round(since * 1e9)))
    order = BacktestOrder(files=read_folder(folder), since_ns=since_ns)
    report = frame.operator().backtest_policy(order)
    if frame.as_json:
        show_json(report)
    else:
        _report(report)


def _report(report: BacktestReport) -> None:
    click.echo(f"{counted(report.calls, 'call')}, {report.differing} would have come out otherwise")
    if report.unreadable:
        click.echo(f"{report.unreadable} more are no longer kept")
    for change, count in report.by_change.items():
        click.echo(f"  {change}: {count}")
    for rule, count in report.by_rule.items():
        click.echo(f"  by {rule}: {count}")
    _differences(report.newest)


@click.command("why")
@click.argument("call")
@framed
def why(frame: Frame, call: str) -> None:
    """Say which rules decided a recorded call, and with what facts."""
    found = frame.operator().why(call)
    if frame.as_json:
        show_json(found)
        return
    decision = found.decision
    lines = [
        ("call", f"{found.call} by {found.agent} (pid {found.pid}), {date(found.wall_ns)}"),
        ("what", f"{found.action} {found.resource}"),
        ("decision", decision.verdict + (", so it was refused" if found.was_refused else "")),
        ("rules", ", ".join(decision.rules) or "none"),
    ]
    if decision.reason:
        lines.append(("reason", decision.reason))
    if decision.facts:
        lines.append(("facts", json.dumps(decision.facts, ensure_ascii=False)))
    for label in found.labels:
        lines.append(("label", f"{label}, first by {found.sources.get(label, 'another process')}"))
    click.echo(fields(lines))
    for rule in found.rules:
        click.echo(f"\n// {rule.file}:{rule.line}\n{rule.text}")


@click.command("template")
@click.argument("name", required=False)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Write it there.")
@framed
def template(frame: Frame, name: str | None, to: Path | None) -> None:
    """Print a policy to begin with, or write it into a folder; without a name, list them."""
    templates = frame.operator().policy_templates()
    if name is not None and name not in templates:
        raise click.UsageError(f"no template {name!r}; there is: {', '.join(templates)}")
    if frame.as_json:
        show_json(templates if name is None else {name: templates[name]})
        return
    if name is None:
        click.echo("\n".join(templates))
        return
    for file, text in templates[name].items():
        if to is None:
            click.echo(f"// {file}\n{text}")
            continue
        to.mkdir(parents=True, exist_ok=True)
        if (to / file).exists():
            raise click.UsageError(f"{to / file} exists already")
        (to / file).write_text(text, encoding="utf-8")
        click.echo(str(to / file))


def read_folder(folder: Path) -> Files:
    """As the kernel reads it: every `*.cedar`, and `groups.toml`."""
    found = sorted(folder.glob("*.cedar"))
    groups = folder / "groups.toml"
    try:
        files = [*found, groups] if groups.exists() else found
        return {file.name: file.read_text(encoding="utf-8") for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{folder} can't be read: {error}") from error


def read_cases(path: Path) -> tuple[Case, ...]:
    """`[[case]]` tables, or JSON `{"case": […]}`."""
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return msgspec.convert(document.get("case", []), tuple[Case, ...])
    except (OSError, ValueError, AttributeError, msgspec.ValidationError) as error:
        raise click.UsageError(f"{path} holds no cases: {error}") from error


def results(decided: Sequence[CaseResult]) -> None:
    """Cases that came out otherwise, and how many did not."""
    failed = [result for result in decided if not result.passed]
    for result in failed:
        rules = ", ".join(result.decision.rules) or "no rule"
        click.echo(f"FAILED {result.name}: {result.wrong} ({rules})")
    click.echo(f"{len(decided) - len(failed)} of {len(decided)} cases are as they must be")


def findings(found: Sequence[Finding]) -> None:
    """Each with its place and what to do."""
    for finding in found:
        place = f"{finding.file}:{finding.line}" if finding.file else "the policy"
        rule = f" ({finding.rule})" if finding.rule and finding.rule != place else ""
        click.echo(f"{finding.severity}: {place}{rule}: {finding.message}\n  fix: {finding.fix}")


def _differences(found: tuple[Difference, ...]) -> None:
    if not found:
        return
    titles = ("CALL", "AGENT", "ACTION", "ON", "WAS", "WOULD BE", "BY")
    rows = [
        (one.call, one.agent, one.action, one.resource, one.was.verdict, one.now.verdict, by(one))
        for one in found
    ]
    click.echo(table(titles, rows, frozenset()))


def by(one: Difference) -> str:
    decisive: Decision = one.now if one.now.verdict != "permit" else one.was
    return ", ".join(decisive.rules) or "no rule permits it"
