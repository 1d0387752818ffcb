"""How long, and how often, a lost answer is asked for again."""

from collections.abc import Callable

from orlop.abi.errors import Interrupted, JournalAway, KernelError, NoKernel, NotReady
from orlop.abi.limits import CLIENT_PAUSE_S_MAX, JOURNAL_AWAY_S
from orlop.sdk.exchange import LostAnswer, Order
from orlop.sdk.place import Place

FIRST_PAUSE_S = 0.02


def always() -> bool:
    """Nothing is known that would keep the kernel from coming back."""
    return True


class Patience:
    """One order's attempts: pauses double up to a limit, until failures last too long in a row.

    Clocks differ (real, or an event loop's), so each question brings the time: seconds, monotonic.
    """

    def __init__(
        self,
        place: Place,
        order: Order,
        limit_s: float,
        rises: Callable[[], bool] = always,
        *,
        is_agent: bool = False,
    ) -> None:
        """rises: whether somebody is there who would start the kernel again.  is_agent: there is
        no person who would rather be told at once that the journal's database is away."""
        self._place = place
        self._order = order
        self._limit_s = limit_s
        self._rises = rises
        self._is_agent = is_agent
        self._first_s = 0.0
        self._last_s: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self.again = False
        """An earlier attempt may have arrived, so the next one says that it is a repeat."""

    def after(self, failure: LostAnswer | KernelError, now_s: float) -> float:
        """Seconds to wait before the next attempt.  Raises what ends the order instead."""
        is_away = isinstance(failure, JournalAway) and self._is_agent and self._order.repeatable
        # Who has no patience at all has none for a database either.
        limit_s = JOURNAL_AWAY_S if is_away and self._limit_s else self._limit_s
        rises = self._rises()
        is_over = self._is_over(now_s, limit_s) or not rises
        if isinstance(failure, LostAnswer):
            self._refuse_to_repeat(failure)
            if is_over:
                raise NoKernel(f"no kernel answers at {self._place}: {failure}") from failure
            self.again = self.again or failure.sent
            return self._next_pause_s()
        if not (is_away or type(failure) in (NotReady, Interrupted)):
            raise failure
        if not rises:
            raise NoKernel(f"no kernel answers at {self._place}: {failure.message}") from failure
        if is_over:
            raise failure
        self.again = self.again or is_away or isinstance(failure, Interrupted)
        return min(failure.retry_after_s or self._next_pause_s(), CLIENT_PAUSE_S_MAX)

    def _refuse_to_repeat(self, loss: LostAnswer) -> None:
        if loss.sent and not self._order.repeatable:
            raise Interrupted(
                f"the kernel was lost during {self._order.method} {self._order.path}; "
                "whether it was done is not known"
            ) from loss

    def _is_over(self, now_s: float, limit_s: float) -> bool:
        """An attempt that lasted long before it failed begins a new row of failures."""
        if self._last_s is None or now_s - self._last_s > limit_s:
            self._first_s = now_s
            self._pause_s = FIRST_PAUSE_S
        self._last_s = now_s
        return now_s - self._first_s >= limit_s

    def _next_pause_s(self) -> float:
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, CLIENT_PAUSE_S_MAX)
        return pause_s
