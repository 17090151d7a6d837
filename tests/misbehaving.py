"""A small server with the engine's API, keys and metrics: it does all rightly, and one thing wrongly on request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY, METRICS_KEY, CONTEXT, SLOTS, MIB = "wb-right", "wb-metrics", 512, 4, 1024**2
SAID = {
    "What is the capital of France?": "Paris.",
    "法国的首都是哪里？": "巴黎。",
    "The capital of France is": " Paris.",
}
CLOSED = {"/v1/chat/completions", "/v1/completions", "/v1/models", "/metrics", "/health"}


class Behaviour:
    """What the server does; a test changes one thing and sees which check notices."""

    def __init__(self) -> None:
        self.health, self.model, self.context = 200, "demo", CONTEXT
        self.slots = threading.BoundedSemaphore(SLOTS)
        self.lock = threading.Lock()
        self.running, self.hits, self.counter = 0, 0, 0
        self.seen: set[tuple[int, str]] = set()
        self.replicas, self.turn = 1, 0  # asked in turn, each with a cache of its own
        self.pause_seconds = 0.002
        self.dead = False
        self.buffered_bytes = 0  # held back before they travel; -1: all of them
        self.frees_slots, self.shows_running, self.caches = True, True, True
        self.said = dict(SAID)
        self.changes_its_mind = False
        self.escapes_are_other_tokens = False
        self.json_text = '{"city": "Paris", "capital": true}'
        self.finish = "stop"
        self.thinks_instead = False
        self.one_id, self.ends, self.goes_on = True, 1, False
        self.open_paths: set[str] = set()
        self.statuses: dict[int, int] = {}  # a status that is answered as another one
        self.error: Any = {"message": "no", "type": "invalid_request_error"}
        self.code: str | None = "invalid_api_key"
        self.length_slack = 0
        self.counted = 1

    def text(self, body: dict[str, Any]) -> str:
        if "response_format" in body:
            return "" if self.thinks_instead else self.json_text
        self.counter += 1
        ask = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        again = f" {self.counter}" if self.changes_its_mind else ""
        return self.said.get(ask, "Hello.") + again


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, status: int, found: Any) -> None:
        content = found if isinstance(found, bytes) else json.dumps(found, ensure_ascii=False).encode()
        self.send_response(self.behaviour.statuses.get(status, status))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def refuse(self, status: int, code: str | None = None) -> None:
        error = self.behaviour.error
        self.reply(status, {"error": {**error, "code": code}} if isinstance(error, dict) else error)

    def allowed(self) -> bool:
        wanted = METRICS_KEY if self.path == "/metrics" else KEY
        return self.headers.get("Authorization") == f"Bearer {wanted}"

    def do_GET(self) -> None:
        it = self.behaviour
        if self.path == "/health":
            self.reply(it.health, b"")
        elif self.path not in CLOSED | it.open_paths:
            self.refuse(404)
        elif not self.allowed():
            self.refuse(401, it.code)
        elif self.path == "/metrics":
            shown = it.running if it.shows_running else 0
            text = f'# HELP x\nrunning{{engine="0"}} {shown}\nhits_total{{engine="0"}} {it.hits}\n'
            self.reply(200, text.encode())
        else:
            self.reply(200, {"data": [{"id": it.model, "max_model_len": it.context}]})

    def do_POST(self) -> None:
        it, content = self.behaviour, self.rfile.read(int(self.headers["Content-Length"]))
        if self.path not in CLOSED | it.open_paths:
            return self.refuse(404)
        if not self.allowed():
            return self.refuse(401, it.code)
        if len(content) > MIB:
            return self.refuse(413)
        try:
            body = json.loads(content)
        except ValueError:
            return self.refuse(400)
        if body["model"] != it.model:
            return self.refuse(404)
        if not isinstance(body.get("messages", []), list):
            return self.refuse(400)
        self.answer(body, escaped=b"\\u" in content)
        return None

    def answer(self, body: dict[str, Any], *, escaped: bool) -> None:
        it = self.behaviour
        ask = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        used = it.counted * (3 + len(ask.split())) + (1 if escaped and it.escapes_are_other_tokens else 0)
        if used + body["max_tokens"] > it.context + it.length_slack:
            return self.refuse(400)
        if it.dead:
            time.sleep(1)
        it.turn = (it.turn + 1) % it.replicas
        if it.caches and (it.turn, ask) in it.seen:
            it.hits += used
        it.seen.add((it.turn, ask))
        if body.get("stream"):
            return self.stream(body, used)
        text = it.text(body)
        message = {"role": "assistant", "content": text}
        if it.thinks_instead:
            message["reasoning"] = "hm"
        usage = {"prompt_tokens": used, "completion_tokens": 3, "total_tokens": used + 3}
        choice = {"text": text} if "prompt" in body else {"message": message}
        self.reply(200, {"choices": [{**choice, "finish_reason": it.finish}], "usage": usage})
        return None

    def stream(self, body: dict[str, Any], used: int) -> None:
        it = self.behaviour
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with it.slots:
            it.running += 1
            try:
                self.send(self.events(body, used))
            finally:
                with it.lock:
                    it.running -= 1

    def events(self, body: dict[str, Any], used: int) -> Iterator[str]:
        it, count = self.behaviour, body["max_tokens"]
        pieces = ["x "] * count if body.get("ignore_eos") else list(it.text(body))
        for number, piece in enumerate(pieces):
            if body.get("ignore_eos"):
                time.sleep(it.pause_seconds)
            name = "one" if it.one_id else f"c{number}"
            yield json.dumps({"id": name, "choices": [{"delta": {"content": piece}}]})
        for _ in range(it.ends):
            yield json.dumps({"id": "one", "choices": [{"delta": {}, "finish_reason": "stop"}]})
        if it.goes_on:
            yield json.dumps({"id": "one", "choices": [{"delta": {"content": pieces[0]}}]})
        yield json.dumps({"id": "one", "choices": [], "usage": {"prompt_tokens": used, "completion_tokens": count}})
        yield "[DONE]"

    def send(self, events: Iterator[str]) -> None:
        it, held = self.behaviour, b""
        gone = False
        for event in events:
            held += f"data: {event}\n\n".encode()
            if it.buffered_bytes < 0 or len(held) < it.buffered_bytes or gone:
                continue
            try:
                self.wfile.write(held)
            except OSError:  # the client hung up
                if it.frees_slots:
                    return
                gone = True
            held = b""
        if not gone:
            self.wfile.write(held)


@contextmanager
def serving() -> Iterator[tuple[str, Behaviour]]:
    """The address of a server of its own, and what it does."""
    behaviour = Behaviour()
    handler = type("Own", (Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", behaviour
        server.shutdown()
