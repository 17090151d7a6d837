"""Flags -> Reach: on which address, with which limits, and to whom an appliance answers."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from weighbridge.errors import BadValue, unknown
from weighbridge.order import read_count
from weighbridge.types import Reach

CONSOLE = ("open", "key", "off")
SELF_SIGNED = "self-signed"
_MEMORY = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([mMgG])(?:i?[bB])?")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?")
_MOST_SECONDS = 86400


def read_reach(
    flags: Mapping[str, Any], *, keys: str, tls: tuple[str, str, int | None] | None, gids: tuple[int, ...] = ()
) -> Reach:
    """The Reach of a command's flags. `keys` and `tls` (certificate, key, group) name files of the host;
    `gids` are the groups of its cards' nodes.

    Raises Refused.
    """
    cert, key, gid = tls or (None, None, None)
    return Reach(
        address=_address(flags.get("listen") or Reach(keys=keys).address),
        keys=keys,
        tls_cert=cert,
        tls_key=key,
        tls_gid=gid,
        device_gids=gids,
        cdi=bool(flags.get("cdi")),
        cors=_origin(flags.get("cors")),
        console=_console(flags.get("console")),
        key_rate=_count("--key-rate", flags.get("key_rate"), 100, 100_000),
        key_streams=_count("--key-streams", flags.get("key_streams"), 256, 100_000),
        memory_mib=_memory(flags.get("memory_limit")),
        stop_seconds=_count("--stop-seconds", flags.get("stop_seconds"), 30, _MOST_SECONDS, least=6),
    )


def is_open(reach: Reach) -> bool:
    """Whether keys and answers travel in the clear to whoever shares the network."""
    return not ipaddress.ip_address(reach.address).is_loopback and reach.tls_cert is None


def asked_at(address: str) -> str:
    """Where this machine itself asks what listens on `address`, as a URL has it: every address includes loopback."""
    found = ipaddress.ip_address(address)
    if found.is_unspecified:
        return "127.0.0.1" if found.version == 4 else "[::1]"
    return f"[{found}]" if found.version == 6 else str(found)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        hint = "for example: --listen 0.0.0.0, every address of this machine"
        raise BadValue(f"--listen {text!r} is no IP address", hint) from None


def _origin(text: str | None) -> str | None:
    if text is not None and not _ORIGIN.fullmatch(text):
        raise BadValue(f"--cors {text!r} is no origin", "scheme, host and port: --cors https://chat.example.org")
    return text


def _console(text: str | None) -> Any:
    if text is not None and text not in CONSOLE:
        raise unknown("console", text, CONSOLE, "invoke run --help")
    return text or "key"


def _count(flag: str, text: Any, otherwise: int, most: int, least: int = 1) -> int:
    found = otherwise if text is None else read_count(flag, text)
    if not least <= found <= most:
        raise BadValue(f"{flag} {found} is not between {least} and {most}", f"for example: {flag} {otherwise}")
    return found


def _memory(text: str | None) -> int | None:
    """MiB; `g` is GiB, as the runtimes have it."""
    if text is None:
        return None
    match = _MEMORY.fullmatch(text)
    mib = int(float(match[1]) * (1024 if match[2] in "gG" else 1)) if match else 0
    if mib < 64:
        raise BadValue(f"--memory-limit {text!r} is no size of at least 64m", "for example: --memory-limit 16g")
    return mib
