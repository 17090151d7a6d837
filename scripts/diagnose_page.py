"""docs/diagnose.md's numbers and list of failures, from the data and the logs in tests/diagnose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from weighbridge.catalog import Catalog
from weighbridge.diagnose import Diagnosis, diagnose, failures_rows
from weighbridge.facts import Value
from weighbridge.failures import CERTAINTIES, Book, read_book

PAGE = Path("docs/diagnose.md")
LOGS = Path("tests/diagnose")  # logs/, which signs were written from, and held/
MARK = "<!-- made by `make diagnose-report` -->\n"
HELD = "held-out"
NONE = "none"  # the class of a log whose cause is no known failure


class Head(Value, frozen=True, kw_only=True):
    """The first line of a log in tests/diagnose: what it shows, who wrote it, where it is from, what it is for.

    A held-out log was collected after the signs of its `round` were finished; `named` and `certainty` are what they
    said of it then.
    """

    failure: str = msgspec.field(name="class")
    engine: str
    source: str
    split: str
    round: int = 0
    named: str = NONE
    certainty: str | None = None


class Named(NamedTuple):
    """What signs said of a log."""

    failure: str
    found: str
    certainty: str | None

    @property
    def right(self) -> bool:
        return self.found == self.failure


class Judged(NamedTuple):
    """A log, and what the signs say of it now."""

    name: str
    head: Head
    lines: list[str]  # what follows the first
    found: Diagnosis

    @property
    def now(self) -> Named:
        """What the signs of now say."""
        return Named(self.head.failure, self.found.failure or NONE, self.found.certainty)

    @property
    def then(self) -> Named:
        """What the signs said when it was new to them."""
        return Named(self.head.failure, self.head.named, self.head.certainty)


def judged(book: Book, folder: Path = LOGS) -> Iterator[Judged]:
    """Every log, diagnosed with the signs of all engines."""
    for path in sorted(folder.glob("*/*.txt")):
        first, *lines = path.read_text(encoding="utf-8").split("\n")
        head = msgspec.yaml.decode(first.removeprefix("# "), type=Head)
        yield Judged(path.stem, head, lines, diagnose(lines, book))


def precision(rows: Sequence[Named]) -> str:
    """Of the logs that were given a name, those where it is the right one."""
    named = [row for row in rows if row.found != NONE]
    return _share(sum(row.right for row in named), len(named))


def recall(rows: Sequence[Named]) -> str:
    """Of the logs that show a known failure, those that were given its name."""
    known = [row for row in rows if row.failure != NONE]
    return _share(sum(row.right for row in known), len(known))


def _share(some: int, all_: int) -> str:
    return f"{some} of {all_} ({some / all_:.0%})" if all_ else "-"


def _numbers(rows: Sequence[Judged]) -> Iterator[str]:
    held = [row for row in rows if row.head.split == HELD]
    then = [row.then for row in held]
    yield from ("| logs | how many | named rightly, of those named | found, of those known |", "|---|---|---|---|")
    for number in sorted({row.head.round for row in held}):
        yield _row(f"held-out, measurement {number}", [row.then for row in held if row.head.round == number])
    yield _row("held-out, all", then)
    for certainty in CERTAINTIES:
        some = [row for row in then if row.certainty == certainty]
        yield f"| held-out, all, {certainty} | {len(some)} | {precision(some)} | |"
    yield _row("patterns: the signs of now on the logs they were written from", [row.now for row in rows])
    others = [row for row in then if row.failure == NONE]
    quiet = sum(row.right for row in others)
    yield from ("", f"Held-out logs of no known failure that were given no name: {quiet} of {len(others)}.")


def _row(label: str, rows: Sequence[Named]) -> str:
    return f"| {label} | {len(rows)} | {precision(rows)} | {recall(rows)} |"


def _missed(rows: Sequence[Judged]) -> Iterator[str]:
    yield from ("| log | measurement | shows | was named | is named now | from |", "|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (row.head.round, row.name)):
        if row.head.split == HELD and not row.then.right:
            head = row.head
            now = "rightly" if row.now.right else f"`{row.now.found}`"
            yield f"| `{row.name}` | {head.round} | `{head.failure}` | `{head.named}` | {now} | {head.source} |"


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
