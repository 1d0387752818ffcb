"""Every upper bound, with its unit and its reason.  Reaching one is `Exhausted` with its name."""

from typing import Final

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
"""One HTTP body.  Providers stop at 20-32 MiB; images travel inside."""

JSON_DEPTH_MAX: Final = 200
"""Nesting in JSON that callers send.  Deeper is an attack, not a schema."""

MESSAGES_PER_CALL_MAX: Final = 20_000
"""Messages in one conversation; also keeps a body's part number within 16 bits."""

CALLS_PER_PROCESS_MAX: Final = 256
"""System calls that one process may have in flight."""

CALLS_IN_FLIGHT_MAX: Final = 8_192
"""System calls in flight in one kernel; parked calls (sleep, wait) count apart."""

PARKED_CALLS_MAX: Final = 100_000
"""Calls that hold no slot and may wait for days."""

PROCESSES_MAX: Final = 100_000
"""Processes that have not been reaped."""

CHILDREN_DEPTH_MAX: Final = 16
"""How deep a tree of processes may be: a fork bomb ends here."""

SCHEDULES_MAX: Final = 10_000
"""Schedules in one kernel."""

MISSED_RUNS_MAX: Final = 1_000
"""Missed runs that `--missed all` makes up for after a long sleep."""

WAITING_PER_ENGINE_MAX: Final = 4_096
"""Calls that wait for a slot of one engine; one more is refused with the time to come back."""

CALL_DEADLINE_S: Final = 600.0
"""A call's deadline where it states none: what OpenAI's and Anthropic's clients wait."""

CALL_DEADLINE_S_MAX: Final = 3_600.0
"""The longest deadline of a call that is not parked."""

PARKED_S_MAX: Final = 90 * 86_400.0
"""The longest sleep or wait."""

REPLIES_UNREAD_MAX: Final = 65_536
"""Deltas buffered for one slow reader: no call makes more, so an engine never waits for one."""

OUTPUT_TOKENS_MAX: Final = 32_768
"""Output tokens where neither the caller nor the model's card says less."""

CHOICES_MAX: Final = 16
"""`n` of one model call."""

EMBED_INPUTS_MAX: Final = 2_048
"""Texts in one `embed`; as OpenAI's API."""

TOOL_OUTPUT_BYTES_MAX: Final = 8 * 1024 * 1024
"""What one tool call may print."""

RECORDED_CALLS_MAX: Final = 100_000
"""Recorded calls that a resume holds in RAM for one process."""

NAME_CHARS_MAX: Final = 128
"""Names of processes, tools, models, schedules."""

DIVERGENCE_GRACE_S: Final = 2.0
"""How long a call that is not in the record waits for concurrent calls that still are."""

SHIM_PATIENCE_S: Final = 30.0
"""How long a command outlives a kernel that does not come back."""

KILL_GRACE_S: Final = 5.0
"""From SIGTERM to SIGKILL."""

BLOB_BYTES_MIN: Final = 64 * 1024
"""A body larger than this lies in a blob, fsynced before the event that names it."""

STOP_SEQUENCES_MAX: Final = 16
"""Stop sequences of one model call."""

PROMPTS_PER_COMPLETION_MAX: Final = 64
"""Prompts in one body of the old `/v1/completions`; each becomes a call of its own."""

ENGINE_RETRIES_MAX: Final = 2
"""Times that a driver asks a remote engine again, as OpenAI's own client does."""

ENGINE_RETRY_DELAY_S: Final = 0.5
"""Before the first retry where the engine names no time; doubles, with jitter."""

ENGINE_CONNECT_S: Final = 10.0
"""To open a connection to a remote engine."""

ERROR_BYTES_MAX: Final = 64 * 1024
"""What a driver reads of an engine's error body."""
