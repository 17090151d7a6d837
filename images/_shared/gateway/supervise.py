"""Process 2 of the container: checks, starts engine and gateway, watches keys and certificates, drains on SIGTERM.

Standard library only: it runs under whatever python3 an engine's image has. No key passes here: the file holds hashes.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from checks import WRONG, Wrong, read_keys, readable, writable

HOME = Path("/opt/weighbridge")
RUN = Path("/run/weighbridge")
BUNDLE = Path("/opt/gateway")
MODULE = "ngx_http_js_module.so"
FAILED = 70  # the engine answers its health path and not a question
_LOOK_SECONDS = 1.0
_ENGINE_SECONDS = 5  # of the stop time, what the engine itself has to end in
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?")
_QUERY = re.compile(r"(?<=[\w/.%~-])\?[^\s\"]*")
TLS = """listen {port} ssl so_keepalive=60s:15s:4;
ssl_certificate "{cert}";
ssl_certificate_key "{key}";
ssl_protocols TLSv1.2 TLSv1.3;
ssl_ciphers EECDH+AESGCM:EECDH+CHACHA20;
ssl_session_cache shared:tls:2m;
ssl_session_tickets off;
"""
PLAIN = "listen {port} so_keepalive=60s:15s:4;\n"
SETTINGS = """map $host $console {{ default {console}; }}
map $http_origin $cors_origin {{ default ""; {origin}}}
map $cors_origin $cors_methods {{ default ""; "~." "GET, POST"; }}
map $cors_origin $cors_headers {{ default ""; "~." "Authorization, Content-Type"; }}
map $cors_origin $cors_vary {{ default ""; "~." Origin; }}
map "$request_method $cors_origin" $preflight {{ default ""; "~^OPTIONS ." 1; }}
limit_req_zone $api_key zone=requests:2m rate={rate}r/s;
limit_conn_zone $api_key zone=streams:2m;
limit_req_status 429;
limit_conn_status 429;
"""
LIMITS = "limit_req zone=requests burst={burst} nodelay;\nlimit_conn streams {streams};\n"
DRAINING = "return 503;\n"


def say(line: str) -> None:
    print(f"weighbridge: {line}", file=sys.stderr, flush=True)


class Settings:
    """What the environment says; nothing in it is secret. Raises Wrong."""

    def __init__(self, given: dict[str, str]) -> None:
        self.keys = Path(given.get("WEIGHBRIDGE_KEYS", "/etc/weighbridge/keys/keys"))
        self.cert, self.key = given.get("WEIGHBRIDGE_TLS_CERT"), given.get("WEIGHBRIDGE_TLS_KEY")
        self.cors = given.get("WEIGHBRIDGE_CORS", "")
        self.console = given.get("WEIGHBRIDGE_CONSOLE", "key")
        self.rate = self._number(given, "WEIGHBRIDGE_KEY_RATE", 100)
        self.streams = self._number(given, "WEIGHBRIDGE_KEY_STREAMS", 256)
        self.stop_seconds = self._number(given, "WEIGHBRIDGE_STOP_SECONDS", 30)
        if self.cors and not _ORIGIN.fullmatch(self.cors):
            raise Wrong("settings", f"WEIGHBRIDGE_CORS {self.cors!r} is no origin", "for example https://chat.example")
        if self.console not in ("open", "key", "off"):
            raise Wrong("settings", f"WEIGHBRIDGE_CONSOLE {self.console!r}", "one of: open, key, off")

    @staticmethod
    def _number(given: dict[str, str], name: str, otherwise: int) -> int:
        text = given.get(name, str(otherwise))
        if not re.fullmatch(r"[1-9]\d{0,6}", text):
            raise Wrong("settings", f"{name} {text!r} is no whole number above 0", f"for example {name}={otherwise}")
        return int(text)

    def check(self) -> None:
        """Files that must be readable, and the one that only we may read."""
        for path in filter(None, (self.cert, self.key)):
            readable("tls", Path(path))
        if self.key and Path(self.key).stat().st_mode & 0o004:
            raise Wrong("tls", f"{self.key} can be read by everybody", "on the host: chmod 640 FILE")


class Gateway:
    """nginx, and the files of /run/weighbridge that it includes."""

    def __init__(self, plan: dict[str, Any], settings: Settings, home: Path = HOME, run: Path = RUN) -> None:
        self.plan, self.settings, self.home, self.run = plan, settings, home, run
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: object = None

    def prepare(self) -> None:
        """Every file that nginx.conf includes. Raises Wrong."""
        writable("run", self.run)
        engine = self.plan["gateway"]["socket"]
        if engine:
            Path(engine).parent.mkdir(mode=0o700, exist_ok=True)
            Path(engine).unlink(missing_ok=True)  # a restarted container begins with an empty tmpfs, a test may not
        for name in ("proven", "nginx.pid"):
            (self.run / name).unlink(missing_ok=True)
        s = self.settings
        listen = TLS if s.cert else PLAIN
        self._write("listen.conf", listen.format(port=self.plan["port"], cert=s.cert, key=s.key))
        origin = f'"{s.cors}" "{s.cors}"; ' if s.cors else ""
        self._write("settings.conf", SETTINGS.format(console=s.console, origin=origin, rate=s.rate))
        self._write("limits.conf", LIMITS.format(burst=2 * s.rate, streams=s.streams))
        self._write("modules.conf", f'load_module "{self._module()}";\n')
        self._write("drain.conf", "")
        self._write("bench.json", "null\n")  # the host puts the figures there that it measured
        self._write_keys()
        self.seen = self._look()

    def _module(self) -> str:
        places = (BUNDLE / "lib", Path("/usr/lib/nginx/modules"))
        return str(next((p / MODULE for p in places if (p / MODULE).is_file()), MODULE))

    def _write(self, name: str, text: str) -> None:
        aside = self.run / f".{name}"
        aside.write_text(text, encoding="utf-8")
        aside.replace(self.run / name)

    def _write_keys(self) -> None:
        found = read_keys(self.settings.keys)
        for scope, names in found.items():
            self._write(f"{scope}.map", "".join(f'"{digest}" "{name}";\n' for digest, name in sorted(names.items())))
        say(f"{len(found['api'])} keys and {len(found['metrics'])} keys for metrics")

    def _look(self) -> object:
        """What is in the files that may change while we run: by content, so that a rename and an edit are the same."""
        found: list[bytes | None] = []
        for path in (self.settings.keys, self.settings.cert, self.settings.key):
            try:
                found.append(Path(path).read_bytes() if path else None)
            except OSError:
                found.append(None)
        return found

    def start(self) -> None:
        nginx = BUNDLE / "nginx"
        program = str(nginx) if nginx.is_file() else "/usr/sbin/nginx"
        words = [program, "-p", str(self.run), "-c", str(self.home / "nginx.conf"), "-g", "daemon off;"]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, start_new_session=True)
        threading.Thread(target=self._relay, daemon=True).start()

    def _relay(self) -> None:
        """nginx's own messages, less query strings: a client may have put a key there."""
        assert self.process is not None and self.process.stderr is not None  # noqa: PT018
        for line in self.process.stderr:
            print(_QUERY.sub("?…", line.decode(errors="replace")), end="", file=sys.stderr, flush=True)

    def follow(self) -> None:
        """Take over keys and certificates that changed. A wrong file is named in the log and changes nothing."""
        now = self._look()
        if now == self.seen:
            return
        self.seen = now
        try:
            self._write_keys()
        except Wrong as e:
            print(e, file=sys.stderr, flush=True)
            say("the keys stay as they were")
        self.hang_up()

    def hang_up(self) -> None:
        """nginx reads its files again: new workers take new requests, old ones end their streams."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGHUP)

    def workers(self) -> set[int]:
        """Children of nginx's master."""
        assert self.process is not None
        try:
            task = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
            return {int(pid) for pid in Path(task).read_text().split()}
        except OSError:
            return _children(self.process.pid)

    def drain(self, deadline: float) -> None:
        """New requests get 503; returns when the streams that run have ended, or at the deadline."""
        old = self.workers()
        self._write("drain.conf", DRAINING)
        self.hang_up()
        while time.monotonic() < deadline and old & self.workers():
            time.sleep(0.1)
        left = len(old & self.workers())
        say("every stream has ended" if not left else "the time is up, streams are cut")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)


def _children(parent: int) -> set[int]:
    """The same from each process's own file, for kernels that keep no list."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.add(int(path.parent.name))
    return found


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
    (run / "proven").touch()


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
            self.gateway.stop()
            return _code(engine) or 1  # an engine that ends by itself is never a success
        if gateway is not None or self.unproven.is_set():
            if gateway is not None:
                say(f"the gateway ended with {_code(gateway)}")
            self.gateway.stop()
            self._stop_engine(_ENGINE_SECONDS)
            return FAILED if gateway is None else _code(gateway) or 1
        return None

    def _drain(self) -> int:
        assert self.engine is not None
        say("draining: new requests get 503, running streams may end")
        limit = time.monotonic() + max(1, self.settings.stop_seconds - _ENGINE_SECONDS)
        self.gateway.drain(limit)
        self._stop_engine(_ENGINE_SECONDS - 1)
        self.gateway.stop()
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
