"""Certificates of an appliance: files of the host, or one that signs itself, made by openssl."""

from __future__ import annotations

import ipaddress
import os
import shlex
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

from weighbridge.errors import BadValue, HostError

DAYS = 825  # what clients accept at most of a certificate that they were told to trust
_CHOOSE = "give both: --tls-cert FILE --tls-key FILE; or: --tls self-signed"


def check_pair(cert: Path, key: Path) -> tuple[str, str, int | None]:
    """(certificate, key, group that reads the key). Raises BadValue when they cannot be served from."""
    cert, key = cert.absolute(), key.absolute()
    for path in (cert, key):
        if not path.is_file():
            raise BadValue(f"{path}: no such file", _CHOOSE)
        if path.resolve().parent != path.parent.resolve():
            hint = f"copy what it points to into one folder: cp -L {path} FOLDER/"
            raise BadValue(f"{path} is a link to another folder, which the container does not see", hint)
    if cert.parent != key.parent:
        raise BadValue(
            f"{cert} and {key} lie in two folders; the container sees one", "copy both into one of their own"
        )
    found = key.stat()
    if found.st_mode & 0o004:
        raise BadValue(f"{key} can be read by everybody", f"chmod 640 {key}")
    if not found.st_mode & 0o040:
        raise BadValue(f"{key} cannot be read by the container, which is another user", f"chmod 640 {key}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, OSError) as e:
        raise BadValue(f"{cert} and {key} are no pair: {getattr(e, 'reason', None) or e}", _CHOOSE) from None
    return str(cert), str(key), found.st_gid or None


def self_signed(folder: Path, address: str) -> tuple[str, str, int | None]:
    """A certificate for this machine's names and `address`, made once and kept. Raises HostError without openssl."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    if not (cert.is_file() and key.is_file()):
        _make(folder, address)
    return check_pair(cert, key)


def _make(folder: Path, address: str) -> None:
    if not shutil.which("openssl"):
        raise HostError("there is no openssl command to make a certificate with", "sudo apt-get install openssl")
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    folder.chmod(0o755)  # whatever the umask: the container's uid must enter
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as aside:
        words = _words(Path(aside), address)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HostError(f"openssl made no certificate: {done.stderr.strip()[-200:]}", "openssl version")
        Path(aside, "key.pem").chmod(0o640)
        Path(aside, "cert.pem").chmod(0o644)
        Path(aside, "key.pem").replace(folder / "key.pem")
        Path(aside, "cert.pem").replace(folder / "cert.pem")


def _words(folder: Path, address: str) -> list[str]:
    """openssl's, for a key and a certificate in a folder."""
    names = ["DNS:localhost", f"DNS:{os.uname().nodename}", "IP:127.0.0.1", "IP:::1"]
    if not ipaddress.ip_address(address).is_unspecified:
        names.append(f"IP:{address}")
    alternatives = f"subjectAltName={','.join(dict.fromkeys(names))}"
    return [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256",
        "-days", str(DAYS), "-subj", "/CN=weighbridge", "-addext", alternatives,
        "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem",
    ]  # fmt: skip


def by_hand(folder: Path, address: str) -> str:
    """The same as a line to paste."""
    made = shlex.join(["mkdir", "-p", "-m", "755", str(folder)])
    readable = [shlex.join(["chmod", mode, f"{folder}/{name}.pem"]) for mode, name in (("640", "key"), ("644", "cert"))]
    return " && ".join((made, shlex.join(_words(folder, address)), *readable))


def trusting(cert: Path) -> ssl.SSLContext:
    """Trusts this very certificate and no other, whatever name it is for: it is asked over loopback.

    Raises HostError when it cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=str(cert))
    except (OSError, ssl.SSLError) as e:
        raise HostError(
            f"{cert}: {getattr(e, 'strerror', None) or e}", f"openssl x509 -in {cert} -noout -text"
        ) from None
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
