"""An engine's log without what others wrote around it, and the first line in it that is a cause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from weighbridge.failures import Book, loosely

_EXCEPTION = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Refused|Interrupt|Failure|Enabled)\b(?:[:(]|$)")
_SAID = re.compile(
    r"^(?:\S+: )?(?:fatal )?error: |^Error response from daemon|\bFATAL\b|core dumped|Segmentation fault"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MOST_LETTERS = 320
_MOST_OF_A_LINE = 10_000


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
        depth = next((i for i, w in enumerate(writers) if w.search(line[:120])), len(writers))
        text, before = _COLOUR.sub("", line[:_MOST_OF_A_LINE]).rstrip(), ""
        while text != before:
            before, text = text, prefix.sub("", text)
        if text.strip():
            found.append(Line(number, depth, text))
    return found


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
