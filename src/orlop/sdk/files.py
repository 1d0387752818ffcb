"""Files as a program sees them: `kernel.files.write("notes.txt", "…")`.

A relative path is in the agent's own folder, `/home/NAME`.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal, TypeVar

from orlop.abi.calls import Call
from orlop.abi.contexts import CompactContext, Context, OpenContext, SaveContext
from orlop.abi.files import (
    ChangeFiles,
    Contents,
    FileContent,
    FileRead,
    FileRight,
    FileVersion,
    FileView,
    FileWrite,
    Found,
    ListFiles,
    Listing,
    Put,
    ReadFiles,
    WatchFiles,
    WriteFiles,
)
from orlop.abi.ids import CallId, Seq
from orlop.abi.replies import Done
from orlop.sdk import file_steps as steps
from orlop.sdk.exchange import Answer, Order
from orlop.sdk.words import expect

T = TypeVar("T")


class Files:
    """Raises the `KernelError`s of `orlop.abi.errors`."""

    def __init__(
        self, call: Callable[[Call], Awaitable[Done]], ask: Callable[[Order], Awaitable[Answer]]
    ) -> None:
        self._call = call
        self._ask = ask

    async def write(
        self,
        path: str,
        content: str | bytes | Iterable[bytes],
        *,
        append: bool = False,
        if_version: int | None = None,
        labels: Sequence[str] = (),
    ) -> int:
        """The version that it made.  if_version: only if that is the newest; 0: if there is none.
        labels: where its content came from, beside what the kernel knows.

        A long file may come in stretches: then it never lies in RAM as a whole.
        """
        data = content.encode() if isinstance(content, str) else content
        written = steps.write(path, data, append=append, if_version=if_version, labels=labels)
        return await self._run(written)

    async def write_all(self, files: Sequence[FileWrite]) -> tuple[FileVersion, ...]:
        """Several files, all of them or none."""
        return (await self._run(steps.changed(WriteFiles(files=tuple(files))))).files

    async def read(self, path: str, *, version: int | None = None, at: str = "") -> bytes:
        """`at`: a snapshot's name or a sequence number."""
        return await self._run(steps.read(path, version, at))

    async def stretch(
        self, path: str, *, version: int | None = None, offset: int = 0, length: int | None = None
    ) -> FileContent:
        """A part of a file, as much as one call gives: for those that do not fit into RAM."""
        part = FileRead(path=path, version=version, offset=offset, length=length)
        return expect(await self._call(ReadFiles(files=(part,))), Contents).files[0]

    async def read_many(self, paths: Sequence[str]) -> Sequence[bytes]:
        """In their order; raises `NotFound` if one is not there."""
        return await self._run(steps.read_many(paths))

    async def read_those(self, paths: Sequence[str]) -> Sequence[bytes | None]:
        """In their order; None for those that are not there."""
        return await self._run(steps.read_those(paths))

    async def contents(self, paths: Sequence[str]) -> Sequence[FileContent | None]:
        """Whole, with their versions, in their order; None for those that are not there."""
        return await self._run(steps.contents(paths))

    async def page(
        self, path: str, *, limit: int, reverse: bool = False, after: str = ""
    ) -> Sequence[FileView]:
        """Some of the files below a folder, by path; `reverse`: the last ones first."""
        call = ListFiles(path=path, deep=True, limit=limit, reverse=reverse, after=after)
        return await self._run(steps.page(call))

    async def list(
        self, path: str = "", *, deep: bool = False, at: str = "", since: int | None = None
    ) -> Sequence[FileView]:
        """Its files and folders; `deep`: all files below; `since`: what changed after that event,
        with what was deleted.
        """
        call = ListFiles(path=path, deep=deep, at=at, since=None if since is None else Seq(since))
        return (await self._run(steps.listing(call)))[0]

    async def versions(self, path: str) -> Sequence[FileView]:
        """Oldest first."""
        return (await self._run(steps.listing(ListFiles(path=path, what="versions"))))[0]

    async def said(
        self, what: Literal["snapshots", "shares", "mounts"], path: str = "/"
    ) -> Sequence[FileView]:
        """What is said of a folder and of those below it."""
        return (await self._run(steps.listing(ListFiles(path=path, what=what))))[0]

    async def now(self, path: str = "/") -> int:
        """The event that the tree is as of: for `since` and `at`."""
        done = await self._call(ListFiles(path=path, limit=1))
        return expect(done, Listing).at

    async def delete(self, path: str, *, if_version: int | None = None) -> None:
        """A file, or a folder with all in it; versions stay."""
        await self._run(steps.changed(steps.change("delete", path, if_version=if_version)))

    async def move(self, path: str, to: str) -> None:
        await self._run(steps.changed(steps.change("move", path, to=to)))

    async def copy(self, path: str, to: str) -> None:
        """Nothing is stored twice."""
        await self._run(steps.changed(steps.change("copy", path, to=to)))

    async def rollback(
        self, path: str, *, version: int | None = None, at: str = ""
    ) -> tuple[FileVersion, ...]:
        """As it was at `version`, or file or folder as of `at`; as new versions."""
        call = steps.change("rollback", path, version=version, at=at)
        return (await self._run(steps.changed(call))).files

    async def snapshot(self, path: str, name: str) -> int:
        """A name for the folder as it is now; the event that it stands for."""
        return (await self._run(steps.changed(steps.change("snapshot", path, to=name)))).at

    async def restore(self, path: str, name: str) -> tuple[FileVersion, ...]:
        """The folder as it was in a snapshot; what came since is deleted, as new versions."""
        return (await self._run(steps.changed(steps.change("restore", path, to=name)))).files

    async def share(self, path: str, who: str, right: FileRight | None = "read") -> None:
        """who: `agent:NAME`, `team:NAME`, `task:NAME`, `organisation`.  None: as if never said."""
        call = ChangeFiles(action="share", path=path, who=who, right=right)
        await self._run(steps.changed(call))

    async def search(
        self, text: str, *, path: str = "/", limit: int = 10, model: str = ""
    ) -> Found:
        """By words; with a `model` that embeds, by meaning too."""
        return await self._run(steps.search(text, path, limit, model))

    async def watch(self, path: str, since: int) -> Listing:
        """What has changed after the event `since`; waits until something has."""
        return expect(await self._call(WatchFiles(path=path, since=Seq(since))), Listing)

    async def put(self, pipe: str, message: bytes) -> None:
        await self._call(Put(pipe=pipe, data=message))

    async def take(self, pipe: str) -> bytes:
        """The oldest message; waits for one.  Each is given once."""
        return await self._run(steps.take(pipe))

    async def diff(self, path: str, old: int, new: int | None = None) -> str:
        """What two versions differ in, line by line."""
        return await self._run(steps.diff(path, old, new))

    async def save_context(self, call: str, path: str) -> Context:
        """What a model call was shown, with its answer.  call: its `Facts.call`."""
        return expect(await self._call(SaveContext(path=path, call=CallId(call))), Context)

    async def open_context(self, path: str, *, model: str = "") -> Context:
        """The messages to go on with, on this kernel or another one, with this model."""
        return expect(await self._call(OpenContext(path=path, model=model)), Context)

    async def compact(
        self,
        call: str,
        path: str,
        *,
        keep_last: int = 8,
        pins: Sequence[int] = (),
        model: str = "",
        summary: str = "",
    ) -> Context:
        """A conversation without its middle, which a model (or `summary`) says instead."""
        made = CompactContext(
            path=path,
            call=CallId(call),
            keep_last=keep_last,
            pins=tuple(pins),
            model=model,
            summary=summary,
        )
        return expect(await self._call(made), Context)

    async def _run(self, work: steps.Steps[T]) -> T:
        try:
            step = next(work)
            while True:
                if isinstance(step, steps.Store):
                    answer = await self._ask(steps.store_order(step))
                    step = work.send(steps.read_stored(answer.body))
                else:
                    step = work.send(await self._call(step))
        except StopIteration as end:
            value: T = end.value
            return value
