"""Errors on the wire: status, headers and body in each dialect, and back again."""

import math
import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from orlop.abi.errors import (
    BadCall,
    BudgetSpent,
    DeviceBusy,
    DeviceFailed,
    DeviceRefused,
    KernelError,
)
from orlop.wire import json_guard

CODE_HEADER: Final = "orlop-error"
_PARAM: Final = re.compile(r"`([^`]{1,200})`")
_MESSAGE_CHARS_MAX: Final = 2_000
"""Of an engine's message; some answer with whole pages."""

_PAGE: Final = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml)\b", re.IGNORECASE)
_UNSEEN: Final = re.compile(r"<(script|style)\b.*?</\1>|<[^<>]*>", re.IGNORECASE | re.DOTALL)
_PAGE_CHARS_MAX: Final = 4_000

_STATUS: Final[Mapping[int, int]] = {499: 410}
"""499 is nginx's own; clients know 410 (gone) and don't try it again."""

_OPENAI_TYPE: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    410: "cancelled_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPE: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class Problem(Struct, frozen=True):
    """An error as a response."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def status_of(error: KernelError) -> int:
    return _STATUS.get(error.http_status, error.http_status)


def headers_of(error: KernelError) -> tuple[tuple[str, str], ...]:
    """Clients of OpenAI and Anthropic obey `x-should-retry`, then `retry-after-ms`."""
    headers = [(CODE_HEADER, error.code), ("x-should-retry", "true" if error.retry else "false")]
    wait_s = error.retry_after_s
    if wait_s is not None and math.isfinite(wait_s):
        headers.append(("retry-after", str(max(0, math.ceil(wait_s)))))
        headers.append(("retry-after-ms", str(max(0, math.ceil(wait_s * 1e3)))))
    return tuple(headers)


def openai_body(error: KernelError) -> bytes:
    """{"error": {"message", "type", "param", "code"}}; `code` is ours, as in `orlop explain`."""
    return msgspec.json.encode(
        {
            "error": {
                "message": error.message,
                "type": _openai_type(error),
                "param": _param_of(error),
                "code": error.code,
            }
        }
    )


def anthropic_body(error: KernelError) -> bytes:
    """{"type": "error", "error": {"type", "message"}}."""
    status = status_of(error)
    name = "api_error" if status >= 500 else "invalid_request_error"
    held = {"type": _ANTHROPIC_TYPE.get(status, name), "message": error.message, "code": error.code}
    return msgspec.json.encode({"type": "error", "error": held})


def openai(error: KernelError) -> Problem:
    return Problem(status_of(error), headers_of(error), openai_body(error))


def anthropic(error: KernelError) -> Problem:
    return Problem(status_of(error), headers_of(error), anthropic_body(error))


def native_body(error: KernelError) -> bytes:
    """{"error": {"code", "name", "message", "fix", "fault", "retry", "retry_after_s"}}."""
    held = {
        "code": error.code,
        "name": type(error).__name__,
        "message": error.message,
        "fix": error.fix,
        "fault": error.fault,
        "retry": error.retry,
        "retry_after_s": error.retry_after_s,
    }
    return msgspec.json.encode({"error": held})


def native(error: KernelError) -> Problem:
    """Our own routes'."""
    return Problem(status_of(error), headers_of(error), native_body(error))


def _openai_type(error: KernelError) -> str:
    if isinstance(error, BudgetSpent):
        return "insufficient_quota"
    status = status_of(error)
    return _OPENAI_TYPE.get(status, "server_error" if status >= 500 else "invalid_request_error")


def _param_of(error: KernelError) -> str | None:
    """A refused field's path: such messages begin with it, in backquotes."""
    found = _PARAM.match(error.message) if isinstance(error, BadCall) else None
    return found[1] if found else None


class Told(Struct, frozen=True):
    """What an error body says."""

    message: str
    code: str = ""
    type: str = ""


def read_told(body: bytes) -> Told:
    """Of either dialect, of FastAPI (`detail`), or of nobody's: then the text itself."""
    try:
        fields = json_guard.decode(body)
    except BadCall:
        text = body[:_PAGE_CHARS_MAX].decode("utf-8", "replace")
        if is_page(body):
            text = " ".join(_UNSEEN.sub(" ", text).split())
        return Told(text[:_MESSAGE_CHARS_MAX].strip())
    return told_in(fields)


def is_page(body: bytes) -> bool:
    """HTML or XML, for people: no engine speaks so."""
    return _PAGE.match(body[:100].decode("utf-8", "replace")) is not None


def told_in(fields: Mapping[str, object]) -> Told:
    """As `read_told`, of JSON that is decoded already."""
    held = fields.get("error", fields)
    if not isinstance(held, dict):
        return Told(str(held)[:_MESSAGE_CHARS_MAX])
    message = held.get("message") or held.get("detail") or msgspec.json.encode(held).decode()
    return Told(
        message=str(message)[:_MESSAGE_CHARS_MAX],
        code=str(held.get("code") or ""),
        type=str(held.get("type") or ""),
    )


def engine_problem(name: str, status: int, headers: Mapping[str, str], told: Told) -> KernelError:
    """A driver's half: what an engine's status means to whoever called it.

    status: 0 where an error came inside a stream, which has none of its own.
    """
    said = f"{name} answered {status or 'in its stream'}: {told.message or 'nothing'}"
    wait_s = retry_after_s(headers)
    if status == 429 and "insufficient_quota" in (told.code, told.type):
        return DeviceFailed(said)  # OpenAI's word for an account without money: waiting won't help.
    if status == 429 or status == 503 or (not status and _is_busy(told)):
        return DeviceBusy(said, retry_after_s=wait_s)
    is_refusal = 400 <= status < 500 and status not in (408, 409, 425)
    if not is_refusal and (status or not _is_refusal(told)):
        return DeviceFailed(said, retry_after_s=wait_s)
    if status in (401, 403):
        return DeviceRefused(f"{said} (see the engine's `key_env` or `key_file` in orlop.toml)")
    return DeviceRefused(said)


def _is_busy(told: Told) -> bool:
    return told.code == "429" or "rate_limit" in told.type or "overloaded" in told.type


def _is_refusal(told: Told) -> bool:
    return told.code == "400" or told.type in ("invalid_request_error", "BadRequestError")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds; a date in `Retry-After` is not understood, and so is as if absent."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None
