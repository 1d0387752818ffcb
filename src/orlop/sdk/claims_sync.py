"""Devices that a script without `async` holds by itself: see `sdk.claims`.

with kernel.claim('device.class == "gpu"', save=checkpoint) as claim:
    tune(claim.device)

`save` is called in a thread of its own, while the block goes on.
"""

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType

from orlop.abi.devices import ClaimView, Notice
from orlop.abi.errors import KernelError, NotFound
from orlop.sdk.claim_words import place_of, read_claim, read_notice
from orlop.sdk.exchange import Order
from orlop.sdk.link import Link


class SyncClaim:
    """As `claims.Claim`."""

    def __init__(self, link: Link, order: Order, save: Callable[[Notice], None] | None) -> None:
        self._link = link
        self._order = order
        self._save = save
        self._view: ClaimView | None = None
        self.left = threading.Event()
        """The device is not held any more."""

    @property
    def view(self) -> ClaimView:
        """What was granted."""
        if self._view is None:
            raise RuntimeError("a claim is held in a `with`")
        return self._view

    @property
    def device(self) -> str:
        return self.view.device

    def __enter__(self) -> "SyncClaim":
        self._view = read_claim(self._link.ask(self._order).body)
        if self._save is not None:
            # It ends with the claim, at the latest when its wait is answered: nobody waits for it.
            threading.Thread(target=self._listen, args=(self._save,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give_back()

    def give_back(self) -> None:
        """At once; one that is over already is no error."""
        if not self.left.is_set():
            with contextlib.suppress(NotFound):
                self._link.ask(Order("DELETE", place_of(self.view)))
            self.left.set()

    def _listen(self, save: Callable[[Notice], None]) -> None:
        try:
            while not self.left.is_set():
                notice = read_notice(self._link.ask(Order("GET", place_of(self.view))).body)
                if notice.is_over:
                    break
                if notice.why:
                    save(notice)
                    self.give_back()
        except KernelError:
            pass  # The claim, or the kernel, is gone: whoever uses the device hears it there.
        self.left.set()
