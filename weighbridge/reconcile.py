"""What was planned against what the engine reports after its start: weights, KV cache, tokens, concurrency."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from weighbridge.engines import InfoMetric
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
    missing = max((line.short for line in lines if line.name == spans.get("kv_tokens", ("",))[0]), default=0.0)
    return Reconciliation(lines=tuple(lines), missing_share=round(missing, 4))


def read_metrics(text: str, wanted: Mapping[str, InfoMetric]) -> dict[str, float]:
    """Figures from the labels of an engine's info metrics, in Prometheus' text format; of several engines the least.

    A figure is the product of the first set of labels that are all there and whole; "None" is how an engine says none.
    """
    found: dict[str, float] = {}
    for name, info in wanted.items():
        values = [v for labels in _labels_of(text, info.metric) if (v := _product(labels, info.labels)) is not None]
        if values:
            found[name] = min(values)
    return found


def _labels_of(text: str, metric: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        match = re.match(re.escape(metric) + r"\{(.*)\}\s", line)
        if match:
            yield dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[1]))


def _product(labels: Mapping[str, str], choices: Iterable[Sequence[str]]) -> float | None:
    for names in choices:
        texts = [labels.get(name, "") for name in names]
        if texts and all(re.fullmatch(r"\d+(\.\d+)?", text) for text in texts):
            return math.prod(map(float, texts))
    return None
