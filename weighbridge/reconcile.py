"""What was planned against what the engine reports after its start: weights, KV cache, tokens, concurrency."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from weighbridge.types import Line, Plan, Reconciliation

TOLERATED_SHARE = 0.05  # less than this missing is a warning; more fails a strict smoke test


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
