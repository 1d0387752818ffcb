"""Webhooks that start programs: no token, a signature instead."""

from collections.abc import Mapping

from orlop.abi.errors import BadCall
from orlop.effects import webhooks as configured
from orlop.effects.webhooks import WebhookConfig
from orlop.http.admin import send
from orlop.http.exchange import Exchange
from orlop.kernel import webhooks
from orlop.machine.clock import NS_PER_S
from orlop.state.core import Kernel
from orlop.wire import webhook

PREFIX = "/orlop/v1/webhooks/"
AGE_S_MAX = 300.0
"""How old a message may be, as Standard Webhooks advise."""


class Webhooks:
    """Those of orlop.toml that start programs."""

    def __init__(self, kernel: Kernel, hooks: Mapping[str, WebhookConfig]) -> None:
        self._kernel = kernel
        self._hooks = hooks
        self._secrets = {name: configured.secret(name, hook) for name, hook in hooks.items()}

    def takes(self, path: str) -> bool:
        name = path.removeprefix(PREFIX)
        return path.startswith(PREFIX) and name in self._hooks and bool(self._hooks[name].run)

    async def receive(self, exchange: Exchange) -> None:
        """`POST /orlop/v1/webhooks/{name}`"""
        kernel, name = self._kernel, exchange.path.removeprefix(PREFIX)
        config = webhooks.find(self._hooks, name)
        body = await exchange.body()
        now_s = kernel.clock.wall_ns() / NS_PER_S
        id = webhook.verify(self._secrets[name], exchange.header, body, now_s, AGE_S_MAX)
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BadCall(f"the message is no UTF-8: {error}") from error
        taken = await webhooks.receive(kernel, name, config, id, body)
        await send(exchange, taken, 200 if taken.again else 202)
