"""The models on this disk: one folder a model, and `models.json`, which names them all.

Several homes share a shelf, so it is written whole, under a lock, and only by `orlop pull`.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.cards import ModelKind
from orlop.abi.errors import Misconfigured
from orlop.abi.ids import ModelName
from orlop.devices.artefact import write_atomic

MANIFEST: Final = "models.json"


class Model(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model that lies here.  Paths are relative to the shelf."""

    name: ModelName
    kind: ModelKind
    path: str
    """The weights; what else the model needs lies beside them."""
    sha256: str
    """Of the weights, hexadecimal."""
    size_bytes: int
    source: str
    """The package and version it came from, or the file it links to."""
    licence: str = ""


class _Manifest(Struct, frozen=True):
    version: int = 1
    models: tuple[Model, ...] = ()


def installed(models_dir: Path) -> tuple[Model, ...]:
    """What lies here, by name; nothing where there is no shelf.  Reads one small file."""
    manifest = models_dir / MANIFEST
    try:
        content = manifest.read_bytes()
    except FileNotFoundError:
        return ()
    try:
        models = msgspec.json.decode(content, type=_Manifest).models
    except msgspec.DecodeError as error:
        raise Misconfigured(f"{manifest} can't be read ({error}); `orlop pull` again") from error
    return tuple(model for model in models if (models_dir / model.path).exists())


def find(models_dir: Path, name: str) -> Model | None:
    """The model called `name`, if it lies here."""
    return next((model for model in installed(models_dir) if model.name == name), None)


def put(models_dir: Path, model: Model) -> None:
    """Enter `model`, in place of one of the same name.  The shelf must be `locked`."""
    others = (other for other in installed(models_dir) if other.name != model.name)
    models = tuple(sorted((*others, model), key=lambda entry: entry.name))
    encoded = msgspec.json.format(msgspec.json.encode(_Manifest(models=models)))
    write_atomic(models_dir / MANIFEST, encoded + b"\n")


@contextmanager
def locked(models_dir: Path) -> Iterator[None]:
    """One writer at a time; a second one waits.  Makes the shelf if there is none."""
    models_dir.mkdir(parents=True, exist_ok=True)
    with (models_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
