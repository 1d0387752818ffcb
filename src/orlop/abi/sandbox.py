"""What a program in a sandbox may touch; everything else it may not."""

from typing import Literal

from msgspec import Struct

WantedTier = Literal["best", "bwrap", "landlock"]
FoundTier = Literal["bwrap", "landlock", "none"]


class Sandbox(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of one program, tool or server.  The kernel itself can always be reached."""

    read: tuple[str, ...] = ()
    """Folders and files that it may read, beside the system's own and its interpreter's."""
    write: tuple[str, ...] = ()
    """Folders and files that it may change; a scratch folder, its TMPDIR, it always has."""
    net: tuple[str, ...] = ()
    """Hosts that it may reach, through the kernel's proxy, each as `HOST[:PORT][=MODE]`."""
    files: Literal["granted", "all"] = "granted"
    """`all`: files are as they are outside, and only the network is closed."""
    memory_bytes: int | None = None
    """Address space of each of its processes."""
    ram_bytes: int | None = None
    """RAM of all of them together; refused where no control groups can be made."""
    processes: int | None = None
    """That it may have at once; only where it has a user namespace of its own (`bwrap`), or
    `ram_bytes` too."""
    open_files: int | None = None
    """Descriptors of each of its processes."""
    file_bytes: int | None = None
    """Of the largest file that it may write."""
    cpu_s: int | None = None
    """Of a processor, for each of its processes."""


class TierFound(Struct, frozen=True, kw_only=True):
    """What one tier came to when it was tried here."""

    tier: FoundTier
    works: bool
    reason: str
    """What held, or what did not."""
