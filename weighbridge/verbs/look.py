"""Verbs that look and touch nothing: what is known, what fits, and why."""

from __future__ import annotations

from typing import Any

from weighbridge.cli import CATALOG, DRY, JSON, NAME, ORDER, Flags, say, show, verb
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
    "html": (None, "also write the plan as an HTML page with memory bars to this file"),
    "svg": (None, "also write the memory bars alone to this file"),
}


@verb(ORDER, DRAW, JSON)
def plan(json: bool, html: str | None, svg: str | None, **values: Any) -> None:
    """Weigh the model against the machine: what fits, how it is cut, and why. Builds and starts nothing."""
    from weighbridge.draw import plan_html, plan_svg
    from weighbridge.effects.disk import file_to_write, write_file
    from weighbridge.report import plan_text

    it = asked(values)
    pictures = (file_to_write("--html", html), plan_html), (file_to_write("--svg", svg), plan_svg)
    found = it.plan
    for line in it.own_runs:
        say(f"warning: {line}")
    for path, draw in pictures:
        if path:
            write_file(path, draw(found))
            say(f"wrote {path}")
    show(found, lambda: plan_text(found), json)


@verb(
    {
        **{name: flag for name, flag in ORDER.items() if name != "extra_args"},  # they are not weighed
        "model": (None, "weigh this model on every profile; either this or --profile (default: the demo model)"),
        "profile": (None, "weigh every model on this one; auto: this machine"),
    },
    JSON,
)
def fit(json: bool, **values: Any) -> None:
    """What fits: every profile for one model, or every model for one profile."""
    from weighbridge.errors import BadValue
    from weighbridge.fit import fit_text, pairs, several_for
    from weighbridge.road import taken_for

    if values["model"] and values["profile"]:
        raise BadValue("--model and --profile are one pair", "weigh it with: invoke plan; or leave one of them out")
    it = asked(values)
    by_profile = bool(values["profile"])
    found = pairs(it.order, it.catalog, it.model, by_profile=by_profile)
    for line in taken_for(it.order.profile, it.catalog):
        say(f"warning: {line}")
    show(found, lambda: fit_text(found, "" if by_profile else several_for(it.order, it.catalog, it.model, found)), json)


@verb(NAME, {"add": (False, "keep what the running appliance reports as a row of your own")}, CATALOG, DRY, JSON)
def calibrate(json: bool, dry_run: bool, add: bool, name: str | None, **values: Any) -> None:
    """Runs of your own: what each plan promised, what its engine reported, and whether a promise was broken."""
    from weighbridge.effects.calibration import folder_of, keep, read_files
    from weighbridge.errors import BadValue
    from weighbridge.report import calibration_text

    if (name or dry_run) and not add:
        raise BadValue("--name and --dry-run are for --add", "keep the run of an appliance: --add --name NAME")
    it = asked(values)
    folder = folder_of(it.environment)
    kept = list(read_files(folder))
    if add:
        from weighbridge.effects.docker import Host
        from weighbridge.effects.figures import measured

        new = measured(name, Host(), it.catalog)
        kept = [f for f in kept if f.rows[0].id != new.rows[0].id] + [new]
        say(f"would keep {new.rows[0].id} in {folder}" if dry_run else f"kept {keep(new, folder)}")
    rows = [(file.about, row) for file in kept for row in file.rows]
    plain = [
        {"engine": about.engine, "engine_version": row.engine_version or about.engine_version,
         "missing_share": round(row.missing_share, 4), "row": row}
        for about, row in rows
    ]  # fmt: skip
    show({"folder": str(folder), "rows": plain}, lambda: calibration_text(rows), json)
