"""nginx in front of the engine: what the environment asks of it, the files that it reads, and how they change.

Standard library only, as supervise.py. No key passes here: the file holds hashes.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from checks import Wrong, no_pair, read_keys, readable, writable

HOME = Path("/opt/weighbridge")
RUN = Path("/run/weighbridge")
BODIES = Path("/run/bodies")
BUNDLE = Path("/opt/gateway")
MODULE = "ngx_http_js_module.so"
_TEST_SECONDS = 20
_MOST_STREAMS = 4096  # two workers of 4096 connections, and a stream has one on either side
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(:\d{1,5})?")
_PARTLY = b"\0"  # no key file: as long as what stands there may be half of the old and half of the new
_LOOK_FAILED = b" js: keys: "  # what keys.js says
_QUERY = re.compile(r"(?<=[\w/.%~-])\?[^\s\"]*")
TLS = """listen {port} ssl so_keepalive=60s:15s:4;
ssl_certificate "{pair}";
ssl_certificate_key "{pair}";
ssl_protocols TLSv1.2 TLSv1.3;
ssl_ciphers EECDH+AESGCM:EECDH+CHACHA20;
ssl_session_cache shared:tls:2m;
ssl_session_tickets off;
"""
PLAIN = "listen {port} so_keepalive=60s:15s:4;\n"
SETTINGS = """map $host $console {{ default {console}; }}
map $http_origin $cors_origin {{ default ""; {origins}}}
map $cors_origin $cors_methods {{ default ""; "~." "GET, POST"; }}
map $cors_origin $cors_headers {{ default ""; "~." "Authorization, *"; }}
map $host $cors_vary {{ default "{vary}"; }}
map "$request_method $cors_origin" $preflight {{ default ""; "~^OPTIONS ." 1; }}
map $api_key $limited {{ default $api_key; "" "(anybody)"; "!" "(anybody)"; }}
limit_req_zone $limited zone=requests:2m rate={rate}r/s;
limit_conn_zone $limited zone=streams:2m;
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
        self.cors = [origin for origin in given.get("WEIGHBRIDGE_CORS", "").split(",") if origin]
        self.console = given.get("WEIGHBRIDGE_CONSOLE", "key")
        self.rate = self._number(given, "WEIGHBRIDGE_KEY_RATE", 1000, 100_000)
        self.streams = self._number(given, "WEIGHBRIDGE_KEY_STREAMS", 1024, _MOST_STREAMS)
        self.stop_seconds = self._number(given, "WEIGHBRIDGE_STOP_SECONDS", 30, 86_400)
        for origin in self.cors:
            if not _ORIGIN.fullmatch(origin):
                raise Wrong("settings", f"WEIGHBRIDGE_CORS {origin!r} is no origin", "for example https://chat.example")
        if self.console not in ("open", "key", "off"):
            raise Wrong("settings", f"WEIGHBRIDGE_CONSOLE {self.console!r}", "one of: open, key, off")

    @staticmethod
    def _number(given: dict[str, str], name: str, otherwise: int, most: int) -> int:
        text = given.get(name, str(otherwise))
        if not re.fullmatch(r"[1-9]\d{0,6}", text) or int(text) > most:
            hint = f"for example {name}={otherwise}"
            raise Wrong("settings", f"{name} {text!r} is no whole number from 1 to {most}", hint)
        return int(text)

    def check(self) -> None:
        """Files that must be readable, and the one that only we may read."""
        for path in filter(None, (self.cert, self.key)):
            readable("tls", Path(path))
        if self.key and Path(self.key).stat().st_mode & 0o004:
            raise Wrong("tls", f"{self.key} can be read by everybody", "on the host: chmod 640 FILE")


class Seen(NamedTuple):
    """What is in the files that may change while we run: by content, so that a rename and an edit are the same."""

    keys: bytes | None
    cert: bytes | None
    key: bytes | None


