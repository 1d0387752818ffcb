"""A seccomp filter as BPF, written by hand: what no program in a sandbox needs, and what is told.

Standard library only: this runs inside, between fork and exec.  The filter has one block a system
call, each of which ends in a verdict; whatever has no block is allowed.  What a person must decide
by what lies in memory (an address, a path) is *told* to the watcher outside, never judged here.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Mapping
from typing import Final

ALLOW: Final = 0x7FFF0000
TELL: Final = 0x7FC00000
"""The watcher answers in the kernel's place (SECCOMP_RET_USER_NOTIF)."""

KILL: Final = 0x80000000
ERRNO: Final = 0x00050000

NUMBER_AT: Final = 0
ARCHITECTURE_AT: Final = 4
ARGUMENTS_AT: Final = 16

LOAD: Final = 0x20
AND: Final = 0x54
JUMP_EQUAL: Final = 0x15
JUMP_AT_LEAST: Final = 0x35
JUMP_ANY: Final = 0x45
RETURN: Final = 0x06

X32: Final = 0x40000000
"""Numbers of a second table that x86-64 kernels answer too: nothing here knows it."""

NEW_NAMESPACES: Final = 0x7E020000
"""Flags of `clone`: any new namespace."""

WRITING: Final = 0o3 | 0o100 | 0o1000
"""Flags of `open`: for writing, made if it is not there, cut to nothing."""

FASTOPEN: Final = 0x20000000
"""Flag of `send`: connect on the way, unseen by whoever watches `connect`."""

TIOCSTI: Final = 0x5412
TIOCLINUX: Final = 0x541C
"""Orders to a terminal to take text as if it had been typed."""

UNIX, INET, INET6 = 1, 2, 10
STREAM, DATAGRAM = 1, 2
SOCKET_KIND: Final = 0xF
"""Of `socket`'s second argument; the rest are flags."""

SET_MODE_FILTER: Final = 1
NEW_LISTENER: Final = 1 << 3
WAIT_KILLABLE: Final = 1 << 5

MACHINES: Final[Mapping[str, tuple[int, int]]] = {
    "x86_64": (0xC000003E, 0),
    "aarch64": (0xC00000B7, 1),
}
"""The architecture's name in a filter, and its column in the tables below."""

SECCOMP: Final = (317, 277)
ABSENT: Final = -1

FORBIDDEN: Final[Mapping[str, tuple[int, int]]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, ABSENT),
    "iopl": (172, ABSENT),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "uselib": (134, ABSENT),
    "vhangup": (153, 58),
}
"""Doors to the kernel's insides, to other processes, to mounts and clocks: EPERM."""

UNKNOWN: Final[Mapping[str, tuple[int, int]]] = {
    "clone3": (435, 435),
    "openat2": (437, 437),
}
"""Their flags lie in memory, where a filter can't see them; libraries fall back to older ones."""

TOLD: Final[Mapping[str, tuple[int, int]]] = {
    "connect": (42, 203),
    "creat": (85, ABSENT),
    "execve": (59, 221),
    "execveat": (322, 281),
    "link": (86, ABSENT),
    "linkat": (265, 37),
    "listen": (50, 201),
    "mkdir": (83, ABSENT),
    "mkdirat": (258, 34),
    "rename": (82, ABSENT),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "rmdir": (84, ABSENT),
    "symlink": (88, ABSENT),
    "symlinkat": (266, 36),
    "truncate": (76, 45),
    "unlink": (87, ABSENT),
    "unlinkat": (263, 35),
}
"""The watcher hears of each: connections since they are judged, the rest since they are counted."""

TOLD_IF_WRITING: Final[Mapping[str, tuple[int, int, int]]] = {
    "open": (2, ABSENT, 1),
    "openat": (257, 56, 2),
}
"""With the place of their flags."""

SHARED_FORBIDDEN: Final[Mapping[str, tuple[int, int]]] = {
    "fremovexattr": (199, 16),
    "fsetxattr": (190, 7),
    "inotify_add_watch": (254, 27),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "semget": (64, 190),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "shmget": (29, 194),
    "utime": (132, ABSENT),
}
"""What reaches others where files, users and memory are shared with them, and Landlock is blind."""

