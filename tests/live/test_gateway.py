"""The gateway of the real image, before an engine that answers at once (tests/load/stub.py): who and what gets in."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from client import Got, ask
from docker import DockerClient
from load import ROOT, appliance, broken, docker, measure

from weighbridge.effects.keyring import Keyring
from weighbridge.effects.stopping import FILE, stop_seconds, tell
from weighbridge.effects.tls import self_signed
from weighbridge.errors import HostError

pytestmark = pytest.mark.live
NAME = "weighbridge-live-gate"
ASK = "/v1/completions"


class Gate(NamedTuple):
    """A running gateway: its keys, its address, and a client that holds the owner's key."""

    ring: Keyring
    port: int
    client: httpx.Client

    @property
    def key(self) -> str:
        assert self.ring.own is not None
        return self.ring.own.read_text().strip()

    def code(self, path: str = "/v1/models", **headers: str) -> int:
        return self.client.get(path, headers={"Authorization": "", **headers}).status_code

    def code_of(self, key: str) -> int:
        return self.code(Authorization=f"Bearer {key}")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    home = tmp_path_factory.mktemp("home")
    with appliance(NAME, home) as (ring, port), client_of(ring, f"http://127.0.0.1:{port}") as client:
        yield Gate(ring, port, client)


def client_of(ring: Keyring, url: str, **more: Any) -> httpx.Client:
    assert ring.own is not None
    header = {"Authorization": f"Bearer {ring.own.read_text().strip()}"}
    return httpx.Client(base_url=url, trust_env=False, headers=header, timeout=30, **more)


@contextmanager
def asked_of(name: str, home: Path, *flags: str, host: str = "127.0.0.1") -> Iterator[httpx.Client]:
    """A client of a gateway of its own."""
    with appliance(name, home, *flags) as (ring, port), client_of(ring, f"http://{host}:{port}") as client:
        yield client


def messages(name: str) -> str:
    """What supervisor and nginx said."""
    return subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True).stderr


def invoke(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(Path(sys.executable).with_name("invoke")), *words], cwd=ROOT,
                          capture_output=True, text=True, check=False)  # fmt: skip


def until(wanted: int, gate: Gate, key: str) -> float:
    """Seconds until a key is answered so: two, on a machine that does nothing else."""
    began = time.monotonic()
    while gate.code_of(key) != wanted:
        assert time.monotonic() - began < 15, f"still not {wanted}"
        time.sleep(0.05)
    return time.monotonic() - began


def log_of(name: str) -> list[dict[str, Any]]:
    done = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


# --- keys


def test_only_a_key_opens(gate: Gate) -> None:
    assert gate.code_of(gate.key) == 200
    answer = gate.client.get("/v1/models", headers={"Authorization": ""})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="weighbridge"'
    assert answer.json()["error"]["code"] == "invalid_api_key"
    wrong = (gate.key[:-1], gate.key + "x", gate.key.upper(), "wb-" + "A" * 43, "owner", "x" * 5000)
    assert {gate.code_of(key) for key in wrong} == {401}
    hashed = gate.ring.read()[0].sha256
    assert gate.code_of(hashed) == gate.code_of(f"sha256:{hashed}") == 401, "what is in the file is no key"
    assert gate.code(Authorization=f"Basic {gate.key}") == 401


def test_metrics_have_a_key_of_their_own(gate: Gate) -> None:
    assert gate.ring.own_metrics is not None
    metrics = gate.ring.own_metrics.read_text().strip()
    assert gate.code("/metrics", Authorization=f"Bearer {metrics}") == 200
    assert gate.code("/metrics", Authorization=f"Bearer {gate.key}") == 401
    assert gate.code_of(metrics) == 401
    assert gate.code("/console/metrics", Authorization=f"Bearer {gate.key}") == 200


def test_keys_come_and_go_without_a_restart(gate: Gate) -> None:
    """By a file put in the old one's place, and by writing into the one that is there."""
    key = gate.ring.add("alice", "api").value
    assert until(200, gate, key) < 10
    gate.ring.revoke("alice")
    assert until(401, gate, key) < 10
    text = gate.ring.file.read_text()
    with gate.ring.file.open("r+") as file:
        file.write(text)
        file.write(f"bob api sha256:{'0' * 64}\n")
    with gate.ring.file.open("w") as file:
        file.write(text)
    assert gate.code_of(gate.key) == 200


