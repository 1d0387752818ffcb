"""Canaries: secrets are planted, real flows are run, and everything is searched for them.

Searched: the home but for its keys and its orlop.toml, the journal decrypted, the logs, what agents
print and have in their environments, and every answer of every route that only reads.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest
from exact_client import CALLS, CHAT, ask, chat, operator_token
from live_kernel import LiveKernel, live_kernel

from orlop.http.operations.table import OPERATIONS

PROVIDER: Final = "sk-" + "canary-provider-key-0123456789"
AMBIENT: Final = "ambient-canary-of-the-operators-shell"
TOOL: Final = "tool-canary-5f1c0d8a"
CARD: Final = "4111-canary-card-1111"
CANARIES: Final = {"provider": PROVIDER, "ambient": AMBIENT, "tool": TOOL, "card": CARD}

AGENT: Final = (
    "import os, orlop\n"
    "kernel = orlop.connect_sync()\n"
    "print(dict(os.environ))\n"
    "print(kernel.call_tool('shop', card='-'.join(['4111', 'canary', 'card', '1111'])))\n"
    "for model in ('fake', 'told'):\n"
    "    try:\n"
    "        print(kernel.infer('hello', model=model).text())\n"
    "    except orlop.KernelError as error:\n"
    "        print(error)\n"
)
CONFIG: Final = """
[engines.cloud]
url = "{url}"
key_file = "{key}"

[tools.shop]
command = ["{python}", "-c", "{program}"]
effect = "pure"
env = {{ SHOP_API_KEY = "{tool}" }}

[tools.shop.parameters.properties]
card = {{ type = "string", "x-held-outside" = true }}

[tools.shop.results.properties]
card = {{ "x-held-outside" = true }}
"""
SHOP: Final = (
    "import json,os,sys; given = json.load(sys.stdin); "
    "assert os.environ['SHOP_API_KEY'].startswith('tool-'); "
    "print(json.dumps(dict(card=given['card'], said='paid with ' + given['card'])))"
)


class Teller(BaseHTTPRequestHandler):
    """A provider that tells the key that it is called with back, in its errors."""

    def do_GET(self) -> None:
        self._say(200, {"object": "list", "data": [{"id": "told", "object": "model"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        said = f"Incorrect API key provided: {self.headers['authorization']}"
        self._say(401, {"error": {"message": said, "type": "invalid_request_error"}})

    def _say(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is not a log."""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveKernel]:
    folder = tmp_path_factory.mktemp("canaries")
    key = folder / "provider.key"
    key.write_text(PROVIDER + "\n")
    key.chmod(0o600)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Teller)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = CONFIG.format(
        url=f"http://127.0.0.1:{server.server_port}",
        key=key,
        python=sys.executable,
        program=SHOP,
        tool=TOOL,
    )
    with pytest.MonkeyPatch.context() as shell:
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
            shell.setenv(name, AMBIENT)
        with live_kernel(settings) as running:
            yield running
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def printed(kernel: LiveKernel) -> str:
    """What an agent sees that does all that it can, and clients beside it."""
    printed = kernel.orlop("run", "--", sys.executable, "-c", AGENT)
    ask(kernel, CHAT, chat())
    tool = {"type": "call_tool", "tool": "shop", "arguments": {"card": CARD}}
    answered = ask(kernel, CALLS, json.dumps(tool).encode()).body.decode()
    refused = ask(kernel, CHAT, chat(model="told")).body.decode()
    assert "held:" in answered and "E2" in refused, (answered, refused)
    return printed + answered + refused


def require_clean(text: str, where: str, kernel: LiveKernel) -> None:
    for name, canary in {**CANARIES, "operator": operator_token(kernel)}.items():
        assert canary not in text, f"the {name} canary is in {where}"


def test_an_agent_sees_none(kernel: LiveKernel, printed: str) -> None:
    assert "'OPENAI_API_KEY': 'orlp_" in printed
    assert "[secret]" in printed, "the provider's error was told, without the key"
    require_clean(printed, "what an agent sees", kernel)


def test_the_journal_holds_none(kernel: LiveKernel, printed: str) -> None:
    exported = kernel.orlop("journal", "export")
    assert "call.returned" in exported and "call.failed" in exported
    require_clean(exported, "the journal", kernel)
    assert kernel.key not in exported


def test_no_file_of_the_home_but_its_keys_holds_any(kernel: LiveKernel, printed: str) -> None:
    searched = 0
    for path in sorted(kernel.home.rglob("*")):
        # The operator's own words, his terminal, and where secrets belong.
        is_theirs = path.name in ("orlop.toml", "up.out") or path.parent.name == "keys"
        if path.is_file() and not path.is_symlink() and not is_theirs:
            searched += 1
            text = path.read_bytes().decode("latin-1")
            require_clean(text, str(path), kernel)
            if path.parent.name == "log":
                assert "orlp_b" not in text and kernel.key not in text
    assert searched > 5


def test_no_route_that_reads_tells_any(kernel: LiveKernel, printed: str) -> None:
    token, asked = operator_token(kernel), 0
    for operation in OPERATIONS:
        if operation.method != "GET" or "follow" in operation.path:
            continue
        path = operation.path.replace("{process}", "2").replace("{tool}", "shop")
        path = path.replace("{engine}", "cloud").replace("{name}", "shop")
        answer = ask(kernel, path, token=token)
        asked += answer.status == 200
        require_clean(answer.body.decode(errors="replace"), operation.path, kernel)
    assert asked > 15


def test_no_process_of_an_agent_has_any_in_its_environment(kernel: LiveKernel) -> None:
    pid = kernel.orlop("run", "-d", "--", "sleep", "600").strip()
    try:
        give_up_s, found = time.monotonic() + 20, b""
        while b"ORLOP_TOKEN" not in found and time.monotonic() < give_up_s:
            time.sleep(0.05)
            found = b"".join(
                environ
                for path in Path("/proc").glob("[0-9]*/environ")
                if b"ORLOP_PROCESS" in (environ := _read(path))
                and b"sleep" in _read(path.parent / "cmdline")
            )
        assert b"ORLOP_TOKEN" in found
        require_clean(found.decode(errors="replace"), "an agent's environment", kernel)
    finally:
        kernel.orlop("kill", pid)


def test_what_is_only_in_the_shell_is_not_passed_on_by_name(kernel: LiveKernel) -> None:
    with pytest.raises(AssertionError, match="--keep-env HF_TOKEN"):
        kernel.orlop("run", "-e", "HF_TOKEN", "--", "true")
    said = kernel.orlop("run", "-e", "COLOUR=red", "--", "printenv", "COLOUR")
    assert said.strip() == "red"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