SHARED_TOLD: Final[Mapping[str, tuple[int, int]]] = {
    "chmod": (90, ABSENT),
    "chown": (92, ABSENT),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "futimesat": (261, ABSENT),
    "lchown": (94, ABSENT),
    "utimensat": (280, 88),
    "utimes": (235, ABSENT),
}
"""Landlock knows of no modes, owners and times: there the watcher changes them, or does not."""

OF_ITSELF: Final[Mapping[str, tuple[int, int, int]]] = {
    "ioprio_set": (251, 30, 1),
    "migrate_pages": (256, 238, 0),
    "move_pages": (279, 239, 0),
    "prlimit64": (302, 261, 0),
    "sched_setaffinity": (203, 122, 0),
    "sched_setattr": (314, 274, 0),
    "sched_setparam": (142, 118, 0),
    "sched_setscheduler": (144, 119, 0),
    "setpriority": (141, 140, 1),
}
"""With the place of the process that they are about, which must be 0, the caller; only where the
sandbox sees other processes."""

MODES: Final[Mapping[str, tuple[int, int, int]]] = {
    "chmod": (90, ABSENT, 1),
    "creat": (85, ABSENT, 1),
    "fchmod": (91, 52, 1),
    "fchmodat": (268, 53, 2),
    "fchmodat2": (452, 452, 2),
    "mknod": (133, ABSENT, 1),
    "mknodat": (259, 33, 2),
}
"""With the place of the mode."""

SET_ID: Final = 0o6000
"""Bits that let a file run as its owner: whoever runs it outside would be."""

CREATE: Final = 0o100

SOCKET: Final = (41, 198)
SOCKETPAIR: Final = (53, 199)
CLONE: Final = (56, 220)
IOCTL: Final = (16, 29)
SENDS: Final = (((44, 206), 3), ((46, 211), 2), ((307, 269), 3))
"""sendto, sendmsg, sendmmsg, with the place of their flags."""

Code = list[tuple[int, int, int, int]]

_libc = ctypes.CDLL(None, use_errno=True)


def column() -> int | None:
    """Of this machine; None where the tables do not know it."""
    known = MACHINES.get(os.uname().machine)
    return None if known is None else known[1]


def names() -> dict[int, str]:
    """What is told, by number."""
    place = column()
    assert place is not None
    told = {rule[place]: name for name, rule in (*TOLD.items(), *SHARED_TOLD.items())}
    told |= {rule[place]: name for name, rule in TOLD_IF_WRITING.items()}
    told.pop(ABSENT, None)
    return told


def _refuse(number: int) -> Code:
    return [(RETURN, 0, 0, ERRNO | number)]


def _argument(place: int) -> tuple[int, int, int, int]:
    """Load its lower half: flags, kinds and orders are 32 bits wide."""
    return (LOAD, 0, 0, ARGUMENTS_AT + 8 * place)


def _if_any(place: int, bits: int, verdict: int) -> Code:
    return [
        _argument(place),
        (JUMP_ANY, 0, 1, bits),
        (RETURN, 0, 0, verdict),
        (RETURN, 0, 0, ALLOW),
    ]


def _if_one_of(place: int, values: tuple[int, ...], verdict: int) -> Code:
    code: Code = [_argument(place)]
    for value in values:
        code += [(JUMP_EQUAL, 0, 1, value), (RETURN, 0, 0, verdict)]
    return [*code, (RETURN, 0, 0, ALLOW)]


def _socket(datagrams: bool) -> Code:
    """Unix and the internet, by streams; datagrams of the internet where nothing is connected.

    A Unix datagram reaches any socket that has a path, without `connect`.
    """
    kind: Code = [_argument(1), (AND, 0, 0, SOCKET_KIND)]
    unix = [*kind, (JUMP_EQUAL, 0, 1, DATAGRAM), *_refuse(errno.EACCES), (RETURN, 0, 0, ALLOW)]
    inet: Code = [*kind, (JUMP_EQUAL, 0, 1, STREAM), (RETURN, 0, 0, ALLOW), *_refuse(errno.EACCES)]
    if datagrams:
        inet = [(RETURN, 0, 0, ALLOW)]
    code: Code = [_argument(0)]
    for family, block in ((UNIX, unix), (INET, inet), (INET6, inet)):
        code += [(JUMP_EQUAL, 0, len(block), family), *block]
    return [*code, *_refuse(errno.EAFNOSUPPORT)]