def test_keys_come_and_go_and_no_connection_with_them(gate: Gate) -> None:
    """One that waits for its next request must not close at the moment when that is sent: the client has no answer."""
    kept = HTTPConnection("127.0.0.1", gate.port, timeout=10)
    try:
        kept.connect()
        mine = kept.sock

        def asked(key: str) -> int:
            kept.request("POST", ASK, b"{}", {"Authorization": f"Bearer {key}"})
            answer = kept.getresponse()
            answer.read()
            assert kept.sock is mine, "the same connection"
            return answer.status

        assert asked(gate.key) == 200
        dave = gate.ring.add("dave", "api").value
        until(200, gate, dave)
        assert asked(dave) == 200
        gate.ring.revoke("dave")
        until(401, gate, dave)
        assert asked(dave) == 401
        assert asked(gate.key) == 200
    finally:
        kept.close()


def test_a_stream_keeps_the_name_it_began_with(gate: Gate) -> None:
    header = {"Authorization": f"Bearer {gate.ring.add('erin', 'api').value}"}
    until(200, gate, header["Authorization"].removeprefix("Bearer "))
    with gate.client.stream("POST", ASK, json={"stream": True, "max_tokens": 200}, headers=header) as running:
        gate.ring.revoke("erin")
        until(401, gate, header["Authorization"].removeprefix("Bearer "))
        assert running.read().rstrip().endswith(b"[DONE]")
        asked = running.headers["x-request-id"]
    wait_for(lambda: asked in {row["id"] for row in log_of(NAME)})
    assert next(row["key"] for row in log_of(NAME) if row["id"] == asked) == "erin"


