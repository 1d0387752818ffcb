"""Values held outside, on their way through a call: handles everywhere but in the tool itself.

concealed (at the door) → journal, approvals, policy see handles → opened (just before the tool) →
the tool sees values → hidden (its result) → the caller gets handles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from orlop.abi.calls import Call, CallTool
from orlop.abi.errors import BadCall, KernelError
from orlop.abi.ids import TenantId
from orlop.machine.redaction import HIDDEN
from orlop.state.core import Kernel
from orlop.state.process import Process
from orlop.tools import outside
from orlop.wire.canonical import canonical

_DOMAIN = b"held outside\0"


@dataclass(frozen=True, slots=True)
class Opened:
    """A call with its values.  `secrets`: as an error might quote them."""

    call: CallTool
    secrets: tuple[str, ...] = ()


def concealed(kernel: Kernel, process: Process, call: Call) -> Call:
    """The call as everybody but its tool sees it."""
    if not isinstance(call, CallTool) or (card := kernel.tools.card(call.tool)) is None:
        return call
    if not kernel.tools.schemas(call.tool).is_held:
        return call
    tenant = process.row.tenant
    arguments = outside.changed(
        call.arguments, card.parameters, lambda value: handle(kernel, tenant, value)
    )
    assert isinstance(arguments, dict)
    return replace(call, arguments=arguments)


def opened(kernel: Kernel, process: Process, call: CallTool) -> Opened:
    """The call as its tool gets it: with values where its card says that it takes some, so that no
    agent has one sent elsewhere.  Raises `BadCall` for a handle that is no longer known."""
    card = kernel.tools.card(call.tool)
    if card is None or not kernel.tools.schemas(call.tool).is_held:
        return Opened(call)
    secrets: list[str] = []

    def value_of(text: object) -> object:
        if not outside.is_handle(text):
            return text
        try:
            value = kernel.vault.get(process.row.tenant, str(text))
        except KeyError:
            raise BadCall(
                f"{text} is held outside, and its value is known no longer: call the tool that "
                "gave it again, or give the value itself"
            ) from None
        secrets.extend(_quotes(value))
        return value

    arguments = outside.changed(call.arguments, card.parameters, value_of)
    assert isinstance(arguments, dict)
    if not secrets:
        return Opened(call)
    return Opened(replace(call, arguments=arguments), tuple(secrets))


def hidden(kernel: Kernel, process: Process, opened: Opened, value: object) -> object:
    """A tool's result as its caller and the journal get it: also what it was given is not in it."""
    call = opened.call
    if opened.secrets:
        value = outside.every(value, lambda text: without(str(text), opened.secrets))
    card = kernel.tools.card(call.tool)
    if card is None or not kernel.tools.schemas(call.tool).is_held:
        return value
    tenant = process.row.tenant
    return outside.changed(value, card.results, lambda value: handle(kernel, tenant, value))


def cleaned(error: KernelError, secrets: Sequence[str]) -> KernelError:
    """An error that quotes no value that is held outside."""
    said = without(error.message, secrets)
    if said != error.message:
        error.message, error.args = said, (said,)
    return error


def without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def handle(kernel: Kernel, tenant: TenantId, value: object) -> object:
    """What stands for `value`, which the vault keeps: the same for the same value."""
    if value is None or outside.is_handle(value):
        return value
    digest = kernel.journal.args_digest(tenant, _DOMAIN + canonical(value))
    text = outside.PREFIX + digest.hex()
    kernel.vault.put(tenant, text, value)
    return text


def _quotes(value: object) -> list[str]:
    """How a message may quote it: short texts are words of everyday messages."""
    if isinstance(value, str):
        return [value] if len(value) > 3 else []
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [str(value)] if len(str(value)) > 3 else []
    if isinstance(value, dict):
        return [text for item in value.values() for text in _quotes(item)]
    if isinstance(value, list):
        return [text for item in value for text in _quotes(item)]
    return []
