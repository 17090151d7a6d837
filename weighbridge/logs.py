"""An engine's log without what others wrote around it, and the first line in it that is a cause."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from weighbridge.failures import Book, loosely

_EXCEPTION = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Refused|Interrupt|Failure|Enabled)\b(?:[:(]|$)")
_SAID = re.compile(
    r"^(?:\S+: )?(?:fatal )?error: |^Error response from daemon|\bFATAL\b|core dumped|Segmentation fault"
)
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")
_MOST_LETTERS = 320
_MOST_OF_A_LINE = 10_000
_PACKED_FROM = 80
_MESSAGE_KEYS = ("log", "message", "msg", "textPayload", "line", "MESSAGE")


class Line(NamedTuple):
    """A line of a log: where it stands (from 1), who wrote it (0 is innermost), and what is left of it."""

    number: int
    depth: int
    text: str


def clean(raw: Sequence[str], book: Book) -> list[Line]:
    """The lines without time, level, process and whatever a tool put before them; empty ones are left out."""
    prefix = re.compile(rf"^(?:{'|'.join(f'(?:{p})' for p in book.prefixes)})\s?")
    writers = [re.compile(p) for p in book.processes]
    found = []
    for number, line in enumerate(raw, 1):
        for part in _parts(line):
            depth = next((i for i, w in enumerate(writers) if w.search(part[:120])), len(writers))
            text, before = _COLOUR.sub("", part).rstrip(), ""
            while text != before:
                before, text = text, prefix.sub("", text)
            if text.strip():
                found.append(Line(number, depth, text))
    return found


def _parts(line: str) -> Iterator[str]:
    """The lines that one holds: what a tool packed into JSON, what was escaped, and what is too long for one."""
    packed = line.find('{"', 0, _PACKED_FROM)
    text = (_unpacked(line[packed:]) if packed >= 0 else None) or line
    if len(text) > _MOST_LETTERS and "\\n" in text:
        text = text.replace("\\n", "\n")
    for part in text.split("\n") if "\n" in text else (text,):
        for start in range(0, len(part) or 1, _MOST_OF_A_LINE):
            yield part[start : start + _MOST_OF_A_LINE]


def _unpacked(line: str) -> str | None:
    """The message in a line of JSON, as Docker's own log files and log collectors have them."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    for key in ("fields", "jsonPayload"):
        found |= found[key] if isinstance(found.get(key), dict) else {}
    said = next((found[key] for key in _MESSAGE_KEYS if isinstance(found.get(key), str)), None)
    return said.rstrip("\r\n") if said else None


def ready_at(lines: Sequence[Line], book: Book) -> int:
    """The number of the last line that says that the engine serves; 0 when none does."""
    said = loosely(book.ready)
    return next((line.number for line in reversed(lines) if said.search(line.text)), 0)


def first_cause(lines: Sequence[Line], book: Book) -> Line | None:
    """The first exception of the innermost process that does not merely say that another one came before.

    A line that goes on indented is shown with the next. Without an exception, the first line that a program gave as
    its reason to end.
    """
    noise = loosely(book.noise)
    causes = [line for line in lines if _EXCEPTION.match(line.text) and not noise.search(line.text)]
    if not causes:
        said = [line for line in lines if _SAID.search(line.text) and not noise.search(line.text)]
        return said[0] if said else None
    first = min(causes, key=lambda line: (line.depth, line.number))
    after = [line.text for line in lines if line.number == first.number + 1 and line.text.startswith("  ")]
    return first._replace(text=" ".join([first.text, *(text.strip() for text in after)]))


def quote(text: str, at: int = 0) -> str:
    """A line short enough to show, with the place that matters in it."""
    start = max(0, min(at, len(text) - _MOST_LETTERS)) if at > _MOST_LETTERS // 2 else 0
    part = text[start : start + _MOST_LETTERS].strip()
    return ("… " if start else "") + part + (" …" if start + _MOST_LETTERS < len(text) else "")
