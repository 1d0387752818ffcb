"""What unchanged programs in sandboxes send to servers outside: recorded, and never sent twice."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from https_server import HOST, Outside, outside
from live_kernel import LiveKernel, live_kernel
from live_sandbox import needs_sandbox, python, ran

pytestmark = needs_sandbox

PAYS_AND_FAILS = """
import os, sys, urllib.request
url, folder = sys.argv[1:]
def ask(path, body=None, method="GET"):
    request = urllib.request.Request(url + path, data=body, method=method)
    return urllib.request.urlopen(request).read().decode()
def say(text):
    with open(folder + "/said", "a") as said:
        said.write(text + "\\n")
say(ask("/look") + ask("/pay", b"10", "POST"))
if not os.path.exists(folder + "/once"):
    open(folder + "/once", "w").close()
    os._exit(3)
say(ask("/after"))
"""

CLIENTS = """
import asyncio, sys, ssl, aiohttp, httpx
print(httpx.get(sys.argv[1] + "/httpx").status_code)
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session:
        context = ssl.create_default_context()
        async with session.post(sys.argv[1] + "/aiohttp", data=b"x" * 2_000_000, ssl=context) as it:
            print(it.status)
asyncio.run(main())
"""

ONE = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], data=sys.argv[2].encode() or None)
try:
    print(urllib.request.urlopen(request, timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
except OSError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with outside(tmp_path_factory.mktemp("outside"), large=20_000_000) as found:
        yield found


@pytest.fixture(scope="module")
def kernel(server: Outside) -> Iterator[LiveKernel]:
    with live_kernel(f'[egress]\ncertificates = "{server.authority}"\n') as running:
        yield running


def net(server: Outside, mode: str = "") -> tuple[str, ...]:
    return ("--sandbox", "--net", f"{HOST}:{server.port}{mode}")


def test_a_program_that_is_started_again_pays_once(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    words = ("--restart", "on-failure", "--write", str(tmp_path), "--name", "payer")
    script = python(PAYS_AND_FAILS, server.url, str(tmp_path))
    done = ran(kernel, tmp_path, *net(server), *words, *script)
    assert done.returncode == 0, done.stderr
    first, second, after = (tmp_path / "said").read_text().splitlines()
    assert first == second
    assert after.startswith("answer")
    assert server.seen.count("POST /pay 10") == 1
    assert server.seen.count("GET /look") == 1
    found = json.loads(kernel.orlop("coverage", "payer", "--json"))
    assert {one["kind"]: one["through"] for one in found["kinds"]}["http"] == 3


def test_its_replay_asks_nobody(kernel: LiveKernel, server: Outside, tmp_path: Path) -> None:
    done = ran(kernel, tmp_path, *net(server), "--name", "again", *python(ONE, server.url, "hi"))
    assert done.stdout == "200\n", done.stderr
    before = len(server.seen)
    assert "1 call came from the record" in kernel.orlop("replay", "again")
    assert len(server.seen) == before


def test_popular_clients_need_no_change(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    done = ran(kernel, tmp_path, *net(server), *python(CLIENTS, server.url))
    assert done.stdout.split() == ["200", "200"], done.stderr
    assert "POST /aiohttp 2000000" in server.seen


def test_an_effect_that_was_cut_off_is_not_sent_again_unseen(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    script = python(ONE + "\n" + ONE, server.url + "/broken", "pay")
    done = ran(kernel, tmp_path, *net(server), *script)
    first, second = done.stdout.splitlines()
    assert first.startswith("502")
    assert second.startswith("409")
    assert "E1205" in second
    assert server.seen.count("POST /broken pay") == 1


def test_a_rule_that_says_so_lets_it_be_sent_again_with_the_same_key(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    before = len(server.headers)
    script = python(ONE + "\n" + ONE, server.url + "/broken", "again")
    ran(kernel, tmp_path, *net(server, "=idempotent"), *script)
    assert server.seen.count("POST /broken again") == 2
    first, second = (told["idempotency-key"] for told in server.headers[before:])
    assert first == second


def test_a_host_that_no_rule_names_is_refused_and_the_journal_knows(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    done = ran(kernel, tmp_path, "--sandbox", "--name", "curious", *python(ONE, server.url, ""))
    assert "403" in done.stdout
    said = kernel.orlop("journal", "export")
    assert "egress.refused" in said


def test_a_tunnel_is_counted_and_not_read(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    curl = ("--", "curl", "-sk", server.url + "/tunnelled")
    done = ran(kernel, tmp_path, *net(server, "=tunnel"), "--name", "tunneller", *curl)
    assert done.stdout.startswith("answer"), done.stderr
    found = json.loads(kernel.orlop("coverage", "tunneller", "--json"))
    kinds = {one["kind"]: (one["through"], one["beside"]) for one in found["kinds"]}
    assert kinds["http"] == (0, 1)
    with pytest.raises(AssertionError, match="ended with 56"):  # curl's: the proxy has refused.
        kernel.orlop("replay", "tunneller")
    assert server.seen.count("GET /tunnelled") == 1


def test_an_answer_that_is_too_large_to_record_is_refused_with_the_way_around(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    done = ran(kernel, tmp_path, *net(server), *python(ONE, server.url + "/large", ""))
    assert done.stdout.startswith("502")
    assert "=tunnel" in done.stdout


def test_credentials_are_sent_and_never_recorded(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    script = """
import sys, urllib.request
headers = {"authorization": "Bearer canary-7411", "x-request-id": "canary-id"}
print(urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/who", headers=headers)).status)
"""
    (tmp_path / "agent.py").write_text(script)  # A command line is recorded, a file is not.
    command = ("--", sys.executable, "agent.py", server.url)
    done = ran(kernel, tmp_path, *net(server), *command)
    assert done.stdout == "200\n", done.stderr
    assert server.headers[-1]["authorization"] == "Bearer canary-7411"
    assert "canary" not in kernel.orlop("journal", "export")


def test_an_effect_that_a_person_has_looked_after_is_answered_and_not_sent_again(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    script = """
import os, sys, time, orlop
kernel = orlop.connect_sync()
def tried(url, method="GET"):
    try:
        answer = kernel.fetch(url, method=method)
        print(answer.status, answer.body.decode(), flush=True)
    except orlop.KernelError as error:
        print(error.code, flush=True)
tried("https://stranger.example/")
tried(sys.argv[1] + "/broken?sdk", "POST")
tried(sys.argv[1] + "/broken?sdk", "POST")
open("asked", "w").close()
while not os.path.exists("settled"):
    time.sleep(0.05)
tried(sys.argv[1] + "/broken?sdk", "POST")
"""
    words = ("-d", "--write", str(tmp_path), "--name", "settler")
    ran(kernel, tmp_path, *net(server), *words, *python(script, server.url))
    while not (tmp_path / "asked").exists():
        time.sleep(0.05)
    (lost,) = [
        one["id"]
        for one in json.loads(kernel.orlop("effects", "--json"))
        if one["tool"].endswith("?sdk")
    ]
    kernel.orlop("effects", "settle", lost, "--happened", '{"paid": true}')
    (tmp_path / "settled").touch()
    kernel.orlop("wait", "settler")
    said = kernel.orlop("logs", "settler").splitlines()
    assert said == ["E1102", "E2001", "E1205", '200 {"paid":true}']
    assert server.seen.count("POST /broken?sdk") == 1


def test_a_policy_decides_about_exchanges_and_tunnels(
    kernel: LiveKernel, server: Outside, tmp_path: Path
) -> None:
    rules = tmp_path / "policy"
    rules.mkdir()
    (rules / "net.cedar").write_text(
        """
@id("all")
permit (principal, action, resource);
@id("no-writes-outside")
forbid (principal, action == Action::"net", resource)
when { context.method != "GET" };
"""
    )
    kernel.orlop("policy", "set", str(rules))
    try:
        script = python(ONE + "\n" + ONE.replace("[2].encode() or None", "[2][:0] or None"))
        both = ran(kernel, tmp_path, *net(server), *script, server.url + "/ruled", "write")
        written, read = both.stdout.splitlines()
        assert written.startswith("403")
        assert "no-writes-outside" in written
        assert read == "200"
        curl = ("--", "curl", "-sk", server.url + "/ruled-tunnel")
        assert ran(kernel, tmp_path, *net(server, "=tunnel"), *curl).stdout == ""
    finally:
        kernel.orlop("policy", "remove")
    assert not any("tunnel" in line for line in server.seen if "ruled" in line)
