"""The synchronous face of the kernel, for scripts: one method a system call.

with orlop.connect_sync() as kernel:
    print(kernel.infer("Why is the sky blue?", model="smollm2").text())
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Unpack, overload

from orlop.abi.calls import (
    Ask,
    Call,
    Exit,
    Grant,
    Infer,
    Outcome,
    OutcomeStatus,
    Patch,
    Progress,
    Revoke,
    SignalName,
    Sleep,
    Wait,
)
from orlop.abi.devices import ClaimOrder, Notice
from orlop.abi.egress import Fetched
from orlop.abi.errors import Interrupted, KernelError
from orlop.abi.hints import Hints
from orlop.abi.ids import Pid, ProcessId
from orlop.abi.limits import CLIENT_PATIENCE_S
from orlop.abi.memory import (
    Forgotten,
    Item,
    Memory,
    Recalled,
    Remembered,
    Target,
)
from orlop.abi.messages import Message
from orlop.abi.replies import (
    Answer,
    Completion,
    Delta,
    Done,
    Exited,
    Patched,
    Spawned,
    ToolResult,
    Vectors,
)
from orlop.sdk.calling import (
    call_order,
    parked_order,
    read_done,
    read_piece,
    read_token,
    stream_order,
    token_order,
)
from orlop.sdk.claim_words import ClaimOptions, claim_order
from orlop.sdk.claims_sync import SyncClaim
from orlop.sdk.exchange import LostAnswer
from orlop.sdk.files_sync import SyncFiles
from orlop.sdk.functions import F, ToolOptions
from orlop.sdk.link import Link
from orlop.sdk.memory_words import (
    RecallOptions,
    RememberOptions,
    forget_call,
    recall_call,
    remember_call,
)
from orlop.sdk.offering_sync import SyncOffering
from orlop.sdk.place import find
from orlop.sdk.sync_saga import SyncSaga
from orlop.sdk.words import (
    NO_HEADERS,
    NO_HINTS,
    InferOptions,
    Runnable,
    SpawnOptions,
    embed_call,
    expect,
    fetch_call,
    infer_call,
    signal_call,
    spawn_call,
    tool_call,
)


def connect_sync(
    url: str = "",
    *,
    token: str = "",
    home: Path | None = None,
    program: str = "",
    process: str = "",
    tenant: str = "",
    patience_s: float = CLIENT_PATIENCE_S,
) -> "SyncKernel":
    """The kernel, for scripts; arguments as for `orlop.connect`."""
    place = find(url, token=token, home=home, program=program, process=process, tenant=tenant)
    return SyncKernel(Link(place, patience_s, is_agent=True))


class SyncKernel:
    """The kernel as one process sees it.  Raises the `KernelError`s of `orlop.abi.errors`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._offering = SyncOffering(link)
        self.files = SyncFiles(self.call, link.ask)

    def __enter__(self) -> "SyncKernel":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held open between calls, but for functions that are offered."""
        self._offering.close()

    def call(self, call: Call) -> Done:
        """Any system call, as its class in `orlop.abi.calls`; waits also for parked ones."""
        self._offering.ready()
        answer = self._link.ask(call_order(call))
        while answer.is_parked:
            answer = self._link.ask(parked_order(answer))
        return read_done(answer.body)

    def infer(
        self, prompt: str | Sequence[Message], *, model: str, **options: Unpack[InferOptions]
    ) -> Completion:
        return expect(self.call(infer_call(prompt, model, options)), Completion)

    def stream(
        self, prompt: str | Sequence[Message], *, model: str, **options: Unpack[InferOptions]
    ) -> "SyncStream":
        """The answer in pieces; the whole of it is `.completion` afterwards."""
        return SyncStream(self._link, infer_call(prompt, model, options, stream=True))

    def embed(self, inputs: str | Sequence[str], *, model: str, hints: Hints = NO_HINTS) -> Vectors:
        return expect(self.call(embed_call(inputs, model, hints)), Vectors)

    def call_tool(
        self, tool: str, /, *, key: str = "", hints: Hints = NO_HINTS, **arguments: object
    ) -> object:
        """What the tool says.  A tool with an argument called `key` or `hints`: use `call`."""
        return expect(self.call(tool_call(tool, arguments, key, hints)), ToolResult).value

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes = b"",
        hints: Hints = NO_HINTS,
    ) -> Fetched:
        """What a server outside says, whatever its status; `[egress]` or `--net` must name it."""
        return expect(self.call(fetch_call(url, method, headers, body, hints)), Fetched)

    def spawn(
        self,
        what: Runnable | Sequence[str],
        *arguments: object,
        **options: Unpack[SpawnOptions],
    ) -> "SyncProcess":
        """Start a child: an `@orlop.agent` with its arguments, or a command line."""
        spawned = expect(self.call(spawn_call(what, arguments, options)), Spawned)
        return SyncProcess(self, spawned.process, spawned.pid)

    def wait(self, process: ProcessId) -> Exited:
        return expect(self.call(Wait(process=process)), Exited)

    def sleep(self, seconds: float) -> None:
        """Also across restarts of the kernel, and of this program."""
        self.call(Sleep(seconds=seconds))

    def signal(self, process: ProcessId, signal: SignalName = "term") -> None:
        self.call(signal_call(process, signal))

    def token(self) -> str:
        """A token of this program's process, with what it may do now: after a grant, for a client
        that came with a key, or before an earlier signing key ends.  `orlop.narrowed` narrows it.
        """
        return read_token(self._link.ask(token_order()).body)

    def grant(self, process: ProcessId, right: str) -> None:
        """Give a descendant a right that this process holds, as in `tool:shop.buy`."""
        self.call(Grant(process=process, right=right))

    def revoke(self, process: ProcessId, right: str) -> None:
        """Take a right back, also from whoever the descendant has passed it on to."""
        self.call(Revoke(process=process, right=right))

    def ask(self, text: str, *, choices: Sequence[str] = (), expires_s: float = 604_800.0) -> str:
        """A person's answer, however long he takes; also across restarts.  Raises `NotAnswered`."""
        call = Ask(text=text, choices=tuple(choices), expires_s=expires_s)
        return expect(self.call(call), Answer).text

    @overload
    def tool(self, function: F, /) -> F: ...

    @overload
    def tool(
        self, function: None = None, /, **options: Unpack[ToolOptions]
    ) -> Callable[[F], F]: ...

    def tool(self, function: F | None = None, /, **options: Unpack[ToolOptions]) -> object:
        """Offer a function as a tool: `@kernel.tool`, or `@kernel.tool(effect="pure")`.

        It runs in a thread of its own.  Raises `BadCall`.
        """
        if function is not None:
            self._offering.add(function, options)
            return function

        def offer(given: F) -> F:
            self._offering.add(given, options)
            return given

        return offer

    def claim(
        self,
        where: str = "",
        *,
        save: Callable[[Notice], None] | None = None,
        **options: Unpack[ClaimOptions],
    ) -> SyncClaim:
        """Hold a device, or a part of one, for work that is no model call (`sdk.claims`)."""
        return SyncClaim(self._link, claim_order(ClaimOrder(where=where, **options)), save)

    def saga(self, name: str = "", *, expires_s: float = 604_800.0) -> SyncSaga:
        """Effects that happen together or are undone together (`sdk.saga`)."""
        return SyncSaga(self.call, name, expires_s)

    def remember(
        self, what: str | Sequence[Item], **options: Unpack[RememberOptions]
    ) -> Remembered:
        """Keep a fact beyond this run: safe, and recalled from now on.  A new one supersedes what
        has its `key` (or `memory`); with `expected` only if that is still the version you know."""
        return expect(self.call(remember_call(what, options)), Remembered)

    def recall(self, query: str = "", **options: Unpack[RecallOptions]) -> Recalled:
        """What is known, best first: by words, by meaning, newer before older."""
        return expect(self.call(recall_call(query, options)), Recalled)

    def forget(
        self,
        *targets: str | Target,
        keys: Sequence[str] = (),
        namespace: str = "",
        hints: Hints = NO_HINTS,
    ) -> Forgotten:
        """Recall no more; the history keeps it."""
        call = forget_call(targets, keys, namespace, hints)
        return expect(self.call(call), Forgotten)

    def stale(self, holding: Sequence[Target]) -> tuple[Memory, ...]:
        """Of versions that you work with, those that are current no more: what is, instead."""
        return expect(self.call(recall_call("", {}, holding)), Recalled).stale

    def patched(self, name: str) -> bool:
        """Whether the change of this program called `name` applies to this run.

        A run that began before the change, and is resumed, keeps to its old path:
        `if kernel.patched("ask-twice"): … else: …`.
        """
        return expect(self.call(Patch(name=name)), Patched).applies

    def progress(
        self,
        step: str,
        *,
        share: float | None = None,
        waits_for: str = "",
        ends_s: float | None = None,
    ) -> None:
        """Tell those who wait how far this is.  share: 0 to 1; ends_s: seconds from now."""
        self.call(Progress(step=step, share=share, waits_for=waits_for, ends_s=ends_s))

    def outcome(self, status: OutcomeStatus, note: str = "") -> None:
        self.call(Outcome(status=status, note=note))

    def exit(self, status: int = 0) -> None:
        self.call(Exit(status=status))


