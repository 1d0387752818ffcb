"""What is believed to lie on one medium of an engine: contexts, the longest unused first.

Contexts that begin alike (a system prompt, a list of tools) share that beginning there: its tokens
count once, as long as any of them lies there.

Invariant: `tokens` is the sum of the contexts' own tokens and of each shared beginning once.
"""

from collections import OrderedDict
from collections.abc import Iterator

from orlop.sched.program import Context


class Layer:
    def __init__(self) -> None:
        self.tokens = 0
        self._lies: OrderedDict[Context, tuple[int, int, int]] = OrderedDict()
        """Tokens in all, those that are its own, and the beginning that it shares."""
        self._heads: dict[int, list[int]] = {}
        """Of each beginning: contexts that lie here, and its tokens."""

    def __bool__(self) -> bool:
        return bool(self._lies)

    def __iter__(self) -> Iterator[Context]:
        """From the one not used for longest; may be changed meanwhile."""
        return iter(tuple(self._lies))

    def oldest(self) -> Context:
        """Something lies here."""
        return next(iter(self._lies))

    def of(self, context: Context) -> int:
        """Its tokens here."""
        found = self._lies.get(context)
        return found[0] if found is not None else 0

    def shared(self, head: int) -> int:
        """Tokens of a beginning that lie here."""
        found = self._heads.get(head)
        return found[1] if found is not None else 0

    def put(self, context: Context, tokens: int) -> None:
        """It has so many here, and was used last; none: it is gone."""
        self.pop(context)
        if not tokens:
            return
        head, own = context.head, tokens
        if head and context.head_tokens <= tokens:
            found = self._heads.get(head)
            if found is None:
                found = self._heads[head] = [0, context.head_tokens]
                self.tokens += context.head_tokens
            found[0] += 1
            own = max(0, tokens - found[1])
        else:
            head = 0
        self._lies[context] = (tokens, own, head)
        self.tokens += own

    def pop(self, context: Context) -> int:
        """Forget it; its tokens."""
        found = self._lies.pop(context, None)
        if found is None:
            return 0
        tokens, own, head = found
        self.tokens -= own
        if head:
            shared = self._heads[head]
            shared[0] -= 1
            if not shared[0]:
                self.tokens -= shared[1]
                del self._heads[head]
        return tokens

    def clear(self) -> None:
        self._lies.clear()
        self._heads.clear()
        self.tokens = 0
