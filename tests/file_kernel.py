"""A small kernel that keeps files, in virtual time, all of it in RAM."""

from dataclasses import dataclass, field

from small_kernel import Computer, result

from orlop.abi.calls import Call
from orlop.abi.files import (
    Changed,
    ChangeFiles,
    Contents,
    FileRead,
    FileWrite,
    ListFiles,
    Listing,
    ReadFiles,
    WriteFiles,
)
from orlop.files.index import Index
from orlop.files.live import FileConfig, FileStore
from orlop.files.tree import FileFold, FileTree
from orlop.kernel import syscall
from orlop.machine.offload import InlineOffload
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.store.projection import Projection, ProjectionFile
from orlop.subsystems import file_index


@dataclass(eq=False, kw_only=True)
class FileComputer(Computer):
    files: FileConfig = field(default_factory=FileConfig)

    async def boot(self) -> Kernel:
        kernel = await super().boot()
        projection = Projection(
            FileFold(),
            ProjectionFile(FileFold(), None),
            kernel.journal,
            self.clock,
            writing=InlineOffload(),
            reading=InlineOffload(),
        )
        kernel.files = FileStore(
            projection=projection,
            disk=InlineOffload(),
            config=self.files,
            index=Index(None, kernel.journal.id),
            indexing=InlineOffload(),
        )
        kernel.projections = (projection,)
        kernel.tasks.start(projection.run(), "files")
        kernel.tasks.start(file_index.run(kernel, kernel.files), "index of files")
        return kernel


@dataclass(frozen=True, slots=True)
class Desk:
    """A process that works with files."""

    kernel: Kernel
    process: Process

    async def do(self, call: Call) -> object:
        return await result(syscall.enter(self.kernel, self.process, call))

    async def write(self, path: str, text: str, **how: object) -> int:
        """The version that it made."""
        file = FileWrite(path=path, data=text.encode(), **how)  # type: ignore[arg-type]
        return (await self.changed(WriteFiles(files=(file,)))).files[0].version

    async def read(self, path: str, version: int | None = None, at: str = "") -> str:
        done = await self.do(ReadFiles(files=(FileRead(path=path, version=version),), at=at))
        assert isinstance(done, Contents)
        return done.files[0].data.decode()

    async def paths(self, path: str, **how: object) -> list[str]:
        return [row.path for row in (await self.listing(path, **how)).files]

    async def listing(self, path: str, **how: object) -> Listing:
        done = await self.do(ListFiles(path=path, **how))  # type: ignore[arg-type]
        assert isinstance(done, Listing)
        return done

    async def change(self, action: str, path: str, **how: object) -> Changed:
        return await self.changed(
            ChangeFiles(action=action, path=path, **how)  # type: ignore[arg-type]
        )

    async def changed(self, call: Call) -> Changed:
        done = await self.do(call)
        assert isinstance(done, Changed)
        return done

    async def check(self) -> None:
        """The tree's own invariants."""
        assert self.kernel.files is not None
        await self.kernel.files.read(FileTree.check)
