"""The functions that a script without `async` offers: served by threads of their own."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

import msgspec

from orlop.abi.errors import BadCall, KernelError
from orlop.abi.limits import FUNCTIONS_DONE_KEPT
from orlop.abi.tools import Errand, FunctionAnswer, Invoke, Offered, OfferOrder, Withdraw
from orlop.sdk.exchange import JSON, NDJSON, ROOT, LostAnswer, Order
from orlop.sdk.functions import Described, Function, ToolOptions, plain
from orlop.sdk.link import Link

SAID_CHARS_MAX = 1_000
"""Of what a function raised."""

_errand: msgspec.json.Decoder[Errand] = msgspec.json.Decoder(Errand)


class SyncOffering:
    """As `offering.Offering`.  A function that nobody waits for any more runs to its end."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._functions: dict[str, tuple[Described, ToolOptions]] = {}
        self._serving: Serving | None = None
        self._by_key: OrderedDict[tuple[str, str], Future[FunctionAnswer]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, function: Function, options: ToolOptions) -> None:
        """Announced before the program's next call.  Raises `BadCall`."""
        described = Described(function, options.get("name", ""))
        if described.name in self._functions:
            raise BadCall(f"two functions are called {described.name}")
        if described.is_async:
            raise BadCall(f"{described.name} is asynchronous: offer it with `orlop.connect()`")
        described.card(options)
        # From here on nothing can fail.
        self._functions[described.name] = (described, options)
        self.close()

    def ready(self) -> None:
        """Return once all functions can be called.  Raises why they can't."""
        if not self._functions:
            return
        if self._serving is None:
            cards = tuple(found.card(options) for found, options in self._functions.values())
            self._serving = Serving(self._link, OfferOrder(functions=cards), self.answer)
        self._serving.wait()

    def close(self) -> None:
        if self._serving is not None:
            self._serving.is_over = True
        self._serving = None

    def answer(self, errand: Invoke) -> FunctionAnswer:
        """Once a key: who asks again, after a kernel was lost, gets what the first call came to."""
        place = (errand.function, errand.key)
        with self._lock:
            known = self._by_key.get(place)
            if known is None:
                mine: Future[FunctionAnswer] = Future()
                self._by_key[place] = mine
        if known is not None:
            return known.result()
        described, _ = self._functions[errand.function]
        try:
            said = FunctionAnswer(value=plain(described.run(errand.arguments, errand.key)))
        except Exception as error:  # Whatever it is, it fails this call only.
            said = FunctionAnswer(error=f"{type(error).__name__}: {error}"[:SAID_CHARS_MAX])
        mine.set_result(said)
        with self._lock:
            if said.error:  # Nothing was done, so it may be tried again.
                self._by_key.pop(place, None)
            while len(self._by_key) > FUNCTIONS_DONE_KEPT:
                self._by_key.popitem(last=False)
        return said


class Serving:
    """One list of functions, announced and served until it is over."""

    def __init__(
        self, link: Link, order: OfferOrder, answer: Callable[[Invoke], FunctionAnswer]
    ) -> None:
        self._link = link
        self._order = Order("POST", f"{ROOT}/functions", msgspec.json.encode(order), NDJSON)
        self._answer = answer
        self._told = threading.Event()
        self._failure: KernelError | None = None
        self._running: set[str] = set()
        self.is_over = False
        threading.Thread(target=self._serve, name="functions", daemon=True).start()

    def wait(self) -> None:
        self._told.wait()
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        """For ever: one connection after another."""
        patience = self._link.patience(self._order)
        while not self.is_over:
            try:
                with self._link.opened(self._order, again=False) as exchange:
                    for line in exchange.lines():
                        if self.is_over:
                            return
                        self._take(_errand.decode(line))
                raise LostAnswer("the kernel has let this program go", sent=False)
            except (LostAnswer, KernelError) as failure:
                try:
                    self._link.pause_after(failure, patience)
                except KernelError as end:
                    self._failure = end
                    self._told.set()
                    return

    def _take(self, errand: Errand) -> None:
        match errand:
            case Offered():
                self._told.set()
            case Invoke():
                if errand.id not in self._running:  # Told again, after a loss.
                    self._running.add(errand.id)
                    work = threading.Thread(target=self._run, args=(errand,), daemon=True)
                    work.start()
            case Withdraw():
                pass  # A thread can't be ended; nobody reads its answer.

    def _run(self, errand: Invoke) -> None:
        body = msgspec.json.encode(self._answer(errand))
        order = Order("POST", f"{ROOT}/functions/{errand.id}", body, JSON)
        # Nobody waits any more, or the kernel is gone: then it has told the caller.
        with suppress(KernelError):
            self._link.ask(order)
        self._running.discard(errand.id)
