"""A running server over HTTP: who is asked, with which client, and the wait until it answers."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx

from weighbridge.effects.tls import trusting
from weighbridge.errors import NotReady
from weighbridge.facts import SmokeFacts
from weighbridge.types import Reconciliation

HEALTH = "/health"  # the gateway's, whatever the engine calls its own
# Engines' own servers close a connection that was idle for 5 s (uvicorn's timeout_keep_alive): a client that keeps
# it as long writes into one that is being closed, and reads "disconnected" for an engine that is well.
_IDLE = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2.0)


class Target(NamedTuple):
    """What is asked: where, under which name, and what the plan promised of it. None: not known."""

    url: str
    model: str
    max_model_len: int | None
    reasoning: bool
    tools: bool
    facts: SmokeFacts
    memory: Reconciliation | None = None
    key_file: Path | None = None
    cert: Path | None = None
    gateway: bool = False
    max_num_seqs: int | None = None  # of all replicas
    replicas: int = 1
    metrics_key: Path | None = None
    metrics_path: str | None = None
    body_mib: int = 0
    about: tuple[tuple[str, str], ...] = ()


def local(url: str) -> bool:
    """Whether an address is this machine's own, which no proxy of the environment can reach for us."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def open_client(url: str, seconds: float, key: str | None = None, cert: Path | None = None) -> httpx.Client:
    """A client that sends `key`, and trusts `cert` alone when it is given. Raises HostError when it cannot be read."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    verify = trusting(cert) if cert else True
    proxied = not local(url)
    return httpx.Client(base_url=url, timeout=seconds, trust_env=proxied, headers=headers, verify=verify, limits=_IDLE)


def wait_ready(
    url: str,
    path: str,
    *,
    seconds: int,
    alive: Callable[[], None],
    progress: Callable[[float], None],
    cert: Path | None = None,
) -> float:
    """Seconds until `path` answers 200. Raises NotReady when the time is up, or what `alive` raises."""
    started = time.monotonic()
    with open_client(url, 5.0, cert=cert) as client:
        while (passed := time.monotonic() - started) < seconds:
            alive()
            try:
                if client.get(path).status_code == 200:
                    return time.monotonic() - started
            except httpx.TransportError:
                pass
            progress(passed)
            time.sleep(0.5)
    raise NotReady(f"{url}{path} did not answer within {seconds} s", "start it again: invoke run")
