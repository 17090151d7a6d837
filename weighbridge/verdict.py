"""What a benchmark's figures allow to be said: intervals, limits kept or broken, one run against another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from weighbridge.bench import LATENCIES, PERCENTILES, BenchReport, Figures, Measured, Metric, Point
from weighbridge.errors import BadValue, unknown
from weighbridge.facts import Value

# Student's t, two-sided 95 %, by degrees of freedom (any table of it); beyond 30 the normal value is near enough.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


class Limit(Value, frozen=True, kw_only=True):
    """A bound on the mean of a metric over the repeats; without a scenario on every point."""

    metric: str
    scenario: str | None = None
    at_most: float | None = None
    at_least: float | None = None


class Slo(Value, frozen=True, kw_only=True):
    """goodput: what each request must keep, ms. limits: what the gate holds."""

    goodput: dict[str, float] = msgspec.field(default_factory=dict)
    limits: tuple[Limit, ...] = ()


class Held(Value, frozen=True, kw_only=True):
    """A limit and what was measured."""

    limit: str
    where: str
    measured: float | None
    ok: bool


class Estimate(Value, frozen=True, kw_only=True):
    """A mean with its 95 % interval; no interval from a single value."""

    mean: float
    low: float | None = None
    high: float | None = None
    count: int


class Change(Value, frozen=True, kw_only=True):
    """New over old of one metric at one point, with the interval of the ratio where both sides have repeats."""

    where: str
    metric: str
    old: Estimate
    new: Estimate
    ratio: float
    low: float | None
    high: float | None
    better: bool | None  # None: no difference can be told


def value(figures: Figures, metric: str) -> float | None:
    """A figure by name: requests_per_second, ttft_ms.p95 … None where it was not measured. Raises UnknownName."""
    name, _, part = metric.partition(".")
    if name in LATENCIES:
        found = getattr(figures, name)
        if part not in found:
            raise unknown("metric", metric, metric_names(), "docs/benchmark.md")
        return float(found[part])
    if metric not in metric_names():
        raise unknown("metric", metric, metric_names(), "docs/benchmark.md")
    plain = getattr(figures, name)
    return None if plain is None else float(plain)


def metric_names() -> list[str]:
    """Every name that a limit may have."""
    plain = [n for n in Figures.__struct_fields__ if n not in LATENCIES]
    return plain + [f"{name}.{part}" for name in LATENCIES for part in ("mean", *(f"p{p}" for p in PERCENTILES))]


def values(measured: Measured, metric: str) -> list[float]:
    found = [value(f, metric) for f in measured.repeats]
    return [v for v in found if v is not None]


def t95(degrees: float) -> float:
    """Student's t for a two-sided 95 % interval; between whole degrees the wider one."""
    whole = max(1, math.floor(degrees))
    return _T95[whole - 1] if whole <= len(_T95) else 1.96


def estimate(found: Sequence[float]) -> Estimate:
    """Mean and 95 % t-interval of repeats."""
    mean = sum(found) / len(found)
    if len(found) < 2:
        return Estimate(mean=mean, low=None, high=None, count=len(found))
    half = t95(len(found) - 1) * math.sqrt(_variance(found) / len(found))
    return Estimate(mean=mean, low=mean - half, high=mean + half, count=len(found))


def _variance(found: Sequence[float]) -> float:
    mean = sum(found) / len(found)
    return sum((v - mean) ** 2 for v in found) / (len(found) - 1)


def ratio(old: Sequence[float], new: Sequence[float]) -> tuple[float, float | None, float | None]:
    """New over old with a 95 % interval: Welch's, on the logarithms. No interval where a side has one value."""
    if min(*old, *new) <= 0:
        mean = estimate(new).mean / estimate(old).mean if estimate(old).mean else math.inf
        return mean, None, None
    logs = [[math.log(v) for v in side] for side in (old, new)]
    middle = sum(logs[1]) / len(new) - sum(logs[0]) / len(old)
    if min(len(old), len(new)) < 2:
        return math.exp(middle), None, None
    parts = [_variance(side) / len(side) for side in logs]
    error = math.sqrt(sum(parts))
    if error == 0:
        return math.exp(middle), math.exp(middle), math.exp(middle)
    degrees = sum(parts) ** 2 / sum(p**2 / (len(s) - 1) for p, s in zip(parts, logs, strict=True))
    half = t95(degrees) * error
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


