"""Process 2 of the container: checks, starts engine and gateway, watches keys and certificates, drains on SIGTERM.

Standard library only: it runs under whatever python3 an engine's image has. No key passes here: the file holds hashes.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from checks import WRONG, Wrong
from gateway import HOME, RUN, Gateway, Settings, say

FAILED = 70  # the engine answers its health path and not a question
_LOOK_SECONDS = 1.0
_ENGINE_SECONDS = 5  # of the stop time, what the engine itself has to end in
_LAST_ANSWERS_SECONDS = 3  # for those who asked an engine that died: 503, and a restart after it


class _Socket(http.client.HTTPConnection):
    """HTTP to the engine, past the gateway."""

    def __init__(self, gateway: dict[str, Any], seconds: float) -> None:
        super().__init__("127.0.0.1", gateway.get("port") or 80, timeout=seconds)
        self.path = gateway.get("socket")

    def connect(self) -> None:
        if not self.path:
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(gateway: dict[str, Any], method: str, path: str, body: Any = None, seconds: float = 10) -> int:
    """The status code; 0 when nothing answers."""
    connection = _Socket(gateway, seconds)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def prove(plan: dict[str, Any], run: Path, failed: threading.Event) -> None:
    """Ask for one token once the health path answers: an engine can be healthy and dead at the first request."""
    gateway = plan["gateway"]
    while ask(gateway, "GET", gateway["health_path"]) != 200:
        time.sleep(0.25)
    first = gateway["first_token"]
    began = time.monotonic()
    code = ask(gateway, "POST", first["path"], {"model": plan["model"], **first["body"]}, first["seconds"])
    if code != 200:
        say(f"check first-token failed: {first['path']} answers {code or 'nothing'}\n  read the engine's log above")
        failed.set()
        return
    say(f"the first token took {time.monotonic() - began:.2f} s")
    (run / "unproven").replace(run / "proven")


def health(plan: dict[str, Any]) -> int:
    """Exit code of the image's HEALTHCHECK: the gateway's own /health."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # ourselves, over loopback
    secure = bool(os.environ.get("WEIGHBRIDGE_TLS_CERT"))
    port = plan["port"]
    to = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=8, context=context)
        if secure
        else http.client.HTTPConnection("127.0.0.1", port, timeout=8)
    )
    try:
        to.request("GET", "/health")
        return 0 if to.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException):
        return 1


class Supervisor:
    """Engine and gateway: either's death is the container's; SIGTERM drains first."""

    def __init__(self, plan: dict[str, Any], settings: Settings, words: list[str]) -> None:
        self.plan, self.settings, self.words = plan, settings, words
        self.gateway = Gateway(plan, settings)
        self.engine: subprocess.Popen[bytes] | None = None
        self.wake, self.ended, self.unproven = threading.Event(), False, threading.Event()

    def run(self) -> int:
        self.settings.check()
        self.gateway.prepare()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        self.gateway.start()
        self.engine = subprocess.Popen([str(HOME / "entrypoint.sh"), *self.words], start_new_session=True)
        threading.Thread(target=prove, args=(self.plan, RUN, self.unproven), daemon=True).start()
        while True:
            self.wake.wait(_LOOK_SECONDS)
            code = self._over()
            if code is not None:
                return code
            self.gateway.follow()

    def _end(self, *_: Any) -> None:
        self.ended = True
        self.wake.set()

    def _over(self) -> int | None:
        """The container's exit code when it is over, else None."""
        assert self.engine is not None and self.gateway.process is not None  # noqa: PT018
        if self.ended:
            return self._drain()
        engine, gateway = self.engine.poll(), self.gateway.process.poll()
        if engine is not None:
            if engine != WRONG:  # a check that failed has said so
                say(f"the engine ended with {_code(engine)}")
            self._last_answers()
            return self._unless_asked(_code(engine) or 1)  # an engine that ends by itself is never a success
        if gateway is not None or self.unproven.is_set():
            if gateway is not None:
                say(f"the gateway ended with {_code(gateway)}")
            self._last_answers()
            self._stop_engine(_ENGINE_SECONDS - 1)
            return self._unless_asked(FAILED if gateway is None else _code(gateway) or 1)
        return None

    def _last_answers(self) -> None:
        """Whoever asks for the end meanwhile does not wait for them: the engine has to end in that time too."""
        self.gateway.stop(_LAST_ANSWERS_SECONDS, lambda: self.ended)

    def _unless_asked(self, code: int) -> int:
        """Who asked for the end while it came by itself has what was asked for."""
        return 0 if self.ended else code

    def _drain(self) -> int:
        assert self.engine is not None
        seconds = max(1, self.gateway.stop_seconds() - _ENGINE_SECONDS)
        say(f"draining: new requests get 503, running streams may end within {seconds} s")
        self.gateway.drain(time.monotonic() + seconds)
        self._stop_engine(_ENGINE_SECONDS - 1)
        self.gateway.stop(0.5)
        say("stopped")
        return 0

    def _stop_engine(self, seconds: float) -> None:
        """SIGTERM, and SIGKILL to all it started when that is not enough."""
        assert self.engine is not None
        self.engine.terminate()
        try:
            self.engine.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.engine.pid, signal.SIGKILL)


def _code(status: int) -> int:
    """As a shell has it: 128 and the signal's number."""
    return status if status >= 0 else 128 - status


def main(words: list[str]) -> int:
    plan = json.loads((HOME / "plan.json").read_bytes())
    if words[:1] == ["health"]:
        return health(plan)
    try:
        return Supervisor(plan, Settings(dict(os.environ)), words[1:]).run()
    except Wrong as e:
        print(e, file=sys.stderr)
        return WRONG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
