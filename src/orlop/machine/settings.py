"""`orlop.toml`, read once into frozen dataclasses; every mistake is named with its line.

A package's configuration is one dataclass beside the code it configures; `boot` composes them.
"""

import difflib
import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from orlop.abi.errors import Misconfigured

T = TypeVar("T")

_PLACE: Final = re.compile(
    r"""
    \[ ([^\]]+) \] (?: [ ]`?(\w+) )?           # [tools.pay] retries
    | (\w+ (?: \. [^\s.:]+ )+ (?: :[ ]\w+ )?)  # engines.a: url, or memory.store
    """,
    re.VERBOSE,
)
"""What a message says first, where it is about a place of orlop.toml."""


def load(path: Path, schema: type[T]) -> T:
    """The file as `schema`, a dataclass whose fields are tables.

    Raises `Misconfigured` with file, line, and the nearest valid key.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path}: can't be read: {error}") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path}: {error}") from error
    return _Reader(path, text).table(data, schema, ())


def placed(path: Path, error: Misconfigured) -> Misconfigured:
    """`error` with file and line, where its message begins with a place of that file.

    Checks that look at several settings at once come after reading.  They begin with the place, as
    in `[tools.pay] retries: …` or `engines.a: url …`, and need not know where it was written.
    """
    found = _PLACE.match(error.message)
    try:
        reader = _Reader(path, path.read_text())
    except (OSError, UnicodeDecodeError):
        return error
    if found is None or not (line := reader.line((*_keys(found[1] or found[3]), found[2] or ""))):
        return error
    return Misconfigured(f"{path}:{line}: {error.message}")


class _Reader:
    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def table(self, data: Mapping[str, object], schema: type[T], where: tuple[str, ...]) -> T:
        """One table as a dataclass."""
        assert is_dataclass(schema)
        hints = get_type_hints(schema, include_extras=True)
        known = [field.name for field in fields(schema)]
        values: dict[str, object] = {}
        for key, value in data.items():
            if key not in known:
                raise self._wrong((*where, key), f"no such setting; {nearest(key, known)}")
            values[key] = self._value(value, hints[key], (*where, key))
        try:
            return schema(**values)
        except TypeError:
            missing = [
                field.name
                for field in fields(schema)
                if field.default is MISSING
                and field.default_factory is MISSING
                and field.name not in values
            ]
            raise self._wrong(where, f"needs {', '.join(missing)}") from None
        except ValueError as error:
            raise self._wrong(where, str(error)) from error

    def _value(self, value: object, kind: object, where: tuple[str, ...]) -> object:
        if isinstance(kind, type) and is_dataclass(kind):
            return self.table(self._mapping(value, where), kind, where)
        inner = get_args(kind)[-1] if get_origin(kind) in (dict, Mapping) else None
        if isinstance(inner, type) and is_dataclass(inner):
            tables = self._mapping(value, where)
            return {
                name: self.table(self._mapping(entry, (*where, name)), inner, (*where, name))
                for name, entry in tables.items()
            }
        try:
            converted: object = msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            if isinstance(value, str) and (choices := _choices(kind)):
                what = f"{value!r} is none of its values; {nearest(value, choices)}"
                raise self._wrong(where, what) from error
            raise self._wrong(where, f"{error} (it is {value!r})") from error
        if isinstance(converted, float) and not math.isfinite(converted):
            raise self._wrong(where, f"should be a finite number (it is {value!r})")
        return converted

    def _mapping(self, value: object, where: tuple[str, ...]) -> Mapping[str, object]:
        if not isinstance(value, dict):
            raise self._wrong(where, "should be a table")
        return value

    def _wrong(self, where: tuple[str, ...], what: str) -> Misconfigured:
        place = f"{'.'.join(where)}: " if where else ""
        return Misconfigured(f"{self._path}:{self.line(where) or 1}: {place}{what}")

    def line(self, where: tuple[str, ...]) -> int:
        """The line that sets `where`, or that opens the nearest table around it; 0: none does."""
        table: tuple[str, ...] = ()
        best, best_depth = 0, 0
        for number, line in enumerate(self._lines, 1):
            if header := re.match(r"\s*\[+([^\]]+)\]", line):
                table = _keys(header[1])
                here = table
            elif entry := re.match(r"\s*([\w\"'.\-]+)\s*=", line):
                here = (*table, *_keys(entry[1]))
            else:
                continue
            if where[: len(here)] == here and len(here) > best_depth:
                best, best_depth = number, len(here)
        return best


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.replace(": ", ".").split("."))


def _choices(kind: object) -> list[str]:
    """The values that a closed set of strings has, in any union."""
    if get_origin(kind) is Literal:
        return [choice for choice in get_args(kind) if isinstance(choice, str)]
    return [choice for inner in get_args(kind) for choice in _choices(inner)]


def nearest(key: str, known: Sequence[str]) -> str:
    """What whoever wrote `key` may have meant."""
    close = difflib.get_close_matches(key, known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(known)}"


def default_models_dir() -> Path:
    """Where pulled models lie: on one shelf for all homes of a user."""
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "orlop" / "models"
