"""Whatever is done to files, in whatever order: each version is what was written, for ever."""

from dataclasses import dataclass, field

from file_kernel import Desk, FileComputer
from hypothesis import given, settings
from hypothesis import strategies as st
from small_kernel import Computer, on, program

from orlop.abi.errors import KernelError, NotFound
from orlop.state.core import Kernel

PATHS = st.sampled_from(["/a", "/b", "/f/a", "/f/b", "/f/g/c"])
FOLDERS = st.sampled_from(["/f", "/f/g", "/a"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, st.text(max_size=3)),
        st.tuples(st.just("append"), PATHS, st.text(max_size=3)),
        st.tuples(st.just("delete"), FOLDERS | PATHS, st.just("")),
        st.tuples(st.just("copy"), PATHS, PATHS),
        st.tuples(st.just("move"), FOLDERS | PATHS, st.sampled_from(["/m", "/f/n"])),
        st.tuples(st.just("rollback"), PATHS, st.just("")),
        st.tuples(st.just("snapshot"), FOLDERS, st.sampled_from(["s1", "s2"])),
        st.tuples(st.just("restore"), FOLDERS, st.sampled_from(["s1", "s2"])),
    ),
    max_size=25,
)


@dataclass(eq=False)
class Model:
    """What there should be: every version of every path, None where it was deleted."""

    versions: dict[str, list[str | None]] = field(default_factory=dict)
    snapshots: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    def now(self) -> dict[str, str]:
        return {path: last for path, all in self.versions.items() if (last := all[-1]) is not None}

    def below(self, folder: str) -> dict[str, str]:
        return {
            path: text
            for path, text in self.now().items()
            if path == folder or path.startswith(folder + "/")
        }

    def put(self, path: str, text: str | None) -> None:
        self.versions.setdefault(path, []).append(text)

    def moment(self, folder: str, name: str) -> dict[str, str] | None:
        """A snapshot's content below `folder`: its own, or one of a folder above it."""
        at = folder
        while at:
            if (at, name) in self.snapshots:
                found = self.snapshots[at, name]
                return {
                    path: text
                    for path, text in found.items()
                    if path == folder or path.startswith(folder + "/")
                }
            at = at.rpartition("/")[0]
        return None

    def step(self, what: str, path: str, other: str) -> bool:  # noqa: C901 (one row a step)
        """Whether it can be done; done here too."""
        found = self.below(path)
        match what:
            case "write":
                self.put(path, other)
            case "append":
                self.put(path, self.now().get(path, "") + other)
            case "delete" | "move" | "copy":
                if not found or (what != "delete" and (other + "/").startswith(path + "/")):
                    return False
                for old, text in sorted(found.items()):
                    if what != "delete":
                        self.put(other + old.removeprefix(path), text)
                if what != "copy":
                    for old in found:
                        self.put(old, None)
            case "rollback":
                first = self.versions.get(path, [None])[0]
                if first is None:
                    return False
                if self.now() != {**self.now(), path: first} or len(self.versions[path]) > 1:
                    self.put(path, first)
                for below in self.below(path):
                    if below != path:
                        self.put(below, None)
            case "snapshot":
                self.snapshots[path, other] = dict(found)
            case "restore":
                if (past := self.moment(path, other)) is None:
                    return False
                for old, text in past.items():
                    if self.now().get(old) != text:
                        self.put(old, text)
                for old in found.keys() - past.keys():
                    self.put(old, None)
        return True


async def do(desk: Desk, what: str, path: str, other: str) -> None:
    if what in ("write", "append"):
        await desk.write(path, other, append=what == "append")
    elif what == "rollback":
        await desk.change("rollback", path, version=1)
    else:
        await desk.change(what, path, to=other)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_the_tree_is_what_a_dictionary_would_be(steps: list[tuple[str, str, str]]) -> None:
    async def whole(_: Computer, kernel: Kernel) -> None:
        desk, model = Desk(kernel, await program(kernel, name="ann")), Model()
        for what, path, other in steps:
            can = model.step(what, path, other)
            try:
                await do(desk, what, path, other)
            except KernelError as error:
                assert not can, f"{what} {path} {other}: {error.message}"
            else:
                assert can, f"{what} {path} {other} was done, and should not have been"
            assert await desk.paths("/", deep=True) == sorted(model.now())
            for now, text in model.now().items():
                assert await desk.read(now) == text
        await desk.check()
        for path in model.versions:
            rows = (await desk.listing(path, what="versions")).files
            for row in rows:
                try:
                    await desk.read(path, version=row.version)
                except NotFound:
                    assert row.kind == "deleted"

    on(FileComputer, whole)
