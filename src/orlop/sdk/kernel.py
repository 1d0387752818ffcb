"""The kernel as a program sees it: one method a system call.

async with orlop.connect() as kernel:
    print((await kernel.infer("Why is the sky blue?", model="smollm2")).text())
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
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
from orlop.sdk.aio import AsyncLink
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
from orlop.sdk.claims import Claim
from orlop.sdk.exchange import LostAnswer
from orlop.sdk.files import Files
from orlop.sdk.functions import F, ToolOptions
from orlop.sdk.memory_words import (
    RecallOptions,
    RememberOptions,
    forget_call,
    recall_call,
    remember_call,
)
from orlop.sdk.offering import Offering
from orlop.sdk.place import find
from orlop.sdk.saga import Saga
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


def connect(
    url: str = "",
    *,
    token: str = "",
    home: Path | None = None,
    program: str = "",
    process: str = "",
    tenant: str = "",
    patience_s: float = CLIENT_PATIENCE_S,
) -> "Kernel":
    """The kernel that runs this program, else the one at `url` or in `home` (default `~/.orlop`).

    program, process: with a client's key, the task and the process that the calls belong to.
    tenant: with the operator's token, within which one; all other tokens are of one.
    patience_s: how long calls ask again while the kernel is away.
    """
    place = find(url, token=token, home=home, program=program, process=process, tenant=tenant)
    return Kernel(AsyncLink(place, patience_s))


class Kernel:
    """The kernel as one process sees it.  Raises the `KernelError`s of `orlop.abi.errors`."""

    def __init__(self, link: AsyncLink) -> None:
        self._link = link
        self._offering = Offering(link)
        self.has_outcome = False
        """The program has said by itself how its task ended."""
        self.files = Files(self.call, link.ask)

    async def __aenter__(self) -> "Kernel":
        await self._link.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._offering.close()
        await self._link.close()

    async def call(self, call: Call) -> Done:
        """Any system call, as its class in `orlop.abi.calls`; waits also for parked ones."""
        await self._offering.ready()
        answer = await self._link.ask(call_order(call))
        while answer.is_parked:
            answer = await self._link.ask(parked_order(answer))
        return read_done(answer.body)

    async def infer(
        self, prompt: str | Sequence[Message], *, model: str, **options: Unpack[InferOptions]
    ) -> Completion:
        return expect(await self.call(infer_call(prompt, model, options)), Completion)

    def stream(
        self, prompt: str | Sequence[Message], *, model: str, **options: Unpack[InferOptions]
    ) -> "Stream":
        """The answer in pieces; the whole of it is `.completion` afterwards."""
        return Stream(self._link, infer_call(prompt, model, options, stream=True))

    async def embed(
        self, inputs: str | Sequence[str], *, model: str, hints: Hints = NO_HINTS
    ) -> Vectors:
        return expect(await self.call(embed_call(inputs, model, hints)), Vectors)

    async def call_tool(
        self, tool: str, /, *, key: str = "", hints: Hints = NO_HINTS, **arguments: object
    ) -> object:
        """What the tool says.  A tool with an argument called `key` or `hints`: use `call`."""
        return expect(await self.call(tool_call(tool, arguments, key, hints)), ToolResult).value

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes = b"",
        hints: Hints = NO_HINTS,
    ) -> Fetched:
        """What a server outside says, whatever its status; `[egress]` or `--net` must name it."""
        return expect(await self.call(fetch_call(url, method, headers, body, hints)), Fetched)

    async def spawn(
        self,
        what: Runnable | Sequence[str],
        *arguments: object,
        **options: Unpack[SpawnOptions],
    ) -> "Process":
        """Start a child: an `@orlop.agent` with its arguments, or a command line."""
        spawned = expect(await self.call(spawn_call(what, arguments, options)), Spawned)
        return Process(self, spawned.process, spawned.pid)

    async def wait(self, process: ProcessId) -> Exited:
        return expect(await self.call(Wait(process=process)), Exited)

    async def sleep(self, seconds: float) -> None:
        """Also across restarts of the kernel, and of this program."""
        await self.call(Sleep(seconds=seconds))

    async def signal(self, process: ProcessId, signal: SignalName = "term") -> None:
        await self.call(signal_call(process, signal))

    async def token(self) -> str:
        """A token of this program's process, with what it may do now: after a grant, for a client
        that came with a key, or before an earlier signing key ends.  `orlop.narrowed` narrows it.
        """
        return read_token((await self._link.ask(token_order())).body)

    async def grant(self, process: ProcessId, right: str) -> None:
        """Give a descendant a right that this process holds, as in `tool:shop.buy`."""
        await self.call(Grant(process=process, right=right))

    async def revoke(self, process: ProcessId, right: str) -> None:
        """Take a right back, also from whoever the descendant has passed it on to."""
        await self.call(Revoke(process=process, right=right))

    async def ask(
        self, text: str, *, choices: Sequence[str] = (), expires_s: float = 604_800.0
    ) -> str:
        """A person's answer, however long he takes; also across restarts.  Raises `NotAnswered`."""
        call = Ask(text=text, choices=tuple(choices), expires_s=expires_s)
        return expect(await self.call(call), Answer).text

    @overload
    def tool(self, function: F, /) -> F: ...

    @overload
    def tool(
        self, function: None = None, /, **options: Unpack[ToolOptions]
    ) -> Callable[[F], F]: ...

    def tool(self, function: F | None = None, /, **options: Unpack[ToolOptions]) -> object:
        """Offer a function as a tool: `@kernel.tool`, or `@kernel.tool(effect="pure")`.

        Its arguments and its result are checked against its types; this process calls it by its
        name, and so do its children where it is `shared`.  Raises `BadCall`.
        """
        if function is not None:
            self._offering.add(function, options)
            return function

        def offer(given: F) -> F:
            self._offering.add(given, options)
            return given

        return offer

    async def offered(self) -> None:
        """Return once all functions can be called; the next call of this program does it too."""
        await self._offering.ready()

    def claim(
        self,
        where: str = "",
        *,
        save: Callable[[Notice], Awaitable[None]] | None = None,
        **options: Unpack[ClaimOptions],
    ) -> Claim:
        """Hold a device, or a part of one, for work that is no model call (`sdk.claims`)."""
        return Claim(self._link, claim_order(ClaimOrder(where=where, **options)), save)

    def saga(self, name: str = "", *, expires_s: float = 604_800.0) -> Saga:
        """Effects that happen together or are undone together (`sdk.saga`)."""
        return Saga(self.call, name, expires_s)

    async def remember(
        self, what: str | Sequence[Item], **options: Unpack[RememberOptions]
    ) -> Remembered:
        """Keep a fact beyond this run: safe, and recalled from now on.  A new one supersedes what
        has its `key` (or `memory`); with `expected` only if that is still the version you know."""
        return expect(await self.call(remember_call(what, options)), Remembered)

    async def recall(self, query: str = "", **options: Unpack[RecallOptions]) -> Recalled:
        """What is known, best first: by words, by meaning, newer before older."""
        return expect(await self.call(recall_call(query, options)), Recalled)

    async def forget(
        self,
        *targets: str | Target,
        keys: Sequence[str] = (),
        namespace: str = "",
        hints: Hints = NO_HINTS,
    ) -> Forgotten:
        """Recall no more; the history keeps it."""
        call = forget_call(targets, keys, namespace, hints)
        return expect(await self.call(call), Forgotten)

    async def stale(self, holding: Sequence[Target]) -> tuple[Memory, ...]:
        """Of versions that you work with, those that are current no more: what is, instead."""
        return expect(await self.call(recall_call("", {}, holding)), Recalled).stale

    async def patched(self, name: str) -> bool:
        """Whether the change of this program called `name` applies to this run.

        A run that began before the change, and is resumed, keeps to its old path:
        `if await kernel.patched("ask-twice"): … else: …`.
        """
        return expect(await self.call(Patch(name=name)), Patched).applies

    async def progress(
        self,
        step: str,
        *,
        share: float | None = None,
        waits_for: str = "",
        ends_s: float | None = None,
    ) -> None:
        """Tell those who wait how far this is.  share: 0 to 1; ends_s: seconds from now."""
        await self.call(Progress(step=step, share=share, waits_for=waits_for, ends_s=ends_s))

    async def outcome(self, status: OutcomeStatus, note: str = "") -> None:
        await self.call(Outcome(status=status, note=note))
        self.has_outcome = True

    async def exit(self, status: int = 0) -> None:
        await self.call(Exit(status=status))


