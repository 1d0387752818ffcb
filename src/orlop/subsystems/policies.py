"""What operators may say and ask of policies.

A new set is read and checked whole before anything changes, then journaled, then in force from one
call to the next.  One that is wrong changes nothing, and the old one stays.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orlop.abi.calls import call_name
from orlop.abi.errors import BadCall, Conflict, Misconfigured, NotFound
from orlop.abi.events import CallEntered
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, CallId, Nanoseconds, Pid, TenantId
from orlop.abi.limits import NAME_CHARS_MAX, POLICY_CASES_MAX
from orlop.abi.policy import (
    CaseOrder,
    CaseResult,
    Decision,
    Explanation,
    Files,
    Finding,
    PolicyOrder,
    PolicyRefused,
    PolicyRemoved,
    PolicyReport,
    PolicySet,
    PolicyView,
    RuleChange,
    RuleView,
    ShadowView,
)
from orlop.access import policy_cases
from orlop.access.policy import Policy
from orlop.access.policy_calls import targets
from orlop.access.policy_reading import Read, read
from orlop.access.policy_rule import Rule
from orlop.access.policy_text import GROUPS_FILE, digest_of
from orlop.state import codec, policy_facts
from orlop.state.core import Kernel
from orlop.state.guard import Guard, PolicyConfig, Tally, opened
from orlop.subsystems import policy

log = logging.getLogger(__name__)

CLOSED_FILES: Final[Files] = {
    "closed.cedar": '@id("closed") @reason("the policy can\'t be read: `orlop policy show` says '
    'why, `orlop policy reload` reads it again")\nforbid(principal, action, resource);\n'
}
"""In force where a folder is named, its files are wrong, and there were never others: what nobody
could read must not mean that everything may be done."""

FINDINGS_SAID: Final = 5
"""Of what is wrong, in one error."""


def check_config(config: PolicyConfig) -> None:
    """Raises `Misconfigured`."""
    for key, folder in (("dir", config.dir), ("shadow", config.shadow)):
        if folder and not Path(folder).expanduser().is_absolute():
            raise Misconfigured(f"[policy] {key} = {folder!r}: write the whole path")
    try:
        ZoneInfo(config.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Misconfigured(
            f"[policy] zone: no time zone {config.zone!r}; write one as in Europe/Berlin"
        ) from None


def begin(kernel: Kernel) -> None:
    """At power on: the sets that the journal has, then those of the folders."""
    config = kernel.guard.config
    for tenant in kernel.tables.policies.sets:
        restore(kernel, tenant)
    has_one = kernel.tables.policies.of(DEFAULT_TENANT).current is not None
    for folder, shadow in ((config.dir, False), (config.shadow, True)):
        if not folder:
            continue
        try:
            files = files_of(folder)
            found = usable(files, folder, read(files, shapes(kernel)))
            _put(kernel, DEFAULT_TENANT, found, shadow=shadow)
        except BadCall as error:
            log.error("the %spolicy is as it was: %s", "shadow " if shadow else "", error.message)
            if not shadow and not has_one:
                kernel.guard.put(_trusted(CLOSED_FILES, "closed"))
            _remember(kernel, error.message, shadow=shadow)


def restore(kernel: Kernel, tenant: TenantId) -> None:
    """The sets that the journal has of it are in force."""
    sets, guard = kernel.tables.policies.of(tenant), kernel.guard.of(tenant)
    if sets.current is not None:
        guard.put(_trusted(sets.current.files, sets.current.origin))
    if sets.shadow is not None:
        guard.put_shadow(_trusted(sets.shadow.files, sets.shadow.origin))


def follow(kernel: Kernel, tenant: TenantId) -> None:
    """Another kernel has changed them."""
    sets, guard = kernel.tables.policies.of(tenant), kernel.guard.of(tenant)
    guard.put(opened())
    guard.put_shadow(None)
    if sets.current is not None or sets.shadow is not None:
        restore(kernel, tenant)


def _trusted(files: Files, origin: str) -> Policy:
    """A set that was in force: it was right then, and still is but for what its rules speak of."""
    return Policy(files, origin, read(files, lambda tool: None))


def _remember(kernel: Kernel, problem: str, *, shadow: bool) -> None:
    if shadow:
        kernel.guard.shadow_problem = problem
    else:
        kernel.guard.problem = problem


def files_of(folder: str) -> Files:
    """Every `*.cedar`, and `groups.toml`.  Raises `BadCall`."""
    path = Path(folder).expanduser()
    try:
        found = [file for file in sorted(path.iterdir()) if file.suffix == ".cedar"]
        found += [path / GROUPS_FILE] if (path / GROUPS_FILE).exists() else []
        return {file.name: file.read_text(encoding="utf-8") for file in found}
    except (OSError, UnicodeDecodeError) as error:
        raise BadCall(f"the policy in {folder} can't be read: {error}") from error


def shapes(kernel: Kernel) -> Callable[[str], Mapping[str, object] | None]:
    """The arguments of the tools that are here now."""
    return {card.name: card.parameters for card in kernel.tools.cards()}.get


async def reading(kernel: Kernel, files: Files) -> Read:
    """All that is wrong with the files; beside the loop, since large ones take a while."""
    return await kernel.guard.offload(read, files, shapes(kernel))


def usable(files: Files, origin: str, found: Read) -> Policy:
    """Raises `BadCall` with what is wrong, where, and what to do."""
    if not found.is_usable:
        _wrong(found)
    return Policy(files, origin, found)


async def made(kernel: Kernel, files: Files, origin: str) -> Policy:
    """Raises `BadCall`."""
    return usable(files, origin, await reading(kernel, files))


def _wrong(found: Read) -> NoReturn:
    errors = [finding for finding in found.findings if finding.severity == "error"]
    lines = [line_of(finding) for finding in errors[:FINDINGS_SAID]]
    more = len(errors) - FINDINGS_SAID
    raise BadCall("; ".join(lines) + (f"; and {more} more" if more > 0 else ""))


def line_of(finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}: " if finding.file else ""
    rule = f"{finding.rule}: " if finding.rule and finding.rule != place[:-2] else ""
    return f"{place}{rule}{finding.message}. {finding.fix}"


def _put(kernel: Kernel, tenant: TenantId, new: Policy, *, shadow: bool) -> None:
    """In force from the next call on."""
    sets, guard = kernel.tables.policies.of(tenant), kernel.guard.of(tenant)
    before = sets.shadow if shadow else sets.current
    if before is None or before.digest != new.digest or before.origin != new.origin:
        event = PolicySet(digest=new.digest, files=new.files, origin=new.origin, shadow=shadow)
        kernel.emit(KERNEL_PROCESS, tenant, event)
    if shadow:
        guard.put_shadow(new)
    else:
        guard.put(new)
    name = f"{'shadow ' if shadow else ''}policy of {tenant}"
    log.info("%s %s from %s: %d rules", name, new.digest[:12], new.origin, len(new.rules))


async def reload(kernel: Kernel) -> PolicyView:
    """Read the folders again.  What is wrong in one of them leaves that set as it was."""
    config = kernel.guard.config
    if not config.dir and not config.shadow:
        raise Conflict("no `[policy] dir` is set; `orlop policy set DIR` sends a policy instead")
    wrong = []
    for folder, shadow in ((config.dir, False), (config.shadow, True)):
        if not folder:
            continue
        try:
            found = await made(kernel, files_of(folder), folder)
            _put(kernel, DEFAULT_TENANT, found, shadow=shadow)
        except BadCall as error:
            _remember(kernel, error.message, shadow=shadow)
            wrong.append(error.message)
    await kernel.journal.flush()
    if wrong:
        log.error("the policy stays as it was: %s", "; ".join(wrong))
        raise BadCall(f"the old policy stays in force: {'; '.join(wrong)}")
    return view(kernel)


async def put(kernel: Kernel, order: PolicyOrder, tenant: TenantId = DEFAULT_TENANT) -> PolicyView:
    """Put a set in force that an operator has sent.  Raises `BadCall`, `Conflict`."""
    config = kernel.guard.of(tenant).config
    folder = config.shadow if order.shadow else config.dir
    if folder:
        raise Conflict(
            f"this policy lies in {folder} (orlop.toml): change it there, and `orlop policy reload`"
        )
    found = await made(kernel, order.files, order.origin or "an operator")
    await kernel.alone()
    _put(kernel, tenant, found, shadow=order.shadow)
    await kernel.journal.flush()
    return view(kernel, tenant)


async def remove(kernel: Kernel, tenant: TenantId = DEFAULT_TENANT, *, shadow: bool) -> PolicyView:
    """Back to what is built in; or no shadow any more.  Raises `Conflict`, `NotFound`."""
    await kernel.alone()
    sets, guard = kernel.tables.policies.of(tenant), kernel.guard.of(tenant)
    config = guard.config
    if config.shadow if shadow else config.dir:
        raise Conflict("it is named in orlop.toml: take it out there, and start the kernel again")
    if (sets.shadow if shadow else sets.current) is None:
        raise NotFound("no policy is set" if not shadow else "no shadow policy is set")
    kernel.emit(KERNEL_PROCESS, tenant, PolicyRemoved(shadow=shadow))
    if shadow:
        guard.put_shadow(None)
    else:
        guard.put(opened())
    await kernel.journal.flush()
    return view(kernel, tenant)


def view(kernel: Kernel, tenant: TenantId = DEFAULT_TENANT) -> PolicyView:
    guard = kernel.guard.of(tenant)
    present, tally = guard.policy, guard.tally
    return PolicyView(
        digest=present.digest,
        origin=present.origin,
        files=present.files,
        rules=tuple(rule_view(rule, tally) for rule in present.rules.values()),
        since_ns=kernel.tables.policies.of(tenant).since_ns,
        problem=guard.problem,
        decisions=tally.decisions,
        refused=tally.refused,
        asked=tally.asked,
        shadow=_shadow_view(guard),
        findings=present.findings,
    )


def _shadow_view(guard: Guard) -> ShadowView | None:
    shadow = guard.shadow
    if shadow is None and not guard.shadow_problem:
        return None
    return ShadowView(
        digest=shadow.digest if shadow is not None else "",
        origin=shadow.origin if shadow is not None else guard.config.shadow,
        files=shadow.files if shadow is not None else {},
        decisions=guard.shadow_tally.decisions,
        differing=guard.differing,
        newest=tuple(guard.differences),
        problem=guard.shadow_problem,
    )


def rule_view(rule: Rule, tally: Tally) -> RuleView:
    return RuleView(
        id=rule.id,
        effect="ask" if rule.asks else "permit" if rule.effect == "permit" else "forbid",
        file=rule.statement.file,
        line=rule.statement.line,
        text=rule.statement.text,
        reason=rule.told,
        decided=tally.by_rule[rule.id],
    )


async def check(kernel: Kernel, files: Files) -> PolicyReport:
    """What is wrong with a set; nothing changes."""
    found = await reading(kernel, files)
    digest = digest_of(files) if found.is_usable else ""
    return PolicyReport(digest=digest, rules=len(found.rules), findings=found.findings)


async def run_cases(
    kernel: Kernel, order: CaseOrder, tenant: TenantId = DEFAULT_TENANT
) -> list[CaseResult]:
    """Raises `BadCall` for a set that can't be used."""
    if len(order.cases) > POLICY_CASES_MAX:
        raise BadCall(f"cases: at most {POLICY_CASES_MAX} (POLICY_CASES_MAX)")
    asked = kernel.guard.of(tenant).policy
    if order.files is not None:
        asked = await made(kernel, order.files, "a test")
    world = policy.world_of(kernel)

    def known(action: str, name: str) -> Mapping[str, object]:
        return policy_facts.attributes(world, action, name)

    return [policy_cases.run(asked, case, known) for case in order.cases]


