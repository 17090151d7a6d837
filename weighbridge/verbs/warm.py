"""The verb that keeps what an engine compiles in its image: warm."""

from __future__ import annotations

from typing import Any

from weighbridge.cli import DRY, JSON, ORDER, RUN, Flags, say, show, verb
from weighbridge.verbs import asked

WARM: Flags = {
    "name": (None, "an appliance that runs this plan, to take from (default: from the model; else one is started)"),
    "weights": RUN["weights"],
    "cdi": RUN["cdi"],
    "memory_limit": RUN["memory_limit"],
    "export": (None, "also write the layer to this tar, for a machine with the same cards"),
    "import_": (None, "take the layer of such a tar instead of running the engine"),
}


@verb(ORDER, WARM, DRY, JSON)
def warm(json: bool, dry_run: bool, export: str | None, import_: str | None, **values: Any) -> None:
    """Run the engine once on the plan's cards, and keep what it compiled as a layer of its image."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from weighbridge.effects import probe
    from weighbridge.effects.disk import file_to_write
    from weighbridge.effects.keyring import Keyring
    from weighbridge.effects.warm import import_layer
    from weighbridge.effects.warm import warm as warm_up
    from weighbridge.effects.weights import check_model, check_weights
    from weighbridge.errors import BadValue
    from weighbridge.warm import warmed_text

    if export and import_:
        raise BadValue("--export and --import are two ways", "leave one of them out")
    file = file_to_write("--export", export)
    plain = {name: default for name, (default, _) in RUN.items()}
    it = asked({**plain, **values})
    check_kept(it)
    if dry_run:
        return show(planned(it, import_), lambda: planned_text(it, import_), json)
    if import_:
        done = import_layer(Path(import_), it.plan, it.catalog, it.folders, say)
        return show(done, lambda: warmed_text(done), json)
    probe.check_cards(it.catalog.profile(it.plan.profile))
    check_weights(it.weights, None if values["weights"] else it.plan.model)
    check_model(it.weights, it.plan.model, (it.model or it.catalog.model(it.plan.model)).shape, it.catalog)
    with TemporaryDirectory(prefix="weighbridge-warm-") as folder:
        keyring = Keyring(Path(folder) / "home")
        keyring.ensure()  # of a run that nobody asks
        own = asked({**plain, **values, "name": f"{it.name}-warm", "port": "0", "keys": str(keyring.file)})
        home, target = it.home(it.name), file.absolute() if file else None
        done = warm_up(it.plan, own.spec, it.name, it.catalog, it.folders, say, home=home, export=target)
    show(done, lambda: warmed_text(done), json)


def check_kept(it: Any) -> None:
    """Raises Unsupported for an engine that keeps nothing it compiled."""
    from weighbridge.errors import Unsupported

    engine = it.catalog.engine(it.plan.engine)
    if not engine.warm or not engine.families[it.plan.family].cache_path:
        raise Unsupported(f"{engine.title} keeps nothing that it compiles on {it.plan.family}", "invoke run")


def planned(it: Any, file: str | None) -> dict[str, Any]:
    from weighbridge.effects.warm import layer_here
    from weighbridge.render import render_image
    from weighbridge.runspec import image_tag
    from weighbridge.warm import key

    tag = image_tag(it.plan, render_image(it.plan, it.catalog).digest)
    return {"image": tag, "layer": layer_here(tag), "key": key(it.plan), "import": file}


def planned_text(it: Any, file: str | None) -> str:
    found = planned(it, file)
    how = f"take the layer of {file}" if file else f"run {it.plan.engine} once, unless {it.name} runs this plan already"
    has = f"it has one: sha256:{found['layer'][:12]}, which would be replaced" if found["layer"] else "it has none yet"
    rows = [f"  {name}: {value}" for name, value in found["key"].items()]
    return "\n".join([f"would {how}", f"would lay it onto {found['image']}; {has}", "made for:", *rows])
