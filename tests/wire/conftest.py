"""Every test of this folder that asks for `sender` runs with each sender: one suite, one truth."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

SENDERS = ("httpx", "fast")


@pytest.fixture(params=SENDERS)
def sender(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ssl.SSLContext]:
    """(PEM of an authority of our own, context of a server named app.test)."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed, so no certificate can be made")
    folder: Path = tmp_path_factory.mktemp("tls")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=app.test", "-addext", "subjectAltName=DNS:app.test"]
    command += ["-addext", "keyUsage=critical,keyCertSign,digitalSignature"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return (folder / "cert.pem").read_text(), context
