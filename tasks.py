"""Weighbridge's verbs: plan, render, build, run and smoke-test the container that serves a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from weighbridge.cli import CATALOG, DRY, JSON, NAME, ORDER, RUN, say, show, verb


def library(values: dict[str, Any]) -> Any:
    from weighbridge.catalog import Catalog

    folder = values.get("catalog") or os.environ.get("WEIGHBRIDGE_CATALOG")
    return Catalog(*[Path(folder)] if folder else [])


def planned(values: dict[str, Any]) -> tuple[Any, Any]:
    """(catalogue, plan) of the flags."""
    from weighbridge.order import read_order
    from weighbridge.road import make_plan

    catalog = library(values)
    order = read_order({n: values.get(n) for n in ORDER})
    config = values.get("model_config")
    model = catalog.model_from_config(order.model, Path(config)) if config else None
    frame = [w for n in ("model_config", "catalog") if values.get(n) for w in (f"--{n.replace('_', '-')}", values[n])]
    return catalog, make_plan(order, catalog, model, frame)


def model_of(values: dict[str, Any], catalog: Any, name: str) -> Any:
    config = values.get("model_config")
    return catalog.model_from_config(name, Path(config)) if config else catalog.model(name)


def folders() -> Any:
    from weighbridge.effects.appliance import Folders

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weighbridge"
    mirror = os.environ.get("WEIGHBRIDGE_DEBIAN_MIRROR")
    return Folders(Path("build"), Path(os.environ.get("WEIGHBRIDGE_CACHE") or cache), mirror)


def weights_of(values: dict[str, Any], catalog: Any, plan: Any) -> Path:
    from weighbridge.plan import slug

    if values.get("weights"):
        return Path(values["weights"]).absolute()
    config = Path(values.get("model_config") or "")
    if values.get("model_config") and config.is_dir():
        return config.absolute()
    bundled = None if values.get("model_config") else catalog.model_folder(catalog.model(plan.model))
    store = Path(os.environ.get("WEIGHBRIDGE_STORE") or "/var/lib/weighbridge/models")
    return bundled or store.absolute() / slug(plan.model)


def spec(values: dict[str, Any], catalog: Any, plan: Any) -> Any:
    """The RunSpec of the flags."""
    from weighbridge.effects.appliance import spec_of
    from weighbridge.effects.probe import free_port
    from weighbridge.order import read_name, read_port
    from weighbridge.runspec import container_name

    port = read_port(values["port"]) or free_port("127.0.0.1")
    name = read_name(values["name"]) if values["name"] else container_name(plan)
    return spec_of(plan, catalog, weights=weights_of(values, catalog, plan), name=name, port=port)


@verb(CATALOG, JSON)
def profiles(json: bool, **values: Any) -> None:
    """The kinds of machine: cards, memory, counts, and how far each was proven."""
    from weighbridge.listing import profiles_json, profiles_text

    catalog = library(values)
    show(profiles_json(catalog), lambda: profiles_text(catalog), json)


@verb(CATALOG, JSON)
def models(json: bool, **values: Any) -> None:
    """The models that are known by name: size, context, parsers, licence."""
    from weighbridge.listing import models_json, models_text

    catalog = library(values)
    show(models_json(catalog), lambda: models_text(catalog), json)


@verb(CATALOG, JSON)
def engines(json: bool, **values: Any) -> None:
    """The serving engines: families of cards, pinned versions, base images."""
    from weighbridge.listing import engines_json, engines_text

    catalog = library(values)
    show(engines_json(catalog), lambda: engines_text(catalog), json)


@verb(ORDER, JSON)
def plan(json: bool, **values: Any) -> None:
    """Weigh the model against the machine: what fits, how it is cut, and why. Touches nothing."""
    from weighbridge.report import plan_text

    _, found = planned(values)
    show(found, lambda: plan_text(found), json)


@verb(ORDER, RUN, {"output": (None, "folder to write (default build/<profile>-<model>)")}, DRY, JSON)
def render(json: bool, dry_run: bool, output: str | None, **values: Any) -> None:
    """Write the Dockerfile, the entrypoint, the run lines and the compose file of a plan. Builds nothing."""
    from weighbridge.effects.appliance import build_name
    from weighbridge.effects.disk import write_folder
    from weighbridge.render import render_all

    catalog, found = planned(values)
    files = render_all(found, spec(values, catalog, found), catalog)
    folder = Path(output) if output else Path("build") / build_name(found)
    if not dry_run:
        write_folder(folder, files)
    names = [str(folder / name) for name in sorted(files)]
    show({"folder": str(folder), "files": names, "written": not dry_run}, lambda: "\n".join(names), json)


@verb(ORDER, DRY, JSON)
def build(json: bool, dry_run: bool, **values: Any) -> None:
    """Build the image of a plan. The same plan twice: the second builds nothing."""
    from weighbridge.effects import appliance
    from weighbridge.effects.docker import Host
    from weighbridge.render import render_image
    from weighbridge.runspec import image_tag

    catalog, found = planned(values)
    if dry_run:
        digest = render_image(found, catalog).digest
        tag, there = image_tag(found, digest), appliance.is_built(digest)
        words = f"nothing to do: {tag} is there" if there else f"would build {tag} from {found.base_image}"
        return show({"image": tag, "built": False, "present": there}, lambda: words, json)
    built = appliance.build(found, catalog, Host(), folders(), say)
    words = f"built {built.tag}" if built.new else f"nothing to do: {built.tag} is there"
    show({"image": built.tag, "built": built.new, "seconds": round(built.seconds, 2)}, lambda: words, json)


@verb(ORDER, RUN, {"print": (None, "print the line for docker or podman, or compose, and run nothing")}, DRY, JSON)
def run(json: bool, dry_run: bool, **values: Any) -> None:
    """Build what is missing, start the container, wait until it answers."""
    from weighbridge.effects import appliance, probe
    from weighbridge.effects.docker import Host
    from weighbridge.effects.weights import check_model, check_weights
    from weighbridge.render import spelling
    from weighbridge.report import reasons_text

    catalog, found = planned(values)
    started = spec(values, catalog, found)
    if values["print"]:
        text = spelling(values["print"], found, started, catalog)
        return show({"spelling": values["print"], "text": text}, lambda: text.rstrip("\n"), json)
    if dry_run:
        text = f"would run:\n{spelling('docker', found, started, catalog)}\n{reasons_text(started)}"
        return show({"run": started, "started": False}, lambda: text, json)
    probe.check_cards(catalog.profile(found.profile))
    weights = weights_of(values, catalog, found)
    check_weights(weights)
    check_model(weights, found.model, model_of(values, catalog, found.model).shape, catalog)
    result = appliance.run(found, started, catalog, Host(), folders(), say)
    words = "answers already" if result.ready_seconds is None else f"answers after {result.ready_seconds:.0f} s"
    show(result, lambda: f"{result.name} {words}: {result.url}\nprove it: invoke smoke --name {result.name}", json)


@verb(NAME, {"url": (None, "ask this address instead of a container of this host")},
      {"junit": (None, "also write a JUnit XML file there")}, CATALOG, JSON)  # fmt: skip
def smoke(json: bool, name: str | None, url: str | None, junit: str | None, **values: Any) -> int:
    """Ask a running appliance real questions; exit 1 when an answer is wrong."""
    from weighbridge.effects.chat import smoke as ask
    from weighbridge.effects.disk import write_file
    from weighbridge.effects.target import target_of
    from weighbridge.report import smoke_junit, smoke_text

    report = ask(target_of(name, url, library(values)), say=say)
    if junit:
        write_file(Path(junit), smoke_junit(report))
    show(report, lambda: smoke_text(report), json)
    return 0 if report.ok else 1


@verb(JSON)
def status(json: bool) -> None:
    """The appliances of this host."""
    from weighbridge.effects.docker import Host
    from weighbridge.report import table

    found = Host().describe()
    rows = [tuple(r) for r in found]
    text = (
        table(rows, ("NAME", "STATE", "MODEL", "PROFILE", "URL", "SINCE"))
        if rows
        else "no appliance is here; start one: invoke run"
    )
    show([r._asdict() for r in found], lambda: text, json)


@verb(NAME, {"follow": (False, "stay and print new lines")}, {"tail": ("all", "only the last so many lines")})
def logs(name: str | None, follow: bool, tail: str) -> None:
    """What an appliance wrote."""
    from weighbridge.effects.docker import Host
    from weighbridge.order import read_count

    host = Host()
    lines = None if tail == "all" else read_count("--tail", tail)
    for line in host.logs(host.container(name), follow=follow, tail=lines):
        print(line, flush=follow)


@verb(
    NAME,
    {"all": (False, "every appliance of this host")},
    {"seconds": ("30", "time for running requests to end")},
    DRY,
    JSON,
)
def stop(name: str | None, seconds: str, dry_run: bool, json: bool, **values: Any) -> None:
    """Stop and remove an appliance; running requests may end first."""
    from weighbridge.effects.docker import Host
    from weighbridge.order import read_count

    host = Host()
    found = host.appliances() if values["all"] else [host.container(name)]
    for container in [] if dry_run else found:
        say(f"stopping {container.name}")
        host.stop(container, read_count("--seconds", seconds))
    names = [str(c.name) for c in found]
    show({"stopped": [] if dry_run else names, "found": names}, lambda: "\n".join(names), json)


@verb({"cache": (False, "also the downloaded wheels, the base images and unused cache volumes")}, DRY, JSON)
def clean(cache: bool, dry_run: bool, json: bool) -> None:
    """Remove built images and rendered folders. Appliances that run are not touched."""
    from weighbridge.effects.clean import clean as sweep
    from weighbridge.effects.docker import Host

    gone = sweep(Host(), folders(), cache=cache, dry_run=dry_run)
    show({"removed": [] if dry_run else gone, "found": gone}, lambda: "\n".join(gone) or "nothing to remove", json)