COMPARED = ("requests_per_second", "output_tokens_per_second", "ttft_ms.p50", "tpot_ms.p50", "e2e_ms.p50", "e2e_ms.p95")


def compare(old: BenchReport, new: BenchReport, metrics: Mapping[str, Metric]) -> list[Change]:
    """Every point that both have. Raises BadValue when there is none."""
    before = {key(m.point): m for m in old.measured}
    found = [c for m in new.measured if key(m.point) in before for c in _changes(before[key(m.point)], m, metrics)]
    if not found:
        had = "; ".join(sorted(m.point.label for m in old.measured)) or "nothing"
        raise BadValue(f"the two have no point in common: the older one has {had}", "measure the same --scenario again")
    return found


def key(point: Point) -> tuple[Any, ...]:
    """What makes two points the same; how often they were repeated does not."""
    return tuple(getattr(point, name) for name in point.__struct_fields__ if name != "repeats")


def _changes(old: Measured, new: Measured, metrics: Mapping[str, Metric]) -> Iterator[Change]:
    for metric in COMPARED:
        before, after = values(old, metric), values(new, metric)
        if not before or not after:
            continue
        times, low, high = ratio(before, after)
        told = low is not None and high is not None and not low <= 1 <= high
        higher = metrics[metric.partition(".")[0]].better == "higher"
        yield Change(
            where=new.point.label, metric=metric, old=estimate(before), new=estimate(after), ratio=times, low=low,
            high=high, better=(times > 1) == higher if told else None,
        )  # fmt: skip


def check_slo(slo: Slo, scenarios: Iterable[str]) -> Slo:
    """The SLO, when it says what it can. Raises UnknownName for a metric or scenario, BadValue for a limit of none."""
    for name in slo.goodput:
        if name not in ("ttft_ms", "tpot_ms", "e2e_ms"):
            raise unknown("goodput metric", name, ["ttft_ms", "tpot_ms", "e2e_ms"], "docs/benchmark.md")
    known = list(scenarios)
    for limit in slo.limits:
        if limit.metric not in metric_names():
            raise unknown("metric", limit.metric, metric_names(), "docs/benchmark.md")
        if limit.scenario is not None and limit.scenario not in known:
            raise unknown("scenario", limit.scenario, known, "invoke bench --list-scenarios")
        if limit.at_most is None and limit.at_least is None:
            raise BadValue(f"the limit on {limit.metric} has no bound", "give it one: at_most: 500 or at_least: 2")
    return slo


def held(slo: Slo, measured: Sequence[Measured]) -> list[Held]:
    """Every limit at every point it is about. What it is about and was not measured is not kept."""
    found = []
    for limit in slo.limits:
        about = [m for m in measured if limit.scenario in (None, m.point.scenario)]
        found += [_held(limit, m.point.label, values(m, limit.metric)) for m in about]
        if not about:
            found.append(_held(limit, limit.scenario or "any scenario", []))
    return found


def _held(limit: Limit, where: str, found: Sequence[float]) -> Held:
    bounds = [
        *([f"<= {limit.at_most:g}"] if limit.at_most is not None else []),
        *([f">= {limit.at_least:g}"] if limit.at_least is not None else []),
    ]
    words = f"{limit.metric} {' and '.join(bounds)}"
    if not found:
        return Held(limit=words, where=where, measured=None, ok=False)
    mean = estimate(found).mean
    high = limit.at_most is None or mean <= limit.at_most
    low = limit.at_least is None or mean >= limit.at_least
    return Held(limit=words, where=where, measured=mean, ok=high and low)
