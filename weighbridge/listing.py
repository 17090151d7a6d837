"""What the catalogue holds, as text and as plain data."""

from __future__ import annotations

from typing import Any

import msgspec

from weighbridge import memory
from weighbridge.catalog import Catalog, profile_name
from weighbridge.facts import Model
from weighbridge.report import table


def profiles_json(catalog: Catalog) -> list[dict[str, Any]]:
    found = []
    for card_id in catalog.card_ids():
        card = catalog.card(card_id)
        names = [profile_name(card_id, card, count) for count in card.counts]
        found.append({"id": card_id, "profiles": names, **msgspec.to_builtins(card)})
    return found


def profiles_text(catalog: Catalog) -> str:
    rows = []
    for card_id in catalog.card_ids():
        card = catalog.card(card_id)
        counts = ",".join(map(str, card.counts))
        evidence = ", ".join(f"{engine} {e.words}" for engine, e in sorted(card.evidence.items()))
        link = card.interconnect.kind
        shown = f"{card.visible_gib:.2f}" if card.visible_gib else "unknown"
        rows.append((card_id, counts, shown, link, card.family, evidence, card.title))
    example = max(catalog.profiles(), key=lambda p: p.cards).id
    note = f"name one as <card>-x<cards a machine>[-n<machines>], for example: {example}"
    return table(rows, ("CARD", "COUNTS", "VISIBLE GiB", "LINK", "FAMILY", "EVIDENCE", "TITLE")) + f"\n\n{note}"


def models_json(catalog: Catalog) -> list[dict[str, Any]]:
    found = []
    for model in catalog.models(variants=True):
        facts = {"parameters": memory.parameters(model.shape), "weights_gib": round(weights_gib(model), 2)}
        found.append({**msgspec.to_builtins(model), **facts})
    return found


def models_text(catalog: Catalog) -> str:
    rows = []
    for model in catalog.models(variants=True):
        shape = model.shape
        parsers = " ".join(filter(None, (model.parsers.reasoning, model.parsers.tool_call))) or "-"
        size = f"{memory.parameters(shape) / 1e9:.2f}"
        gib = f"{weights_gib(model):.2f}"
        rows.append((model.id, size, gib, shape.max_context_tokens, parsers, model.licence or "-"))
    return table(rows, ("MODEL", "PARAMETERS 1e9", "WEIGHTS GiB", "CONTEXT", "PARSERS", "LICENCE"))


def weights_gib(model: Model) -> float:
    """GiB of the whole model's weights in the checkpoint's own type."""
    dtype = model.shape.dtype if model.shape.dtype in memory.BYTES else "bfloat16"
    return memory.weights_bytes(model.shape, memory.Split(1, 1), 0, dtype, None) / memory.GIB


def engines_json(catalog: Catalog) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(catalog.engine(e)) for e in catalog.engine_ids()]


def engines_text(catalog: Catalog) -> str:
    rows = []
    for engine_id in catalog.engine_ids():
        for name, family in sorted(catalog.engine(engine_id).families.items()):
            for version, base in family.bases.items():
                pinned = "*" if version == family.version else ""
                rows.append((engine_id, name, version + pinned, base.image.split("@")[0]))
    return (
        table(rows, ("ENGINE", "FAMILY", "VERSION", "BASE IMAGE")) + "\n\n* taken unless --engine-version names another"
    )
