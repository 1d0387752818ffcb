"""A JSON object taken apart field by field: what is taken is checked, what is left is `extra`.

Every reader removes its field, treats null as absent, and raises `BadCall` with the field's path
in backquotes first (`wire.problem` hands that path to clients as `param`).
"""

from typing import Final, NoReturn

from orlop.abi.errors import BadCall

Where = str | tuple["Where", str] | tuple["Where", int]
"""A path, put into words only when an error needs it."""

TEXT_OR_ARRAY: Final = "a string or an array"

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1


def say(where: Where) -> str:
    """`messages[3].content[0].text`; empty for the body itself."""
    if isinstance(where, str):
        return where
    parent, last = where
    above = say(parent)
    if isinstance(last, int):
        return f"{above}[{last}]"
    return f"{above}.{last}" if above else last


def kind(value: object) -> str:
    """What JSON calls it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


class Fields:
    """One object.  `raw` is emptied as it is read; the caller must own it."""

    __slots__ = ("raw", "where")

    def __init__(self, raw: object, where: Where = "") -> None:
        if not isinstance(raw, dict):
            raise BadCall(f"`{say(where)}` must be an object, not {kind(raw)}")
        self.raw: dict[str, object] = raw
        self.where = where

    def refuse(self, name: str, why: str) -> NoReturn:
        raise BadCall(f"`{say((self.where, name))}` {why}")

    def _wrong(self, name: str, wanted: str, value: object) -> NoReturn:
        self.refuse(name, f"must be {wanted}, not {kind(value)}")

    def text(self, name: str, default: str = "") -> str:
        value = self.raw.pop(name, None)
        if value is None:
            return default
        if not isinstance(value, str):
            self._wrong(name, "a string", value)
        return value

    def need_text(self, name: str) -> str:
        """A string that is there and not empty."""
        value = self.text(name)
        if not value:
            self.refuse(name, "is required and must not be empty")
        return value

    def flag(self, name: str) -> bool | None:
        value = self.raw.pop(name, None)
        if value is None or isinstance(value, bool):
            return value
        self._wrong(name, "a boolean", value)

    def integer(self, name: str, low: int = INTEGER_MIN, high: int = INTEGER_MAX) -> int | None:
        value = self.raw.pop(name, None)
        if value is None:
            return None
        if type(value) is not int:
            self._wrong(name, "an integer", value)
        if not low <= value <= high:
            self.refuse(name, f"must be from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self.raw.pop(name, None)
        if value is None:
            return None
        if type(value) is not float and type(value) is not int:
            self._wrong(name, "a number", value)
        if not low <= value <= high:
            self.refuse(name, f"must be from {low:g} to {high:g}")
        return float(value)

    def items(
        self, name: str, limit: int | None = None, *, wanted: str = "an array"
    ) -> list[object]:
        value = self.raw.pop(name, None)
        if value is None:
            return []
        if not isinstance(value, list):
            self._wrong(name, wanted, value)
        if limit is not None and len(value) > limit:
            self.refuse(name, f"has {len(value)} items; {limit} are allowed")
        return value

    def texts(self, name: str, limit: int) -> tuple[str, ...]:
        """One string, or an array of them."""
        if isinstance(self.raw.get(name), str):
            return (self.text(name),)
        texts = []
        for index, item in enumerate(self.items(name, limit, wanted=TEXT_OR_ARRAY)):
            if not isinstance(item, str):
                where = say(((self.where, name), index))
                raise BadCall(f"`{where}` must be a string, not {kind(item)}")
            texts.append(item)
        return tuple(texts)

    def mapping(self, name: str) -> dict[str, object] | None:
        value = self.raw.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._wrong(name, "an object", value)
        return value

    def inner(self, name: str) -> "Fields":
        """A required object, to be taken apart in its turn."""
        return Fields(self.raw.pop(name, None), (self.where, name))

    def rest(self) -> dict[str, object]:
        """What nobody asked for; nulls say nothing and are left out."""
        if not self.raw:
            return {}
        return {name: value for name, value in self.raw.items() if value is not None}
