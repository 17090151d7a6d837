"""A small search over data, pure: which candidate is measured next, and what its figures allow to be said of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, variance
from typing import Any, Literal, NamedTuple

import msgspec

from weighbridge.bench import BenchReport, Measured, Metric, Point
from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.errors import BadFile, Refused, unknown
from weighbridge.facts import Value
from weighbridge.knobs import Knob, Turned, changes_of
from weighbridge.orderfile import Tried, words_of
from weighbridge.types import Order, Plan
from weighbridge.verdict import Slo, estimate, held, key, metric_names, ratio, t95, values


class Goal(Value, frozen=True, kw_only=True):
    """What is sought: the metric, the one in its place where an SLO says what a good answer is, and the questions."""

    title: str
    metric: str
    with_goodput: str | None = None
    scenarios: tuple[str, ...]
    because: str


class GoalFile(Value, frozen=True, kw_only=True):
    """images/_shared/bench/goals.yaml. `least_gain`: a smaller ratio is none. The seconds are for a first guess."""

    goals: dict[str, Goal]
    least_gain: float
    least_gain_because: str
    start_seconds: dict[str, float]
    run_seconds: float


class Aim(NamedTuple):
    """A goal as it is asked for here."""

    goal: str
    metric: str
    higher: bool
    least_gain: float
    slo: Slo


class Trial(Value, frozen=True, kw_only=True):
    """What one plan did: a report for each start of it, or why it did not serve. Kept under its `fingerprint`."""

    fingerprint: str
    engine_args: tuple[str, ...]
    reports: tuple[BenchReport, ...] = ()
    ready_seconds: float | None = None
    wall_seconds: float = 0.0
    error: str | None = None
    date: str = ""


class Candidate(NamedTuple):
    """An order to measure: what it changes in the order that is tuned, and its plan."""

    knob: str | None
    changes: dict[str, Any]
    order: Order
    plan: Plan

    @property
    def label(self) -> str:
        return words_of(self.changes) or "as asked"


class Verdict(NamedTuple):
    """What a trial says against another one. `told`: the intervals allow it."""

    kind: Literal["better", "worse", "not told apart", "too small", "failed", "breaks more limits"]
    words: str


# --- what is known ---------------------------------------------------------------------------------------


def read_goals(catalog: Catalog) -> GoalFile:
    path = catalog.data_file("images", "_shared/bench/goals.yaml")
    found = convert(read_yaml(path), GoalFile, path)
    for goal in found.goals.values():
        for metric in filter(None, (goal.metric, goal.with_goodput)):
            if metric not in metric_names():
                error = unknown("metric", metric, metric_names(), "docs/benchmark.md")
                raise BadFile(f"{path}: {error.message}", error.hint)
    return found


def aim_of(file: GoalFile, name: str, slo: Slo, metrics: Mapping[str, Metric]) -> Aim:
    """The goal of --goal. Raises UnknownName."""
    if name not in file.goals:
        raise unknown("goal", name, file.goals, "invoke tune --help")
    goal = file.goals[name]
    metric = goal.with_goodput if goal.with_goodput and slo.goodput else goal.metric
    higher = metrics[metric.partition(".")[0]].better == "higher"
    return Aim(name, metric, higher, file.least_gain, slo)


def fingerprint(plan: Plan, points: Sequence[Point], goodput: Mapping[str, float], weights: str) -> str:
    """A name for one plan that is asked one set of questions: all that makes the engine another one, and no reasons."""
    told = (
        plan.profile, plan.model, plan.engine, plan.engine_version, plan.base_image, plan.command, plan.engine_args,
        sorted(plan.environment.items()), plan.shm_mib, weights,
        [msgspec.to_builtins(p) for p in points], sorted(goodput.items()),
    )  # fmt: skip
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:16]


# --- the search ------------------------------------------------------------------------------------------


class Search:
    """One knob after the other on the best so far. `candidates()` gives the next one; tell() what came of it."""

    def __init__(
        self, base: Candidate, knobs: Mapping[str, Knob], attempt: Callable[[Order], Plan], aim: Aim, lossy: bool
    ) -> None:
        self.base, self.best, self.aim = base, base, aim
        self.attempt, self.knobs, self.here = attempt, knobs, Turned(base.plan, aim.goal, lossy)
        self.tried: list[Tried] = []
        self.trials: dict[str, Trial] = {}  # by label
        self._seen = {_engine_line(base.plan)}

    def candidates(self) -> Iterator[Candidate]:
        """The order itself, then each value of each knob that applies and plans. What does not is noted, with why."""
        yield self.base
        for name, knob in self.knobs.items():
            why = self.here.why_not(knob)
            if why:
                self._skip(name, {}, why)
                continue
            for value in knob.values:
                found = self._planned(name, changes_of(value))
                if found is not None:
                    yield found

    def _planned(self, knob: str, changes: dict[str, Any]) -> Candidate | None:
        """The best so far with these changes, when it plans, holds the same context, and was not measured yet."""
        wanted = msgspec.structs.replace(self.best.order, **changes)
        whole = {**self.best.changes, **changes}
        try:
            plan, context = self.attempt(wanted), self.base.plan.max_model_len
            if plan.max_model_len < context:  # a shorter context is another product, not a faster one
                wanted = msgspec.structs.replace(wanted, context=context)
                plan, whole = self.attempt(wanted), {**whole, "context": context}
        except Refused as e:
            self._skip(knob, whole, f"does not plan: {e.message}")
            return None
        line = _engine_line(plan)
        if line in self._seen:
            self._skip(knob, whole, "the same engine line as one before")
            return None
        self._seen.add(line)
        return Candidate(knob, whole, wanted, plan)

    def _skip(self, knob: str, changes: dict[str, Any], why: str) -> None:
        self.tried.append(Tried(knob=knob, changes=changes, verdict="skipped", because=why))

    def tell(self, candidate: Candidate, trial: Trial) -> Verdict | None:
        """Take what was measured; the candidate is the best so far when it may be said. None for the first.

        First starts alone are judged: the second ones, which an earlier search may have left, are there to confirm.
        """
        before = self.trials.get(self.best.label)
        self.trials[candidate.label] = trial
        trial = msgspec.structs.replace(trial, reports=trial.reports[:1])
        said = None if before is None else judge(self.aim, before.reports[:1], trial)
        if said is None and trial.error:
            said = Verdict("failed", trial.error)
        if said and said.kind == "better":
            self.best = candidate
        self.tried.append(tried_of(candidate, trial, self.aim, said))
        return said


def _engine_line(plan: Plan) -> str:
    return json.dumps([plan.engine_args, sorted(plan.environment.items()), plan.command])


def tried_of(candidate: Candidate, trial: Trial, aim: Aim, said: Verdict | None) -> Tried:
    """A trial as a line of the evidence."""
    figures = {m.point.label: estimate(v) for m in together(trial.reports) if (v := values(m, aim.metric))}
    return Tried(
        knob=candidate.knob,
        changes=dict(candidate.changes),
        verdict=said.kind if said else "start",
        because=said.words if said else "what was asked",
        engine_args=trial.engine_args,
        ready_seconds=trial.ready_seconds,
        date=trial.date,
        figures=figures,
    )


def together(reports: Sequence[BenchReport]) -> list[Measured]:
    """The points of several starts of one plan, their repeats joined."""
    found: dict[tuple[Any, ...], Measured] = {}
    for m in (m for report in reports for m in report.measured):
        old = found.get(key(m.point))
        found[key(m.point)] = m if old is None else msgspec.structs.replace(
            old, repeats=old.repeats + m.repeats, errors=old.errors + m.errors
        )  # fmt: skip
    return list(found.values())


def judge(aim: Aim, before: Sequence[BenchReport], trial: Trial) -> Verdict:
    """Better: told at one point at least, by the least gain, and worse at none; limits come before figures."""
    if trial.error:
        return Verdict("failed", trial.error)
    old, new = together(before), together(trial.reports)
    lost, lost_before = _lost(new), _lost(old)
    if lost > lost_before:
        return Verdict("failed", f"{lost} requests failed")
    broken, broken_before = (sum(not h.ok for h in held(aim.slo, side)) for side in (new, old))
    if broken > broken_before:
        return Verdict("breaks more limits", f"{broken} limits are broken, {broken_before} before")
    gains = {m.point.label: gain(aim, _same(old, m.point), m) for m in new}
    words = "; ".join(f"{label}: {_gain_words(found)}" for label, found in gains.items())
    if broken < broken_before:
        return Verdict("better", f"{broken} limits are broken, {broken_before} before; {words}")
    if any(g and g[2] is not None and g[2] < 1 for g in gains.values()):
        return Verdict("worse", words)
    told = [g for g in gains.values() if g and g[1] is not None and g[1] > 1]
    if any(g[0] >= aim.least_gain for g in told):
        return Verdict("better", words)
    return Verdict("too small" if told else "not told apart", words)


_FROM_GOOD_TO_BAD = ("better", "too small", "not told apart", "worse", "breaks more limits", "failed")


def confirmed(aim: Aim, before: Trial, after: Trial) -> Verdict:
    """Each start of the one against each start of the other: the worst of those verdicts.

    Two starts of one plan differ by more than the runs within each of them say, so that one pair alone proves little.
    """
    if before.error:
        return Verdict("failed", before.error)
    pairs = [
        judge(aim, [old], msgspec.structs.replace(after, reports=(new,)))
        for old in before.reports for new in after.reports
    ]  # fmt: skip
    return max(pairs, key=lambda said: _FROM_GOOD_TO_BAD.index(said.kind))


def gains(aim: Aim, before: Trial, after: Trial) -> str:
    """How many times as good, start by start."""
    said = [
        judge(aim, [old], msgspec.structs.replace(after, reports=(new,), error=None)).words
        for old, new in zip(before.reports, after.reports, strict=False)
    ]
    return "; started again: ".join(said)


def _lost(measured: Sequence[Measured]) -> int:
    return sum(f.failed for m in measured for f in m.repeats) + sum(len(m.errors) for m in measured)


def _same(measured: Sequence[Measured], point: Point) -> Measured | None:
    return next((m for m in measured if key(m.point) == key(point)), None)


def gain(aim: Aim, old: Measured | None, new: Measured) -> tuple[float, float | None, float | None] | None:
    """How many times as good, with its 95 % interval; above 1 is better, whichever way the metric counts."""
    before, after = (values(m, aim.metric) if m else [] for m in (old, new))
    if not before or not after:
        return None
    if min(*before, *after) > 0:
        return ratio(before, after) if aim.higher else ratio(after, before)
    return _with_zeros(before, after) if aim.higher else None  # a time of 0 was not measured


def _with_zeros(old: Sequence[float], new: Sequence[float]) -> tuple[float, float | None, float | None]:
    """As ratio(), where a side holds a 0, which has no logarithm: all 0 against all above it is told, else Welch's
    interval of the difference says."""
    base, mean = fmean(old), fmean(new)
    times = mean / base if base else math.inf if mean else 1.0
    if min(len(old), len(new)) < 2:
        return times, None, None
    if not (base or mean) or (not base and min(new) > 0) or (not mean and min(old) > 0):
        return times, times, times
    parts = [variance(side) / len(side) for side in (old, new)]
    degrees = sum(parts) ** 2 / sum(p**2 / (len(s) - 1) for p, s in zip(parts, (old, new), strict=True))
    half = t95(degrees) * math.sqrt(sum(parts))
    if not base:
        return times, math.inf if mean > half else 0.0, math.inf
    return times, max(0.0, mean - half) / base, (mean + half) / base


def _gain_words(found: tuple[float, float | None, float | None] | None) -> str:
    if found is None:
        return "not measured"
    if math.isinf(found[0]):
        return "some, where there was none"
    if not found[0]:
        return "none, where there was some"
    if found[1] is None or found[2] is None:
        return f"{found[0]:.2f} times as good, once"
    return f"{found[0]:.2f} times as good ({found[1]:.2f} to {found[2]:.2f})"
