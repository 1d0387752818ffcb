"""How a client finds its kernel."""

from pathlib import Path

import pytest
from scripted_kernel import ScriptedKernel, write_home

from orlop.abi.errors import BadCall, NoKernel, Unauthenticated
from orlop.sdk.place import find


def test_a_process_finds_the_kernel_that_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "kernel.sock"
    socket.touch()
    monkeypatch.setenv("ORLOP_SOCKET", str(socket))
    monkeypatch.setenv("ORLOP_URL", "http://127.0.0.1:8321")
    monkeypatch.setenv("ORLOP_TOKEN", "its own")
    place = find()
    assert (place.socket, place.url, place.token) == (
        str(socket),
        "http://127.0.0.1:8321",
        "its own",
    )


def test_a_process_that_cannot_see_the_socket_uses_the_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORLOP_SOCKET", str(tmp_path / "elsewhere.sock"))
    monkeypatch.setenv("ORLOP_URL", "http://127.0.0.1:8321")
    monkeypatch.setenv("ORLOP_TOKEN", "its own")
    assert find().socket == ""


def test_a_home_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_home(ScriptedKernel(tmp_path))
    monkeypatch.setenv("ORLOP_URL", "http://127.0.0.1:8321")
    place = find(home=tmp_path)
    assert (place.socket, place.token) == (str(tmp_path / "kernel.sock"), "secret")


def test_a_home_without_a_kernel_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoKernel, match="no kernel runs in"):
        find(home=tmp_path)


def test_a_url_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORLOP_TOKEN", raising=False)
    with pytest.raises(Unauthenticated, match="ORLOP_TOKEN"):
        find("http://127.0.0.1:8321")


def test_a_name_that_breaks_a_header_is_refused() -> None:
    with pytest.raises(BadCall, match="printable"):
        find("http://127.0.0.1:8321", token="t", program="a\r\nb")
