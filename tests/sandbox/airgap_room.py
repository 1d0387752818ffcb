"""A machine with one way out, which counts what goes there: run in a network namespace of its own.

`airgap_room.py FOLDER [--airgap]` prints how many packets went to which address.
"""

import fcntl
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

TUNSETIFF = 0x400454CA
TUN_WITHOUT_HEADER = 0x1001
ORLOP = (sys.executable, "-m", "orlop.shell.main")

LISTED = "198.51.100.9"
"""In the settings, so that it may be reached (and is no more than an address: nobody answers)."""

STRANGER = "203.0.113.5"

CONFIG = f"""
[models]
dir = "{{folder}}/none"
[engines.fake]
driver = "fake"
[engines.listed]
url = "http://{LISTED}:8000"
[tools.phones_home]
command = ["{sys.executable}", "-c", "{{phone}}"]
"""

PHONE = f"import socket; s = socket.socket(); s.settimeout(1); s.connect_ex(('{STRANGER}', 80))"

PROGRAM = f"""
import socket, orlop
def quietly(act):
    try:
        act()
    except Exception as error:
        print(type(error).__name__, str(error)[:100])
kernel = orlop.connect_sync()
quietly(lambda: socket.create_connection(('{STRANGER}', 80), 1))
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
quietly(lambda: datagram.sendto(b'x', ('{STRANGER}', 53)))
quietly(lambda: socket.getaddrinfo('stranger.example', 80))
quietly(lambda: kernel.call_tool('phones_home'))
"""


def way_out() -> int:
    """A network device whose packets come to us."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tun0", TUN_WITHOUT_HEADER))
    for line in (
        "link set lo up",
        "addr add 10.9.8.2/24 dev tun0",
        "link set tun0 up",
        "route add default dev tun0",
    ):
        subprocess.run(["ip", *line.split()], check=True)
    return device


def listen(device: int, seen: Counter[str]) -> None:
    while True:
        packet = os.read(device, 65_536)
        if packet[0] >> 4 == 4:
            seen[".".join(map(str, packet[16:20]))] += 1


def main(folder: Path, *flags: str) -> None:
    seen: Counter[str] = Counter()
    threading.Thread(target=listen, args=(way_out(), seen), daemon=True).start()
    home = folder / "home"
    settings = folder / "orlop.toml"
    settings.write_text(CONFIG.format(folder=folder, phone=PHONE))
    environ = {**os.environ, "ORLOP_HOME": str(home)}
    up = [*ORLOP, "up", "-d", "--home", str(home), "--port", "0", "--config", str(settings), *flags]
    started = subprocess.run(up, env=environ, capture_output=True, text=True, check=False)
    ran = subprocess.run(
        [*ORLOP, "run", "--", sys.executable, "-c", PROGRAM],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    time.sleep(2)  # For packets that are sent again.
    log = (home / "log" / "kernel.log").read_text() if (home / "log").exists() else ""
    subprocess.run([*ORLOP, "down"], env=environ, capture_output=True, check=False)
    said = started.stdout + started.stderr + ran.stdout + ran.stderr + log[-2000:]
    told = {"packets": seen, "status": ran.returncode, "said": said}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
