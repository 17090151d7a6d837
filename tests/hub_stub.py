"""Hubs over real HTTP: Hugging Face, ModelScope and git with LFS, their storage on another host, and with faults."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
REPOSITORY = "maker/some-model"
LFS_BYTES = 64 << 10  # files from here on lie in LFS


def safetensors(size: int, seed: int) -> bytes:
    """A whole safetensors file with one tensor of about `size` bytes that no two seeds share."""
    import random

    body = random.Random(seed).randbytes(size)  # noqa: S311
    head = json.dumps({f"w{seed}": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(head)) + head + body


def model_files(shard_bytes: int = 300_000, shards: int = 3) -> dict[str, bytes]:
    """A repository as hubs have them: what serving needs, and much that it does not."""
    names = [f"model-{n:05}-of-{shards:05}.safetensors" for n in range(1, shards + 1)]
    files = {name: safetensors(shard_bytes, n) for n, name in enumerate(names)}
    index = {"metadata": {}, "weight_map": {f"w{n}": name for n, name in enumerate(names)}}
    card = b"---\nlicense: apache-2.0\ntags: [x]\n---\n# Some model\n"
    return {
        **files,
        "model.safetensors.index.json": json.dumps(index).encode(),
        "config.json": b'{"architectures": ["Qwen2ForCausalLM"], "hidden_size": 8}',
        "tokenizer.json": b"{}" * 50_000,
        "README.md": card,
        "LICENSE": b"Apache License 2.0, in full\n",
        "chat_template.jinja": b"{{ messages }}",
        "additional_chat_templates/tool.jinja": b"{{ tools }}",
        # not for serving
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "pytorch_model.bin": b"pickle" * 30_000,
        "pytorch_model.bin.index.json": b"{}",
        "consolidated.safetensors": safetensors(200_000, 99),
        "original/consolidated.00.pth": b"pickle" * 20_000,
        "onnx/model.onnx": b"onnx",
        "model.gguf": b"GGUF",
        "figures/benchmark.png": b"png",
        "modeling_some.py": b"import os",
    }


NEEDED = (
    "LICENSE", "README.md", "additional_chat_templates/tool.jinja", "chat_template.jinja", "config.json",
    "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
    "model.safetensors.index.json", "tokenizer.json",
)  # fmt: skip


class Server(ThreadingHTTPServer):
    """Clients that are killed are what these tests are about: no traceback for each."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@dataclass
class Asked:
    """One request: at which of the two hosts, for what, with what."""

    host: str
    path: str
    headers: dict[str, str]


Fault = Callable[["Handler", str, bytes, int], bool]