def _socketpair() -> Code:
    """A pair of datagram sockets can be made to write to any other one."""
    return [
        _argument(1),
        (AND, 0, 0, SOCKET_KIND),
        (JUMP_EQUAL, 0, 1, DATAGRAM),
        *_refuse(errno.EACCES),
        (RETURN, 0, 0, ALLOW),
    ]


def _opened(flags: int) -> Code:
    """Made with a bit that it must not have: refused; for writing: told."""
    refused = _refuse(errno.EPERM)
    modes: Code = [_argument(flags + 1), (JUMP_ANY, 0, len(refused), SET_ID), *refused]
    made: Code = [_argument(flags), (JUMP_ANY, 0, len(modes), CREATE), *modes]
    return [*made, *_if_any(flags, WRITING, TELL)]


def program(*, alone: bool) -> bytes:
    """The filter.  alone: network, processes and files are the sandbox's own."""
    known = MACHINES[os.uname().machine]
    place = known[1]
    code: Code = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, known[0]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
    ]
    if os.uname().machine == "x86_64":
        code += [(JUMP_AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILL)]
    blocks: list[tuple[int, Code]] = []
    blocks += [(numbers[place], _refuse(errno.EPERM)) for numbers in FORBIDDEN.values()]
    blocks += [(numbers[place], _refuse(errno.ENOSYS)) for numbers in UNKNOWN.values()]
    blocks += [
        (numbers[place], [(RETURN, 0, 0, TELL)])
        for name, numbers in TOLD.items()
        if name not in MODES
    ]
    blocks += [(rule[place], _opened(rule[2])) for rule in TOLD_IF_WRITING.values()]
    for name, rule in MODES.items():
        last = TELL if name in TOLD or (name in SHARED_TOLD and not alone) else ALLOW
        block = _if_any(rule[2], SET_ID, ERRNO | errno.EPERM)
        blocks.append((rule[place], [*block[:-1], (RETURN, 0, 0, last)]))
    if not alone:
        blocks += _among_others(place)
    blocks += [
        (CLONE[place], _if_any(0, NEW_NAMESPACES, ERRNO | errno.EPERM)),
        (IOCTL[place], _if_one_of(1, (TIOCSTI, TIOCLINUX), ERRNO | errno.EPERM)),
        (SOCKET[place], _socket(alone)),
        (SOCKETPAIR[place], _socketpair()),
    ]
    blocks += [
        (numbers[place], _if_any(flags, FASTOPEN, ERRNO | errno.EOPNOTSUPP))
        for numbers, flags in SENDS
    ]
    for number, block in blocks:
        if number != ABSENT:
            code += [(JUMP_EQUAL, 0, len(block), number), *block]
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *one) for one in code)


def _among_others(place: int) -> list[tuple[int, Code]]:
    """What is needed beside, where the sandbox shares the machine."""
    blocks = [
        # Tools that copy attributes go on without them where there are none.
        (numbers[place], _refuse(errno.EOPNOTSUPP if "xattr" in name else errno.EPERM))
        for name, numbers in SHARED_FORBIDDEN.items()
    ]
    blocks += [
        (numbers[place], [(RETURN, 0, 0, TELL)])
        for name, numbers in SHARED_TOLD.items()
        if name not in MODES
    ]
    blocks += [
        (rule[place], _if_any(rule[2], 0xFFFFFFFF, ERRNO | errno.EPERM))
        for rule in OF_ITSELF.values()
    ]
    return blocks


def install(filter: bytes) -> int:
    """From here on the filter holds for this thread and all that it starts.

    A descriptor on which the watcher hears what is told.  `no_new_privs` must be set.
    Raises `OSError`.
    """
    place = column()
    if place is None:
        raise OSError(errno.ENOSYS, f"no seccomp table for {os.uname().machine}")
    held = ctypes.create_string_buffer(filter, len(filter))
    header = struct.pack("HxxxxxxQ", len(filter) // 8, ctypes.addressof(held))
    for flags in (NEW_LISTENER | WAIT_KILLABLE, NEW_LISTENER):
        listener = int(_libc.syscall(SECCOMP[place], SET_MODE_FILTER, flags, header))
        if listener >= 0:
            return listener
    number = ctypes.get_errno()
    raise OSError(number, f"seccomp refuses the filter: {os.strerror(number)}")
