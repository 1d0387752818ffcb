"""The token ids behind what a stream says, where its server tells them beside each piece.

vLLM (0.10.2 and later, in both of its streams) and SGLang (in that of the old completions) do, when
asked with `return_token_ids`: `prompt_token_ids` once, on the chunk or on its choice, and
`token_ids` with each piece of a choice.
"""

from typing import Final

_IDS_MAX: Final = 2**31


class TokenTrace:
    """Of one answer with one choice, as it is read."""

    def __init__(self) -> None:
        self.prompt: tuple[int, ...] = ()
        self.is_told = True
        """No piece has come without its ids."""
        self._ids: list[int] = []
        self._said: int | None = 0

    @property
    def said(self) -> tuple[int, ...] | None:
        """The ids whose text is what has been said; None: that is not sure just now.

        A server holds a letter back until all of its bytes are there, so a piece of text that comes
        with one id ends where that id ends.  Of a piece with several ids the last may be the
        beginning of the next letter; ids that come without text are, and will be made again.
        """
        return None if self._said is None or not self.is_told else tuple(self._ids[: self._said])

    def take_prompt(self, raw: object) -> None:
        if raw is not None and not self.prompt:
            self.prompt = _ids(raw) or ()

    def take(self, raw: object, *, says: bool) -> None:
        """raw: the ids of one piece.  says: there is text in it."""
        ids = _ids(raw)
        if ids is None:
            self.is_told = self.is_told and not says
            return
        self._ids.extend(ids)
        if says:
            self._said = len(self._ids) if len(ids) == 1 else None


def _ids(raw: object) -> tuple[int, ...] | None:
    if not isinstance(raw, list):
        return None
    ids = tuple(one for one in raw if type(one) is int and 0 <= one < _IDS_MAX)
    return ids if len(ids) == len(raw) else None
