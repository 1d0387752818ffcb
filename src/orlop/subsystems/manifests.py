"""What servers say of their tools: agreed to once, and watched from then on.

The first description is taken as it is, unless orlop.toml names its digest.  A tool that is then
described otherwise is not called until an operator has looked: its description and schemas are
shown to models, so who changes them gives orders to agents.
"""

import logging
from collections.abc import Sequence

from msgspec.structs import replace

from orlop.abi.cards import ToolCard
from orlop.abi.errors import BadCall, Conflict, NotFound
from orlop.abi.ids import DEFAULT_TENANT, KERNEL_PROCESS, ProcessId, TenantId
from orlop.abi.limits import NAME_CHARS_MAX
from orlop.abi.tools import (
    Manifest,
    PinReason,
    ToolChanged,
    ToolPinned,
    ToolRefused,
    ToolState,
    ToolView,
)
from orlop.effects.found import Found, Source
from orlop.machine import redaction
from orlop.state.core import Kernel

log = logging.getLogger(__name__)


async def learn(kernel: Kernel, source: Source, found: Sequence[Found]) -> None:
    """All that a source offers now; what it offers no longer can't be called."""
    offered = [one for one in found if not source.wanted or one.plain in source.wanted]
    for one in offered:
        _offer(kernel, one, source.pins.get(one.plain, ""))
    names = {one.name for one in offered}
    for name in kernel.tools.of_server(source.name):
        if name not in names:
            log.warning("%s is no longer offered", name)
            kernel.tools.drop(name)
    await kernel.journal.flush()


def _offer(kernel: Kernel, one: Found, pin: str) -> None:
    known = kernel.tables.manifests.get(one.name) or Manifest()
    agreed = pin or (known.pinned.digest if known.pinned is not None else one.digest)
    if one.tool is None:
        _refuse(kernel, one, one.wrong)
    elif one.digest != agreed:
        _alarm(kernel, one, known, agreed)
    else:
        try:
            kernel.tools.put(one.tool)
        except BadCall as error:
            _refuse(kernel, one, error.message)
            return
        if known.pinned is None or known.pinned.digest != one.digest:
            _pin(kernel, one.name, one.digest, one.manifest, "configured" if pin else "first")


def _refuse(kernel: Kernel, one: Found, reason: str) -> None:
    if kernel.tools.barred(one.name) != reason:
        kernel.emit(
            KERNEL_PROCESS,
            DEFAULT_TENANT,
            ToolRefused(tool=one.name, digest=one.digest, reason=reason),
        )
        log.warning("%s is not used: %s", one.name, reason)
    kernel.tools.bar(one.name, reason, None)


def _alarm(kernel: Kernel, one: Found, known: Manifest, agreed: str) -> None:
    reason = (
        f"its server describes it in another way than was agreed ({one.digest[:12]}, not "
        f"{agreed[:12]})"
    )
    if known.changed is None or known.changed.digest != one.digest:
        kernel.emit(
            KERNEL_PROCESS,
            DEFAULT_TENANT,
            ToolChanged(tool=one.name, was=agreed, digest=one.digest, manifest=one.manifest),
        )
        log.warning("%s is not called any more: %s", one.name, reason)
    kernel.tools.bar(one.name, reason, one.tool)


def _pin(
    kernel: Kernel, name: str, digest: str, manifest: dict[str, object], reason: PinReason
) -> None:
    event = ToolPinned(tool=name, digest=digest, manifest=manifest, reason=reason)
    kernel.emit(KERNEL_PROCESS, DEFAULT_TENANT, event)


async def trust(kernel: Kernel, name: str, digest: str) -> ToolView:
    """Agree to what a server says of its tool now.  Raises `NotFound`, `Conflict`, `BadCall`."""
    shown = view(kernel, name)
    known = kernel.tables.manifests.get(name)
    if known is None or known.changed is None:
        raise Conflict(f"{name} is {shown.state}: there is nothing new to agree to")
    changed = known.changed
    if digest and digest != changed.digest:
        raise Conflict(
            f"{name} has changed once more: its server now says {changed.digest}, not {digest}; "
            f"look again with `orlop tools show {name}`"
        )
    kernel.tools.unbar(name)
    # From here on nothing can fail.
    _pin(kernel, name, changed.digest, changed.manifest, "trusted")
    await kernel.journal.flush()
    return view(kernel, name)


def views(kernel: Kernel, tenant: TenantId = DEFAULT_TENANT) -> list[ToolView]:
    """All tools; a server that is away is told of too, whether its tools are known or not."""
    known = [view(kernel, name) for name in kernel.tools.names() if is_seen(kernel, name, tenant)]
    gone = [away(source) for source in kernel.tools.sources if source.reason]
    return sorted([*known, *gone], key=lambda one: one.name)


def away(source: Source) -> ToolView:
    reason = redaction.redacted(f"{source.kind} {source.name}: {source.reason}")
    fix = f"{source.fix}; `orlop doctor` tells when all is well"
    return ToolView(name=f"{source.name}.*", state="away", reason=reason, fix=fix)


def is_seen(kernel: Kernel, name: str, tenant: TenantId) -> bool:
    """A function of a program is its tenant's; all else is the installation's, for all."""
    card = kernel.tools.card(name)
    if card is None or not card.owner:
        return True
    row = kernel.tables.rows.get(ProcessId(card.owner))
    return row is not None and row.tenant == tenant


def view(kernel: Kernel, name: str, tenant: TenantId = DEFAULT_TENANT) -> ToolView:
    """Raises `NotFound` for a tool that nobody of the tenant's may see."""
    for source in kernel.tools.sources:
        if source.reason and name == f"{source.name}.*":
            return away(source)
    if name not in kernel.tools.names() or not is_seen(kernel, name, tenant):
        raise NotFound(f"no tool {name[:NAME_CHARS_MAX]!r} here; `orlop tools` lists all")
    known = kernel.tables.manifests.get(name) or Manifest()
    reason = kernel.tools.barred(name)
    changed = known.changed if reason else None
    card = kernel.tools.card(name)
    state: ToolState = "changed" if changed is not None else "refused" if reason else "ready"
    fix = {
        "changed": f"look with `orlop tools show {name}`, then `orlop tools trust {name}`",
        "refused": "its server has to mend it",
    }.get(state, "")
    if state == "ready" and card is not None and (gone := _lost(kernel, card)) is not None:
        state, reason, fix = gone.state, gone.reason, gone.fix
    return ToolView(
        name=name,
        state=state,
        reason=reason,
        fix=fix,
        card=told(card) if card is not None else None,
        digest=known.pinned.digest if known.pinned is not None else "",
        agreed=known.pinned.manifest if known.pinned is not None else None,
        offered=changed.manifest if changed is not None else None,
        offered_digest=changed.digest if changed is not None else "",
    )


def _lost(kernel: Kernel, card: ToolCard) -> ToolView | None:
    """How its server is, where that can't be reached."""
    sources = kernel.tools.sources
    return next((away(one) for one in sources if one.lost and one.name == card.server), None)


def told(card: ToolCard) -> ToolCard:
    """For whoever looks: without the credentials that its environment holds."""
    return replace(card, env=redaction.shown(card.env)) if card.env else card
