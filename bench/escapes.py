"""Ways out of a sandbox, each a small program that says `OUT` where it got out.

Every one is also run without a sandbox: what does not get out there proves nothing in here.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orlop.abi.sandbox import Sandbox
from orlop.sandbox.cell import Doors, seal
from orlop.sandbox.ground import INTERPRETER
from orlop.sandbox.plan import Tier

SECRET: Final = "the-secret-outside"
ATTEMPT_S: Final = 30.0

PRELUDE: Final = """
import ctypes, errno, json, os, resource, signal, socket, stat, struct, subprocess, sys, time
T = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def out(): print("OUT"); sys.stdout.flush(); os._exit(0)
def seen(text):
    if T["word"] in (text.decode(errors="replace") if isinstance(text, bytes) else text): out()
def syscall(*words):
    result = libc.syscall(*words)
    if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """`outside`: whether it gets out where there is no sandbox, with the rights of these tests."""

    group: str
    name: str
    code: str
    outside: bool = True


# Programs, each as one line: they are read by a machine, and told apart by their names.
# ruff: noqa: E501
ATTEMPTS: Final[Sequence[Attempt]] = (
    # Files.
    Attempt("files", "read a file", "seen(open(T['secret']).read())"),
    Attempt("files", "read the kernel's home", "seen(open(T['home'] + '/keys/operator.token').read())"),
    Attempt("files", "list the kernel's home", "os.listdir(T['home']); out()"),
    Attempt("files", "change a file", "open(T['secret'], 'a').write(''); out()"),
    Attempt("files", "make a file", "open(T['outside'] + '/new', 'w'); out()"),
    Attempt("files", "make a folder", "os.mkdir(T['outside'] + '/made'); out()"),
    Attempt("files", "remove a file", "os.unlink(T['outside'] + '/spare'); out()"),
    Attempt("files", "cut a file to nothing", "os.truncate(T['spare'], 0); out()"),
    Attempt("files", "rename a file out", "open(T['own'] + '/mine', 'w').close(); os.rename(T['own'] + '/mine', T['outside'] + '/mine'); out()"),
    Attempt("files", "change a file's mode", "os.chmod(T['secret'], 0o666); out()"),
    Attempt("files", "change a file's owner", "os.chown(T['secret'], os.getuid(), os.getgid()); out()"),
    Attempt("files", "change a file's times", "os.utime(T['secret'], (1, 1)); out()"),
    Attempt("files", "change a file's attributes", "os.setxattr(T['secret'], 'user.orlop', b'x'); out()"),
    Attempt("files", "change what may only be read", "open(T['shown'] + '/readable', 'a'); out()"),
    Attempt("files", "make in what may only be read", "open(T['shown'] + '/new', 'w'); out()"),
    Attempt("files", "mode of what may only be read", "os.chmod(T['shown'] + '/readable', 0o666); out()"),
    Attempt("files", "mode by a descriptor", "os.fchmod(os.open(T['shown'] + '/readable', os.O_RDONLY), 0o666); out()"),
    Attempt("files", "a folder above", "seen(open(T['own'] + '/../outside/secret').read())"),
    Attempt("files", "by a handle", "h = struct.pack('Ii', 64, 0) + bytes(64); b = ctypes.create_string_buffer(h, len(h)); m = ctypes.c_int(); syscall(303, -100, T['secret'].encode(), b, ctypes.byref(m), 0); d = os.open('/', os.O_RDONLY); seen(os.read(syscall(304, d, b, os.O_RDONLY), 99))", False),
    Attempt("files", "opened by path only, then again", "d = os.open(T['secret'], os.O_PATH); seen(open(f'/proc/self/fd/{d}').read())"),
    Attempt("files", "through openat2", "how = struct.pack('QQQ', 0, 0, 0); seen(os.read(syscall(437, -100, T['secret'].encode(), how, 24), 99))"),
    Attempt("files", "watch a folder", "d = libc.inotify_init(); 0 <= libc.inotify_add_watch(d, T['home'].encode(), 0xfff) and out()"),
    Attempt("files", "what an earlier tool left", "seen(open('/tmp/' + os.path.basename(T['outside']) + '.left').read())"),
    # Links.
    Attempt("links", "a link that lies there", "seen(open(T['own'] + '/link').read())"),
    Attempt("links", "a link of its own", "os.symlink(T['secret'], T['own'] + '/l'); seen(open(T['own'] + '/l').read())"),
    Attempt("links", "writing through a link", "os.symlink(T['spare'], T['own'] + '/w'); open(T['own'] + '/w', 'a'); out()"),
    Attempt("links", "a link to a folder", "os.symlink(T['outside'], T['own'] + '/d'); open(T['own'] + '/d/made-by-link', 'w'); out()"),
    Attempt("links", "a hard link", "os.link(T['secret'], T['own'] + '/hard'); seen(open(T['own'] + '/hard').read())"),
    Attempt("links", "a link that changes while it is followed", "import threading\np = T['own'] + '/race'\ndef flip():\n  for i in range(3000):\n    t = p + str(i); os.symlink(T['secret'] if i % 2 else T['own'] + '/fine', t); os.rename(t, p)\nopen(T['own'] + '/fine', 'w').write('fine'); w = threading.Thread(target=flip); w.start()\nwhile w.is_alive():\n  try: seen(open(p).read())\n  except OSError: pass"),
    Attempt("links", "a mode through a link that changes", "import threading\np = T['own'] + '/mode'\ndef flip():\n  for i in range(3000):\n    t = p + str(i); os.symlink(T['spare'] if i % 2 else T['own'] + '/fine', t); os.rename(t, p)\nopen(T['own'] + '/fine', 'w'); w = threading.Thread(target=flip); w.start()\nwhile w.is_alive():\n  try: os.chmod(p, 0o606)\n  except OSError: pass\nprint('TRIED')"),
    # /proc.
    Attempt("proc", "its own root", "seen(open('/proc/self/root' + T['secret']).read())"),
    Attempt("proc", "another's root", "seen(open(f\"/proc/{T['pid']}/root{T['secret']}\").read())"),
    Attempt("proc", "another's environment", "seen(open(f\"/proc/{T['pid']}/environ\").read())"),
    Attempt("proc", "everybody's environment", "for p in os.listdir('/proc'):\n  try: seen(open(f'/proc/{p}/environ').read())\n  except OSError: pass"),
    Attempt("proc", "another's memory", "open(f\"/proc/{T['pid']}/mem\", 'rb'); out()"),
    Attempt("proc", "another's folder", "seen(open(f\"/proc/{T['pid']}/cwd/secret\").read())"),
    Attempt("proc", "another's descriptors", "for f in os.listdir(f\"/proc/{T['pid']}/fd\"): seen(open(f\"/proc/{T['pid']}/fd/{f}\").read(999) if stat.S_ISREG(os.stat(f\"/proc/{T['pid']}/fd/{f}\").st_mode) else '')"),
    Attempt("proc", "the parent's memory", "open(f'/proc/{os.getppid()}/mem', 'rb').fileno(); (os.getppid() != T['pid']) and T['sealed'] and out()", False),
    Attempt("proc", "the first process's root", "seen(open('/proc/1/root' + T['secret']).read())"),
    Attempt("proc", "a setting of the machine", "open('/proc/sys/kernel/core_pattern', 'w'); out()"),
    Attempt("proc", "the out-of-memory score", "open(f\"/proc/{T['pid']}/oom_score_adj\", 'w').write('1'); out()"),
    # The network.
    Attempt("network", "a server on this machine", "socket.create_connection(('127.0.0.1', T['port']), 3); out()"),
    Attempt("network", "without waiting", "s = socket.socket(); s.setblocking(False); e = s.connect_ex(('127.0.0.1', T['port'])); e in (0, errno.EINPROGRESS) and (time.sleep(0.2), s.connect_ex(('127.0.0.1', T['port'])) in (0, errno.EISCONN) and out())"),
    Attempt("network", "IPv4 in IPv6", "s = socket.socket(socket.AF_INET6); s.settimeout(3); s.connect(('::ffff:127.0.0.1', T['port'])); out()"),
    Attempt("network", "opened while sending", "s = socket.socket(); s.settimeout(3); s.sendto(b'x', 0x20000000, ('127.0.0.1', T['port'])); out()", False),
    Attempt("network", "an address that changes while it is looked at", "import threading\naddress = ctypes.create_string_buffer(struct.pack('>HH4s8x', 0, 9, socket.inet_aton('127.0.0.1')), 16)\nstruct.pack_into('=H', address, 0, 2)\nstop = []\ndef flip():\n  while not stop:\n    struct.pack_into('>H', address, 2, T['port']); struct.pack_into('>H', address, 2, T['allowed'])\nthreading.Thread(target=flip, daemon=True).start()\nfor _ in range(400):\n  s = socket.socket(); s.settimeout(1)\n  if libc.connect(s.fileno(), address, 16) == 0:\n    try:\n      if s.getpeername()[1] == T['port']: out()\n    except OSError: pass\n  s.close()"),
    Attempt("network", "a datagram", "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'word', ('127.0.0.1', T['udp'])); s.settimeout(2); seen(s.recv(99))"),
    Attempt("network", "a raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).sendto(b'\\x08\\0\\xf7\\xff\\0\\0\\0\\0', ('127.0.0.1', 0)); T['sealed'] or out()", False),
    Attempt("network", "a packet socket", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW); out()", False),
    Attempt("network", "the kernel's tables of routes", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); out()"),
    Attempt("network", "a virtual machine's socket", "socket.socket(40, socket.SOCK_STREAM); out()", False),
    Attempt("network", "a server of its own for others", "s = socket.socket(); s.bind(('0.0.0.0', 0)); s.listen(); open(T['own'] + '/port', 'w').write(str(s.getsockname()[1])); time.sleep(1.5)", False),
    Attempt("network", "io_uring", "b = bytearray(120); syscall(425, 8, (ctypes.c_char * 120).from_buffer(b)); out()"),
    # Sockets of others.
    Attempt("sockets", "a socket with a path", "s = socket.socket(socket.AF_UNIX); s.connect(T['socket']); out()"),
    Attempt("sockets", "through a link", "os.symlink(T['socket'], T['own'] + '/s'); s = socket.socket(socket.AF_UNIX); s.connect(T['own'] + '/s'); out()"),
    Attempt("sockets", "by a relative path", "os.chdir('/'); s = socket.socket(socket.AF_UNIX); s.connect(T['socket'][1:]); out()"),
    Attempt("sockets", "in what may only be read", "s = socket.socket(socket.AF_UNIX); s.connect(T['shown'] + '/socket'); out()"),
    Attempt("sockets", "without a path", "s = socket.socket(socket.AF_UNIX); s.connect('\\0' + T['abstract']); out()"),
    Attempt("sockets", "datagrams to a path", "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'x', T['datagrams']); out()"),
    Attempt("sockets", "datagrams from a pair", "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); a.sendto(b'x', T['datagrams']); out()"),
    Attempt("sockets", "shared memory", "i = libc.shmget(T['shm'], 64, 0); i >= 0 and out()"),
    # Other processes.
    Attempt("processes", "a signal", "os.kill(T['pid'], 0); T['sealed'] and b'ORLOP_WORD' not in open(f\"/proc/{T['pid']}/environ\", 'rb').read() or out()"),
    Attempt("processes", "a signal to its group's leader", "T['sealed'] and (os.kill(os.getppid(), signal.SIGKILL), time.sleep(1), out())", False),
    Attempt("processes", "a signal to everybody", "os.kill(-1, signal.SIGUSR2) if T['sealed'] else None", False),
    Attempt("processes", "tracing", "syscall(101, 16, T['pid'], 0, 0); out()"),
    Attempt("processes", "reading its memory", "b = ctypes.create_string_buffer(8); v = struct.pack('QQ', ctypes.addressof(b), 8); r = struct.pack('QQ', T['address'], 8); syscall(310, T['pid'], v, 1, r, 1, 0); out()"),
    Attempt("processes", "taking a descriptor", "d = syscall(434, T['pid'], 0); syscall(438, d, 1, 0); out()"),
    Attempt("processes", "its limits", "resource.prlimit(T['pid'], resource.RLIMIT_CORE, (0, 0)); out()"),
    Attempt("processes", "its priority", "os.setpriority(os.PRIO_PROCESS, T['pid'], 19); out()"),
    Attempt("processes", "its processors", "os.sched_setaffinity(T['pid'], [0]); out()"),
    Attempt("processes", "a survivor", "f = T['own'] + '/alive'\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    for n in (0, 1, 2): os.close(n)\n    time.sleep(2.5); open(f, 'w').write('alive'); os._exit(0)\n  os._exit(0)\nos.wait()"),
    # Powers.
    Attempt("powers", "a mount", "T['sealed'] and libc.mount(b'tmpfs', T['own'].encode(), b'tmpfs', 0, None) == 0 and out()", False),
    Attempt("powers", "a user namespace", "libc.unshare(0x10000000) == 0 and out()"),
    Attempt("powers", "a namespace by clone", "p = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)\nif p == 0: os._exit(0)\np > 0 and out()"),
    Attempt("powers", "a namespace by clone3", "a = struct.pack('11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0); p = libc.syscall(435, a, 88)\nif p == 0: os._exit(0)\np > 0 and out()"),
    Attempt("powers", "another's namespaces", "d = os.open(f\"/proc/{T['pid']}/ns/mnt\", os.O_RDONLY); libc.setns(d, 0) == 0 and out()", False),
    Attempt("powers", "another root", "os.chroot(T['own']); out()", False),
    Attempt("powers", "a program with a user's bit", "p = T['own'] + '/suid'; import shutil; shutil.copy('/usr/bin/id', p); os.chmod(p, 0o4755); s = open('/proc/self/status').read() if os.path.exists('/proc/self/status') else ''; r = subprocess.run(['/bin/su', 'root', '-c', 'cat ' + T['secret']], capture_output=True, stdin=subprocess.DEVNULL, timeout=10); seen(r.stdout)", False),
    Attempt("powers", "a user's bit on a file of its own", "p = T['own'] + '/bit'; open(p, 'w').close(); os.chmod(p, 0o4755)"),
    Attempt("powers", "a user's bit from the beginning", "os.open(T['own'] + '/bit', os.O_CREAT | os.O_WRONLY, 0o4755)"),
    Attempt("powers", "any capability", "import re; t = open('/proc/self/status').read(); caps = [int(x, 16) for x in re.findall(r'Cap(?:Inh|Prm|Eff|Bnd|Amb):\\s+(\\w+)', t)]; any(caps) and out()"),
    Attempt("powers", "new privileges", "t = open('/proc/self/status').read(); 'NoNewPrivs:\\t1' in t or out()"),
    Attempt("powers", "a program for the kernel", "a = bytes(128); syscall(321, 0, a, 128); out()", False),
    Attempt("powers", "keys of others", "syscall(250, 0, -4, 1); out()", False),
    Attempt("powers", "a device", "os.mknod(T['own'] + '/disk', 0o600 | stat.S_IFBLK, os.makedev(8, 0)); out()", False),
    Attempt("powers", "the machine's clock", "T['sealed'] and (syscall(227, 0, struct.pack('qq', int(time.time()), 0)), out())", False),
    Attempt("powers", "the machine's name", "T['sealed'] and (socket.sethostname(socket.gethostname()), out())", False),
    Attempt("powers", "the terminal's input", "import fcntl; fcntl.ioctl(0, 0x5412, b'x'); out()", False),
    Attempt("powers", "a filter of the past", "syscall(317, 0, 0, 0); out()", False),
    Attempt("powers", "32-bit calls", "m = __import__('mmap').mmap(-1, 4096, prot=7); m.write(bytes.fromhex('b814000000cd80c3')); f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m))); r = f(); r > 0 and out()", False),
    Attempt("powers", "calls of a third table", "libc.syscall(0x40000000 | 39) > 0 and out()", False),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prey:
    """What lies outside, and what a sandbox may touch."""

    words: Mapping[str, object]
    own: Path
    shown: Path
    home: Path
    spare: Path
    secret: Path


HOLDER: Final = """
import ctypes, json, socket, sys, threading, os
folder, shown = sys.argv[1], sys.argv[2]
open(folder + "/secret").read(); held = open(folder + "/secret")
os.chdir(folder)
tcp = socket.create_server(("127.0.0.1", 0))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 0))
def echo():
    while True:
        _, who = udp.recvfrom(99); udp.sendto(os.environ["ORLOP_WORD"].encode(), who)
threading.Thread(target=echo, daemon=True).start()
def listen(place):
    s = socket.socket(socket.AF_UNIX); s.bind(place); s.listen(50); return s
kept = [listen(folder + "/socket"), listen(shown + "/socket"), listen("\\0orlop-" + str(os.getpid()))]
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind(folder + "/datagrams")
b = ctypes.create_string_buffer(b"12345678")
libc = ctypes.CDLL(None); key = 0x0A100000 | (os.getpid() & 0xFFFF); libc.shmget(key, 64, 0o1600)
print(json.dumps({"port": tcp.getsockname()[1], "udp": udp.getsockname()[1], "pid": os.getpid(),
    "abstract": "orlop-" + str(os.getpid()), "address": ctypes.addressof(b), "shm": key}), flush=True)
sys.stdin.read()
libc.shmctl(libc.shmget(key, 64, 0), 0, None)
"""


@contextmanager
def prey() -> Iterator[Prey]:
    """A process with secrets, files beside the sandbox's own, and a kernel's home."""
    with tempfile.TemporaryDirectory(prefix="orlop-escapes-") as scratch:
        base = Path(scratch)
        outside, own, shown, home = (base / name for name in ("outside", "own", "shown", "home"))
        for folder in (outside, own, shown, home / "keys"):
            folder.mkdir(parents=True)
        secret, spare = outside / "secret", outside / "spare"
        for file in (secret, home / "keys" / "operator.token"):
            file.write_text(SECRET)
        spare.write_text("spare")
        spare.chmod(0o600)
        (shown / "readable").write_text("readable")
        left = Path("/tmp", f"{outside.name}.left")
        left.write_text(SECRET)
        (own / "link").symlink_to(secret)
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(outside), str(shown)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "ORLOP_WORD": SECRET},
            text=True,
        )
        assert holder.stdout is not None and holder.stdin is not None
        try:
            told = json.loads(holder.stdout.readline())
            words = {
                **told,
                "word": SECRET,
                "secret": str(secret),
                "spare": str(spare),
                "outside": str(outside),
                "own": str(own),
                "shown": str(shown),
                "home": str(home),
                "socket": str(outside / "socket"),
                "datagrams": str(outside / "datagrams"),
                "allowed": 9,
            }
            yield Prey(words, own, shown, home, spare, secret)
        finally:
            holder.send_signal(signal.SIGCONT)  # Whoever traced it may have left it stopped.
            holder.stdin.close()
            try:
                holder.wait(10)
            except subprocess.TimeoutExpired:
                holder.kill()
                holder.wait()
            holder.stdout.close()
            left.unlink(missing_ok=True)


