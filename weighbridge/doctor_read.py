"""What tools print, as values: a few general ways to read text. Which one a question takes is data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(?: ?(?:%|[A-Za-z]{1,3}))?")
_NOTHING = re.compile(r"\[?(N/?A|Not Supported|Unknown Error|GPU requires reset|Insufficient Permissions)\]?", re.I)
_LABEL = re.compile(r"[A-Za-z]+\d+")


def number(text: str) -> Any:
    """`81559 MiB` as 81559, `[N/A]` as None, other text as it stands."""
    text = text.strip()
    if not text or _NOTHING.fullmatch(text):
        return None
    found = _NUMBER.fullmatch(text)
    if not found:
        return text
    return float(found[1]) if "." in found[1] else int(found[1])


def key(text: str) -> str:
    """A heading as a name: `memory.total [MiB]` is memory_total."""
    return re.sub(r"\W+", "_", re.sub(r"\[.*?\]|\(.*?\)", "", text).strip().lower()).strip("_")


def read_text(text: str, _: str) -> str:
    """All of it."""
    return text


def read_csv(text: str, _: str) -> list[dict[str, Any]]:
    """A heading and a row a line, commas between; ValueError when a row has another length."""
    lines = [line.split(",") for line in text.splitlines() if line.strip()]
    names = [key(n) for n in lines[0]] if lines else []
    return [{n: number(v) for n, v in zip(names, line, strict=True)} for line in lines[1:]]


def read_rows(text: str, pattern: str) -> list[dict[str, Any]]:
    """Each place where the pattern is found, its named groups as a row."""
    return [{k: number(v or "") for k, v in m.groupdict().items()} for m in re.finditer(pattern, text, re.MULTILINE)]


def read_pairs(text: str, _: str) -> dict[str, str]:
    """Lines `name: value` or `name=value`; of a name that comes twice the first stands."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, sep, value = re.sub(r"^(\s*[^:=]+?)\s*([:=])", r"\1\2", line, count=1).strip().partition("=")
        if not sep or ":" in name:
            name, sep, value = line.strip().partition(":")
        if sep and key(name):
            found.setdefault(key(name), value.strip())
    return found


def read_matrix(text: str, _: str) -> list[dict[str, str]]:
    """A square table of links, as rows of `a`, `b` and `link`: each pair once, only labels of the first's kind."""
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).split() for line in text.splitlines()]
    at = next((i for i, line in enumerate(lines) if line and _LABEL.fullmatch(line[0])), len(lines))
    heading = [w for w in lines[at] if _LABEL.fullmatch(w)] if at < len(lines) else []
    cards = [w for w in heading if _kind(w) == _kind(heading[0])]
    found = []
    for line in lines[at + 1 :]:
        if line and line[0] in cards:
            after = cards[cards.index(line[0]) + 1 :]
            found += [{"a": line[0], "b": other, "link": line[1 + heading.index(other)]} for other in after]
    return found


def _kind(label: str) -> str:
    return label.rstrip("0123456789")


def read_json(text: str, _: str) -> Any:
    """JSON; ValueError when it is none."""
    return json.loads(text)


READERS: dict[str, Callable[[str, str], Any]] = {
    "text": read_text,
    "csv": read_csv,
    "rows": read_rows,
    "pairs": read_pairs,
    "matrix": read_matrix,
    "json": read_json,
}


def _parts(text: Any) -> tuple[int, ...]:
    found: list[int] = []
    for word in re.findall(r"rc\d*|\d+", str(text).split("-")[0].split("+")[0].lower()):
        found += [-1, int(word[2:] or 0)] if word.startswith("rc") else [int(word)]
    return tuple(found)


def version(text: Any) -> tuple[int, ...]:
    """Versions in their order: 24.1.rc3 before 24.1, which is 24.1.0, before 24.1.0.3."""
    return (*_parts(text), *[0] * 8)[:8]


def within(text: Any, bounds: str) -> bool:
    """Is a version in one of the ranges `[low,high],[low,high]`? A bound holds for all that begins like it."""
    found = _parts(text)
    for words in re.findall(r"\[([^,\]]*),([^\]]*)\]", bounds):
        low, high = map(_parts, words)
        above = version(text) >= (*low, *[0] * 8)[:8] or found[: len(low)] == low
        below = version(text) <= (*high, *[0] * 8)[:8] or found[: len(high)] == high
        if above and below:
            return True
    return False
