"""Where the signs of failures stand in a log: it is searched for plain words first, and patterns are tried there."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from itertools import accumulate
from typing import Any, NamedTuple

from weighbridge.failures import CERTAINTIES, Failure, Sign
from weighbridge.logs import Line

_parser: Any = import_module("re._parser")  # what a pattern is made of, nobody else tells
_NEAR_LINES = 60
_LAST_LINES = 2
_SHORTEST = 2


class Hit(NamedTuple):
    """A sign that was found. Smaller is better: surer, earlier, more of the line, and nearer."""

    rank: int
    at: int
    rest: int
    distance: int
    failure: str
    match: re.Match[str]
    line: Line


def hits(lines: Sequence[Line], failures: Mapping[str, Failure], served: int) -> Iterator[Hit]:
    """Every sign below the line of the number `served`, which is 0 when the engine never served."""
    first = next((i for i, line in enumerate(lines) if line.number > served), len(lines))
    places = _Places([line.text for line in lines[first:]])
    near = cache(lambda pattern, i: bool(re.search(pattern, lines[i].text)))
    for name, failure in failures.items():
        for sign in failure.signs:
            if sign.served and not served:
                continue
            pattern = re.compile(sign.text)
            for at in (first + i for i in places.of(sign.text)):
                match = _match(pattern, lines, at)
                distance = _distance(sign, at, len(lines), near) if match else None
                if match and distance is not None:
                    rank, rest = CERTAINTIES.index(sign.certainty), match.start() - match.end()
                    yield Hit(rank, at, rest, distance, name, match, lines[at])


class _Places:
    """Which of some lines can match a pattern: those with a word of it, and those before them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._text = "".join(texts)
        self._ends = list(accumulate(map(len, texts)))
        self._known: dict[str, set[int]] = {}

    def of(self, pattern: str) -> list[int]:
        """Indices in order. A word may go over the end of a line: a terminal may have broken it there."""
        found = words(pattern)
        if found is None:
            return list(range(len(self._ends)))
        at = set().union(*(self._with(word) for word in found))
        return sorted(at | {i - 1 for i in at if i})

    def _with(self, word: str) -> set[int]:
        if word not in self._known:
            self._known[word] = set(self._search(word))
        return self._known[word]

    def _search(self, word: str) -> Iterator[int]:
        start = self._text.find(word)
        while start >= 0:
            line = bisect_right(self._ends, start)
            yield line
            start = self._text.find(word, max(start + 1, self._ends[line] - len(word) + 1))


@cache
def words(pattern: str) -> frozenset[str] | None:
    """Plain words, at least one of which stands in whatever the pattern matches; None when it has a way without."""
    parsed = _parser.parse(pattern)
    if parsed.state.flags & re.IGNORECASE:
        return None
    found = _words(parsed)
    return found if found and len(min(found, key=len)) >= _SHORTEST else None


def _words(items: Any) -> frozenset[str] | None:
    """Of the parts of a pattern that must all be there, the one with the longest words."""
    parts: list[frozenset[str]] = []
    run = ""
    for kind, value in [*items, (None, None)]:
        if str(kind) == "LITERAL":
            run += chr(value)
            continue
        parts += [frozenset({run})] if run else []
        run = ""
        inner = _inner(str(kind), value)
        parts += [inner] if inner else []
    return max(parts, key=lambda words: len(min(words, key=len)), default=None)


def _inner(kind: str, value: Any) -> frozenset[str] | None:
    """What must stand in a group, in one of several ways, or in what is repeated."""
    if kind == "SUBPATTERN":
        return None if value[1] & re.IGNORECASE else _words(value[-1])
    if kind.endswith("_REPEAT") and value[0] > 0:
        return _words(value[-1])
    if kind == "BRANCH":
        ways = [_words(way) for way in value[1]]
        return frozenset().union(*(w for w in ways if w)) if all(ways) else None
    return None


def _match(pattern: re.Pattern[str], lines: Sequence[Line], at: int) -> re.Match[str] | None:
    """In the line, or from it into the next one."""
    text = lines[at].text
    match = pattern.search(text)
    if match or at + 1 == len(lines):
        return match
    match = pattern.search(text + lines[at + 1].text)
    return match if match and match.start() < len(text) < match.end() else None


def _distance(sign: Sign, at: int, count: int, near: Callable[[str, int], bool]) -> int | None:
    """Lines between a sign and what it must stand beside; None when that is not there."""
    if sign.last and at < count - _LAST_LINES:
        return None
    if sign.near is None:
        return 0
    for far in range(_NEAR_LINES + 1):
        if any(0 <= i < count and near(sign.near, i) for i in (at - far, at + far)):
            return far
    return None