@pytest.mark.parametrize(
    ("scope", "path"), [("api", "/v1/models"), ("api", "/console/plan.json"), ("metrics", "/metrics")]
)
def test_a_look_that_fails_is_no_wrong_key(scope: str, path: str, gate: Gate) -> None:
    """401 makes a client give up, and 503 makes it come again; neither is a way in."""
    assert gate.ring.own_metrics is not None
    key = gate.ring.own_metrics.read_text().strip() if scope == "metrics" else gate.key
    folder = f"/run/weighbridge/{scope}"
    docker("exec", NAME, "chmod", "000", folder)
    try:
        for sent in (key, key + "x") * 10:
            answer = gate.client.get(path, headers={"Authorization": f"Bearer {sent}"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["error"] == {
                "message": "keys cannot be looked up now", "type": "server_error", "param": None,
                "code": "keys_unavailable",
            }  # fmt: skip
        assert gate.code(path) == 401, "who sent none needs no look"
    finally:
        docker("exec", NAME, "chmod", "700", folder)
    assert gate.code(path, Authorization=f"Bearer {key}") == 200
    assert gate.code(path, Authorization=f"Bearer {key}x") == 401
    assert 1 <= messages(NAME).count("js: keys: ") < 20, "not a line a request"
    assert key not in messages(NAME)


def test_a_key_file_that_is_wrong_changes_nothing_and_is_not_repeated(gate: Gate) -> None:
    text = gate.ring.file.read_text()
    gate.ring.file.write_text(text + "carol api wb-this-is-a-plain-key\n")
    time.sleep(2.5)
    assert gate.code_of(gate.key) == 200
    log = messages(NAME)
    assert "check keys failed: line 4" in log
    assert "plain-key" not in log
    gate.ring.file.write_text(text)


# --- paths


@pytest.mark.parametrize(
    "path",
    ["/tokenize", "/v1/models/", "/v1/models/x", "/docs", "/openapi.json", "/v1", "//v1//nothing", "/plan.json",
     "/console/../supervise.py", "/console/..%2fplan.json", "/console/%2e%2e/entrypoint.sh", "/_/unreadable",
     "/_/metrics", "/version", "/sleep",
     "/v1/load_lora_adapter", "/pause", "/V1/models", "/v1/chat/completions/render"],
)  # fmt: skip
def test_what_is_not_on_the_list_does_not_reach_the_engine(path: str, gate: Gate) -> None:
    for method in ("GET", "POST"):
        answer = raw(gate, f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gate.key}\r\n"
                           "Content-Length: 0\r\nConnection: close\r\n\r\n")  # fmt: skip
        assert answer.startswith("HTTP/1.1 404 "), answer[:200]
        assert '"code":"not_found"' in answer
        assert "reached" not in answer


def test_a_method_that_is_not_listed_is_refused(gate: Gate) -> None:
    answer = gate.client.delete("/v1/models")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert gate.client.get(ASK).status_code == 405


def test_the_engine_sees_neither_key_nor_query_nor_a_header_that_steers_it(gate: Gate) -> None:
    more = {"Cookie": "a=b", "X-data-parallel-rank": "3", "Origin": "https://evil.example", "X-Request-Id": "mine"}
    answer = gate.client.post(f"{ASK}?api_key=secret", json={"prompt": "x"}, headers=more)
    found = answer.json()
    assert found["reached"] == f"POST {ASK} HTTP/1.1"
    assert found["headers"].keys() <= {"host", "content-type", "content-length", "accept", "x-request-id"}
    assert found["headers"]["x-request-id"] == answer.headers["x-request-id"] != "mine"
    assert "access-control-allow-origin" not in answer.headers, "no page of another origin reads it"
    assert gate.client.options(ASK, headers={"Origin": "https://evil.example"}).status_code == 405


def test_the_console_is_there_and_its_data_need_a_key(gate: Gate) -> None:
    page = gate.client.get("/", headers={"Authorization": ""})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert gate.code("/console/plan.json") == gate.code("/console/metrics") == 401
    assert gate.client.get("/console/plan.json").json()["model"] == "weighbridge-demo"


FIGURES = """vllm:num_requests_running{} 3.0
vllm:num_requests_waiting{} 1.0
vllm:kv_cache_usage_perc{} 0.25
vllm:generation_tokens_total{} 12345.0
vllm:cache_config_info{block_size="16",num_gpu_blocks="4096"} 1.0
"""


def test_the_console_has_its_figures_and_not_the_metrics(gate: Gate) -> None:
    answer = gate.client.get("/console/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.text == FIGURES
    assert answer.headers["cache-control"] == "no-store"
    head = gate.client.head("/console/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert gate.client.post("/console/metrics").status_code == 405
    assert gate.client.request("GET", "/console/metrics", content=b"x" * 5000).status_code == 413
    assert gate.client.request("GET", "/console/metrics", content=b"x" * 500).text == FIGURES


@pytest.mark.parametrize("console", ["key", "open"])
def test_the_consoles_figures_have_a_limit(console: str, tmp_path: Path) -> None:
    """Of the key, or of all together where nobody needs one; and those take nothing from a key."""
    with asked_of(f"{NAME}-figures", tmp_path, "--key-rate", "5", "--console", console) as client:
        header = {} if console == "key" else {"Authorization": ""}
        codes = [client.get("/console/metrics", headers=header).status_code for _ in range(40)]
        assert set(codes) == {200, 429}
        after = [client.get("/v1/models").status_code for _ in range(20)]
        assert 429 in after if console == "key" else after[0] == 200


def test_health_is_asked_with_head_too(gate: Gate) -> None:
    """The engine declares GET alone, and so do most; whoever balances loads asks HEAD."""
    got, head = (gate.client.request(m, "/health", headers={"Authorization": ""}) for m in ("GET", "HEAD"))
    assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert gate.client.post("/health").headers["allow"] == "GET, HEAD"


def kept_kib(name: str) -> int:
    """What the bodies that are being received take; nginx gives their files no names."""
    return int(docker("exec", name, "df", "--output=used", "--block-size=1K", "/run/bodies").split()[-1])


def slow(gate: Gate, asked: str, *headers: str) -> socket.socket:
    """A connection on which 2 of 30 MB have come, and the rest does not."""
    connection = socket.create_connection(("127.0.0.1", gate.port), 5)
    head = "\r\n".join((f"{asked} HTTP/1.1", "Host: x", "Content-Length: 30000000", *headers))
    with suppress(OSError):  # it may be refused on the way
        connection.sendall(f"{head}\r\n\r\n".encode() + b"x" * 2**21)
    return connection


def test_nobody_without_a_key_has_a_body_kept(gate: Gate) -> None:
    """Bodies wait in memory until they are whole, those of a key alone."""
    wait_for(lambda: kept_kib(NAME) == 0)
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"):
        with slow(gate, f"POST {path}", f"Authorization: Bearer {gate.key}"):
            wait_for(lambda: kept_kib(NAME) > 1024)
        wait_for(lambda: kept_kib(NAME) == 0)
        for header in ("Accept: */*", "Authorization: Bearer wb-none"):
            with slow(gate, f"POST {path}", header):
                time.sleep(0.3)
                assert kept_kib(NAME) == 0, path
    for path in ("/health", "/", "/console/console.js", "/console/metrics", "/metrics", "/v1/models", "/none"):
        for method in ("GET", "POST"):
            with slow(gate, f"{method} {path}"):
                time.sleep(0.3)
                assert kept_kib(NAME) == 0, path


def test_an_interrupted_stop_leaves_no_number_of_its_own(gate: Gate) -> None:
    client = DockerClient.from_env()
    try:
        container = client.containers.get(NAME)
        for seconds in (300, stop_seconds(container)):
            tell(container, seconds)
            assert docker("exec", NAME, "cat", FILE).strip() == str(seconds)
        docker("exec", NAME, "rm", FILE)
        tell(container, stop_seconds(container))
        with pytest.raises(HostError, match="cannot be told to end within 300 s"):
            tell(container, 300)
    finally:
        client.close()


def test_a_thousand_requests_at_once_are_a_benchmark_and_no_flood(gate: Gate) -> None:
    async def together() -> list[Got]:
        return await asyncio.gather(*[ask(("127.0.0.1", gate.port), gate.key, 5) for _ in range(1000)])

    assert [got for got in asyncio.run(together()) if got.status != 200 or not got.whole] == []


def test_the_log_has_names_and_neither_keys_nor_queries(gate: Gate) -> None:
    asked = gate.client.post(f"{ASK}?canary={gate.key}", json={"prompt": "a canary in the body"})
    other = gate.client.get(f"/console/none?canary={gate.key}")
    wait_for(lambda: other.headers["x-request-id"] in {row["id"] for row in log_of(NAME)})
    rows = {row["id"]: row for row in log_of(NAME)}
    assert {"key": "owner", "path": ASK, "status": 200}.items() <= rows[asked.headers["x-request-id"]].items()
    assert {"key": "owner", "status": 404}.items() <= rows[other.headers["x-request-id"]].items()
    assert gate.ring.own_metrics is not None
    metrics = {"Authorization": f"Bearer {gate.ring.own_metrics.read_text().strip()}"}
    named = {gate.client.get(path, headers=metrics).headers["x-request-id"]: path for path in ("/metrics", "/none")}
    wait_for(lambda: named.keys() <= {row["id"] for row in log_of(NAME)})
    seen = {row["path"]: row["key"] for row in log_of(NAME) if row["id"] in named}
    assert seen == {"/metrics": "metrics", "/none": ""}, "a key for metrics is looked for where one is asked for"
    done = subprocess.run(["docker", "logs", NAME], capture_output=True, text=True, check=True)
    assert "canary" not in done.stdout + done.stderr
    assert gate.key not in done.stdout + done.stderr


# --- hostile clients


def raw(gate: Gate, text: str | bytes, seconds: float = 10) -> str:
    """What comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", gate.port), seconds) as connection:
        connection.sendall(text.encode() if isinstance(text, str) else text)
        found = b""
        try:
            while b"\r\n\r\n" not in found or (b"Connection: close" in found and len(found) < 1 << 16):
                part = connection.recv(65536)
                if not part:
                    break
                found += part
        except (TimeoutError, ConnectionResetError):
            pass
    return found.decode(errors="replace")


POST = f"POST {ASK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n"
HOSTILE = {
    "binary": "\x00\x01\x02\r\n\r\n",
    "no host": "GET /v1/models HTTP/1.1\r\n\r\n",
    "two hosts": "GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "HTTP/3": "GET / HTTP/3.0\r\nHost: x\r\n\r\n",
    "HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "length and chunks": POST
    + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /tokenize HTTP/1.1\r\n",
    "two lengths": POST + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "negative length": POST + "Content-Length: -1\r\n\r\n",
    "length with a plus": POST + "Content-Length: +5\r\n\r\nhello",
    "huge length": POST + "Content-Length: 99999999999999999999\r\n\r\n",
    "unknown coding": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding twice": POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "coding, odd space": POST + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "header, odd space": POST + "Content-Length : 5\r\n\r\nhello",
    "bad chunk": POST + "Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "huge chunk": POST + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "null in path": "GET /v1/models%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "long path": "GET /" + "a" * 100_000 + " HTTP/1.1\r\nHost: x\r\n\r\n",
    "long header": "GET / HTTP/1.1\r\nHost: x\r\nX: " + "a" * 100_000 + "\r\n\r\n",
    "many headers": "GET / HTTP/1.1\r\nHost: x\r\n" + "".join(f"X{i}: a\r\n" for i in range(20_000)) + "\r\n",
    "two keys": "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer KEY\r\n\r\n",
    "range": "GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=99999999-\r\nConnection: close\r\n\r\n",
    "connect": "CONNECT /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    "trace": "TRACE /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    "folded header": POST + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": "GET /v1/models\r\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_read_is_refused_and_reaches_nothing(name: str, gate: Gate) -> None:
    found = raw(gate, HOSTILE[name].replace("KEY", gate.key), 3)
    status = found.split(" ")[1] if found.startswith("HTTP/") else "400"
    assert status.startswith("4") or name in ("header, odd space", "folded header"), found[:300]
    assert not status.startswith("5")
    assert "tokenize" not in found
    assert gate.code_of(gate.key) == 200


def test_a_request_hidden_behind_another_is_a_request_of_its_own(gate: Gate) -> None:
    """Pipelined: the second is looked at like any other, and has no key."""
    hidden = "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    body = '{"prompt":"x"}'
    found = raw(gate, POST.replace("KEY", gate.key) + f"Content-Length: {len(body)}\r\n\r\n{body}{hidden}")
    assert found.count("HTTP/1.1 ") <= 2
    assert '"reached": "GET' not in found


def test_a_body_that_is_too_long_is_refused_before_it_is_read(gate: Gate) -> None:
    began = time.monotonic()
    answer = gate.client.post(ASK, content=b"x" * 100_000_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    chunks = (b"x" * 1_000_000 for _ in range(100))
    with suppress(httpx.TransportError):  # it may close on whoever goes on sending
        assert gate.client.post(ASK, content=chunks).status_code == 413
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[1]", b"null", b'{"a":' * 5000])
def test_what_is_no_json_is_the_engines_to_refuse(body: bytes, gate: Gate) -> None:
    assert gate.client.post(ASK, content=body).status_code == 400


def test_clients_that_say_nothing_or_little_keep_nobody_waiting(gate: Gate) -> None:
    idle = [socket.create_connection(("127.0.0.1", gate.port)) for _ in range(500)]
    try:
        for i, connection in enumerate(idle):
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" if i % 2 else b"P")
        began = time.monotonic()
        assert gate.code_of(gate.key) == 200
        assert time.monotonic() - began < 2
        slow = raw(gate, POST.replace("KEY", gate.key) + "Content-Length: 10\r\n\r\nabc", 40)
        assert slow.startswith("HTTP/1.1 4") or slow == "", "a body that stays away is not waited for for ever"
        idle[1].settimeout(5)
        assert idle[1].recv(100) == b"", "half a request is not waited for for ever either"
    finally:
        for connection in idle:
            connection.close()
    assert gate.code_of(gate.key) == 200


def test_the_gateway_itself_never_failed(gate: Gate) -> None:
    """Of all that came before: no answer of its own is a 5xx, but before the first token, or where it has no keys."""
    rows = [row for row in log_of(NAME) if row["key"] != "!"]
    assert len(rows) > 100
    own = [r for r in rows if r["status"] >= 500 and not r["engine_status"] and r["path"] != "/health"]
    assert own == []
    assert docker("inspect", "--format", "{{.RestartCount}} {{.State.Running}}", NAME).split() == ["0", "true"]


# --- what it may do


def test_under_any_uid_without_rights_and_without_a_trace(tmp_path: Path) -> None:
    name = f"{NAME}-uid"
    with appliance(name, tmp_path, uid="1000700000:0") as (_, _port):
        status = docker("exec", name, "cat", "/proc/1/status")
        assert "Uid:\t1000700000\t1000700000" in status
        assert [line.split()[1] for line in status.splitlines() if line.startswith("Cap")] == ["0" * 16] * 5
        assert "NoNewPrivs:\t1" in status
        assert docker("diff", name) == ""
        write = subprocess.run(
            ["docker", "exec", name, "touch", "/opt/weighbridge/x"], capture_output=True, check=False
        )
        assert write.returncode != 0
        assert docker("exec", name, "python3", "/opt/weighbridge/supervise.py", "health") == ""


def test_one_key_cannot_take_everything(tmp_path: Path) -> None:
    name = f"{NAME}-limits"
    with asked_of(name, tmp_path, "--key-streams", "2", "--key-rate", "50") as client:
        body = {"stream": True, "max_tokens": 100}
        with client.stream("POST", ASK, json=body) as a, client.stream("POST", ASK, json=body) as b:
            third = client.post(ASK, json=body)
            assert (a.status_code, b.status_code, third.status_code) == (200, 200, 429)
            assert third.headers["retry-after"] == "1"
            assert third.json()["error"]["type"] == "rate_limit_error"
            a.read()
            b.read()
        codes = [client.get("/v1/models").status_code for _ in range(400)]
        assert set(codes) <= {200, 429}


def test_pages_of_the_origins_that_were_named_may_ask(tmp_path: Path) -> None:
    name, origins = f"{NAME}-cors", ["https://chat.example.org", "http://localhost:3000"]
    with asked_of(name, tmp_path, "--cors", ",".join(origins), "--console", "off") as client:
        for origin in origins:
            before = client.options(ASK, headers={"Origin": origin, "Authorization": ""})
            assert before.status_code == 204
            assert before.headers["access-control-allow-origin"] == origin
            allowed = before.headers["access-control-allow-headers"].split(", ")
            assert set(allowed) == {"Authorization", "*"}, "clients of pages send headers of their own"
            answer = client.get("/v1/models", headers={"Origin": origin})
            assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (origin, "Origin")
        refused = client.post(ASK, json={}, headers={"Origin": origins[0], "Authorization": ""})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, origins[0])
        for other in (f"{origins[0]}.evil", "http://chat.example.org", f"{origins[0]}:8443", "null", "*",
                      f"{origins[0]} {origins[1]}", "https://evil.example"):  # fmt: skip
            answer = client.post(ASK, json={}, headers={"Origin": other})
            assert [h for h in answer.headers if h.startswith("access-control")] == [], other
            assert answer.headers["vary"] == "Origin", "a cache must not give one origin's answer to another"
            before = client.options(ASK, headers={"Origin": other, "Authorization": ""})
            assert before.status_code == 405
            assert "access-control-allow-origin" not in before.headers
        assert client.get("/v1/models").headers["vary"] == "Origin"
        assert client.get("/").status_code == client.get("/console/plan.json").status_code == 404


# --- addresses


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
@pytest.mark.parametrize(("listen", "asked"), [("::1", "[::1]"), ("[::]", "[::1]")])
def test_it_is_published_on_ipv6(listen: str, asked: str, tmp_path: Path) -> None:
    name = f"{NAME}-six"
    with asked_of(name, tmp_path, "--listen", listen, host=asked) as client:
        assert client.get("/v1/models").status_code == 200
        (row,) = [r for r in json.loads(invoke("status", "--json").stdout) if r["name"] == name]
        assert row["url"] == str(client.base_url).rstrip("/")


def test_an_address_of_another_machine_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for flags in ((), ("--dry-run",)):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("invoke")), "run", "--listen", "192.0.2.7", "--name", f"{NAME}-far",
             *flags],
            cwd=ROOT, env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "error: this machine has no address 192.0.2.7 to listen on" in done.stderr
        assert list(tmp_path.iterdir()) == []


# --- TLS


def certificate(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port))


def put(name: str, source: Path, folder: Path) -> None:
    """As a renewal does: written aside, then renamed."""
    aside = folder / f".{name}"
    aside.write_bytes((source / name).read_bytes())
    aside.chmod(0o640)
    aside.replace(folder / name)


def test_a_pair_that_is_none_hinders_no_revocation_and_is_mended(tmp_path: Path) -> None:
    """nginx takes all its files or none: over such a pair it went on with keys that were revoked."""
    name, trust = f"{NAME}-pair", ssl._create_unverified_context()  # noqa: S323
    folder = tmp_path / "weighbridge" / name / "tls"
    cert, key, _ = self_signed(folder, "127.0.0.1")
    self_signed(tmp_path / "new", "127.0.0.1")
    with (
        appliance(name, tmp_path, "--tls-cert", cert, "--tls-key", key, restart="no") as (ring, port),
        client_of(ring, f"https://127.0.0.1:{port}", verify=trust) as client,
    ):
        gate, first = Gate(ring, port, client), certificate(port)
        alice = ring.add("alice", "api").value
        until(200, gate, alice)
        put("cert.pem", tmp_path / "new", folder)
        wait_for(lambda: "the certificate and its key stay as they were" in messages(name))
        assert "are no pair to serve from: KEY_VALUES_MISMATCH" in messages(name)
        ring.revoke("alice")
        assert until(401, gate, alice) < 10
        assert gate.code_of(gate.key) == 200
        assert certificate(port) == first
        Path(key).unlink()
        time.sleep(1.5)
        assert gate.code_of(gate.key) == 200
        put("key.pem", tmp_path / "new", folder)
        wait_for(lambda: certificate(port) != first)
        assert certificate(port).strip() == (tmp_path / "new" / "cert.pem").read_text().strip()
        put("cert.pem", tmp_path / "new", folder)
        (folder / "cert.pem").write_text("nonsense")
        docker("stop", name)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"
        assert "[emerg]" not in messages(name)


def wait_for(seen: Callable[[], bool], seconds: float = 6) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_tls_is_modern_and_a_renewed_certificate_is_taken_over(tmp_path: Path) -> None:
    name = f"{NAME}-tls"
    folder = tmp_path / "weighbridge" / name / "tls"
    cert, key, _ = self_signed(folder, "127.0.0.1")
    with appliance(name, tmp_path, "--tls-cert", cert, "--tls-key", key) as (ring, port):
        trust = ssl.create_default_context(cafile=cert)
        with client_of(ring, f"https://127.0.0.1:{port}", verify=trust) as client:
            assert client.get("/v1/models").status_code == 200
        plain = httpx.get(f"http://127.0.0.1:{port}/v1/models", trust_env=False)
        assert (plain.status_code, plain.json()["error"]["code"]) == (400, "bad_request")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with warnings.catch_warnings(action="ignore"):  # old on purpose
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", port)) as connection:
            old.wrap_socket(connection)
        first = ssl.get_server_certificate(("127.0.0.1", port))
        for path in (cert, key):
            Path(path).unlink()
        self_signed(folder, "127.0.0.1")
        deadline = time.monotonic() + 6
        while ssl.get_server_certificate(("127.0.0.1", port)) == first:
            assert time.monotonic() < deadline
            time.sleep(0.2)


# --- beginning and end


def exit_code(name: str) -> int:
    return int(docker("wait", name))


@pytest.mark.parametrize(("pattern", "code"), [("stub.py", 137), ("nginx: master", 137)])
def test_either_death_ends_the_container(pattern: str, code: int, tmp_path: Path) -> None:
    name = f"{NAME}-death"
    with appliance(name, tmp_path, restart="no"):
        docker("exec", name, "python3", "-c", KILL, pattern)
        assert exit_code(name) == code


def test_who_is_asking_when_the_engine_dies_is_answered(tmp_path: Path) -> None:
    """A connection that closes without a word does not say whether it was heard; 503 says when to ask again."""
    name, body = f"{NAME}-asking", b'{"prompt": "x"}'
    with appliance(name, tmp_path, restart="no") as (ring, port), socket.create_connection(("127.0.0.1", port)) as late:
        assert ring.own is not None
        head = POST.replace("KEY", ring.own.read_text().strip()) + f"Content-Length: {len(body)}\r\n\r\n"
        late.sendall(head.encode() + body[:5])
        time.sleep(0.3)
        docker("exec", name, "python3", "-c", KILL, "stub.py")
        wait_for(lambda: "the engine ended with 137" in messages(name))
        time.sleep(0.5)
        late.sendall(body[5:])
        late.settimeout(10)
        found = b"".join(iter(lambda: late.recv(65536), b"")).decode()
        assert found.startswith("HTTP/1.1 503 "), found
        assert "engine_unavailable" in found
        assert exit_code(name) == 137


def test_a_stop_while_the_last_answers_are_given_does_not_wait_for_them(tmp_path: Path) -> None:
    """The engine died and somebody is still sending; whoever says stop then has a container that was stopped."""
    name = f"{NAME}-hurry"
    with appliance(name, tmp_path, restart="no") as (ring, port), socket.create_connection(("127.0.0.1", port)) as late:
        assert ring.own is not None
        late.sendall((POST.replace("KEY", ring.own.read_text().strip()) + "Content-Length: 9\r\n\r\n12345").encode())
        time.sleep(0.3)
        docker("exec", name, "python3", "-c", KILL, "stub.py")
        wait_for(lambda: "the engine ended with 137" in messages(name))
        docker("kill", "--signal", "TERM", name)
        assert exit_code(name) == 0


KILL = """
import os, pathlib, sys
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if int(path.parent.name) not in (1, os.getpid()) and sys.argv[1].encode() in path.read_bytes():
        os.kill(int(path.parent.name), 9)
"""


def test_a_plain_key_in_the_file_is_refused_at_the_start(tmp_path: Path) -> None:
    name = f"{NAME}-plain"
    with pytest.raises(SystemExit) as caught, appliance(name, tmp_path, text="alice api wb-plain\n", restart="no"):
        pass
    assert "check keys failed: line 1 of /etc/weighbridge/keys/keys is not: name scope sha256:HASH" in str(caught.value)
    assert "wb-plain" not in str(caught.value)


def test_no_stream_is_lost_under_load_when_a_key_goes_and_when_it_stops() -> None:
    report = measure(f"{NAME}-load", 12)
    assert {p for p in broken(report) if "ms" not in p} == set(), report
    assert report["seen"]["owner: whole"] > 100


def test_while_it_drains_new_requests_are_told_to_come_back(tmp_path: Path) -> None:
    name = f"{NAME}-drain"
    with appliance(name, tmp_path, restart="no") as (ring, port), client_of(ring, f"http://127.0.0.1:{port}") as client:
        with client.stream("POST", ASK, json={"stream": True, "max_tokens": 200}) as running:
            stop = subprocess.Popen(["docker", "stop", "--time", "30", name], stdout=subprocess.DEVNULL)
            time.sleep(1.5)
            late = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
            assert (late.status_code, late.headers["retry-after"]) == (503, "5")
            assert late.json()["error"]["code"] == "engine_unavailable"
            assert running.read().rstrip().endswith(b"[DONE]")
        assert stop.wait(20) == 0
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"


def upload(gate: Gate, mib: int) -> socket.socket:
    """A body of 32 MiB of which so many have come, and the rest does not."""
    connection = socket.create_connection(("127.0.0.1", gate.port), 30)
    connection.sendall(POST.replace("KEY", gate.key).encode() + b"Content-Length: 33554432\r\n\r\n")
    with suppress(OSError):  # it may be refused on the way
        connection.sendall(b"x" * (mib * 2**20))
    return connection


def drained(name: str, port: int, *, then: Callable[[], object]) -> None:
    """Stop it, see that it drains, do `then`, and see it end well."""
    url = f"http://127.0.0.1:{port}/health"
    with subprocess.Popen(["docker", "stop", name], stdout=subprocess.DEVNULL) as stop:
        wait_for(lambda: httpx.get(url, trust_env=False).status_code == 503)
        then()
        assert stop.wait(20) == 0
    assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"


def test_uploads_cannot_take_the_room_of_keys_and_draining(tmp_path: Path) -> None:
    name, long = f"{NAME}-full", b"x" * 2**21
    with (
        appliance(name, tmp_path, restart="no", bodies="size=32m") as (ring, port),
        client_of(ring, f"http://127.0.0.1:{port}") as client,
    ):
        gate, alice = Gate(ring, port, client), ring.add("alice", "api").value
        until(200, gate, alice)
        with upload(gate, 31):
            wait_for(lambda: kept_kib(name) > 30 * 1024)
            wait_for(lambda: client.post(ASK, content=long).status_code == 503)
            refused = client.post(ASK, content=long)
            assert (refused.headers["retry-after"], refused.json()["error"]["code"]) == ("5", "gateway_full")
            assert client.post(ASK, json={"prompt": "x" * 1000}).status_code == 200
            assert client.get("/health").status_code == 200
            ring.revoke("alice")
            assert until(401, gate, alice) < 10
        wait_for(lambda: client.post(ASK, json={"prompt": "x" * 2**21}).status_code == 200)
        held = upload(gate, 31)
        wait_for(lambda: kept_kib(name) > 30 * 1024)
        wait_for(lambda: client.post(ASK, content=long).status_code == 503)
        drained(name, port, then=held.close)


def test_a_full_disk_of_its_own_ends_no_supervision(tmp_path: Path) -> None:
    """Whatever filled it: a revocation needs no room, a new key is taken over once there is some, and it drains."""
    name, whole = f"{NAME}-room", list[bool]()
    with (
        appliance(name, tmp_path, restart="no") as (ring, port),
        client_of(ring, f"http://127.0.0.1:{port}") as client,
    ):
        gate, alice = Gate(ring, port, client), ring.add("alice", "api").value
        until(200, gate, alice)
        fill = "cat /dev/zero >/run/weighbridge/filler; :"
        docker("exec", name, "sh", "-c", fill)
        ring.revoke("alice")
        assert until(401, gate, alice) < 10
        docker("exec", name, "sh", "-c", fill)  # what was hers has made some room
        bob = ring.add("bob", "api").value
        wait_for(lambda: "cannot be taken over yet" in messages(name))
        time.sleep(2)
        assert messages(name).count("cannot be taken over yet") == 1
        assert (gate.code_of(gate.key), gate.code_of(bob), gate.code_of(alice)) == (200, 401, 401)
        docker("exec", name, "rm", "/run/weighbridge/filler")
        assert until(200, gate, bob) < 10
        docker("exec", name, "sh", "-c", fill)
        with client.stream("POST", ASK, json={"stream": True, "max_tokens": 200}) as running:
            drained(name, port, then=lambda: whole.append(running.read().rstrip().endswith(b"[DONE]")))
        assert whole == [True]


@pytest.mark.parametrize(("started", "told", "tokens", "whole"), [("6", "60", 900, True), ("30", "6", 1500, False)])
def test_a_stop_takes_the_time_it_is_told(started: str, told: str, tokens: int, whole: bool, tmp_path: Path) -> None:
    """Longer or shorter than it was started with: for its own drain as for Docker."""
    name = f"{NAME}-told"
    with (
        appliance(name, tmp_path, "--stop-seconds", started, restart="no") as (ring, port),
        client_of(ring, f"http://127.0.0.1:{port}") as client,
        client.stream("POST", ASK, json={"stream": True, "max_tokens": tokens}) as running,
    ):
        began = time.monotonic()
        words = [str(Path(sys.executable).with_name("invoke")), "stop", "--name", name, "--seconds", told]
        with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as stop:
            found = b""
            with suppress(httpx.RemoteProtocolError):
                for part in running.iter_raw():
                    found += part
            assert found.rstrip().endswith(b"[DONE]") == whole
            _, said = stop.communicate(timeout=60)
        assert stop.returncode == 0, said
        assert f"within {told} s in all" in said
        assert (time.monotonic() - began > int(started)) == whole