async def difference(
    kernel: Kernel, files: Files, tenant: TenantId = DEFAULT_TENANT
) -> list[RuleChange]:
    """What another set has that the one in force does not, and the other way round."""
    was = kernel.guard.of(tenant).policy.rules
    now = (await made(kernel, files, "a comparison")).rules
    found = []
    for id in sorted({*was, *now}):
        if id not in was:
            found.append(RuleChange(rule=id, change="added", now=now[id].statement.text))
        elif id not in now:
            found.append(RuleChange(rule=id, change="removed", was=was[id].statement.text))
        elif was[id].statement.text != now[id].statement.text:
            texts = was[id].statement.text, now[id].statement.text
            found.append(RuleChange(rule=id, change="changed", was=texts[0], now=texts[1]))
    return found


async def why(kernel: Kernel, call: str, tenant: TenantId = DEFAULT_TENANT) -> Explanation:
    """Which rules decided a call, and with what facts.  Raises `NotFound`."""
    await kernel.journal.flush()
    for stored in await kernel.elders.of_call(CallId(call)):
        event, header = codec.decode(stored), stored.header
        if header.tenant != tenant:
            break
        row = kernel.tables.rows.get(header.process)
        carried = kernel.tables.policies.carried.get(header.process, {})
        match event:
            case PolicyRefused():
                action, resource, refused = event.action, event.resource, True
                decision = event.decision
            case CallEntered():
                done = targets(event.body, row.name if row is not None else "", header.process)
                action, resource = done[0] if done else (call_name(event.body), "")
                said = "no policy was set" if done else "a process's own affair: no rule is asked"
                decision, refused = event.decision or Decision(reason=said), False
            case _:
                continue
        return Explanation(
            call=CallId(call),
            pid=row.pid if row is not None else Pid(0),
            agent=row.name if row is not None else "",
            action=action,
            resource=resource,
            decision=decision,
            labels=event.labels,
            sources={label: carried[label] for label in event.labels if label in carried},
            rules=_texts(kernel.guard.of(tenant), decision),
            was_refused=refused,
            wall_ns=Nanoseconds(header.wall_ns),
        )
    raise NotFound(f"the journal has no call {call[:NAME_CHARS_MAX]!r}")


def _texts(guard: Guard, decision: Decision) -> tuple[RuleView, ...]:
    """The rules' texts, where the set that decided is still in force: the asker's own."""
    rules, digest = guard.policy.rules, guard.policy.digest
    if not digest.startswith(decision.policy or "-"):
        return ()
    found = [rules[id] for id in decision.rules if id in rules]
    return tuple(rule_view(rule, guard.tally) for rule in found)
