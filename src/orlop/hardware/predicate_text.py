"""A claim's words: `device.class == "gpu" && hbm_gb >= 40 && region in ["eu", "uk"]`.

    or    := and ("||" and)*        not   := "!" not | "(" or ")" | "has" "(" name ")" | test
    and   := not ("&&" not)*        test  := term (("==" | "!=" | "<" | … | "in") term)?
    term  := name | number | "text" | true | false | "[" "text" ("," "text")* "]"

`device.` before a name says nothing and may be left out.  Texts compare as versions with < and >:
`driver >= "570.86"`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from orlop.abi.devices import Value
from orlop.abi.errors import BadCall
from orlop.abi.limits import PREDICATE_CHARS_MAX, PREDICATE_DEPTH_MAX
from orlop.hardware.predicate import (
    All,
    Clause,
    Condition,
    Has,
    Name,
    Node,
    Not,
    Operator,
    Predicate,
    Some,
)

_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<text>"[^"]*"|'[^']*')
    |(?P<name>[A-Za-z_][\w-]*(?:\.[\w-]+)*)
    |(?P<sign>==|!=|<=|>=|&&|\|\||[<>!()\[\],])
    |(?P<end>$)
    )""",
    re.VERBOSE | re.ASCII,
)

_OPERATORS: Final[Mapping[str, Operator]] = {
    "==": "==",
    "!=": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "in": "in",
}


@lru_cache(maxsize=1024)
def read(text: str) -> Predicate:
    """Raises `BadCall` with the place of what can't be read.  An empty one is met by all."""
    if len(text) > PREDICATE_CHARS_MAX:
        raise BadCall(
            f"a claim has {len(text)} characters; at most {PREDICATE_CHARS_MAX} "
            "(PREDICATE_CHARS_MAX)"
        )
    if not text.strip():
        return Predicate(text, ())
    return Predicate(text, tuple(_conditions(_Reader(text).whole())))


def _conditions(clause: Clause) -> Iterator[Clause]:
    """What must all be met, each by itself."""
    if isinstance(clause.node, All):
        for inner in clause.node.clauses:
            yield from _conditions(inner)
    else:
        yield clause


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


class _Reader:
    """Recursive descent over the tokens, one a grammar's line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._at = 0

    def _split(self) -> list[_Token]:
        tokens = list[_Token]()
        place = 0
        while not tokens or tokens[-1].kind != "end":
            found = _TOKEN.match(self._text, place)
            if found is None or found.lastgroup is None:
                start = place + len(self._text[place:]) - len(self._text[place:].lstrip())
                raise self._wrong(start, f"{self._text[start]!r} has no meaning here")
            kind = found.lastgroup
            tokens.append(_Token(kind, found[kind], found.start(kind), found.end(kind)))
            place = found.end()
        return tokens

    def whole(self) -> Clause:
        clause = self._either(0)
        if self._next.kind != "end":
            raise self._wrong(self._next.start, "a condition ends here; `&&` or `||` should follow")
        return clause

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _is_taken(self, sign: str) -> bool:
        if self._next.kind == "sign" and self._next.text == sign:
            self._take()
            return True
        return False

    def _require(self, sign: str) -> None:
        if not self._is_taken(sign):
            raise self._wrong(self._next.start, f"`{sign}` should stand here")

    def _clause(self, node: Node, start: int) -> Clause:
        return Clause(node, self._text[start : self._tokens[self._at - 1].end])

    def _either(self, depth: int) -> Clause:
        if depth > PREDICATE_DEPTH_MAX:
            raise BadCall(
                f"a claim is nested more than {PREDICATE_DEPTH_MAX} deep (PREDICATE_DEPTH_MAX)"
            )
        start, clauses = self._next.start, [self._both(depth)]
        while self._is_taken("||"):
            clauses.append(self._both(depth))
        return clauses[0] if len(clauses) == 1 else self._clause(Some(tuple(clauses)), start)

    def _both(self, depth: int) -> Clause:
        start, clauses = self._next.start, [self._not(depth)]
        while self._is_taken("&&"):
            clauses.append(self._not(depth))
        return clauses[0] if len(clauses) == 1 else self._clause(All(tuple(clauses)), start)

    def _not(self, depth: int) -> Clause:
        start = self._next.start
        if self._is_taken("!"):
            if depth > PREDICATE_DEPTH_MAX:
                return self._either(depth + 1)  # It refuses.
            return self._clause(Not(self._not(depth + 1).node), start)
        if self._is_taken("("):
            inner = self._either(depth + 1)
            self._require(")")
            return self._clause(inner.node, start)
        if self._next.text == "has" and self._tokens[self._at + 1].text == "(":
            self._at += 2
            asked = self._term()
            self._require(")")
            if not isinstance(asked, Name):
                raise self._wrong(start, "has(…) asks for a name")
            return self._clause(Has(asked), start)
        return self._test()

    def _test(self) -> Clause:
        start, left = self._next.start, self._term()
        operator = _OPERATORS.get(self._next.text) if self._next.kind != "text" else None
        if operator is None:
            if not isinstance(left, Name | bool):
                raise self._wrong(start, "a value alone is no condition; compare it with something")
            return self._clause(Condition(left), start)
        self._take()
        return self._clause(Condition(left, operator, self._term()), start)

    def _term(self) -> Name | Value:
        token = self._take()
        match token.kind:
            case "number":
                value = float(token.text)
                return int(value) if value.is_integer() else value
            case "text":
                return token.text[1:-1]
            case "name" if token.text in ("true", "false"):
                return token.text == "true"
            case "name" if token.text != "in":
                return Name(token.text.removeprefix("device."))
            case "sign" if token.text == "[":
                return self._list()
            case _:
                found = repr(token.text) if token.text else "the end"
                raise self._wrong(token.start, f"a name or a value should stand here, not {found}")

    def _list(self) -> tuple[str, ...]:
        texts = list[str]()
        while not texts or self._is_taken(","):
            if self._next.kind != "text":
                raise self._wrong(self._next.start, 'a list holds texts, as in ["eu", "uk"]')
            texts.append(self._take().text[1:-1])
        self._require("]")
        return tuple(texts)

    def _wrong(self, place: int, what: str) -> BadCall:
        return BadCall(f"the claim {self._text!r} can't be read at character {place + 1}: {what}")
