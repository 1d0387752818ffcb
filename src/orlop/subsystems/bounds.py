"""What a call may ask for, whoever asks and through whichever door: every number has a range.

The dialects' readers say the same in their own words; programs of the native routes have only this.
"""

import re
from typing import Final

from orlop.abi.calls import (
    Ask,
    Budget,
    Call,
    CallTool,
    Embed,
    Exit,
    Infer,
    Patch,
    Progress,
    Sampling,
    Spawn,
)
from orlop.abi.egress import Fetch
from orlop.abi.errors import BadCall
from orlop.abi.limits import (
    EMBED_DIMENSIONS_MAX,
    HEADERS_BYTES_MAX,
    KEY_CHARS_MAX,
    LOGPROBS_TOP_MAX,
    NAME_CHARS_MAX,
    PARKED_S_MAX,
    QUESTION_CHARS_MAX,
    STOP_SEQUENCES_MAX,
    TOKEN_MAX,
    URL_CHARS_MAX,
)
from orlop.abi.memory import Forget, Recall, Remember
from orlop.state.web import place
from orlop.subsystems import memory_bounds

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")

HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")

STATUS_MAX: Final = 2**31 - 1
"""Of an exit: more than any operating system has."""

PERIOD_S_MAX: Final = 1e9
"""Of a budget of seconds: thirty years."""

_PLAIN: Final = Sampling()


def check(call: Call) -> None:  # noqa: C901 (one row a call)
    """Raises `BadCall` naming the field."""
    match call:
        case Infer():
            _within("output_tokens_max", call.output_tokens_max, 1, TOKEN_MAX)
            if isinstance(call.prompt, tuple) and call.prompt:
                _within("prompt", min(call.prompt), 0, TOKEN_MAX)
                _within("prompt", max(call.prompt), 0, TOKEN_MAX)
            if call.sampling != _PLAIN:
                _sampling(call.sampling)
        case Embed():
            _within("dimensions", call.dimensions, 1, EMBED_DIMENSIONS_MAX)
        case Fetch():
            fetch(call)
        case CallTool():
            if len(call.key) > KEY_CHARS_MAX or "\0" in call.key:
                raise BadCall(f"key: at most {KEY_CHARS_MAX} characters, and no NUL")
        case Remember() | Recall() | Forget():
            memory_bounds.check(call)
        case Exit():
            _within("status", call.status, -STATUS_MAX, STATUS_MAX)
        case Patch():
            name("name", call.name)
        case Progress():
            name("step", call.step)
            name("waits_for", call.waits_for)
            _within("share", call.share, 0, 1)
            _within("ends_s", call.ends_s, 0, PERIOD_S_MAX)
        case Ask():
            question(call)
        case Spawn():
            if not call.command:
                raise BadCall("command: what should be run?")
            spawn(call)
        case _:
            pass


def fetch(call: Fetch) -> None:
    """What no server would take.  Raises `BadCall`."""
    if call.method not in METHODS:
        raise BadCall(f"method: one of {', '.join(METHODS)}")
    if len(call.url) > URL_CHARS_MAX or not call.url.isprintable() or " " in call.url:
        raise BadCall(f"url: at most {URL_CHARS_MAX} printable characters, and no spaces")
    for name, value in (*call.headers, *call.carried):
        if not HEADER_NAME.fullmatch(name) or not value.isprintable():
            raise BadCall(f"headers: {name[:NAME_CHARS_MAX]!r} is no header, or has no plain value")
    place(call.url)
    told = sum(len(name) + len(value) for name, value in (*call.headers, *call.carried))
    if told > HEADERS_BYTES_MAX:
        raise BadCall(f"headers: at most {HEADERS_BYTES_MAX} bytes (HEADERS_BYTES_MAX)")


def spawn(call: Spawn) -> None:
    """What the operating system or a terminal would choke on.  Raises `BadCall`."""
    name("name", call.name)
    name("program", call.program)
    name("version", call.version)
    name("team", call.team)
    if call.command and not call.command[0]:
        raise BadCall("command: its first word is empty, and names no program")
    if any("\0" in word for word in (*call.command, *call.env, *call.env.values(), call.cwd)):
        raise BadCall("command, env, cwd: no NUL characters")
    if any(not variable or "=" in variable for variable in call.env):
        raise BadCall("env: the name of a variable is not empty and has no `=` in it")
    budget(call.budget)


def question(call: Ask) -> None:
    """What a person could not read or answer.  Raises `BadCall`."""
    if not call.text.strip() or len(call.text) > QUESTION_CHARS_MAX:
        raise BadCall(f"text: 1 to {QUESTION_CHARS_MAX} characters")
    if not 0 < call.expires_s <= PARKED_S_MAX:
        raise BadCall(f"expires_s: more than 0 and at most {PARKED_S_MAX:g}")
    for choice in call.choices:
        name("choices", choice)


def name(field: str, text: str) -> None:
    """Names are shown in terminals.  Raises `BadCall`."""
    if len(text) > NAME_CHARS_MAX or not text.isprintable():
        raise BadCall(f"{field}: at most {NAME_CHARS_MAX} printable characters")


def budget(asked: Budget) -> None:
    """Raises `BadCall`."""
    _within("budget.calls", asked.calls, 0, 2**53)
    _within("budget.tokens", asked.tokens, 0, 2**53)
    _within("budget.nano_dollars", asked.nano_dollars, 0, 2**53)
    _within("budget.seconds", asked.seconds, 0, PERIOD_S_MAX)


def _sampling(sampling: Sampling) -> None:
    _within("sampling.temperature", sampling.temperature, 0, 100)
    _within("sampling.top_p", sampling.top_p, 0, 1)
    _within("sampling.presence_penalty", sampling.presence_penalty, -100, 100)
    _within("sampling.frequency_penalty", sampling.frequency_penalty, -100, 100)
    _within("sampling.top_logprobs", sampling.top_logprobs, 0, LOGPROBS_TOP_MAX)
    for token, bias in sampling.logit_bias.items():
        _within(f"sampling.logit_bias.{token[:NAME_CHARS_MAX]}", bias, -100, 100)
    if len(sampling.stop) > STOP_SEQUENCES_MAX:
        raise BadCall(f"sampling.stop: at most {STOP_SEQUENCES_MAX} sequences")
    if "" in sampling.stop:
        raise BadCall("sampling.stop: an empty text would end each answer before it begins")


def _within(field: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise BadCall(f"{field}: from {low:g} to {high:g}, not {value:g}")
