"""A certificate authority of this home's own: programs in its sandboxes trust it, and nobody else.

With it the proxy can read what they send, and record it.  Its key never leaves `keys/`; what it
signs is for one host each, and lives no longer than the kernel that asked for it.
"""

import datetime
import os
import ssl
import tempfile
from collections import OrderedDict
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orlop.abi.egress import is_here
from orlop.abi.errors import Misconfigured
from orlop.abi.limits import CERTIFICATES_KEPT
from orlop.machine.clock import NS_PER_S, Clock
from orlop.store import files
from orlop.store.secrets import require_private

KEY_FILE: Final = "egress-authority.pem"
"""In `keys/`: the authority's key, and its certificate."""

OWN_DAYS: Final = 3_650
HOST_DAYS: Final = 30
DAY: Final = datetime.timedelta(days=1)


class Authority:
    """Raises `Misconfigured` where its key is not its own."""

    def __init__(self, keys: Path, clock: Clock) -> None:
        self._clock = clock
        self._key, self._certificate = self._kept(keys / KEY_FILE)
        self._host_key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    def trust(self) -> bytes:
        """What programs in sandboxes trust: the system's authorities, and this one."""
        system = ssl.get_default_verify_paths().cafile
        known = Path(system).read_bytes() if system and os.path.exists(system) else b""
        return known.rstrip() + b"\n" + self._certificate.public_bytes(serialization.Encoding.PEM)

    def context(self, host: str) -> ssl.SSLContext:
        """What the proxy shows in the place of `host`."""
        context = self._contexts.pop(host, None) or self._new_context(host)
        self._contexts[host] = context
        if len(self._contexts) > CERTIFICATES_KEPT:
            self._contexts.popitem(last=False)
        return context

    def _kept(self, path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        files.private_folder(path.parent)
        if not path.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            text = _pem(key) + self._own_certificate(key).public_bytes(serialization.Encoding.PEM)
            draft = path.with_suffix(".new")
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        require_private(path)
        text = path.read_bytes()
        try:
            held = serialization.load_pem_private_key(text, None)
            certificate = x509.load_pem_x509_certificate(text)
        except ValueError as error:
            raise Misconfigured(f"{path} is no key with its certificate: {error}") from error
        if not isinstance(held, ec.EllipticCurvePrivateKey):
            raise Misconfigured(f"{path} holds a key of another kind")
        return held, certificate

    def _own_certificate(self, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        name = _name("Orlop: this home's sandboxes")
        return (
            self._draft(name, name, key, OWN_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )

    def _new_context(self, host: str) -> ssl.SSLContext:
        key = self._host_key
        shown: x509.GeneralName = x509.DNSName(host)
        if is_here(host) and not host.endswith("localhost"):
            shown = x509.IPAddress(ip_address(host))
        issuer = self._key.public_key()
        certificate = (
            self._draft(_name(host[:64]), self._certificate.subject, key, HOST_DAYS)
            .add_extension(x509.SubjectAlternativeName([shown]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False)
            .sign(self._key, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        # The library reads files only; this one is gone before anybody could look at it.
        with tempfile.NamedTemporaryFile() as file:
            file.write(_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _draft(
        self, name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.fromtimestamp(self._clock.wall_ns() // NS_PER_S, datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + days * DAY)
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
