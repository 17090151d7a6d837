"""A command to look at: from the command line, a file, or standard input."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from weighbridge.errors import BadFile, BadValue

_MOST_BYTES = 1 << 20
_STDIN = "standard input"


def text_of(command: str | None, file: str | None) -> str | None:
    """The text that was given; None for none. Raises BadValue, BadFile."""
    if command is not None and file is not None:
        raise BadValue("--command and --file are two texts", "give one of them")
    if command == "-" or file == "-":
        return _plain(sys.stdin.buffer.read(_MOST_BYTES + 1), _STDIN)
    if file is None:
        return command
    try:
        with Path(file).open("rb") as source:
            return _plain(source.read(_MOST_BYTES + 1), file)
    except OSError as e:
        raise BadFile(f"{file}: {e.strerror}", "name a file that can be read, or - for standard input") from None


def _as_utf8(name: str) -> str:
    if name == _STDIN:
        return "save it as UTF-8 in a file, and name that: invoke lint --file FILE"
    return f"if it is in GBK: iconv -f GBK -t UTF-8 {shlex.quote(name)} | invoke lint --file -"


def _plain(content: bytes, name: str) -> str:
    if len(content) > _MOST_BYTES:
        raise BadFile(f"{name}: more than 1 MiB, which no command is", "paste the command alone")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise BadFile(f"{name}: not UTF-8 text", _as_utf8(name)) from None
    if not text.strip():
        raise BadFile(f"{name}: empty", "paste a command")
    return text
