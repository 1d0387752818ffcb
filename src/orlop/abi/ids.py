"""A distinct type for every id and unit.

Ids are TypeIDs (github.com/jetify-com/typeid): a prefix, `_`, and a UUIDv7 as 26 characters of
Crockford base 32.  Only `machine.chance` mints them.
"""

from typing import Final, NewType

TenantId = NewType("TenantId", str)
"""`default` on a laptop; every row, event, file and key has one."""

ProcessId = NewType("ProcessId", str)
"""`prc_…`: one agent, for ever."""

Pid = NewType("Pid", int)
"""A process's small number in one kernel, for people; 1 is the kernel itself."""

CallId = NewType("CallId", str)
"""`cal_…`: one system call; the correlation id of its events."""

TaskId = NewType("TaskId", str)
"""`tsk_…`, or a name of the user's own: the business unit of work."""

ScheduleId = NewType("ScheduleId", str)
"""`sch_…`: a rule that starts processes."""

KeyId = NewType("KeyId", str)
"""`key_…`: a client key (never the secret itself)."""

JournalId = NewType("JournalId", str)
"""`jrn_…`: one journal; events refer to one another across journals by (journal, sequence)."""

BootId = NewType("BootId", str)
"""`bot_…`: one life of one kernel."""

EngineName = NewType("EngineName", str)
"""What `orlop.toml` or `--engine NAME=URL` calls an engine."""

ModelName = NewType("ModelName", str)
"""What callers put into `model`."""

Digest = NewType("Digest", bytes)
"""32 bytes: SHA-256, or an HMAC of it under a tenant's key."""

Seq = NewType("Seq", int)
"""An event's place in its journal, gap-free from 1.  The only thing that orders events."""

Nanoseconds = NewType("Nanoseconds", int)
"""Time inside: integer nanoseconds, UTC since 1970 where it is a date."""

NanoDollars = NewType("NanoDollars", int)
"""Money: integer 1e-9 US dollars, rounded up per call (a cheap token costs less than 1e-6)."""

DEFAULT_TENANT: Final = TenantId("default")
KERNEL_PROCESS: Final = ProcessId("prc_kernel")
"""The kernel's own events (boot, keys, schedules) belong to this process, pid 1."""

_DIGITS: Final = str.maketrans(
    "0123456789abcdefghjkmnpqrstvwxyz", "0123456789abcdefghijklmnopqrstuv"
)
"""Crockford's base 32 to Python's."""


def minted_s(name: str) -> int:
    """When a TypeID was minted, in seconds UTC: a UUIDv7 begins with its milliseconds.

    0 for a name that is no TypeID (the kernel's own process).
    """
    letters = name.rpartition("_")[2]
    if len(letters) != 26:
        return 0
    try:
        return int(letters[:10].translate(_DIGITS), 32) // 1000
    except ValueError:
        return 0
