"""docs/diagnose.md's numbers and list of failures, from the data and the logs in tests/diagnose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from weighbridge.catalog import Catalog
from weighbridge.diagnose import diagnose, failures_rows
from weighbridge.facts import Value
from weighbridge.failures import CERTAINTIES, Book, read_book

PAGE = Path("docs/diagnose.md")
LOGS = Path("tests/diagnose")  # logs/ and held/
MARK = "<!-- made by `make diagnose-report` -->\n"
NONE = "none"  # the class of a log whose cause is no known failure


class Head(Value, frozen=True, kw_only=True):
    """The first line of a log in tests/diagnose: what it shows, who wrote it, where it is from, what it is for."""

    failure: str = msgspec.field(name="class")
    engine: str
    source: str
    split: str


class Judged(NamedTuple):
    """A log and what was found in it."""

    name: str
    head: Head
    lines: list[str]  # what follows the first
    found: str
    certainty: str | None
    quote: str

    @property
    def right(self) -> bool:
        return self.found == self.head.failure


def judged(book: Book, folder: Path = LOGS) -> Iterator[Judged]:
    """Every log, diagnosed with the signs of all engines."""
    for path in sorted(folder.glob("*/*.txt")):
        first, *lines = path.read_text(encoding="utf-8").split("\n")
        head = msgspec.yaml.decode(first.removeprefix("# "), type=Head)
        found = diagnose(lines, book)
        yield Judged(path.stem, head, lines, found.failure or NONE, found.certainty, found.quote)


def precision(rows: Sequence[Judged]) -> str:
    """Of the logs that were given a name, those where it is the right one."""
    named = [row for row in rows if row.found != NONE]
    return _share(sum(row.right for row in named), len(named))


def recall(rows: Sequence[Judged]) -> str:
    """Of the logs that show a known failure, those that were given its name."""
    known = [row for row in rows if row.head.failure != NONE]
    return _share(sum(row.right for row in known), len(known))


def _share(some: int, all_: int) -> str:
    return f"{some} of {all_} ({some / all_:.0%})" if all_ else "-"


def _numbers(rows: Sequence[Judged]) -> Iterator[str]:
    yield from ("| logs | how many | named rightly, of those named | found, of those known |", "|---|---|---|---|")
    for split in ("held-out", "patterns"):
        some = [row for row in rows if row.head.split == split]
        yield f"| {split} | {len(some)} | {precision(some)} | {recall(some)} |"
        for certainty in CERTAINTIES:
            sure = [row for row in some if row.certainty == certainty]
            yield f"| {split}, {certainty} | {len(sure)} | {precision(sure)} | |"
    others = [row for row in rows if row.head.failure == NONE]
    quiet = sum(row.right for row in others)
    yield from ("", f"Logs of no known failure that were given no name: {quiet} of {len(others)}.")


def _missed(rows: Sequence[Judged]) -> Iterator[str]:
    yield from ("| held-out log | shows | was named | from |", "|---|---|---|---|")
    for row in rows:
        if row.head.split == "held-out" and not row.right:
            yield f"| `{row.name}` | `{row.head.failure}` | `{row.found}` | {row.head.source} |"


def _failures(book: Book, rows: Sequence[Judged]) -> Iterator[str]:
    logs = Counter(row.head.failure for row in rows)
    yield from ("| failure | what it is | first thing to change or type | logs |", "|---|---|---|---|")
    for name, title, first in failures_rows(book):
        yield f"| `{name}` | {title} | {first.replace('|', chr(92) + '|') or '-'} | {logs[name]} |"


def page(old: str) -> str:
    """The page with its numbers made anew; what stands above the mark is written by hand."""
    book = read_book(Catalog())
    rows = list(judged(book))
    parts = {
        "The numbers": _numbers(rows),
        "Held-out logs that were not named rightly": _missed(rows),
        "The failures": _failures(book, rows),
    }
    made = "\n".join(f"\n## {title}\n\n" + "\n".join(lines) + "\n" for title, lines in parts.items())
    return old.split(MARK)[0] + MARK + made.replace("\n\n\n", "\n\n")


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
