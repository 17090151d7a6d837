"""A log to look at: a file, standard input, a container's, or one that a failed start left."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from typing import BinaryIO, NamedTuple

from docker.models.containers import Container

from weighbridge.effects.docker import Host
from weighbridge.errors import BadFile, HostError, UnknownName, nearest

_MOST_BYTES = 16 << 20
_PART_BYTES = 1 << 20
_CONTROL = bytes({*range(32), 127} - {*b"\t\n\r\f\b\x07\x1b"})
_CONTROLS = 20  # one byte in so many may be a control character in what is text


class Log(NamedTuple):
    """Its lines, where they are from, the container that wrote them, and how many lines before them were left out."""

    lines: list[str]
    source: str
    container: Container | None = None
    skipped: int = 0


def read_log(file: str) -> Log:
    """A file or, for `-`, standard input; of a long one the last 16 MiB. Raises BadFile."""
    if file == "-":
        return _log(sys.stdin.buffer, "standard input")
    try:
        with Path(file).open("rb") as stream:
            return _log(stream, file)
    except OSError as e:
        raise BadFile(f"{file}: {e.strerror}", "name a file that can be read, or - for standard input") from None


def _log(stream: BinaryIO, name: str) -> Log:
    parts: deque[bytes] = deque()
    size = skipped = 0
    while part := stream.read(_PART_BYTES):
        part = part.translate(None, b"\0")  # a rotated log begins with zeros, one in UTF-16 is half of them
        if not parts and _CONTROLS * len(part.translate(None, _CONTROL)) < (_CONTROLS - 1) * len(part):
            raise BadFile(f"{name}: not text", f"unpack it first, such as: zcat {name} | invoke diagnose --log -")
        parts.append(part)
        size += len(part)
        while size > _MOST_BYTES:
            size -= len(parts[0])
            skipped += parts.popleft().count(b"\n")
    lines = b"".join(parts).decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not any(line.strip() for line in lines):
        raise BadFile(f"{name}: empty", "docker logs NAME 2>&1 | invoke diagnose --log -")
    return Log(lines, name, skipped=skipped)


def appliance_log(name: str | None, build: Path) -> Log:
    """What an appliance of this host wrote; when it is gone, what its failed start left in `build`.

    Raises UnknownName when there is neither, HostError when the Docker engine does not say.
    """
    try:
        host = Host()
        container = host.container(name)
        return Log(list(host.logs(container)), str(container.name), container)
    except (UnknownName, HostError) as e:
        kept = sorted(build.glob("*.log"), key=lambda p: p.stat().st_mtime)
        if name is not None:
            return _named(name, kept, e)
        if not kept and isinstance(e, UnknownName) and e.hint == "invoke run":
            hint = "name a log: invoke diagnose --log FILE"
            raise UnknownName("no appliance runs here, and no failed start left a log", hint) from None
        if not kept or "appliances are here" in e.message:
            raise
        return read_log(str(kept[-1]))


def _named(name: str, kept: list[Path], error: UnknownName | HostError) -> Log:
    """The log that a start of this name left. Raises what was wrong with the container, with the near miss here."""
    for path in kept:
        if path.stem == name:
            return read_log(str(path))
    near = nearest(name, [p.stem for p in kept]) if isinstance(error, UnknownName) else None
    if near and not error.hint.startswith("did you mean"):
        raise UnknownName(error.message, f"did you mean --name {near}? its start failed, and left a log") from None
    raise error
