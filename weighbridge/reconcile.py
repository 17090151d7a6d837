"""What was planned against what the engine reports after its start: weights, KV cache, tokens, concurrency."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from weighbridge.report import table
from weighbridge.types import Plan

TOLERATED_SHARE = 0.05  # less than this missing is a warning, more is a broken promise


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: planned from low to high, and reported."""

    name: str
    low: float
    high: float
    reported: float

    @property
    def short(self) -> float:
        """The share of the low end that is missing; 0 when nothing is."""
        return max(0.0, 1 - self.reported / self.low) if self.low > 0 else 0.0


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """Every figure that both sides have. A promise is about tokens: those alone can be short."""

    lines: tuple[Line, ...]

    @property
    def missing_share(self) -> float:
        return max((line.short for line in self.lines if line.name == "KV cache tokens"), default=0.0)


def read_reported(log: Iterable[str], patterns: Mapping[str, str]) -> dict[str, float]:
    """Each pattern's number in an engine's log. Ranks report in turn: the least cache and the most weights count."""
    found: dict[str, list[float]] = {}
    compiled = {name: re.compile(pattern) for name, pattern in patterns.items()}
    for line in log:
        for name, pattern in compiled.items():
            match = pattern.search(line)
            if match:
                found.setdefault(name, []).append(float(match[1].replace(",", "")))
    return {name: min(v) if name in ("kv_gib", "kv_tokens", "concurrency") else max(v) for name, v in found.items()}


def reconcile(plan: Plan, reported: Mapping[str, float]) -> Reconciliation:
    """The plan's figures beside the engine's own, for those that the log has."""
    ranks, tokens = plan.memory.per_rank, plan.kv_cache_tokens
    weights = max(r.weights_gib for r in ranks)
    spans = {
        "weights_gib": ("weights GiB", weights, weights),
        "kv_gib": ("KV cache GiB", min(r.kv_gib_low for r in ranks), min(r.kv_gib_high for r in ranks)),
    }
    if tokens:
        share = plan.max_model_len
        spans["kv_tokens"] = ("KV cache tokens", tokens.low, tokens.high)
        spans["concurrency"] = ("full contexts at once", tokens.low / share, tokens.high / share)
    lines = [
        Line(name=name, low=round(low, 2), high=round(high, 2), reported=reported[key])
        for key, (name, low, high) in spans.items()
        if key in reported
    ]
    return Reconciliation(lines=tuple(lines))


def reconciliation_text(found: Reconciliation) -> str:
    """Planned, reported and the difference as a table; the last line names a broken promise."""
    rows = [(x.name, _number(x.low), _number(x.high), _number(x.reported), _difference(x)) for x in found.lines]
    if not rows:
        return "the engine reported no figures of its memory"
    text = table(rows, ("", "PLANNED", "UP TO", "REPORTED", "AGAINST PLANNED"))
    if found.missing_share:
        text += f"\nwarning: {found.missing_share:.1%} fewer tokens of KV cache than were promised"
    return text


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def _difference(line: Line) -> str:
    return f"{line.reported / line.low - 1:+.1%}" if line.low else "-"
