"""From Python arguments to system calls, and from their answers to Python values.

Both faces of the SDK, the asynchronous and the synchronous one, are made of these.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypedDict, TypeVar

from orlop.abi.calls import (
    Budget,
    CallTool,
    DivergenceRule,
    Embed,
    Infer,
    Normalizer,
    RestartRule,
    Sampling,
    Signal,
    SignalName,
    Spawn,
)
from orlop.abi.egress import Fetch
from orlop.abi.errors import Broken
from orlop.abi.hints import Hints, LatencyClass
from orlop.abi.ids import ProcessId
from orlop.abi.messages import Message, ToolSpec
from orlop.abi.replies import Done
from orlop.sdk.environment import here, passed_on
from orlop.sdk.place import is_process
from orlop.wire import http_head

D = TypeVar("D", bound=Done)

NO_HINTS = Hints()
NO_HEADERS: Mapping[str, str] = {}


class InferOptions(TypedDict, total=False):
    """What may be said about a model call beside the model and the prompt."""

    system: str
    """Goes before the messages, as a message of role `system`."""
    output_tokens_max: int
    temperature: float
    seed: int
    stop: Sequence[str]
    sampling: Sampling
    """All of the sampling at once; goes before `temperature`, `seed` and `stop`."""
    tools: Sequence[ToolSpec]
    tool_choice: object
    response_format: dict[str, object]
    """`{"type": "json_schema", "json_schema": {"name": …, "schema": …}}`, as OpenAI's."""
    hints: Hints


class SpawnOptions(TypedDict, total=False):
    """What may be said about a new process beside its command."""

    name: str
    cwd: str
    """Default: the caller's."""
    env: Mapping[str, str]
    """Added to what is passed on (`sdk.environment`)."""
    latency_class: LatencyClass
    budget: Budget
    restart: RestartRule
    on_divergence: DivergenceRule
    program: str
    team: str
    """Whose budget it also uses; default: the caller's."""
    allow: Sequence[str]
    """The rights that it gets, all of which the caller holds (`orlop.abi.rights`); default: all of
    his."""
    version: str
    normalize: Sequence[Normalizer]
    hints: Hints


class Runnable(Protocol):
    """What can be spawned by name: an `@orlop.agent`."""

    def command(self, *arguments: object) -> tuple[str, ...]:
        """The command line that runs it with these arguments."""
        ...


def infer_call(
    prompt: str | Sequence[Message], model: str, options: InferOptions, *, stream: bool = False
) -> Infer:
    messages = (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
    if "system" in options:
        messages = (Message("system", options["system"]), *messages)
    sampling = Sampling(
        temperature=options.get("temperature"),
        seed=options.get("seed"),
        stop=tuple(options.get("stop", ())),
    )
    return Infer(
        model=model,
        messages=messages,
        output_tokens_max=options.get("output_tokens_max"),
        sampling=options.get("sampling", sampling),
        tools=tuple(options.get("tools", ())),
        tool_choice=options.get("tool_choice"),
        response_format=options.get("response_format"),
        stream=stream,
        hints=options.get("hints", NO_HINTS),
    )


def embed_call(inputs: str | Sequence[str], model: str, hints: Hints) -> Embed:
    texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    return Embed(model=model, inputs=texts, hints=hints)


def tool_call(tool: str, arguments: dict[str, object], key: str, hints: Hints) -> CallTool:
    return CallTool(tool=tool, arguments=arguments, key=key, hints=hints)


def fetch_call(
    url: str, method: str, headers: Mapping[str, str], body: bytes, hints: Hints
) -> Fetch:
    """Credentials and the like among the headers are sent, and never recorded."""
    told = tuple((name.lower(), value) for name, value in headers.items())
    meant, carried = http_head.divided(told)
    return Fetch(
        method=method.upper(), url=url, headers=meant, body=body, carried=carried, hints=hints
    )


def spawn_call(
    what: Runnable | Sequence[str], arguments: tuple[object, ...], options: SpawnOptions
) -> Spawn:
    """`what`: an agent with its arguments, or a command line."""
    if isinstance(what, Sequence):
        command = (*what, *map(str, arguments))
    else:
        command = what.command(*arguments)
    # The kernel gives a process's children what the process has; of a client it knows nothing.
    inherited = {} if is_process() else passed_on()
    return Spawn(
        command=command,
        name=options.get("name", ""),
        cwd=options.get("cwd") or here(),
        env={**inherited, **options.get("env", {})},
        latency_class=options.get("latency_class", "standard"),
        budget=options.get("budget", Budget()),
        restart=options.get("restart", "never"),
        on_divergence=options.get("on_divergence", "stop"),
        program=options.get("program", ""),
        team=options.get("team", ""),
        allow=tuple(options["allow"]) if "allow" in options else None,
        version=options.get("version", ""),
        normalize=tuple(options.get("normalize", ())),
        hints=options.get("hints", NO_HINTS),
    )


def signal_call(process: str, signal: SignalName) -> Signal:
    return Signal(process=ProcessId(process), signal=signal)


def expect(done: Done, kind: type[D]) -> D:
    """`done`, which must be a `kind`."""
    if not isinstance(done, kind):
        raise Broken(f"the kernel answered with {type(done).__name__}, not {kind.__name__}")
    return done
