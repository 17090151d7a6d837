"""Verbs that check commands: lint, and what a newer engine changes on them."""

from __future__ import annotations

from typing import Any

from weighbridge.cli import CATALOG, JSON, ORDER, Flags, show, verb
from weighbridge.verbs import asked

LINT: Flags = {
    "command": (None, "a command line to look at; - reads standard input"),
    "file": (None, "a shell script, a page's code block, or a file of services to look at; - reads standard input"),
}
_OPTIONAL: Flags = {
    **ORDER,
    "profile": (None, "the kind of machine it is for: also says whether the model fits; see: invoke profiles"),
    "model": (
        None,
        "with no --command: the model whose lines are looked at (default: the one that travels along)",
    ),
}


@verb(_OPTIONAL, LINT, JSON)
def lint(json: bool, command: str | None, file: str | None, **values: Any) -> int:
    """Find what is wrong with a pasted command, or with our own lines for a plan. Exit 1 when an error is found."""
    from weighbridge.effects.pasted import text_of
    from weighbridge.lint import lint as look
    from weighbridge.lint import lint_plan, lint_text, must_be_known

    text = text_of(command, file)
    if text is None:
        it = asked({**values, "port": "8000", "name": None, "weights": None})
        found = lint_plan(it.plan, it.spec, it.catalog)
    else:
        it = asked(values)
        order = it.order if values["profile"] or values["order"] else None
        found = look(text, it.catalog, version=values["engine_version"], order=order)
        must_be_known(found)
    show(found, lambda: lint_text(found), json)
    return 1 if found.errors else 0


UPGRADE: Flags = {
    "engine": (None, "serving engine (default: that of the default profile)"),
    "old": (None, "the version that is used now (default: the oldest that is pinned)"),
    "new": (None, "the version to go to (default: the newest whose arguments are known)"),
}


@verb(UPGRADE, CATALOG, JSON)
def upgrade_diff(json: bool, engine: str | None, old: str | None, new: str | None, **values: Any) -> None:
    """What another version of an engine changes on its command line; arguments of our plans first."""
    from weighbridge.types import Order
    from weighbridge.upgrade import upgrade, upgrade_text, versions_of

    catalog = asked(values).catalog
    name = engine or catalog.profile(Order().profile).family.default_engine
    found = upgrade(catalog, name, *versions_of(catalog, name, old, new))
    show(found, lambda: upgrade_text(found), json)
