"""A search with everything that it needs: what it would do, how long that takes, and whether a budget is enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weighbridge.errors import BadValue
from weighbridge.tune import GoalFile, Search, Trial
from weighbridge.tunetext import Listing, Planned, minutes, values_of
from weighbridge.types import Plan


class Ready(NamedTuple):
    """A search with everything that it needs, before anything is touched."""

    search: Search
    goals: GoalFile
    records: Any
    file: Path
    command: str
    model_config: str | None
    budget_seconds: float | None
    again: bool

    def known(self, plan: Plan) -> Trial | None:
        return None if self.again else self.records.known(plan)

    def seconds(self, trials: list[Trial]) -> tuple[float, str]:
        """How long one candidate takes, and on what that rests."""
        took = [t.wall_seconds for t in trials if t.wall_seconds and not t.error]
        if took:
            return sum(took) / len(took), "as long as those that were measured"
        start = self.goals.start_seconds
        begun = start.get(self.search.base.plan.family, start["other"])
        runs = sum(
            p.repeats * (p.prompts / p.rate if p.rate else self.goals.run_seconds)
            for p in self.records.questions.points
        )
        return begun + runs, "assumed: none was measured yet"

    def listing(self) -> Listing:
        search = self.search
        found = [(c, self.known(c.plan)) for c in search.candidates()]
        one, basis = self.seconds([t for _, t in found if t])
        planned = tuple(
            Planned(
                candidate=c.label, changes=c.changes, measured=f"measured {t.date}" if t else None,
                seconds=0 if t else round(one),
            )
            for c, t in found
        )  # fmt: skip
        return Listing(
            goal=search.aim.goal, metric=search.aim.metric,
            points=tuple(f"{p.label}, {p.repeats} runs" for p in self.records.questions.points), candidates=planned,
            skipped=tuple((t.label, t.because) for t in search.tried),
            seconds=sum(p.seconds for p in planned), most_seconds=self._most(planned, round(one)),
            budget_seconds=self.budget_seconds, basis=basis,
            lossy=tuple((n, values_of(k)) for n, k in search.knobs.items() if search.here.only_lossy(k)),
            file=str(self.file),
        )  # fmt: skip

    def _most(self, planned: Sequence[Planned], one: float) -> float:
        """Seconds with what plans only on a better order, and with two starts to confirm the best; the budget ends it.

        A value that does not plan on the order as asked, or is the same there, may on a better one. No bound: a start
        may take longer than `one`, and the budget is looked at between candidates, after the first.
        """
        later = sum(bool(t.changes) for t in self.search.tried)
        confirming = 2 if len(planned) + later > 1 else 0
        most = sum(p.seconds for p in planned) + (later + confirming) * one
        return most if self.budget_seconds is None else min(most, self.budget_seconds)

    def check_budget(self, typed: str | None, line: Callable[[str], str]) -> None:
        """Raises BadValue for minutes that are none, and for fewer than the first start takes."""
        one, basis = self.seconds([])
        hint = f"one start takes about {minutes(one)} ({basis}): {line(str(math.ceil(2 * one / 60)))}"
        if typed is not None and self.budget_seconds is None:
            raise BadValue(f"--budget {typed!r} is no number of minutes above 0", hint)
        if self.budget_seconds is not None and self.budget_seconds < one and not self.known(self.search.base.plan):
            raise BadValue(f"--budget {typed} ends before the first start does", f"{hint}, or leave --budget out")
