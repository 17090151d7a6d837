"""Verbs that look and touch nothing: what is known, what fits, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weighbridge.cli import CATALOG, JSON, ORDER, Flags, show, verb
from weighbridge.verbs import asked


@verb({"here": (False, "name the profile of this machine by what its cards' tools show")}, CATALOG, JSON)
def profiles(json: bool, here: bool, **values: Any) -> None:
    """The kinds of machine: cards, memory, counts, and how far each was proven."""
    from weighbridge.listing import profiles_json, profiles_text

    catalog = asked(values).catalog
    if here:
        from weighbridge.effects.probe import look
        from weighbridge.here import here_json, here_text

        looked = look(catalog)
        return show(here_json(catalog, *looked), lambda: here_text(catalog, *looked), json)
    show(profiles_json(catalog), lambda: profiles_text(catalog), json)


@verb(CATALOG, JSON)
def models(json: bool, **values: Any) -> None:
    """The models that are known by name: size, context, parsers, licence."""
    from weighbridge.listing import models_json, models_text

    catalog = asked(values).catalog
    show(models_json(catalog), lambda: models_text(catalog), json)


@verb(CATALOG, JSON)
def engines(json: bool, **values: Any) -> None:
    """The serving engines: families of cards, pinned versions, base images."""
    from weighbridge.listing import engines_json, engines_text

    catalog = asked(values).catalog
    show(engines_json(catalog), lambda: engines_text(catalog), json)


DRAW: Flags = {
    "html": (None, "also write the plan as a page with memory bars to this file"),
    "svg": (None, "also write the memory bars alone to this file"),
}


@verb(ORDER, DRAW, JSON)
def plan(json: bool, html: str | None, svg: str | None, **values: Any) -> None:
    """Weigh the model against the machine: what fits, how it is cut, and why. Touches nothing."""
    from weighbridge.draw import plan_html, plan_svg
    from weighbridge.effects.disk import write_file
    from weighbridge.report import plan_text

    found = asked(values).plan
    for path, draw in ((html, plan_html), (svg, plan_svg)):
        if path:
            write_file(Path(path), draw(found))
    show(found, lambda: plan_text(found), json)


@verb(
    {**ORDER, "model": (None, "weigh this model on every profile"), "profile": (None, "weigh every model on this")},
    JSON,
)
def fit(json: bool, **values: Any) -> None:
    """What fits: every profile for one model, or every model for one profile."""
    from weighbridge.errors import BadValue
    from weighbridge.fit import fit_text, pairs

    if values["model"] and values["profile"]:
        raise BadValue("--model and --profile are one pair", "weigh it with: invoke plan; or leave one of them out")
    it = asked(values)
    found = pairs(it.order, it.catalog, it.model, by_profile=bool(values["profile"]))
    show(found, lambda: fit_text(found), json)
