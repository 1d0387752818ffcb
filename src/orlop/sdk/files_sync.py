"""Files as a program sees them: `kernel.files.write("notes.txt", "…")`, for scripts.

A relative path is in the agent's own folder, `/home/NAME`.
"""

from collections.abc import Callable, Iterable, Sequence
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


class SyncFiles:
    """Raises the `KernelError`s of `orlop.abi.errors`."""

    def __init__(self, call: Callable[[Call], Done], ask: Callable[[Order], Answer]) -> None:
        self._call = call
        self._ask = ask

    def write(
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
        return self._run(written)

    def write_all(self, files: Sequence[FileWrite]) -> tuple[FileVersion, ...]:
        """Several files, all of them or none."""
        return (self._run(steps.changed(WriteFiles(files=tuple(files))))).files

    def read(self, path: str, *, version: int | None = None, at: str = "") -> bytes:
        """`at`: a snapshot's name or a sequence number."""
        return self._run(steps.read(path, version, at))

    def stretch(
        self, path: str, *, version: int | None = None, offset: int = 0, length: int | None = None
    ) -> FileContent:
        """A part of a file, as much as one call gives: for those that do not fit into RAM."""
        part = FileRead(path=path, version=version, offset=offset, length=length)
        return expect(self._call(ReadFiles(files=(part,))), Contents).files[0]

    def read_many(self, paths: Sequence[str]) -> Sequence[bytes]:
        """In their order; raises `NotFound` if one is not there."""
        return self._run(steps.read_many(paths))

    def read_those(self, paths: Sequence[str]) -> Sequence[bytes | None]:
        """In their order; None for those that are not there."""
        return self._run(steps.read_those(paths))

    def contents(self, paths: Sequence[str]) -> Sequence[FileContent | None]:
        """Whole, with their versions, in their order; None for those that are not there."""
        return self._run(steps.contents(paths))

    def page(
        self, path: str, *, limit: int, reverse: bool = False, after: str = ""
    ) -> Sequence[FileView]:
        """Some of the files below a folder, by path; `reverse`: the last ones first."""
        call = ListFiles(path=path, deep=True, limit=limit, reverse=reverse, after=after)
        return self._run(steps.page(call))

    def list(
        self, path: str = "", *, deep: bool = False, at: str = "", since: int | None = None
    ) -> Sequence[FileView]:
        """Its files and folders; `deep`: all files below; `since`: what changed after that event,
        with what was deleted.
        """
        call = ListFiles(path=path, deep=deep, at=at, since=None if since is None else Seq(since))
        return (self._run(steps.listing(call)))[0]

    def versions(self, path: str) -> Sequence[FileView]:
        """Oldest first."""
        return (self._run(steps.listing(ListFiles(path=path, what="versions"))))[0]

    def said(
        self, what: Literal["snapshots", "shares", "mounts"], path: str = "/"
    ) -> Sequence[FileView]:
        """What is said of a folder and of those below it."""
        return (self._run(steps.listing(ListFiles(path=path, what=what))))[0]

    def now(self, path: str = "/") -> int:
        """The event that the tree is as of: for `since` and `at`."""
        done = self._call(ListFiles(path=path, limit=1))
        return expect(done, Listing).at

    def delete(self, path: str, *, if_version: int | None = None) -> None:
        """A file, or a folder with all in it; versions stay."""
        self._run(steps.changed(steps.change("delete", path, if_version=if_version)))

    def move(self, path: str, to: str) -> None:
        self._run(steps.changed(steps.change("move", path, to=to)))

    def copy(self, path: str, to: str) -> None:
        """Nothing is stored twice."""
        self._run(steps.changed(steps.change("copy", path, to=to)))

    def rollback(
        self, path: str, *, version: int | None = None, at: str = ""
    ) -> tuple[FileVersion, ...]:
        """As it was at `version`, or file or folder as of `at`; as new versions."""
        call = steps.change("rollback", path, version=version, at=at)
        return (self._run(steps.changed(call))).files

    def snapshot(self, path: str, name: str) -> int:
        """A name for the folder as it is now; the event that it stands for."""
        return (self._run(steps.changed(steps.change("snapshot", path, to=name)))).at

    def restore(self, path: str, name: str) -> tuple[FileVersion, ...]:
        """The folder as it was in a snapshot; what came since is deleted, as new versions."""
        return (self._run(steps.changed(steps.change("restore", path, to=name)))).files

    def share(self, path: str, who: str, right: FileRight | None = "read") -> None:
        """who: `agent:NAME`, `team:NAME`, `task:NAME`, `organisation`.  None: as if never said."""
        call = ChangeFiles(action="share", path=path, who=who, right=right)
        self._run(steps.changed(call))

    def search(self, text: str, *, path: str = "/", limit: int = 10, model: str = "") -> Found:
        """By words; with a `model` that embeds, by meaning too."""
        return self._run(steps.search(text, path, limit, model))

    def watch(self, path: str, since: int) -> Listing:
        """What has changed after the event `since`; waits until something has."""
        return expect(self._call(WatchFiles(path=path, since=Seq(since))), Listing)

    def put(self, pipe: str, message: bytes) -> None:
        self._call(Put(pipe=pipe, data=message))

    def take(self, pipe: str) -> bytes:
        """The oldest message; waits for one.  Each is given once."""
        return self._run(steps.take(pipe))

    def diff(self, path: str, old: int, new: int | None = None) -> str:
        """What two versions differ in, line by line."""
        return self._run(steps.diff(path, old, new))

    def save_context(self, call: str, path: str) -> Context:
        """What a model call was shown, with its answer.  call: its `Facts.call`."""
        return expect(self._call(SaveContext(path=path, call=CallId(call))), Context)

    def open_context(self, path: str, *, model: str = "") -> Context:
        """The messages to go on with, on this kernel or another one, with this model."""
        return expect(self._call(OpenContext(path=path, model=model)), Context)

    def compact(
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
        return expect(self._call(made), Context)

    def _run(self, work: steps.Steps[T]) -> T:
        try:
            step = next(work)
            while True:
                if isinstance(step, steps.Store):
                    answer = self._ask(steps.store_order(step))
                    step = work.send(steps.read_stored(answer.body))
                else:
                    step = work.send(self._call(step))
        except StopIteration as end:
            value: T = end.value
            return value
