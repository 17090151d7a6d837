"""What this machine shows. A probe may check a plan; it never makes one."""

from __future__ import annotations

import errno
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from weighbridge.catalog import Catalog
from weighbridge.errors import HostError, Unsupported
from weighbridge.facts import Profile
from weighbridge.here import named, seen
from weighbridge.words import many

_PROBE_SECONDS = 30


def check_cards(profile: Profile) -> None:
    """Raises Unsupported when this machine does not have the profile's cards. Nothing to probe: nothing to check."""
    probe = profile.family.probe
    if probe is None:
        return
    seen = _lines(probe.command)
    pattern = re.compile(profile.card.probe_match or ".")
    matching = [line for line in seen if pattern.search(line)]
    if len(matching) >= profile.count:
        return
    tool = probe.command[0]
    if not shutil.which(tool):
        raise Unsupported(f"{profile.id} needs {many(profile.count, 'card')}; this machine has no {tool}", probe.hint)
    shown = f"{len(matching)} of them" + (f" among {many(len(seen), 'card')}" if len(seen) > len(matching) else "")
    raise Unsupported(f"{profile.id} needs {profile.count} x {profile.card.title}; {tool} shows {shown}", probe.hint)


def look(catalog: Catalog) -> tuple[dict[str, list[str]], dict[str, str]]:
    """By family the lines that its probe printed; and, of tools that are here and failed, what they said."""
    lines, failed = {}, {}
    families = sorted({catalog.card(c).family for c in catalog.card_ids()})
    for family, probe in ((f, catalog.family(f).probe) for f in families):
        if probe is None or not shutil.which(probe.command[0]):
            continue
        printed, said = _ask(probe.command)
        lines[family] = printed
        if said is not None:
            failed[probe.command[0]] = said
    return lines, failed


def profile_here(catalog: Catalog) -> str:
    """The name of this machine's profile. Raises Unsupported, with what was seen, when it has none or several."""
    lines, failed = look(catalog)
    return named(catalog, seen(catalog, lines), failed)


def _ask(command: tuple[str, ...]) -> tuple[list[str], str | None]:
    """The lines that a probe printed, and what it said when it failed."""
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        return [], f"no answer ({type(e).__name__})"
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[0]
        return [], said[:120]
    return lines, None


def _lines(command: tuple[str, ...]) -> list[str]:
    """Lines that a probe printed; none when it is missing, fails or hangs."""
    return _ask(command)[0]


def device_gids(devices: Sequence[str]) -> tuple[int, ...]:
    """The groups that own these nodes here, but root's; a folder stands for the nodes in it. None here: none."""
    found = set()
    for name in devices:
        path = Path(name.replace("{index}", "0"))
        for node in [*path.glob("*")] if path.is_dir() else [path]:
            if node.is_char_device():
                found.add(node.stat().st_gid)
    return tuple(sorted(found - {0}))


def check_port(address: str, port: int) -> None:
    """Raises HostError when something listens there already, or this machine does not have the address."""
    try:
        _bound(address, port)
    except OSError as e:
        hint = "try --port 0, which takes a free one"
        raise HostError(f"port {port} on {address} is taken: {e.strerror}", hint) from None


def free_port(address: str) -> int:
    """A port that nothing listens on now. Raises HostError for an address that this machine does not have."""
    try:
        return _bound(address, 0)
    except OSError as e:
        raise HostError(f"no port is free on {address}: {e.strerror}", "name one: --port 8000") from None


def check_address(address: str) -> None:
    """Raises HostError for an address that this machine does not have."""
    free_port(address)


def _bound(address: str, port: int) -> int:
    """The port that a socket can be bound to there; 0 takes a free one. Raises OSError when it cannot."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            return int(probe.getsockname()[1])
    except OSError as e:
        if e.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise
        hint = "see those that it has: ip -br address; or leave --listen out for 127.0.0.1"
        raise HostError(f"this machine has no address {address} to listen on", hint) from None
