"""Where an engine's start went: phases between the lines of its log, the patterns of which are data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from weighbridge.engines import Phase
from weighbridge.facts import Value
from weighbridge.report import table

_HOW = re.compile(r"^weighbridge: ((?:warm|cold) start\b.*)")


class Took(Value, frozen=True, kw_only=True):
    """One phase and how long it took."""

    phase: str
    seconds: float


def phases(lines: Iterable[tuple[float, str]], patterns: Sequence[Phase]) -> list[Took]:
    """The phases of a start, from (seconds since it began, line) of a log.

    A phase ends at the last line that matches its `until` before the next phase's; ranks print in turn. One that left
    no line is part of the next.
    """
    ends: list[tuple[float, str]] = []
    at = 0
    compiled = [(p.name, re.compile(p.until)) for p in patterns]
    for seconds, line in lines:
        for i in range(max(at - 1, 0), len(compiled)):
            if compiled[i][1].search(line):
                if ends and ends[-1][1] == compiled[i][0]:
                    ends.pop()
                ends.append((seconds, compiled[i][0]))
                at = i + 1
                break
    begins = [0.0, *(end for end, _ in ends)]
    return [Took(phase=name, seconds=round(end - b, 2)) for (end, name), b in zip(ends, begins, strict=False)]


class Start(Value, frozen=True, kw_only=True):
    """A start: warm or cold, in the words of its log, and its phases. `how` is None for an older image's."""

    how: str | None = None
    phases: tuple[Took, ...] = ()


def start_of(lines: Sequence[tuple[float, str]], patterns: Sequence[Phase]) -> Start:
    """Of the same lines as phases(): what the whole start was."""
    said = (m[1] for _, line in lines if (m := _HOW.match(line)))
    return Start(how=next(said, None), phases=tuple(phases(lines, patterns)))


def start_text(name: str, start: Start) -> str:
    """One appliance's start: its name, warm or cold, and where the time went."""
    return f"{name}{f': {start.how}' if start.how else ''}\n{startup_text(start.phases)}"


def startup_text(found: Sequence[Took]) -> str:
    """The phases as a table with bars, longest time first in sight."""
    if not found:
        return "the log holds no line that ends a phase of the start"
    whole = sum(t.seconds for t in found)
    rows = [
        (t.phase, f"{t.seconds:.1f} s", f"{t.seconds / whole:.0%}", "#" * round(40 * t.seconds / whole)) for t in found
    ]
    return table([*rows, ("in all", f"{whole:.1f} s", "", "")], ("PHASE", "TOOK", "", ""))
