"""Rights, ready to be asked at the door: exact names first, then patterns; answers are kept."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from orlop.abi import rights
from orlop.abi.calls import Budget
from orlop.abi.ids import Nanoseconds
from orlop.abi.limits import RIGHTS_ASKED_MAX, RIGHTS_COMPILED_MAX
from orlop.abi.rights import Access, Family, Rights


class Held:
    """One list of rights.  Asking costs a dictionary look-up once the answer is known."""

    __slots__ = ("_answers", "_exact", "_patterns", "is_everything", "rights")

    def __init__(self, held: Rights) -> None:
        self.rights: Final = held
        scopes = [rights.read(text) for text in held]
        self.is_everything: Final = any(scope.family == "*" for scope in scopes)
        self._exact: set[tuple[str, str, str]] = set()
        self._patterns: dict[tuple[str, str], list[str]] = {}
        self._answers: dict[tuple[str, str, str], bool] = {}
        for scope in scopes:
            for access in scope.access if scope.family in rights.WITH_ACCESS else ("",):
                for pattern in scope.patterns:
                    if "*" in pattern:
                        self._patterns.setdefault((scope.family, access), []).append(pattern)
                    else:
                        self._exact.add((scope.family, pattern, access))

    def allows(self, family: Family, name: str = "", access: Access = "") -> bool:
        """Whether one of the rights allows this; a family without names is asked with none."""
        if self.is_everything:
            return True
        asked = (family, name, access)
        answer = self._answers.get(asked)
        if answer is None:
            if len(self._answers) >= RIGHTS_ASKED_MAX:
                self._answers.clear()
            answer = self._answers[asked] = self._find(family, name, access)
        return answer

    def _find(self, family: Family, name: str, access: Access) -> bool:
        if family == "file" and ".." in name.split("/"):
            return False  # It would leave what its beginning names.
        if family == "net":
            name = name.lower()
        if (family, name, access) in self._exact:
            return True
        patterns = self._patterns.get((family, access), ())
        return any(rights.fits(pattern, name) for pattern in patterns)


@lru_cache(maxsize=RIGHTS_COMPILED_MAX)
def compiled(held: Rights) -> Held:
    """The same list is compiled once, whoever holds it."""
    return Held(held)


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a narrowed token leaves of its process's rights.  token: its revocation id.

    budgets: what may be used with it, by block, the narrowest first.
    """

    held: Held
    token: str
    budgets: tuple[tuple[str, Budget], ...] = ()
    expires_ns: Nanoseconds | None = None
