"""A run as a calibration row: what a plan promised, what the engine reported. The schema of tests/calibration/rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from weighbridge.errors import Unsupported
from weighbridge.facts import Value
from weighbridge.plan import slug
from weighbridge.types import PLANNED_AS, Plan

_ORDER = (
    "profile", "model", "engine", "utilization", "tensor_parallel", "pipeline_parallel", "data_parallel", "dtype",
    "kv_dtype", "quantization", "without",
)  # fmt: skip


class About(Value, frozen=True, kw_only=True):
    """What the rows of one file share."""

    engine: str
    family: str
    engine_version: str | None = None
    card: str | None = None
    visible_gib: float | None = None
    driver: str | None = None
    torch: str | None = None
    date: str | None = None
    command: str | None = None
    basis: str


class Row(Value, frozen=True, kw_only=True):
    """One run: `order` as flags, `reported` in GiB and tokens, `promised` tokens of the plan that was started."""

    id: str
    engine_version: str | None = None
    order: dict[str, Any]
    reported: dict[str, float]
    promised: int | None = None
    architecture: str | None = None
    visible_gib: float | None = None
    ready_seconds: float | None = None
    extra: str | tuple[str, ...] = ()
    held_out: bool = False
    note: str | None = None
    source: str | None = None

    @property
    def missing_share(self) -> float:
        """The share of the promised tokens that the engine did not report; 0 when none is missing."""
        tokens = self.reported.get("kv_tokens")
        return 0.0 if not self.promised or tokens is None else max(0.0, 1 - tokens / self.promised)


class CalibrationFile(Value, frozen=True, kw_only=True):
    """A file of rows."""

    about: About
    rows: tuple[Row, ...]


def file_of(
    plan: Plan, reported: Mapping[str, float], *, card: str, architecture: str | None, date: str
) -> CalibrationFile:
    """A run of one's own as a file with one row. The same plan gives the same id, so that its last run counts.

    Raises Unsupported for a run with arguments beside its plan, which says nothing of the plan.
    """
    if plan.extra_args is not None:
        raise Unsupported("a run with --extra-args is no measure of its plan", "run it once without them, and add that")
    order = {name: getattr(plan, name) for name in _ORDER} | {name: getattr(plan, f) for name, f in PLANNED_AS.items()}
    order["eager" if plan.eager else "compiled"] = True
    asked = {name: value for name, value in order.items() if value is not None}
    digest = hashlib.sha256(msgspec.json.encode([plan.engine_version, asked], order="sorted")).hexdigest()[:8]
    row = Row(
        id=f"{slug(f'{plan.profile}-{plan.model}')}-{digest}",
        order=asked,
        reported={k: reported[k] for k in sorted(reported)},
        promised=plan.kv_cache_tokens.low if plan.kv_cache_tokens else None,
        architecture=architecture,
    )
    about = About(
        engine=plan.engine, family=plan.family, engine_version=plan.engine_version, card=card, date=date,
        basis="measured: an appliance on this machine, by invoke calibrate --add",
    )  # fmt: skip
    return CalibrationFile(about=about, rows=(row,))


def broken_before(plan: Plan, card: str, architecture: str | None, files: Iterable[CalibrationFile]) -> tuple[str, ...]:
    """A line for each run of one's own, of such a model by this engine on this card, that held less than promised."""
    found = []
    for file in files:
        about = file.about
        if (about.engine, about.engine_version, about.card) != (plan.engine, plan.engine_version, card):
            continue
        for row in file.rows:
            same = row.order.get("model") == plan.model or (architecture and row.architecture == architecture)
            if same and row.missing_share:
                found.append(
                    f"{row.id}: {row.order.get('model')} held {row.missing_share:.1%} fewer tokens here than its plan"
                    f" promised ({row.reported['kv_tokens']:,.0f} of {row.promised:,}); expect the same of this one"
                )
    return tuple(found)