class Gateway:
    """nginx, and the files of /run/weighbridge that it reads."""

    def __init__(
        self, plan: dict[str, Any], settings: Settings, home: Path = HOME, run: Path = RUN, bodies: Path = BODIES
    ) -> None:
        self.plan, self.settings, self.home, self.run, self.bodies = plan, settings, home, run, bodies
        self.process: subprocess.Popen[bytes] | None = None
        self.seen = Seen(None, None, None)
        self.waits_for = ""

    def prepare(self) -> None:
        """Every file that nginx reads there. Raises Wrong."""
        writable("run", self.run)
        writable("run", self.bodies)
        engine = self.plan["gateway"]["socket"]
        if engine:
            Path(engine).parent.mkdir(mode=0o700, exist_ok=True)
            Path(engine).unlink(missing_ok=True)  # a restarted container begins with an empty tmpfs, a test may not
        for name in ("proven", "nginx.pid"):
            (self.run / name).unlink(missing_ok=True)
        s = self.settings
        listen = TLS if s.cert else PLAIN
        self._write("listen.conf", listen.format(port=self.plan["port"], pair=self.run / "tls.pem"))
        origins = "".join(f'"{origin}" "{origin}"; ' for origin in s.cors)
        vary = "Origin" if s.cors else ""
        self._write("settings.conf", SETTINGS.format(console=s.console, origins=origins, vary=vary, rate=s.rate))
        self._write("limits.conf", LIMITS.format(burst=2 * s.rate, streams=s.streams))
        self._write("modules.conf", f'load_module "{self._module()}";\n')
        self._write("drain.conf", "")
        self._write("bench.json", "null\n")  # the host puts the figures there that it measured
        self._write("stop-seconds", f"{s.stop_seconds}\n")
        for name, text in (("draining.conf", DRAINING), ("unproven", "")):
            self._write(name, text)  # renamed later, which no full disk prevents
        self.seen = self._look()
        self._write_keys()
        self._write_pair(self.seen)

    def _module(self) -> str:
        places = (BUNDLE / "lib", Path("/usr/lib/nginx/modules"))
        return str(next((p / MODULE for p in places if (p / MODULE).is_file()), MODULE))

    def _write(self, name: str, text: str) -> None:
        self._aside(name, text.encode()).replace(self.run / name)

    def _aside(self, name: str, content: bytes) -> Path:
        """A file beside the one that it is to replace, for nobody else to read; none is left where it cannot be."""
        place = self.run / name
        aside = place.with_name(f".{place.name}")
        try:
            aside.unlink(missing_ok=True)
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        return aside

    def _write_keys(self) -> None:
        """A file a key: `<scope>/<sha256>` holds the name. What is revoked goes first, which needs no room."""
        found = read_keys(self.settings.keys)
        for scope, names in found.items():
            folder = self.run / scope
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)  # whatever the umask
            for gone in {p.name for p in folder.iterdir()} - names.keys():
                (folder / gone).unlink()
        for scope, names in found.items():
            for digest, name in names.items():
                if _content(self.run / scope / digest) != name.encode():  # none that stays needs room
                    self._write(f"{scope}/{digest}", name)
        counts = [(len(found["api"]), ""), (len(found["metrics"]), " for metrics")]
        say(" and ".join(f"{n} key{'' if n == 1 else 's'}{what}" for n, what in counts))

    def _write_pair(self, now: Seen) -> None:
        """Certificate and key as one file of our own: nginx would refuse every later change over a pair that is none.

        Raises Wrong, and the pair that is served stays.
        """
        s = self.settings
        if s.cert is None:
            return
        for path, content in ((s.cert, now.cert), (s.key, now.key)):
            if content is None:
                raise Wrong("tls", f"{path} cannot be read", f"on the host: let uid {os.getuid()} read it")
        aside = self._aside("tls.pem", (now.cert or b"") + b"\n" + (now.key or b""))
        reason = no_pair(aside)
        if reason is None:
            reason = self._served(aside)
        if reason is not None:
            aside.unlink(missing_ok=True)
            found = f"{s.cert} and {s.key} are no pair to serve from: {reason}"
            raise Wrong("tls", found, "on the host: put a certificate and the key that belongs to it in their place")

    def _served(self, aside: Path) -> str | None:
        """Put the new pair in its place; put the old one back where nginx itself says why it cannot serve from it."""
        pair, before = self.run / "tls.pem", self.run / ".tls.before"
        if self.process is None:
            aside.replace(pair)
            return None
        pair.replace(before)
        try:
            aside.replace(pair)
            reason = self._refusal()
        except BaseException:  # nobody has said that the new one can be served from
            before.replace(pair)
            raise
        (before if reason else pair).replace(pair)
        before.unlink(missing_ok=True)
        return reason

    def _refusal(self) -> str | None:
        """Why nginx would not take the files as they are now; None when it would."""
        try:
            done = subprocess.run(
                [*self._words(), "-t"], capture_output=True, check=False, timeout=_TEST_SECONDS, text=True,
                errors="replace",
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"nginx -t took more than {_TEST_SECONDS} s"
        lines = [line for line in done.stderr.splitlines() if "[emerg]" in line]
        return (lines or ["nginx -t fails"])[0] if done.returncode else None

    def _look(self) -> Seen:
        return Seen(*(_content(path) for path in (self.settings.keys, self.settings.cert, self.settings.key)))

    def _words(self) -> list[str]:
        nginx = BUNDLE / "nginx"
        program = str(nginx) if nginx.is_file() else "/usr/sbin/nginx"
        return [program, "-p", str(self.run), "-c", str(self.home / "nginx.conf"), "-g", "daemon off;"]

    def start(self) -> None:
        self.process = subprocess.Popen(self._words(), stderr=subprocess.PIPE, start_new_session=True)
        self.relay = threading.Thread(target=self._relay, daemon=True)
        self.relay.start()

    def _relay(self) -> None:
        """nginx's own messages, less query strings: a client may have put a key there."""
        assert self.process is not None and self.process.stderr is not None  # noqa: PT018
        quiet_until = 0.0
        for line in self.process.stderr:
            if _LOOK_FAILED in line:  # each request says so
                if time.monotonic() < quiet_until:
                    continue
                quiet_until = time.monotonic() + 1
            print(_QUERY.sub("?…", line.decode(errors="replace")), end="", file=sys.stderr, flush=True)

    def follow(self) -> None:
        """Take over keys and certificates that changed. A wrong file is named in the log and changes nothing.

        What no room is left for is tried again at the next look. A key that was revoked needs none.
        """
        now, before = self._look(), self.seen
        if now == before:
            return
        try:
            if now.keys != before.keys:
                self.seen = before._replace(keys=_PARTLY)
                self._take("keys", self._write_keys)
                self.seen = before._replace(keys=now.keys)
            if now[1:] != before[1:]:
                self._take("certificate and its key", lambda: self._write_pair(now))
            self.seen, self.waits_for = now, ""
        except OSError as e:
            self._wait_for(f"{e.filename or self.run}: {e.strerror}")
        if self.seen[1:] != before[1:]:
            self.hang_up()

    def _wait_for(self, reason: str) -> None:
        """Said once, not each second."""
        if reason != self.waits_for:
            say(f"what changed cannot be taken over yet: {reason}; trying again each second")
        self.waits_for = reason

    def _take(self, what: str, write: Callable[[], None]) -> None:
        try:
            write()
        except Wrong as e:
            print(e, file=sys.stderr, flush=True)
            say(f"the {what} stay as they were")

    def hang_up(self) -> None:
        """nginx reads its files again: new workers take new requests, old ones end their streams."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGHUP)

    def workers(self) -> set[int]:
        """Children of nginx's master."""
        assert self.process is not None
        return _children(self.process.pid)

    def stop_seconds(self) -> int:
        """What `invoke stop --seconds` left here, else what the container was started with."""
        text = (_content(self.run / "stop-seconds") or b"").decode(errors="replace").strip()
        return int(text) if re.fullmatch(r"[1-9]\d{0,6}", text) else self.settings.stop_seconds

    def drain(self, deadline: float) -> None:
        """New requests get 503; returns when the streams that run have ended, or at the deadline."""
        old = self.workers()
        try:
            (self.run / "draining.conf").replace(self.run / "drain.conf")
        except OSError as e:
            say(f"new requests cannot be refused: {e.strerror}")
        self.hang_up()
        while time.monotonic() < deadline and old & self.workers():
            time.sleep(0.1)
        left = len(old & self.workers())
        say("every stream has ended" if not left else "the time is up, streams are cut")

    def stop(self, seconds: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """Nobody new is let in; who has begun to ask is still answered, within so long or until there is a hurry."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if hurry() or time.monotonic() >= deadline:
                self.process.send_signal(signal.SIGTERM)
                return
            time.sleep(0.05)


def _content(path: Path | str | None) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError:
        return None


def _children(parent: int) -> set[int]:
    """From each process's own file: the kernel's list of children may miss some while others come and go."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.add(int(path.parent.name))
    return found
