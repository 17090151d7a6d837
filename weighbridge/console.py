"""The console page as files: the static page, and about.json, which says what plan.json does not."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from weighbridge.catalog import Catalog
from weighbridge.types import File, Plan


def console_files(plan: Plan, catalog: Catalog) -> dict[str, File]:
    """What the gateway serves under /console/, but the plan itself; index.html is served at / as well."""
    folder = catalog.shared_folder("console")
    found = {p.name: File(text=p.read_text(encoding="utf-8")) for p in sorted(folder.iterdir()) if p.is_file()}
    found["about.json"] = File(text=json.dumps(about(plan, catalog), indent=2, ensure_ascii=False) + "\n")
    return found


def about(plan: Plan, catalog: Catalog) -> dict[str, Any]:
    """The model's title and licence; the engine's title, and how it names what the page shows live.

    A model that was planned from its config.json has its name for a title, and no licence that we know.
    """
    engine = catalog.engine(plan.engine)
    known = catalog.model(plan.model) if plan.model in catalog.model_ids() else None
    return {
        "title": known.title if known else plan.model,
        "licence": known.licence if known else None,
        "engine": engine.title,
        "metrics": msgspec.to_builtins(engine.console) if engine.console else None,
    }
