"""Every profile for one model, or every model for one profile: what fits, how narrowly, and what does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import msgspec

from weighbridge.catalog import Catalog
from weighbridge.errors import DoesNotFit, NotPublic, Refused, Unsupported
from weighbridge.facts import Model
from weighbridge.parallel import COMFORT
from weighbridge.plan import plan
from weighbridge.report import table
from weighbridge.road import SOME_MACHINES
from weighbridge.types import Order, Plan

FITS, NARROW, NOT, UNKNOWN = "fits", "narrow", "does not fit", "unknown"

_NARROW = (
    f"narrow: it fits, with less context than was wanted, a KV cache for fewer than {COMFORT} full requests, or"
    " another warning; invoke plan says which"
)


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
    """Each profile of one machine, for the model of the order. Raises Refused for what no profile could take."""
    found = model or catalog.model(order.model)
    return _weigh([(msgspec.structs.replace(order, profile=p.id), found) for p in catalog.profiles()], catalog)


def models_for(order: Order, catalog: Catalog) -> list[Fit]:
    """Each model of the catalogue, for the profile of the order. Raises Refused for what no model could take."""
    return _models_for(order, catalog.models(variants=True), catalog)


def several_for(order: Order, catalog: Catalog, model: Model | None, found: list[Fit]) -> str:
    """In a line, for each card of which no one machine holds the model, the fewest that do; empty for none."""
    fitting = [f.profile for f in found if f.verdict in (FITS, NARROW)]
    held_by = {catalog.profile(name).card_id for name in fitting}
    wanted = model or catalog.model(order.model)
    missed = [card for card in catalog.card_ids() if card not in held_by]
    held = ", ".join(name for card in missed for name in islice(_several(card, order, catalog, wanted), 1))
    if not held:
        return "" if fitting else f"no one machine holds it, nor do several, up to {max(SOME_MACHINES)} of a kind"
    which = "where no one machine of a card holds it" if fitting else "no one machine holds it"
    return f"{which}, several do, planned and not started from here: {held}"


def _several(card_id: str, order: Order, catalog: Catalog, model: Model) -> Iterator[str]:
    """The numbers of full machines of a card that hold the model, as profiles, fewest first."""
    for nodes in SOME_MACHINES:
        name = f"{card_id}-x{max(catalog.card(card_id).counts)}-n{nodes}"
        with suppress(Refused):
            yield _fit(msgspec.structs.replace(order, profile=name), model, catalog).profile


def _models_for(order: Order, models: list[Model], catalog: Catalog) -> list[Fit]:
    catalog.profile(order.profile)
    return _weigh([(msgspec.structs.replace(order, model=m.id), m) for m in models], catalog)


def _weigh(wanted: list[tuple[Order, Model]], catalog: Catalog) -> list[Fit]:
    """A value that is wrong everywhere is a refusal; one that is wrong here and there is a line of the table."""
    found, wrong = [], []
    for order, model in wanted:
        try:
            found.append(_fit(order, model, catalog))
        except (DoesNotFit, NotPublic, Unsupported) as e:
            found.append(_not(order, model, e))
        except Refused as e:
            wrong.append(e)
            found.append(_not(order, model, e))
    if wrong and len(wrong) == len([f for f in found if f.verdict != UNKNOWN]):
        raise wrong[0]
    return found


def _not(order: Order, model: Model, error: Refused) -> Fit:
    verdict = UNKNOWN if isinstance(error, NotPublic) else NOT
    return Fit(profile=order.profile, model=model.id, verdict=verdict, why=error.message)


def _fit(order: Order, model: Model, catalog: Catalog) -> Fit:
    """How it fits. Arguments beside the plan are not weighed, so that an order file's are left out."""
    profile = catalog.profile(order.profile)
    engine = catalog.engine(order.engine or profile.family.default_engine)
    found = plan(msgspec.structs.replace(order, extra_args=None), profile, engine, model)
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


def fit_text(found: list[Fit], several: str = "") -> str:
    """A table of what fits, what its words mean and which several machines fit, then a line for each that does not."""
    rows = list(_rows(found))
    parts = [table(rows, ("PROFILE", "MODEL", "", "PARALLEL", "CONTEXT", "KV TOKENS", "PRECISION"))] if rows else []
    parts += ["", _NARROW] if any(f.verdict == NARROW for f in found) else []
    parts += ["", several] if several else []
    for verdict in (NOT, UNKNOWN):
        refused = [f"{f.profile}  {f.model}: {f.why}" for f in found if f.verdict == verdict]
        parts += ["", verdict, *(f"  {line}" for line in refused)] if refused else []
    return "\n".join(parts).lstrip("\n")


def _rows(found: list[Fit]) -> Iterator[tuple[Any, ...]]:
    for f in found:
        if f.verdict not in (NOT, UNKNOWN):
            yield f.profile, f.model, f.verdict, f.parallel, f.max_model_len, f"{f.kv_cache_tokens:,}", f.precision


def fit_markdown(catalog: Catalog) -> str:
    """Profiles down, models across: TP×PP×DP and the context in units of 1024 tokens; * narrow, – not, ? unknown."""
    models = catalog.models()
    lines = [f"| | {' | '.join(m.id for m in models)} |", "|---" * (len(models) + 1) + "|"]
    for profile in catalog.profiles():
        cells = _models_for(Order(profile=profile.id), models, catalog)
        lines.append(f"| {profile.id} | {' | '.join(_cell(c) for c in cells)} |")
    return "\n".join(lines) + "\n"


def _cell(found: Fit) -> str:
    if found.verdict in (NOT, UNKNOWN):
        return "–" if found.verdict == NOT else "?"
    cut = found.parallel.replace("TP", "").replace(" PP", "×").replace(" DP", "×")
    return f"{cut} {found.max_model_len / 1024:.0f}K" + ("" if found.verdict == FITS else "*")
