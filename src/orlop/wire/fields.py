"""Reading what strangers send: JSON into typed values, and errors that name the field."""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from orlop.abi.errors import BadCall
from orlop.abi.limits import JSON_DEPTH_MAX

T = TypeVar("T")
_PATH: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)


def read_object(body: bytes) -> dict[str, object]:
    """The JSON object in `body`.  Raises `BadCall` for anything else, or for deep nesting."""
    try:
        value = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.ValidationError as error:
        raise BadCall(f"the body must be a JSON object: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadCall(f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise BadCall(f"the body nests deeper than {JSON_DEPTH_MAX} levels") from error
    _check_depth(value)
    return value


def read(value: object, kind: type[T], where: str = "") -> T:
    """`value` as a `kind`.  `where`: the path to it, as in `messages[3].content`."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        found = _PATH.match(str(error))
        what, path = (found["what"], found["path"] or "") if found else (str(error), "")
        raise BadCall(f"{_field(where, path)}: {what}") from error


def rest(value: Mapping[str, object], known: type[msgspec.Struct]) -> dict[str, object]:
    """The fields of `value` that the struct `known` does not name; nulls say nothing."""
    names = known.__struct_encode_fields__
    return {key: held for key, held in value.items() if key not in names and held is not None}


def _field(where: str, path: str) -> str:
    joined = where + path
    return joined.removeprefix(".") or "the body"


def _check_depth(value: object) -> None:
    """Level by level, so that the check itself needs no stack."""
    level = [value]
    for _ in range(JSON_DEPTH_MAX):
        level = [inner for outer in level for inner in _containers_in(outer)]
        if not level:
            return
    raise BadCall(f"the body nests deeper than {JSON_DEPTH_MAX} levels")


def _containers_in(value: object) -> list[object]:
    if isinstance(value, dict):
        return [held for held in value.values() if isinstance(held, dict | list)]
    if isinstance(value, list):
        return [held for held in value if isinstance(held, dict | list)]
    return []
