"""Every profile for one model, or every model for one profile: what fits, how narrowly, and what does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from weighbridge.catalog import Catalog
from weighbridge.errors import Refused
from weighbridge.facts import Model
from weighbridge.parallel import COMFORT
from weighbridge.plan import plan
from weighbridge.report import table
from weighbridge.types import Order, Plan

FITS, NARROW, NOT = "fits", "narrow", "does not fit"


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """One pair: the verdict and, when it fits, the plan's figures; tokens are those of one replica, promised."""

    profile: str
    model: str
    verdict: str
    parallel: str = ""
    max_model_len: int = 0
    kv_cache_tokens: int = 0
    precision: str = ""
    why: str = ""


def pairs(order: Order, catalog: Catalog, model: Model | None, *, by_profile: bool) -> list[Fit]:
    """Every model for the order's profile, or every profile for its model."""
    return models_for(order, catalog) if by_profile else profiles_for(order, catalog, model)


def profiles_for(order: Order, catalog: Catalog, model: Model | None = None) -> list[Fit]:
    """Each profile of one machine, for the model of the order."""
    found = model or catalog.model(order.model)
    return [_fit(msgspec.structs.replace(order, profile=p.id), found, catalog) for p in catalog.profiles()]


def models_for(order: Order, catalog: Catalog) -> list[Fit]:
    """Each model of the catalogue, for the profile of the order."""
    catalog.profile(order.profile)
    return [_fit(msgspec.structs.replace(order, model=m.id), m, catalog) for m in catalog.models()]


def _fit(order: Order, model: Model, catalog: Catalog) -> Fit:
    profile = catalog.profile(order.profile)
    try:
        found = plan(order, profile, catalog.engine(order.engine or profile.family.default_engine), model)
    except Refused as e:
        return Fit(profile=order.profile, model=model.id, verdict=NOT, why=e.message)
    return Fit(
        profile=order.profile,
        model=model.id,
        verdict=_verdict(found),
        parallel=f"TP{found.tensor_parallel} PP{found.pipeline_parallel} DP{found.data_parallel}",
        max_model_len=found.max_model_len,
        kv_cache_tokens=found.kv_cache_tokens.low if found.kv_cache_tokens else 0,
        precision=found.precision,
        why="; ".join(found.warnings),
    )


def _verdict(found: Plan) -> str:
    """Narrow: less than the model's own context, or too little cache for two requests of it."""
    tokens = found.kv_cache_tokens
    return FITS if tokens and tokens.low >= COMFORT * found.max_model_len and not found.warnings else NARROW


def fit_text(found: list[Fit]) -> str:
    """A table of what fits, then a line for each that does not."""
    rows = list(_rows(found))
    refused = [f"{f.profile}  {f.model}: {f.why}" for f in found if f.verdict == NOT]
    parts = [table(rows, ("PROFILE", "MODEL", "", "PARALLEL", "CONTEXT", "KV TOKENS", "PRECISION"))] if rows else []
    if refused:
        parts += ["", NOT, *(f"  {line}" for line in refused)]
    return "\n".join(parts)


def _rows(found: list[Fit]) -> Iterator[tuple[Any, ...]]:
    for f in found:
        if f.verdict != NOT:
            yield f.profile, f.model, f.verdict, f.parallel, f.max_model_len, f.kv_cache_tokens, f.precision


def fit_markdown(catalog: Catalog) -> str:
    """Profiles down, models across: TP×PP×DP and the context in units of 1024 tokens; * narrow, – not."""
    models = catalog.models()
    lines = [f"| | {' | '.join(m.id for m in models)} |", "|---" * (len(models) + 1) + "|"]
    for profile in catalog.profiles():
        cells = [_fit(Order(profile=profile.id, model=m.id), m, catalog) for m in models]
        lines.append(f"| {profile.id} | {' | '.join(_cell(c) for c in cells)} |")
    return "\n".join(lines) + "\n"


def _cell(found: Fit) -> str:
    if found.verdict == NOT:
        return "–"
    cut = found.parallel.replace("TP", "").replace(" PP", "×").replace(" DP", "×")
    return f"{cut} {found.max_model_len / 1024:.0f}K" + ("" if found.verdict == FITS else "*")