class SyncProcess:
    """A child process."""

    def __init__(self, kernel: SyncKernel, process: ProcessId, pid: Pid) -> None:
        self._kernel = kernel
        self.id = process
        self.pid = pid

    def wait(self) -> int:
        """Its exit status, or minus the number of the signal that ended it."""
        return self._kernel.wait(self.id).status

    def signal(self, signal: SignalName = "term") -> None:
        self._kernel.signal(self.id, signal)

    def grant(self, right: str) -> None:
        self._kernel.grant(self.id, right)

    def revoke(self, right: str) -> None:
        self._kernel.revoke(self.id, right)


class SyncStream:
    """An answer in pieces.  They are provisional: `completion` is what counts."""

    def __init__(self, link: Link, call: Infer) -> None:
        self._link = link
        self._order = stream_order(call)
        self._completion: Completion | None = None

    @property
    def completion(self) -> Completion:
        if self._completion is None:
            raise Interrupted("this stream has not been read to its end")
        return self._completion

    def __iter__(self) -> Iterator[Delta]:
        """After a loss the kernel gives the same stream anew; what is known is left out."""
        patience = self._link.patience(self._order)
        given = 0
        while self._completion is None:
            known = given
            try:
                with self._link.opened(self._order, again=patience.again) as exchange:
                    for line in exchange.lines():
                        piece = read_piece(line)
                        if isinstance(piece, Completion):
                            self._completion = piece
                            return
                        known -= 1
                        if known < 0:
                            given += 1
                            yield piece
                raise LostAnswer("the stream ended without its completion", sent=True)
            except (LostAnswer, KernelError) as failure:
                self._link.pause_after(failure, patience)
