"""Beyond this machine only with encryption, or where somebody says that something else does it."""

import datetime
import http.client
import ipaddress
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from live_kernel import ORLOP, LiveKernel, live_kernel

PROGRAM = (
    "import openai\n"
    "said = openai.OpenAI().chat.completions.create(\n"
    "    model='fake', messages=[{'role': 'user', 'content': 'hello'}])\n"
    "print(said.choices[0].message.content)\n"
)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), address]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    private.chmod(0o600)
    return cert, private


@pytest.fixture(scope="module")
def kernel(papers: tuple[Path, Path]) -> Iterator[LiveKernel]:
    cert, key = papers
    settings = f'host = "0.0.0.0"\nname = "localhost"\ntls_cert = "{cert}"\ntls_key = "{key}"\n'
    with live_kernel(f"[http]\n{settings}") as running:
        yield running


def test_calls_are_encrypted_on_tcp(kernel: LiveKernel, papers: tuple[Path, Path]) -> None:
    assert kernel.url.startswith("https://localhost:")
    client = http.client.HTTPSConnection(
        urlsplit(kernel.url).netloc, context=ssl.create_default_context(cafile=papers[0])
    )
    with closing(client):
        client.request("GET", "/v1/models", headers={"authorization": f"Bearer {kernel.key}"})
        answer = client.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["data"]


def test_nobody_is_answered_in_the_clear(kernel: LiveKernel) -> None:
    client = http.client.HTTPConnection(urlsplit(kernel.url).netloc)
    with closing(client):
        client.request("GET", "/health")
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            client.getresponse()


def test_an_official_client_comes_in_by_its_environment(
    kernel: LiveKernel, papers: tuple[Path, Path]
) -> None:
    said = kernel.orlop(
        "run", "-e", f"SSL_CERT_FILE={papers[0]}", "--", sys.executable, "-c", PROGRAM
    )
    assert said.strip()


@pytest.mark.parametrize("connect", ["connect_sync()", "connect()"], ids=["sync", "async"])
def test_our_own_client_speaks_it_and_trusts_nobody_unknown(
    kernel: LiveKernel, papers: tuple[Path, Path], connect: str
) -> None:
    call = f"orlop.{connect[:-1]}url={kernel.url!r}, token={kernel.key!r}, patience_s=0)"
    program = f"import orlop\nprint({call}.infer('hello', model='fake').text())"
    if "sync" not in connect:
        program = (
            "import asyncio, orlop\n"
            "async def main():\n"
            f"    async with {call} as kernel:\n"
            "        print((await kernel.infer('hello', model='fake')).text())\n"
            "asyncio.run(main())"
        )
    for trusted in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **({"SSL_CERT_FILE": str(papers[0])} if trusted else {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode == 0) is trusted, done.stderr
        assert trusted or "ertificate" in done.stderr


def refusal(home: Path, config: str) -> str:
    settings = home / "orlop.toml"
    settings.write_text(config)
    done = subprocess.run(
        [*ORLOP, "up", "--home", str(home), "--port", "0", "--config", str(settings)],
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr


def test_a_kernel_for_other_machines_without_encryption_does_not_start(tmp_path: Path) -> None:
    said = refusal(tmp_path, '[http]\nhost = "0.0.0.0"\n')
    assert "E3201" in said and "tls_cert" in said and "plain" in said


def test_a_key_that_others_may_read_is_refused(tmp_path: Path, papers: tuple[Path, Path]) -> None:
    cert, private = papers
    open_key = tmp_path / "open.pem"
    open_key.write_bytes(private.read_bytes())
    open_key.chmod(0o644)
    said = refusal(tmp_path, f'[http]\ntls_cert = "{cert}"\ntls_key = "{open_key}"\n')
    assert f"chmod 600 {open_key}" in said


def test_half_a_pair_and_nonsense_are_named(tmp_path: Path, papers: tuple[Path, Path]) -> None:
    cert, private = papers
    assert "come together" in refusal(tmp_path, f'[http]\ntls_cert = "{cert}"\n')
    said = refusal(tmp_path, f'[http]\ntls_cert = "{private}"\ntls_key = "{private}"\n')
    assert "can't be used" in said


def test_an_operators_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "operator.token").write_text("orlo_open")
    (keys / "operator.token").chmod(0o640)
    assert "chmod 600" in refusal(tmp_path, "")


def test_the_operators_token_is_shown_at_the_first_start_only(tmp_path: Path) -> None:
    told = []
    for _ in range(2):
        up = subprocess.run(
            [*ORLOP, "up", "-d", "--home", str(tmp_path), "--port", "0"],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        told.append(up.stdout)
        subprocess.run([*ORLOP, "down", "--home", str(tmp_path)], timeout=60, check=True)
    token = (tmp_path / "keys" / "operator.token").read_text().strip()
    assert token in told[0]
    assert token not in told[1]
    logs = "".join(path.read_text() for path in (tmp_path / "log").iterdir())
    assert token not in logs