@dataclass
class StubHub:
    """`fault(handler, path, content, start)` may answer a file's request itself and return True."""

    files: dict[str, bytes] = field(default_factory=model_files)
    repository: str = REPOSITORY
    fault: Fault | None = None
    api_fault: Callable[[Handler], bool] | None = None
    rate_bytes: int | None = None
    git: Path | None = None
    needs: str | None = None
    asked: list[Asked] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> StubHub:
        self.api, self.cdn = (self._serve(name) for name in ("api", "cdn"))
        self.endpoint = f"http://127.0.0.1:{self.api.server_port}"
        self.storage = f"http://127.0.0.1:{self.cdn.server_port}"
        return self

    def _serve(self, name: str) -> ThreadingHTTPServer:
        handler = type("Named", (Handler,), {"hub": self, "host": name})
        server = Server(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def __exit__(self, *_: object) -> None:
        for server in (self.api, self.cdn):
            server.shutdown()
            server.server_close()

    @property
    def total_sent(self) -> int:
        return sum(self.sent.values())

    def secrets_at(self, host: str) -> set[str]:
        return {a.headers["authorization"] for a in self.asked if a.host == host and "authorization" in a.headers}

    def hf_listing(self) -> dict[str, Any]:
        rows = [self._hf_row(path, content) for path, content in self.files.items()]
        return {
            "_id": "1", "id": self.repository, "modelId": self.repository, "sha": COMMIT, "private": False,
            "tags": ["x"], "cardData": {"license": "apache-2.0"}, "downloads": 1, "likes": 1, "siblings": rows,
        }  # fmt: skip

    def _hf_row(self, path: str, content: bytes) -> dict[str, Any]:
        named = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        row: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": named}
        if len(content) >= LFS_BYTES:
            row["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 134}
        return row

    def modelscope_listing(self) -> dict[str, Any]:
        rows = [
            {"Path": p, "Name": p.split("/")[-1], "Type": "blob", "Size": len(c), "Sha256": sha256(c).upper(),
             "IsLFS": len(c) >= LFS_BYTES, "Revision": COMMIT, "Mode": "33188"}
            for p, c in self.files.items()
        ]  # fmt: skip
        rows.append(
            {"Path": "original", "Name": "original", "Type": "tree", "Size": 0, "Sha256": "", "Revision": COMMIT}
        )
        data = {"Files": rows, "IsVisual": 0, "LatestCommitter": {"Id": "", "ShortId": COMMIT[:8]}}
        return {"Code": 200, "Data": data, "Message": "success", "RequestId": "1", "Success": True}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers for both hosts of a hub."""

    protocol_version = "HTTP/1.1"
    hub: StubHub
    host: str

    def log_message(self, format: str, *args: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        # What lies in this buffer counts as sent though nobody read it: small, so that counts mean something.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._route(json.loads(body))

    def do_GET(self) -> None:
        self._route(None)

    do_HEAD = do_GET

    def _route(self, body: Any) -> None:
        headers = {k.lower(): v for k, v in self.headers.items()}
        self.hub.asked.append(Asked(self.host, self.path, headers))
        try:
            self._answer(urlsplit(self.path), body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self, url: Any, body: Any) -> bool:
        hub, path, query = self.hub, unquote(url.path), parse_qs(url.query)
        if self.host == "cdn":
            name = path.removeprefix("/objects/")
            return self.file(next((p for p, c in hub.files.items() if sha256(c) == name), ""))
        if hub.needs and self.headers.get("Authorization") != f"Bearer {hub.needs}":
            return self.plain(401, b"{}")
        if path.startswith("/git/") and hub.git:
            return self._git(hub.git, path.removeprefix("/git/"), body)
        if path.startswith("/api/") and hub.api_fault and hub.api_fault(self):
            return True
        return self._hub(path, query)

    def _hub(self, path: str, query: dict[str, list[str]]) -> bool:
        hub = self.hub
        if path.startswith(f"/api/models/{hub.repository}/revision/") and "blobs" in query:
            return self.json(hub.hf_listing())
        if path == f"/api/v1/models/{hub.repository}/repo/files":
            return self.json(hub.modelscope_listing())
        if path == f"/api/v1/models/{hub.repository}/repo":
            return self._resolve(query["FilePath"][0])
        if path.startswith(f"/{hub.repository}/resolve/"):
            return self._resolve(path.split("/resolve/")[1].split("/", 1)[1])
        if path.startswith(f"/api/resolve-cache/models/{hub.repository}/"):
            return self.file(path.split(f"{COMMIT}/", 1)[1])
        return self.plain(404, b'{"error": "not found"}')

    def _resolve(self, name: str) -> bool:
        """As the hub does it: large files by a signed address elsewhere, small ones by another path of its own."""
        content = self.hub.files.get(name)
        if content is None:
            return self.plain(404, b"Entry not found")
        linked = {"X-Linked-Etag": f'"{sha256(content)}"', "X-Linked-Size": str(len(content)), "X-Repo-Commit": COMMIT}
        if len(content) >= LFS_BYTES:
            target = f"{self.hub.storage}/objects/{sha256(content)}?X-Amz-Signature=signed-secret"
            return self.plain(302, b"", {"Location": target, **linked})
        target = f"/api/resolve-cache/models/{self.hub.repository}/{COMMIT}/{quote(name)}"
        return self.plain(307, b"", {"Location": target, **linked})

    def _git(self, root: Path, name: str, body: Any) -> bool:
        """A bare repository as plain files, which git takes, and the LFS batch API beside it."""
        if name.endswith("/info/lfs/objects/batch"):
            return self.json(lfs_answer(self.hub, body))
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()) or not path.is_file():
            return self.plain(404, b"")
        return self.plain(200, path.read_bytes())

    def file(self, name: str) -> bool:
        """A file's bytes, from the byte that was asked for."""
        content = self.hub.files.get(name)
        if content is None:
            return self.plain(404, b"")
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        if self.hub.fault and self.hub.fault(self, name, content, start):
            return True
        tag = {"ETag": f'"{sha256(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if asked:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.head(206, len(content) - start, {"Content-Range": span, **tag})
        else:
            self.head(200, len(content), tag)
        if self.command != "HEAD":
            self.body(name, content[start:])
        return True

    def body(self, name: str, content: bytes) -> None:
        """The bytes, counted as they leave, at the hub's rate."""
        for at in range(0, len(content), 16 << 10):
            block = content[at : at + (16 << 10)]
            self.wfile.write(block)
            with self.hub.lock:
                self.hub.sent[name] = self.hub.sent.get(name, 0) + len(block)
            if self.hub.rate_bytes:
                time.sleep(len(block) / self.hub.rate_bytes)

    def head(self, status: int, length: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def plain(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> bool:
        self.head(status, len(content), headers)
        if self.command != "HEAD":
            self.wfile.write(content)
        return True

    def json(self, value: Any) -> bool:
        return self.plain(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def lfs_answer(hub: StubHub, body: Any) -> dict[str, Any]:
    """The batch API's answer: an address elsewhere and a header for it."""
    found = {sha256(c) for c in hub.files.values()}
    objects: list[dict[str, Any]] = []
    for row in body["objects"]:
        action = {"href": f"{hub.storage}/objects/{row['oid']}", "header": {"Authorization": "RemoteAuth for-storage"}}
        known = {"actions": {"download": action}}
        missing = {"error": {"code": 404, "message": "Object does not exist"}}
        objects.append({**row, **(known if row["oid"] in found else missing)})
    return {"transfer": "basic", "objects": objects}
