"""The `save_context`, `open_context` and `compact` system calls: contexts as files."""

from dataclasses import dataclass
from dataclasses import replace as replace_field

from msgspec.structs import replace

from orlop.abi.calls import Infer
from orlop.abi.contexts import (
    CompactContext,
    Context,
    ContextCompacted,
    OpenContext,
    SaveContext,
)
from orlop.abi.errors import BadCall
from orlop.abi.files import FileChange, FileRead, FilesChanged
from orlop.abi.hints import Facts
from orlop.abi.ids import CallId, ModelName, ProcessId
from orlop.abi.labels import NO_LABELS
from orlop.abi.limits import CONTEXT_BYTES_MAX, MESSAGES_PER_CALL_MAX, SUMMARY_TOKENS_MAX
from orlop.abi.messages import Message
from orlop.context import compaction, snapshot
from orlop.context.snapshot import Fingerprint
from orlop.devices.device import Partial
from orlop.kernel import nested, sys_file
from orlop.state import accounts
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.state.running import Running
from orlop.subsystems import file_content, files, history, tainted

NOTHING_SO_FAR = Partial()


async def save(kernel: Kernel, process: Process, running: Running, call: SaveContext) -> Context:
    shown = await _shown(kernel, process, call.call)
    return await _write(kernel, process, running, call.path, shown, call.if_version)


async def open_context(
    kernel: Kernel, process: Process, running: Running, call: OpenContext
) -> Context:
    """Also of another kernel's: the bytes say what they are."""
    wanted = FileRead(path=call.path, version=call.version)
    content = await sys_file.read_file(kernel, process, wanted, CONTEXT_BYTES_MAX)
    if content.size > CONTEXT_BYTES_MAX:
        raise BadCall(f"{call.path} has {content.size} bytes; a context has {CONTEXT_BYTES_MAX}")
    own, shown, _ = snapshot.opened(content.data)
    goes_on = call.model or own.model
    artefacts = {card.artefact for card in kernel.registry.named(goes_on)}
    return Context(
        path=content.path,
        version=content.version,
        model=ModelName(goes_on),
        artefact=own.artefact,
        messages=shown.messages,
        tools=shown.tools,
        exact=goes_on == own.model and artefacts == {own.artefact} and bool(own.artefact),
        pieces=content.pieces,
        labels=content.labels,
        facts=Facts(call=running.id),
    )


async def compact(
    kernel: Kernel, process: Process, running: Running, call: CompactContext
) -> Context:
    told = await _shown(kernel, process, call.call)
    shown, messages = told.call, told.call.messages
    if not 0 <= call.keep_last <= MESSAGES_PER_CALL_MAX:
        raise BadCall(f"keep_last: from 0 to {MESSAGES_PER_CALL_MAX}")
    if wrong := [pin for pin in call.pins if not 0 <= pin < len(messages)]:
        raise BadCall(f"pins: this conversation has {len(messages)} messages, and none {wrong[0]}")
    stay = compaction.kept(messages, call.keep_last, call.pins)
    dropped, summary, by = len(messages) - len(stay), call.summary, ""
    if dropped and not summary:
        by = call.model or shown.model
        text = compaction.transcript(messages, stay)
        asked = Infer(
            model=by,
            messages=(Message("system", compaction.INSTRUCTIONS), Message("user", text)),
            output_tokens_max=SUMMARY_TOKENS_MAX,
            hints=call.hints,
        )
        summary = (await nested.infer(kernel, process, running, asked)).text()
    shorter = replace(shown, messages=tuple(compaction.compacted(messages, stay, summary)))
    told = replace_field(told, call=shorter)
    made = await _write(kernel, process, running, call.path, told, None)
    event = ContextCompacted(
        of=call.call,
        path=made.path,
        version=made.version,
        kept=tuple(stay),
        dropped=dropped,
        pins=call.pins,
        summarised_by=by,
    )
    kernel.emit(process.id, process.row.tenant, event, call=running.id, cause=running.seq)
    return replace(made, dropped=dropped)


@dataclass(frozen=True, slots=True)
class Shown:
    """A call with its answer, the weights that answered, and where another's came from."""

    call: Infer
    artefact: str
    labels: tuple[str, ...]


async def _shown(kernel: Kernel, process: Process, call: CallId) -> Shown:
    """What a call was shown with its answer.

    Raises `NotFound`, also for a call of somebody else: who may have it can be given the file.
    """
    await kernel.journal.flush()
    found = await kernel.elders.of_call(call)
    maker = found[0].header.process if found else process.id
    tenant = process.row.tenant
    reader = kernel.find(maker, tenant) if _is_below(kernel, process, maker) else process
    made, completion = await history.answered(kernel, reader, call)
    if not made.messages:
        raise BadCall(f"{call} was made of raw text: only conversations can be saved")
    answer = tuple(choice.message for choice in completion.choices[:1])
    whole = replace(made, messages=(*made.messages, *answer))
    # What its own calls were made from the process knows.
    labels = history.labels_of(found) if maker != process.id else NO_LABELS
    return Shown(whole, completion.facts.artefact, labels)


def _is_below(kernel: Kernel, process: Process, maker: ProcessId) -> bool:
    """A parent may have what its children were told, and an operator what all were."""
    row = kernel.tables.rows.get(maker)
    if row is None or row.tenant != process.row.tenant:
        return False
    return files.is_operator(process) or accounts.of_process(process.id) in row.accounts


async def _write(
    kernel: Kernel,
    process: Process,
    running: Running,
    path: str,
    told: Shown,
    if_version: int | None,
) -> Context:
    store, tenant = files.store(kernel), process.row.tenant
    shown, artefact = told.call, told.artefact
    if kernel.tables.files.mount(tenant, path) is not None:
        raise BadCall(f"{path} lies in a mounted folder; contexts are kept in the tree")
    data = snapshot.pack(shown, NOTHING_SO_FAR, Fingerprint(model=shown.model, artefact=artefact))
    pieces, parts = file_content.cut(kernel, tenant, data)
    await store.ready()
    head = store.head(tenant, path)
    sys_file.require_version(path, if_version, head.known if head is not None else 0)
    change = FileChange(
        path=path,
        version=sys_file.next_version(head),
        pieces=pieces,
        labels=tainted.kept(running, told.labels),
    )
    header = kernel.emit(
        process.id,
        tenant,
        FilesChanged(changes=(change,)),
        call=running.id,
        cause=running.seq,
        parts=parts,
    )
    store.note(tenant, (change,), (len(data),), header.moment)
    return Context(
        path=path,
        version=change.version,
        model=ModelName(shown.model),
        artefact=artefact,
        messages=shown.messages,
        tools=shown.tools,
        pieces=pieces,
        labels=told.labels,
        facts=Facts(call=running.id),
    )
