"""HTTP as weights need it: bounded answers, redirects followed by hand, a token that goes to one origin alone."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError, SSLError
from urllib3.response import HTTPResponse

from weighbridge import __version__
from weighbridge.errors import HostError, WeighbridgeError
from weighbridge.sources import origin, shown
from weighbridge.words import many

_REDIRECTS = (301, 302, 303, 307, 308)
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_KEPT = "what came is kept: the same command goes on from there; or choose another: --endpoint or --source"
_UNREACHED = (
    "nothing was fetched; a mirror: --endpoint https://HOST; another hub: --source NAME; files here: --from FOLDER"
)
BLOCK = 1 << 20  # bytes a read: what a kill can lose beside what the network holds


@dataclass(frozen=True)
class Patience:
    """How long a hub may take. A window without `window_bytes` counts as a failure; progress resets the count."""

    connect_seconds: float = 15
    read_seconds: float = 30
    window_seconds: float = 60
    window_bytes: int = 64 << 10
    answer_seconds: float = 120
    answer_bytes: int = 64 << 20
    attempts: int = 5
    pause_seconds: float = 1
    longest_pause_seconds: float = 300


class Again(Exception):
    """A failure that may pass: what happened, and how long the server asks to be left alone."""

    def __init__(self, reason: str, pause_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds


@dataclass
class Web:
    """One hub's client, for many threads. `token` is sent to `token_origin` and to no other."""

    token: str | None = field(default=None, repr=False)
    token_origin: tuple[str, str, int] | None = None
    patience: Patience = Patience()
    say: Callable[[str], None] = lambda _: None
    connections: int = 8
    _pools: dict[str | None, urllib3.PoolManager] = field(default_factory=dict, repr=False)

    def json(self, address: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """What an API answers, after as many attempts as patience allows. Raises HostError."""
        failures = 0
        while True:
            try:
                return self._json(address, body, headers or {})
            except Again as e:
                failures += 1
                time.sleep(self.pause(e, failures, address, _UNREACHED))

    def pause(self, failure: Again, failures: int, address: str, hint: str = _KEPT) -> float:
        """Seconds to wait before another attempt. Raises HostError, with this hint, when there is none left."""
        wait = failure.pause_seconds
        if wait is None:
            wait = self.patience.pause_seconds * 2 ** (failures - 1)
        if failures >= self.patience.attempts:
            raise HostError(f"{shown(address)}: {failure}, {many(failures, 'time')}", hint) from None
        if wait > self.patience.longest_pause_seconds:
            raise HostError(f"{shown(address)}: {failure}, asks to wait {wait:.0f} s", "try again after that") from None
        self.say(f"fetch: {urlsplit(address).netloc.rpartition('@')[2]}: {failure}; again in {wait:.0f} s")
        return wait

    def _json(self, address: str, body: Any, headers: Mapping[str, str]) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        with self.open(address, {"Accept": "application/json", **headers}, sent) as answer:
            whole = b"".join(self._bounded(answer, address))
        try:
            return json.loads(whole)
        except (ValueError, RecursionError):
            raise HostError(
                f"{shown(address)}: answers no JSON, {many(len(whole), 'byte')}", "check --endpoint"
            ) from None

    def _bounded(self, answer: urllib3.BaseHTTPResponse, address: str) -> Iterator[bytes]:
        limit, deadline, size = self.patience.answer_bytes, time.monotonic() + self.patience.answer_seconds, 0
        for block in blocks(answer):
            size += len(block)
            if size > limit:
                raise HostError(f"{shown(address)}: its answer is longer than {limit} bytes", "check --endpoint")
            if time.monotonic() > deadline:
                raise Again(f"no whole answer in {self.patience.answer_seconds:.0f} s")
            yield block

    @contextmanager
    def open(
        self, address: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer to a request, its body not read yet. Raises Again or HostError."""
        answer = self._follow(address, dict(headers or {}), body)
        try:
            if answer.status in _TRANSIENT:
                raise Again(f"answers {answer.status}", _retry_after(answer.headers.get("Retry-After")))
            if answer.status not in (200, 206, 416):
                raise _refusal(answer.status, address, self.token is not None)
            yield answer
        finally:
            answer.close()  # the rest of a body is not worth reading to save a connection

    def _follow(self, address: str, headers: dict[str, str], body: bytes | None) -> urllib3.BaseHTTPResponse:
        asked = origin(address)
        for _ in range(8):
            answer = self._ask(address, self._headers(address, headers, asked), body)
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not target:
                return answer
            answer.close()
            address = _redirect(address, target)
        raise HostError(f"{shown(address)}: redirects in a circle", "check --endpoint")

    def _headers(self, address: str, headers: Mapping[str, str], asked: tuple[str, str, int]) -> dict[str, str]:
        """Secrets stay with the origin that they are for: the token's own, or the one that was asked first."""
        there = origin(address)
        kept = {k: v for k, v in headers.items() if there == asked or k.lower() not in ("authorization", "cookie")}
        mine = {"Authorization": f"Bearer {self.token}"} if self.token and there == self.token_origin else {}
        plain = {"User-Agent": f"weighbridge/{__version__}", "Accept-Encoding": "identity"}
        return {**plain, **mine, **kept}

    def _ask(self, address: str, headers: Mapping[str, str], body: bytes | None) -> urllib3.BaseHTTPResponse:
        timeout = urllib3.Timeout(connect=self.patience.connect_seconds, read=self.patience.read_seconds)
        try:
            return self._pool(address).request(
                "GET" if body is None else "POST", address, body=body, headers=headers, redirect=False, retries=False,
                preload_content=False, decode_content=False, timeout=timeout,
            )  # fmt: skip
        except SSLError as e:
            raise HostError(f"{shown(address)}: {reason(e)}", "check --endpoint and the machine's clock") from None
        except LocationParseError:
            raise HostError(f"{shown(address)}: not an address", "check --endpoint") from None
        except HTTPError as e:
            raise Again(reason(e)) from None

    def _pool(self, address: str) -> urllib3.PoolManager:
        """Through the machine's proxy where its environment names one for this address."""
        parts = urlsplit(address)
        proxy = None
        if parts.hostname and not urllib.request.proxy_bypass(parts.netloc):
            proxies = urllib.request.getproxies()
            proxy = proxies.get(parts.scheme) or proxies.get("all")
        if proxy not in self._pools:
            size = self.connections
            pool = urllib3.ProxyManager(proxy, maxsize=size) if proxy else urllib3.PoolManager(maxsize=size)
            pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
            self._pools[proxy] = pool
        return self._pools[proxy]


class _HttpConnection(HTTPConnection):
    """A connection on which the head of an answer takes a bounded time, however the server drips it."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        with _cut(self):
            return super().getresponse()


class _HttpsConnection(HTTPSConnection):
    """The same over TLS."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        with _cut(self):
            return super().getresponse()


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


@contextmanager
def _cut(connection: HTTPConnection) -> Iterator[None]:
    """Shut a connection after twice its read time-out, which alone starts anew with every byte."""

    late = threading.Event()

    def shut() -> None:
        late.set()
        with suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(2 * float(connection.timeout or 60), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if late.is_set():  # a head cut short reads like a whole one
        raise TimeoutError("no whole head in time")


def blocks(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The body as it arrives, at most BLOCK bytes at a time. Raises Again when it breaks off."""
    while True:
        try:
            block = answer.read1(BLOCK)
        except (HTTPError, OSError) as e:
            raise Again(reason(e)) from None
        if not block:
            return
        yield block


def reason(error: Exception) -> str:
    """A library's error in a few words, without the addresses that it may hold."""
    words = {
        "ReadTimeoutError": "no answer in time",
        "ConnectTimeoutError": "no connection in time",
        "IncompleteRead": "the connection broke off",
        "ProtocolError": "the connection broke off",
        "NameResolutionError": "no such host, or no network",
    }
    plain = words.get(type(error).__name__)
    said = re.sub(r"\[Errno -?\d+\] ", "", str(error))
    return plain or said.rsplit(": ", 1)[-1].rstrip(")'\"")[:160] or type(error).__name__


def _redirect(address: str, target: str) -> str:
    """Where a redirect leads. Raises HostError for what is no web address, and for http after https."""
    full = target
    try:
        full = urljoin(address, target)
        scheme, host = urlsplit(full).scheme, urlsplit(full).hostname
        origin(full)
    except ValueError:
        scheme, host = "", None
    if scheme not in ("http", "https") or not host or (scheme == "http" and address.startswith("https:")):
        raise HostError(f"{shown(address)}: redirects to {scheme or 'nowhere'}://, refused", "check --endpoint")
    return full


def _refusal(status: int, address: str, with_token: bool) -> WeighbridgeError:
    where = shown(address)
    if status in (401, 403):
        said = "with the token that was sent" if with_token else "and no token was sent"
        hint = "accept the model's terms on its page; name a token for this host: --token-file FILE"
        return HostError(f"{where}: access refused ({status}), {said}", hint)
    if status in (404, 410):
        return HostError(f"{where}: not there ({status})", "check --repo, --revision and --endpoint")
    return HostError(f"{where}: answers {status}", "check --endpoint, or choose another: --source")


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header; a date or nonsense asks for the usual pause."""
    return min(float(value), 1e6) if value and value.strip().isdecimal() else None
