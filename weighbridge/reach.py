"""Flags -> Reach: on which address, with which limits, and to whom an appliance answers."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from weighbridge.errors import BadValue, none_of
from weighbridge.order import read_count
from weighbridge.types import Reach

CONSOLE = ("open", "key", "off")
SELF_SIGNED = "self-signed"
_MEMORY = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([mMgG])(?:i?[bB])?")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(:\d{1,5})?")
_MOST_STREAMS = 4096  # what the gateway holds: two workers of 4096 connections, a stream has one on either side
_LEAST_SECONDS, _MOST_SECONDS = 6, 86400  # the engine itself has five of them to end in


def read_reach(
    flags: Mapping[str, Any], *, keys: str, tls: tuple[str, str, int | None] | None, gids: tuple[int, ...] = ()
) -> Reach:
    """The Reach of a command's flags. `keys` and `tls` (certificate, key, group) name files of the host;
    `gids` are the groups of its cards' nodes.

    Raises Refused.
    """
    cert, key, gid = tls or (None, None, None)
    usual = Reach(keys=keys)
    return Reach(
        address=_address(flags.get("listen") or usual.address),
        keys=keys,
        tls_cert=cert,
        tls_key=key,
        tls_gid=gid,
        device_gids=gids,
        cdi=bool(flags.get("cdi")),
        cors=_origins(flags.get("cors")),
        console=_console(flags.get("console")),
        key_rate=_count("--key-rate", flags.get("key_rate"), usual.key_rate, 100_000),
        key_streams=_count("--key-streams", flags.get("key_streams"), usual.key_streams, _MOST_STREAMS),
        memory_mib=_memory(flags.get("memory_limit")),
        stop_seconds=read_stop("--stop-seconds", flags.get("stop_seconds") or usual.stop_seconds),
    )


def is_open(reach: Reach) -> bool:
    """Whether keys and answers travel in the clear to whoever shares the network."""
    return not ipaddress.ip_address(reach.address).is_loopback and reach.tls_cert is None


def asked_at(address: str) -> str:
    """Where this machine itself asks what listens on `address`, as a URL has it: every address includes loopback."""
    found = ipaddress.ip_address(address)
    if found.is_unspecified:
        return "127.0.0.1" if found.version == 4 else "[::1]"
    return bracketed(address)


def bracketed(address: str) -> str:
    """An address as it stands before a colon and a port: of IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def read_stop(flag: str, text: Any) -> int:
    """Seconds from SIGTERM to the end: running requests have all of them but what the engine ends in.

    Raises BadValue for fewer than the engine needs, and for more than a day.
    """
    with suppress(BadValue):  # whichever it is, the bounds are what has to be said
        found = read_count(flag, text, "30")
        if _LEAST_SECONDS <= found <= _MOST_SECONDS:
            return found
    subject = f"{flag} {str(text)!r} is no whole number of seconds from {_LEAST_SECONDS} to {_MOST_SECONDS}"
    raise BadValue(subject, f"for example: {flag} {Reach(keys='').stop_seconds}, or leave {flag} out")


def _address(text: str) -> str:
    """One address, as the runtimes write it: no brackets, no zone, IPv4 as IPv4."""
    hint = "for example: --listen 0.0.0.0, every address of this machine, or --listen ::1"
    try:
        found = ipaddress.ip_address(text[1:-1] if text[:1] + text[-1:] == "[]" else text)
    except ValueError:
        raise BadValue(f"--listen {text!r} is no IP address", hint) from None
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id:
        raise BadValue(f"--listen {text!r}: a container cannot be published on an address with a zone", hint)
    if found.is_multicast:
        raise BadValue(f"--listen {text!r} is a group's address, not a machine's", hint)
    return str((found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found)


def _origins(text: str | None) -> str | None:
    """Origins with commas between them, each once."""
    if text is None:
        return None
    found = list(dict.fromkeys(origin.strip() for origin in text.split(",")))
    for origin in found:
        if not _ORIGIN.fullmatch(origin):
            hint = "scheme, host and port: --cors https://chat.example.org"
            raise BadValue(f"--cors {origin!r} is no origin", hint)
    return ",".join(found)


def _console(text: str | None) -> Any:
    if text is not None and text not in CONSOLE:
        raise none_of("console", text, CONSOLE)
    return text or "key"


def _count(flag: str, text: Any, otherwise: int, most: int) -> int:
    return otherwise if text is None else read_count(flag, text, str(otherwise), least=1, most=most)


def _memory(text: str | None) -> int | None:
    """MiB; `g` is GiB, as the runtimes have it."""
    if text is None:
        return None
    match = _MEMORY.fullmatch(text)
    mib = int(float(match[1]) * (1024 if match[2] in "gG" else 1)) if match else 0
    if mib < 64:
        raise BadValue(f"--memory-limit {text!r} is no size of at least 64m", "for example: --memory-limit 16g")
    return mib