class Process:
    """A child process."""

    def __init__(self, kernel: Kernel, process: ProcessId, pid: Pid) -> None:
        self._kernel = kernel
        self.id = process
        self.pid = pid

    async def wait(self) -> int:
        """Its exit status, or minus the number of the signal that ended it."""
        return (await self._kernel.wait(self.id)).status

    async def signal(self, signal: SignalName = "term") -> None:
        await self._kernel.signal(self.id, signal)

    async def grant(self, right: str) -> None:
        await self._kernel.grant(self.id, right)

    async def revoke(self, right: str) -> None:
        await self._kernel.revoke(self.id, right)


class Stream:
    """An answer in pieces.  They are provisional: `completion` is what counts."""

    def __init__(self, link: AsyncLink, call: Infer) -> None:
        self._link = link
        self._order = stream_order(call)
        self._completion: Completion | None = None

    @property
    def completion(self) -> Completion:
        if self._completion is None:
            raise Interrupted("this stream has not been read to its end")
        return self._completion

    async def __aiter__(self) -> AsyncGenerator[Delta]:
        """After a loss the kernel gives the same stream anew; what is known is left out."""
        patience = self._link.patience(self._order)
        given = 0
        while self._completion is None:
            known = given
            try:
                async with self._link.opened(self._order, again=patience.again) as response:
                    async for line in response.content:
                        if not line.strip():
                            continue
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
                await self._link.pause_after(failure, patience)