def gets_out(attempt: Attempt, prey: Prey, tier: Tier | None) -> tuple[bool, str]:
    """Whether it does, and what it said.  tier: None is no sandbox at all."""
    words = json.dumps({**prey.words, "sealed": tier is not None})
    command: Sequence[str] = (INTERPRETER, "-I", "-S", "-c", PRELUDE + attempt.code, words)
    env: Mapping[str, str] = {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": "/tmp"}
    if tier is not None:
        wanted = Sandbox(read=(str(prey.shown),), write=(str(prey.own),))
        sealed = seal(wanted, tier, Doors(home=prey.home), command, env, str(prey.own))
        command, env = sealed.command, sealed.env
    program = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        start_new_session=True,
    )
    look = AFTERWARDS.get(attempt.name)
    beside = look(prey) if look is not None and attempt.name == OPEN_SERVER else False
    said, wrong = program.communicate(timeout=ATTEMPT_S)
    if look is not None and attempt.name != OPEN_SERVER:
        beside = look(prey)
    return b"OUT" in said or beside, (wrong or said).decode(errors="replace").strip()[-200:]


OPEN_SERVER: Final = "a server of its own for others"


def _survived(prey: Prey) -> bool:
    for _ in range(40):
        if (prey.own / "alive").exists():
            return True
        _pause()
    return False


def _reached(prey: Prey) -> bool:
    """Whether the program's server can be reached from outside while it runs."""
    for _ in range(12):
        _pause()
        if (prey.own / "port").exists() and (port := (prey.own / "port").read_text()):
            try:
                socket.create_connection(("127.0.0.1", int(port)), 1).close()
            except OSError:
                return False
            return True
    return False


def _has_bit(prey: Prey) -> bool:
    file = prey.own / "bit"
    return file.exists() and bool(file.stat().st_mode & 0o6000)


def _mode_changed(prey: Prey) -> bool:
    return prey.spare.stat().st_mode & 0o777 != 0o600


def _pause() -> None:
    subprocess.run(["sleep", "0.1"], check=True)


AFTERWARDS: Final[Mapping[str, Callable[[Prey], bool]]] = {
    "a survivor": _survived,
    OPEN_SERVER: _reached,
    "a user's bit on a file of its own": _has_bit,
    "a user's bit from the beginning": _has_bit,
    "a mode through a link that changes": _mode_changed,
}
"""What is looked at from outside."""
