"""What becomes of contexts: the scheduler's orders, carried to engines that move them.

Invariants: 1. an engine gets its orders one after another, in the order they were given; 2. of a
context only the latest order waits; 3. an order that fails is logged, and its context is computed
again.
"""

import logging
from collections.abc import Mapping

from orlop.abi.errors import KernelError
from orlop.abi.ids import EngineName
from orlop.devices.device import Contexts, Engine
from orlop.machine.tasks import TaskOwner
from orlop.sched.work import Order

log = logging.getLogger(__name__)


class Orders:
    """`give` is the scheduler's `on_order`."""

    def __init__(self, engines: Mapping[EngineName, Engine], tasks: TaskOwner) -> None:
        self._engines = engines
        self._tasks = tasks
        self._waiting: dict[str, dict[str, Order]] = {}
        """By engine, then by context; an engine is here while its orders are carried."""

    def give(self, order: Order) -> None:
        """Take it, and carry it soon.  Who keeps a context needs nothing from its engine."""
        waiting = self._waiting.get(order.engine)
        if waiting is not None:
            waiting.pop(order.context, None)
            if order.action != "keep":
                waiting[order.context] = order
            return
        contexts = self._contexts_of(order)
        if contexts is None or order.action == "keep":
            return
        self._waiting[order.engine] = {order.context: order}
        self._tasks.start(self._carry(order.engine, contexts), f"contexts of {order.engine}")

    def _contexts_of(self, order: Order) -> Contexts | None:
        engine = self._engines.get(EngineName(order.engine))
        return None if engine is None else engine.contexts

    async def _carry(self, engine: str, contexts: Contexts) -> None:
        waiting = self._waiting[engine]
        try:
            while waiting:
                order = waiting.pop(next(iter(waiting)))
                try:
                    if order.action == "save":
                        await contexts.save(order.context)
                    else:
                        await contexts.drop(order.context)
                except KernelError as error:
                    log.warning("%s: %s of a context failed: %s", engine, order.action, error)
        finally:
            del self._waiting[engine]
