"""Registries for tests: Debian's own, and one in this process that is as difficult as it is told to be."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error, accesslog: {{disabled: true}}}}
"""


@contextmanager
def real_registry(folder: Path) -> Iterator[str]:
    """Debian's docker-registry on the loopback; its address."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("no docker-registry here: apt-get install docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(parents=True)
    (folder / "config.yml").write_text(CONFIG.format(root=folder / "data", port=port), encoding="utf-8")
    process = subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            try:
                httpx.get(f"http://127.0.0.1:{port}/v2/", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


class Difficult(ThreadingHTTPServer):
    """A registry that follows the distribution specification and its manners.

    `streams`: takes PATCH. `token`: asks for one from its own token service. `busy`: answers 429 so many times.
    `drops`: cuts the line in so many uploads. `wrong`: gives 500 to every upload. `resumes`: keeps what came of an
    upload that broke off, and says how much that is. `rate_bytes`: takes so many a second. `came`: bytes of uploads.
    """

    daemon_threads = True

    def __init__(self, **manners: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.manners = {
            "streams": True,
            "token": None,
            "busy": 0,
            "drops": 0,
            "wrong": False,
            "resumes": False,
            "rate_bytes": 1e12,
            **manners,
        }
        self.came = 0
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads: dict[str, bytearray] = {}
        self.log: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.asked: list[str | None] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Difficult:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about; anything else is a fault of this registry."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Difficult
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        self.server.log.append((self.command, parts.path))
        if parts.path == "/token":
            return self._token()
        body = self._body(parts.path)
        if body is None:
            return None
        if self.server.manners["token"] and not self._known():
            where = f'Bearer realm="http://{self.server.address}/token",service="s"'
            return self._say(401, {"WWW-Authenticate": where})
        if self.server.manners["busy"] and "uploads" in parts.path:
            self.server.manners["busy"] -= 1
            return self._say(429, {"Retry-After": "0"})
        return self._registry(parts.path, query, body)

    def _token(self) -> None:
        self.server.asked.append(self.headers.get("Authorization"))
        if self.headers.get("Authorization") != self.server.manners["token"]:
            return self._say(401)
        token = secrets.token_hex(8)
        self.server.tokens.add(f"Bearer {token}")
        return self._say(200, {}, f'{{"token": "{token}"}}'.encode())

    def _known(self) -> bool:
        return self.headers.get("Authorization") in self.server.tokens

    def _body(self, path: str) -> bytes | None:
        """What was sent; None when the line was cut, on purpose or not. What resumes takes it as it comes."""
        length = int(self.headers.get("Content-Length") or 0)
        keeps = self.server.manners["resumes"] and self.command == "PATCH" and self._in_order(path, length)
        kept = self.server.uploads[path.rpartition("/")[2]] if keeps else bytearray()
        cut = length > 1000 and "uploads" in path and self.server.manners["drops"] > 0
        self.server.manners["drops"] -= cut
        left = length // 2 if cut else length
        while left and (block := self.rfile.read1(min(left, 1 << 18))):
            kept += block
            left -= len(block)
            time.sleep(len(block) / self.server.manners["rate_bytes"])
            self.server.came += len(block) if "uploads" in path else 0
        if cut or left:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return None
        return b"" if keeps else bytes(kept)

    def _in_order(self, path: str, length: int) -> bool:
        """Whether this piece begins where the upload stopped."""
        have = len(self.server.uploads.get(path.rpartition("/")[2], b""))
        said = self.headers.get("Content-Range")
        return (said is None and have == 0) or said == f"{have}-{have + length - 1}"

    def _registry(self, path: str, query: dict[str, str], body: bytes) -> None:
        if path == "/v2/":
            return self._say(200, {}, b"{}")
        found = re.fullmatch(r"/v2/(.+)/(blobs|manifests)/(.+)", path)
        assert found
        name, kind, rest = found.groups()
        if kind == "manifests":
            self.server.manifests[rest] = body
            return self._say(201)
        if not rest.startswith("uploads/"):
            return self._say(200 if rest in self.server.blobs else 404, {}, self.server.blobs.get(rest, b""))
        return self._upload(name, rest.removeprefix("uploads/"), query, body)

    def _upload(self, name: str, upload: str, query: dict[str, str], body: bytes) -> None:
        if self.server.manners["wrong"]:
            return self._say(500, {}, b"disk full")
        if self.command == "POST":
            upload = secrets.token_hex(8)
            self.server.uploads[upload] = bytearray()
            return self._say(202, {"Location": f"/v2/{name}/blobs/uploads/{upload}?_state=abc"})
        if query.get("_state") != "abc":
            return self._say(404)
        place = f"/v2/{name}/blobs/uploads/{upload}?_state=abc"
        if self.command == "GET":
            have = len(self.server.uploads.get(upload, b""))
            known = self.server.manners["resumes"] and upload in self.server.uploads
            return self._say(204, {"Location": place, "Range": f"0-{max(0, have - 1)}"}) if known else self._say(404)
        if self.command == "PATCH":
            if self.server.manners["resumes"] and len(body):
                return self._say(416)
            if not self.server.manners["streams"]:
                return self._say(416)
            self.server.uploads[upload] += body
            return self._say(202, {"Location": place})
        whole = bytes(self.server.uploads.pop(upload)) + body
        if f"sha256:{hashlib.sha256(whole).hexdigest()}" != query["digest"]:
            return self._say(400, {}, b"DIGEST_INVALID")
        self.server.blobs[query["digest"]] = whole
        return self._say(201)

    def _say(self, code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""
