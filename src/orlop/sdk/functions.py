"""Python functions as tools: their schemas from their types, their calls from JSON.

Used by programs that offer functions, and by the runner of `[tools.NAME] python = …`.
"""

import inspect
import os
import typing
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Final, TypedDict, TypeVar

import msgspec

from orlop.abi.cards import Approval, Effect
from orlop.abi.errors import BadCall
from orlop.abi.tools import FunctionCard

Function = Callable[..., object]
F = TypeVar("F", bound=Function)

_KEY: Final[ContextVar[str]] = ContextVar("orlop effect key", default="")
_ROOT: Final = "Arguments"


class ToolOptions(TypedDict, total=False):
    """What may be said about a function beside its types."""

    name: str
    """Default: the function's own."""
    description: str
    """For models and people; default: its docstring."""
    effect: Effect
    """What a second execution would do; default `irreversible`."""
    timeout_s: float
    concurrency: int
    conflicts: tuple[str, ...]
    approval: Approval
    retries: int
    compensate: str
    """The tool that undoes a call, when its saga is given up; its arguments: `compensate_with`."""
    compensate_with: dict[str, object]
    compensate_unknown: bool
    system: str
    shared: bool
    """Children of this process may call it too."""


def effect_key() -> str:
    """Inside a tool: the name of this effect, the same for ever however often it is tried."""
    return _KEY.get() or os.environ.get("ORLOP_KEY", "")


class Described:
    """A function as a tool.  Raises `BadCall` for one whose types have no JSON schema."""

    def __init__(self, function: Function, name: str = "") -> None:
        self.function = function
        self.name = name or function.__name__
        self.description = inspect.getdoc(function) or ""
        self._arguments = _arguments(function, self.name)
        self.parameters = _inlined(_schema(self._arguments, self.name))
        hints = _hints(function)
        self.results = _results(hints, self.name)

    def card(self, options: ToolOptions) -> FunctionCard:
        given = dict(options)
        given.setdefault("description", self.description)
        given["name"] = self.name
        return msgspec.convert(
            {**given, "parameters": self.parameters, "results": self.results}, FunctionCard
        )

    def bound(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """The arguments as the function's types say.  Raises `BadCall`."""
        try:
            made = msgspec.convert(dict(arguments), self._arguments)
        except msgspec.ValidationError as error:
            raise BadCall(f"arguments of {self.name}: {error}") from error
        return {field: getattr(made, field) for field in made.__struct_fields__}

    async def call(self, arguments: Mapping[str, object], key: str) -> object:
        """What it returns, as JSON; awaited where it is asynchronous."""
        value = self.run(arguments, key)
        if isinstance(value, Awaitable):
            token = _KEY.set(key)
            try:
                value = await value
            finally:
                _KEY.reset(token)
        return plain(value)

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    def run(self, arguments: Mapping[str, object], key: str) -> object:
        """One step of `call`: what the function gives back at once."""
        token = _KEY.set(key)
        try:
            return self.function(**self.bound(arguments))
        finally:
            _KEY.reset(token)


def plain(value: object) -> object:
    """A result as JSON."""
    made: object = msgspec.to_builtins(value)
    return made


def _hints(function: Function) -> dict[str, object]:
    try:
        return dict(typing.get_type_hints(function, include_extras=True))
    except NameError as error:
        raise BadCall(f"{function.__name__}: its types can't be read: {error}") from error


def _arguments(function: Function, name: str) -> type[msgspec.Struct]:
    hints = _hints(function)
    fields: list[tuple[str, object] | tuple[str, object, object]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise BadCall(f"{name}: *{parameter.name} has no JSON schema; name its arguments")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise BadCall(f"{name}: {parameter.name} can't be given by name")
        kind = hints.get(parameter.name, object)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, kind))
        else:
            fields.append((parameter.name, kind, parameter.default))
    try:
        return msgspec.defstruct(
            _ROOT,
            fields,
            kw_only=True,
            forbid_unknown_fields=True,
        )
    except TypeError as error:
        raise BadCall(f"{name}: {error}") from error


def _schema(kind: object, name: str) -> dict[str, object]:
    try:
        return msgspec.json.schema(kind)
    except TypeError as error:
        raise BadCall(f"{name}: a type has no JSON schema: {error}") from error


def _inlined(schema: dict[str, object]) -> dict[str, object]:
    """The arguments' own schema, with the others that it needs beside it."""
    definitions = schema.get("$defs")
    assert isinstance(definitions, dict)
    root = dict(definitions.pop(_ROOT))
    root.pop("title", None)
    return {**root, "$defs": definitions} if definitions else root


def _results(hints: Mapping[str, object], name: str) -> dict[str, object]:
    """Empty where the function does not say what it returns."""
    return _schema(hints["return"], name) if "return" in hints else {}
