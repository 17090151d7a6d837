"""Podman: it pulls from a registry of this process alone, which makes each layer when it is asked for it.

No layout lies on the disk meanwhile, and Podman asks for no layer that its store has.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from weighbridge.effects.oci.blocks import Stopped
from weighbridge.effects.oci.pour import Pour
from weighbridge.effects.oci.sink import Source
from weighbridge.errors import HostError, WeighbridgeError
from weighbridge.image import CONFIG, MANIFEST, Image, Sealed
from weighbridge.layers import Inside, Layer, cut
from weighbridge.memory import GIB

_INFO_SECONDS = 60
_SMALL_BYTES = 64 << 20


class PodmanSink:
    """Gives the runtime `program` an image called `tag`."""

    kind = "podman"

    def __init__(self, program: str, tag: str) -> None:
        self.program, self.tag, self.written = program, tag, 0
        if not shutil.which(program):
            raise HostError(f"no {program} here", f"install it: sudo apt-get install {program}")
        self.stop = threading.Event()

    def cut(self, files: Sequence[Inside], most_gib: float) -> tuple[Layer, ...]:
        return cut(files, most_gib)

    def check_room(self, new_bytes: int) -> None:
        """Raises HostError when the store's disk cannot hold the layers and one more on its way."""
        root = self.store() if new_bytes > _SMALL_BYTES else None  # asking takes longer than so little
        free = shutil.disk_usage(root).free if root else None
        if free is not None and new_bytes * 2 > free:
            message = f"{root}: {2 * new_bytes / GIB:.2f} GiB are needed, {free / GIB:.2f} GiB are free"
            raise HostError(message, "make room there, or bake elsewhere: --to layout --output FOLDER")

    def store(self) -> Path | None:
        words = [self.program, "info", "--format", "{{.Store.GraphRoot}}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=_INFO_SECONDS, check=False)
        path = Path(done.stdout.strip() or "/nowhere")
        return path if path.is_dir() else None

    def has(self, sealed: Sealed) -> bool:
        """What is known by its digest waits until it is asked for."""
        return True

    def put(self, pour: Pour) -> None:
        pour.drain()

    def put_file(self, sealed: Sealed, path: Path) -> None:
        """Engine layers wait until they are asked for."""

    def commit(self, image: Image, sources: Sequence[Source]) -> str:
        named = f"localhost/{self.tag}"
        with (
            _served(image, named.rpartition(":")[2], sources, self.stop) as server,
            tempfile.NamedTemporaryFile("w", suffix=".conf") as config,
        ):
            config.write(_registries(named, server))
            config.flush()
            try:
                self._run(["pull", "--quiet", named], f"{self.program} did not take {self.tag}", config.name)
            except HostError:
                if server.trouble:  # the reason for what the runtime only saw end
                    raise server.trouble from None
                raise
            self.written = server.sent
        return f"{self.program} run {named}"

    def _run(self, words: list[str], subject: str, registries: str) -> None:
        environment = {**os.environ, "CONTAINERS_REGISTRIES_CONF": registries}
        with subprocess.Popen(
            [self.program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                _, errors = process.communicate()
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            last = next((line for line in reversed(errors.splitlines()) if line.strip()), "it said nothing")
            raise HostError(f"{subject}: {last.strip()[:300]}", f"{self.program} info")

    def close(self) -> None:
        self.stop.set()


def _registries(name: str, server: _Server) -> str:
    """What tells the runtime, for one pull, that the registry of this name is ours: the image has its name at once."""
    at = f"127.0.0.1:{server.server_address[1]}/{server.secret}"
    repository = name.rpartition(":")[0]
    return f'[[registry]]\nprefix = "{repository}"\nlocation = "{at}"\ninsecure = true\n'


def _served(image: Image, tag: str, sources: Sequence[Source], stop: threading.Event) -> _Server:
    blobs: dict[str, tuple[str, bytes | Source]] = {s.sealed.digest: ("application/octet-stream", s) for s in sources}
    blobs[image.config_blob.digest] = (CONFIG, image.config)
    blobs[image.manifest_blob.digest] = (MANIFEST, image.manifest)
    blobs[tag] = (MANIFEST, image.manifest)
    return _Server(blobs, stop)


class _Server(ThreadingHTTPServer):
    """A registry to read from, on a free port of the loopback, under a name that only its child is told."""

    daemon_threads = True

    def __init__(self, blobs: dict[str, tuple[str, bytes | Source]], stop: threading.Event) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs, self.stop, self.sent = blobs, stop, 0
        self.secret = secrets.token_hex(16)
        self.trouble: WeighbridgeError | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if isinstance(error, WeighbridgeError):
            self.trouble = error
        elif not isinstance(error, (Stopped, OSError)):
            super().handle_error(request, client_address)

    def __enter__(self) -> _Server:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.path == "/v2/":
            return self._give("application/json", b"{}", body=body)
        asked = re.fullmatch(r"/v2/([0-9a-f]+)/(?:blobs|manifests)/(?:sha256:)?([\w.-]+)", self.path)
        found = self.server.blobs.get(asked[2]) if asked and asked[1] == self.server.secret else None
        if not found:
            return self._give(
                "application/json", json.dumps({"errors": [{"code": "NOT_FOUND"}]}).encode(), 404, body=body
            )
        self._give(*found, body=body)

    def _give(self, media_type: str, content: bytes | Source, code: int = 200, *, body: bool) -> None:
        size = len(content) if isinstance(content, bytes) else content.sealed.size_bytes
        self.send_response(code)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            if body and isinstance(content, bytes):
                self.wfile.write(content)
            elif body and not isinstance(content, bytes):
                with closing(content.pieces(self.server.stop)) as pieces:
                    for piece in pieces:
                        self.wfile.write(piece)
                self.server.sent += size

    def log_message(self, format: str, *args: Any) -> None:
        """Standard error is for progress."""
