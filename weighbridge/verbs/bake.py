"""The verb that joins weights and engine into one image: bake."""

from __future__ import annotations

from typing import Any

from weighbridge.cli import DRY, JSON, ORDER, RUN, Flags, say, show, verb
from weighbridge.verbs import asked

BAKE: Flags = {
    "weights": RUN["weights"],
    "to": (None, "where the image goes: layout (a folder), docker, podman or registry; needed but for --dry-run"),
    "output": (None, "folder of the layout (default build/<profile>-<model>-baked)"),
    "ref": (None, "for --to registry, the name there: HOST/NAME:TAG"),
    "max_layer_gib": ("9", "largest layer, GiB; many registries refuse more than 10 (default 9)"),
    "jobs": (None, "layers at a time (default: one a core, at most 4)"),
    "insecure": (False, "plain http, or a certificate that nobody signed, for a registry that is not this machine"),
    "lock": (None, "the lock to keep to (default: models/<id>.lock.yaml, else the folder's own, else a new one)"),
    "digest_first": (False, "hash each layer before it is sent, for a registry that takes no stream"),
}


@verb(ORDER, BAKE, DRY, JSON)
def bake(json: bool, dry_run: bool, **values: Any) -> None:
    """Join the weights and the engine's image into one, without a Docker build: to a folder, an engine, a registry."""
    from weighbridge.effects.oci.begin import costs, read_wanted, start
    from weighbridge.effects.weights import check_model, check_weights
    from weighbridge.errors import BadValue
    from weighbridge.forecast import baked_text, forecast_text

    it = asked(values)
    wanted = read_wanted(values, it.plan)
    check_weights(it.weights, None if values["weights"] else it.plan.model)
    check_model(it.weights, it.plan.model, (it.model or it.catalog.model(it.plan.model)).shape, it.catalog)
    if dry_run:
        found = costs(it.plan, it.catalog, it.weights, wanted)
        return show(found, lambda: forecast_text(found.sinks, found.layers, found.lock), json)
    if not wanted.to:
        hint = "name one: --to layout, or docker, podman, registry; what each costs: invoke bake --dry-run"
        raise BadValue("--to is missing", hint)
    done = start(it.plan, it.catalog, it.folders, it.weights, wanted, say)
    show(done, lambda: baked_text(done), json)
