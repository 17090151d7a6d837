"""A search as values and text: what would be measured and for how long; what was found, and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weighbridge.benchtext import spread
from weighbridge.facts import Value
from weighbridge.knobs import Knob, changes_of
from weighbridge.orderfile import TuneEvidence, words_of
from weighbridge.report import table
from weighbridge.types import Order


class Planned(Value, frozen=True, kw_only=True):
    """A candidate of --dry-run: what it changes, and what is known of it already."""

    candidate: str
    changes: dict[str, Any]
    measured: str | None
    seconds: float


class Listing(Value, frozen=True, kw_only=True):
    """What a search would do. `seconds` are of what is not measured yet, `most_seconds` of all that may follow too.
    Both are estimates and no bounds: each start is taken to be as long as `basis` says.

    `lossy`: the knobs that --lossy would add, each with its values.
    """

    goal: str
    metric: str
    points: tuple[str, ...]
    candidates: tuple[Planned, ...]
    skipped: tuple[tuple[str, str], ...]
    seconds: float
    most_seconds: float
    budget_seconds: float | None
    basis: str
    lossy: tuple[tuple[str, str], ...]
    file: str


class Tuning(Value, frozen=True, kw_only=True):
    """What a search found: the order, where it is written, and its evidence."""

    order: Order
    changes: dict[str, Any]
    file: str
    evidence: TuneEvidence


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def values_of(knob: Knob) -> str:
    """What a knob is turned to."""
    return ", ".join(words_of(changes_of(value)) for value in knob.values)


def listing_text(found: Listing) -> str:
    """The candidates from the order as asked; which of them are built on another one, the figures will say."""
    rows = [
        (p.candidate, p.measured or "to be measured", minutes(p.seconds) if p.seconds else "-")
        for p in found.candidates
    ]
    lines = [f"{found.goal}: {found.metric} of {'; '.join(found.points)}", "", table(rows, ("CANDIDATE", "", "TAKES"))]
    if found.skipped:
        lines += ["", table(found.skipped, ("LEFT OUT", "BECAUSE"))]
    if found.lossy:
        lines += ["", f"--lossy would add: {'; '.join(f'{name} ({values})' for name, values in found.lossy)}"]
    return "\n".join([*lines, "", _takes(found), f"would write {found.file}"])


def _takes(found: Listing) -> str:
    """How long a search takes, by estimate: as it looks now, and with all that may follow."""
    most = found.most_seconds
    more = f", about {minutes(most)} if all that may follow is tried" if most > found.seconds else ""
    if most == found.budget_seconds:
        more += ", where --budget ends it"
    elif more:
        more += ": what a better order makes possible, and two starts that confirm it"
    return f"about {minutes(min(found.seconds, most))}{more} ({found.basis})"


def tuning_text(found: Tuning) -> str:
    """Every candidate with its figures, the verdict, and the line to type next."""
    evidence = found.evidence
    points = list(dict.fromkeys(label for t in evidence.tried for label in t.figures))
    measured = [t for t in evidence.tried if t.verdict != "skipped"]
    rows = [
        (
            t.label, "-" if t.ready_seconds is None else f"{t.ready_seconds:.0f} s",
            *(spread(t.figures[p]) if p in t.figures else "-" for p in points),
            t.verdict if t.verdict == "start" else f"{t.verdict}: {t.because}",
        )
        for t in measured
    ]  # fmt: skip
    lines = [
        f"{evidence.goal}: {evidence.metric}",
        "",
        table(rows, ("CANDIDATE", "READY", *points, "AGAINST THE BEST BEFORE")),
    ]
    left = [(t.label, t.because) for t in evidence.tried if t.verdict == "skipped"]
    if left:
        lines += ["", table(left, ("LEFT OUT", "BECAUSE"))]
    return "\n".join([*lines, "", *_end(found)])


def _end(found: Tuning) -> Sequence[str]:
    evidence = found.evidence
    if not found.changes:
        best = "nothing that was tried is better than the order as asked"
        if evidence.confirmed is False:
            best += ": a gain was not seen again at a second start"
    else:
        sure = {True: "confirmed at a second start", False: "", None: "not confirmed by a second start"}
        best = f"best: {words_of(found.changes)}: {evidence.gain} ({sure[evidence.confirmed]})"
    rest = [] if evidence.complete else ["not everything was measured; the same line goes on"]
    return [best, *rest, f"written: {found.file}", f"take it: invoke run --order {found.file}"]
