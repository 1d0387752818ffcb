"""An airgapped kernel sends nothing to what orlop.toml does not name."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from live_sandbox import needs_sandbox
from sandbox import airgap_room
from sandbox.airgap_room import LISTED, STRANGER

from orlop.sandbox.airgap import AirGap, is_local, listed

ROOM = Path(airgap_room.__file__)


def namespace() -> str:
    """Why no network namespace with a way out can be made; empty: one can."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "no unshare, or no ip"
    made = subprocess.run(
        ["unshare", "-Urn", "ip", "tuntap", "add", "mode", "tun", "name", "tun0"],
        capture_output=True,
        text=True,
        check=False,
    )
    return made.stderr


NO_ROOM = namespace()


def packets(folder: Path, *flags: str) -> dict[str, int]:
    command = ["unshare", "-Urn", sys.executable, str(ROOM), str(folder), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == 0, told["said"]
    found: dict[str, int] = told["packets"]
    return found


@needs_sandbox
@pytest.mark.skipif(bool(NO_ROOM), reason=f"no network namespace here: {NO_ROOM}")
def test_not_one_packet_leaves_an_airgapped_kernel_for_a_stranger(tmp_path: Path) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
    assert packets(tmp_path / "open")[STRANGER] > 0
    seen = packets(tmp_path / "closed", "--airgap")
    assert set(seen) <= {LISTED}
    assert seen[LISTED] > 0


@dataclass(frozen=True)
class Engine:
    url: str = ""
    host: str = ""


@dataclass(frozen=True)
class Settings:
    engines: dict[str, Engine] = field(default_factory=dict)
    urls: tuple[str, ...] = ()


def test_whatever_address_the_settings_name_is_listed() -> None:
    settings = Settings(
        {"a": Engine(url="https://one.example:8000/v1"), "b": Engine(host="two.example:25")},
        ("http://[2001:db8::1]/x",),
    )
    assert set(listed(settings)) == {"one.example", "two.example", "2001:db8::1"}


def test_names_and_addresses_that_are_not_listed_are_refused_before_anything_is_sent() -> None:
    gap = AirGap({"one.example"})
    gap._heard("socket.connect", (None, "/a/unix/socket"))
    gap._heard("socket.connect", (None, ("127.0.0.1", 1)))
    for event, words in (
        ("socket.getaddrinfo", ("two.example", 80)),
        ("socket.connect", (None, (STRANGER, 80))),
        ("socket.sendto", (None, (STRANGER, 53))),
    ):
        with pytest.raises(PermissionError, match=r"two.example|203\.0"):
            gap._heard(event, words)
    assert gap.refused == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_is_no_stranger(host: str) -> None:
    assert is_local(host)
