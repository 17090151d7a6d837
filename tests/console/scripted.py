"""An engine that says what a test tells it to, byte by byte: what a real one does not do on demand.

Cut connections, errors in the middle, borders of chunks inside a character: the answers of the real engine are asked
for in the live tests. The page's files come with the policy that the gateway sets.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from appliance import KEY, Data, Site, write_console

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


class Engine:
    """The pieces to send, each a write of its own; a number is a pause in seconds. What was asked is kept."""

    def __init__(self) -> None:
        self.status = 200
        self.pieces: list[bytes | float] = []
        self.kind = "text/event-stream"
        self.asked: list[dict[str, Any]] = []
        self.metrics = ""
        self.bench: dict[str, Any] | None = None
        self.polls = 0
        self.hung_up = threading.Event()

    def says(self, *pieces: bytes | float, status: int = 200, kind: str = "text/event-stream") -> None:
        self.pieces, self.status, self.kind = list(pieces), status, kind


class Handler(BaseHTTPRequestHandler):
    engine: ClassVar[Engine]
    folder: ClassVar[Path]
    data: ClassVar[Data]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing: the test says what matters."""

    def do_GET(self) -> None:
        path = "/console/index.html" if self.path == "/" else self.path
        if path == "/health":
            self._send(200, b"", "text/plain")
        elif path == "/v1/models":
            self._keyed(json.dumps({"data": [{"id": "weighbridge-demo"}]}).encode(), "application/json", "key")
        elif path == "/console/bench.json":
            self._keyed(json.dumps(self.engine.bench, ensure_ascii=False).encode(), "application/json", self.data)
        elif path == "/console/metrics":
            self.engine.polls += 1
            self._keyed(self.engine.metrics.encode(), "text/plain", self.data)
        else:
            self._file(path)

    def _file(self, path: str) -> None:
        file = self.folder / path.lstrip("/")
        if ".." in path or not file.is_file():
            self._send(404, b"", "text/plain")
        elif file.name in ("plan.json", "about.json"):
            self._keyed(file.read_bytes(), "application/json", self.data)
        else:
            self._send(200, file.read_bytes(), KINDS.get(file.suffix, "application/json"))

    def _keyed(self, body: bytes, kind: str, data: Data) -> None:
        if data == "off":
            self._send(404, b"", "text/plain")
        elif data == "key" and self.headers.get("Authorization") != f"Bearer {KEY}":
            self._send(401, b'{"error": {"message": "a key is needed"}}', "application/json")
        else:
            self._send(200, body, kind)

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._send(401, b'{"error": {"message": "a key is needed"}}', "application/json")
            return
        self.engine.asked.append(json.loads(body))
        self.close_connection = True
        self.send_response(self.engine.status)
        self.send_header("Content-Type", self.engine.kind)
        self.end_headers()
        try:
            for piece in self.engine.pieces:
                if isinstance(piece, bytes):
                    self.wfile.write(piece)
                    self.wfile.flush()
                time.sleep(piece if isinstance(piece, float) else 0.002)  # else the kernel joins two writes
        except OSError:
            self.engine.hung_up.set()


@contextmanager
def scripted(folder: Path, data: Data) -> Iterator[tuple[Site, Engine]]:
    write_console(folder)
    engine = Engine()
    kept = type("Kept", (Handler,), {"engine": engine, "folder": folder, "data": data})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kept)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Site(f"http://127.0.0.1:{server.server_address[1]}/", KEY), engine
    finally:
        server.shutdown()
        server.server_close()
