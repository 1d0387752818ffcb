"""Signed messages that start programs, each once."""

from collections.abc import Mapping

from orlop.abi.calls import Spawn
from orlop.abi.errors import NotFound, TooLarge
from orlop.abi.limits import NAME_CHARS_MAX, WEBHOOK_BYTES_MAX
from orlop.abi.webhooks import WebhookReceived, WebhookTaken
from orlop.effects.webhooks import WebhookConfig
from orlop.state.core import Kernel
from orlop.subsystems import lifecycle, tenants


def find(hooks: Mapping[str, WebhookConfig], name: str) -> WebhookConfig:
    """Raises `NotFound`."""
    config = hooks.get(name)
    if config is None or not config.run:
        raise NotFound(f"no program is started by webhooks to {name[:NAME_CHARS_MAX]!r}")
    return config


async def receive(
    kernel: Kernel, name: str, config: WebhookConfig, message: str, body: bytes
) -> WebhookTaken:
    """Start what the message is for, unless it has come before.  Its signature was checked.

    The process and the word that the message has come are in one commit.
    """
    if len(body) > WEBHOOK_BYTES_MAX:
        raise TooLarge(f"a webhook has at most {WEBHOOK_BYTES_MAX} bytes (WEBHOOK_BYTES_MAX)")
    known = kernel.tables.webhooks.get(f"{name}/{message}")
    if known is not None:
        row = kernel.tables.rows.get(known)
        await kernel.journal.flush()
        return WebhookTaken(process=known, pid=row.pid if row else kernel.next_pid(), again=True)
    text = body.decode("utf-8", errors="strict").replace("\0", "")
    order = Spawn(
        command=config.run,
        name=f"webhook {name}",
        cwd=config.cwd,
        team=config.team,
        env={"ORLOP_WEBHOOK": text, "ORLOP_WEBHOOK_ID": message},
        restart="on-failure",
    )
    tenant = tenants.find(kernel, config.tenant)
    process = await lifecycle.create(kernel, order, tenant)
    kernel.emit(process.id, process.row.tenant, WebhookReceived(name=name, message=message))
    await kernel.journal.flush()
    kernel.tasks.start(lifecycle.begin(kernel, process, "first"), f"start {process.row.pid}")
    return WebhookTaken(process=process.id, pid=process.row.pid, again=False)
