"""Verbs that make and run appliances: render, build, run, status, logs, stop, clean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.cli import CATALOG, DRY, JSON, NAME, ORDER, RUN, SAY, Flags, flag_name, flush, hang_up, say, show, verb
from weighbridge.verbs import asked
from weighbridge.verbs.keys import show_once

if TYPE_CHECKING:
    from docker.models.containers import Container

    from weighbridge.effects.docker import Host
    from weighbridge.types import RunSpec

MACHINES: Flags = {
    "nodes": (
        None,
        "of a plan over several machines: their addresses, commas between, or a YAML file; first: the one asked",
    ),
    "network": (None, "network of the cards' own ports, as given to: invoke host-setup; with --nodes ADDRESSES"),
    "gateway": (None, "gateway of that network (default: its first address)"),
}


@verb(ORDER, RUN, {"output": (None, "folder to write (default build/<profile>-<model>)")}, MACHINES, DRY, JSON)
def render(json: bool, dry_run: bool, output: str | None, **values: Any) -> None:
    """Write the Dockerfile, the entrypoint, the run lines and the compose file of a plan. Builds nothing."""
    from weighbridge.effects.rendered import next_line, write
    from weighbridge.machines import render_machines
    from weighbridge.plan import slug
    from weighbridge.render import render_all

    it = asked(values)
    several = it.machines
    files = render_machines(it.plan, several, it.catalog) if several else render_all(it.plan, it.spec, it.catalog)
    folder = Path(output) if output else Path("build") / f"{slug(it.plan.profile)}-{slug(it.plan.model)}"
    other = write(folder, files, say, dry_run=dry_run)
    names = [str(folder / name) for name in sorted(files)]
    found = {"folder": str(folder), "files": names, "written": not dry_run, "replaced": other}
    show(found, lambda: "\n".join(names), json)
    if not dry_run and not json:
        say(next_line(it, folder, _beside(values)))


@verb(ORDER, DRY, JSON)
def build(json: bool, dry_run: bool, **values: Any) -> None:
    """Build the image of a plan. The same plan twice: the second builds nothing."""
    from weighbridge.effects import appliance
    from weighbridge.effects.docker import Host
    from weighbridge.render import render_image
    from weighbridge.runspec import image_tag

    it = asked(values)
    if dry_run:
        digest = render_image(it.plan, it.catalog).digest
        tag, there = image_tag(it.plan, digest), appliance.is_built(digest)
        words = f"nothing to do: {tag} is there" if there else f"would build {tag} from {it.plan.base_image}"
        return show({"image": tag, "built": False, "present": there}, lambda: words, json)
    built = appliance.build(it.plan, it.catalog, Host(), it.folders, say)
    words = f"built {built.tag}" if built.new else f"nothing to do: {built.tag} is there"
    show({"image": built.tag, "built": built.new, "seconds": round(built.seconds, 2)}, lambda: words, json)


HOW: Flags = {
    "print": (None, "print the line for docker or podman, or compose, and run nothing"),
    "baked": (False, "from the image with the weights inside, made by: invoke bake --to docker"),
}


@verb(ORDER, RUN, HOW, DRY, JSON)
def run(json: bool, dry_run: bool, **values: Any) -> None:
    """Build what is missing, start the container, wait until it answers."""
    from weighbridge.diagnose import explained
    from weighbridge.effects import appliance, probe
    from weighbridge.effects.docker import Host
    from weighbridge.effects.first import as_comments, first_steps
    from weighbridge.effects.tls import self_signed
    from weighbridge.effects.weights import check_model, check_weights
    from weighbridge.errors import NotReady
    from weighbridge.reach import is_open
    from weighbridge.render import spelling
    from weighbridge.report import reasons_text, started_text

    it = asked(values)
    if values["print"]:
        text, first = spelling(values["print"], it.plan, it.spec, it.catalog), first_steps(it)
        found = {"spelling": values["print"], "text": text, "first": first}
        return show(found, lambda: (as_comments(first) + text).rstrip("\n"), json)
    probe.check_address(it.reach.address)
    if dry_run:
        text = f"would run:\n{spelling('docker', it.plan, it.spec, it.catalog)}\n{reasons_text(it.spec)}"
        return show({"run": it.spec, "started": False}, lambda: text, json)
    for line in it.own_runs:
        say(f"warning: {line}")
    if is_open(it.reach):
        say(f"warning: on {it.reach.address} keys and answers travel in the clear; --tls self-signed ends that")
    probe.check_cards(it.catalog.profile(it.plan.profile))
    spec = it.spec  # a baked image that is not here is refused before keys are made
    if not values["baked"]:
        check_weights(it.weights, None if values["weights"] else it.plan.model)
        check_model(it.weights, it.plan.model, (it.model or it.catalog.model(it.plan.model)).shape, it.catalog)
    host = Host()
    appliance.check_startable(spec, host)
    if it.signs_itself:
        self_signed(Path(str(it.reach.tls_cert)).parent, it.reach.address)
    show_once(it.keyring.ensure(), it.keyring, say, SAY != "")
    try:
        result = appliance.run(it.plan, spec, it.catalog, host, it.folders, say, baked=values["baked"])
    except NotReady as e:
        raise explained(e, it.order, it.catalog, it.model, [*it.frame, *_beside(values)]) from None
    _known_figures(result.name, spec, it.folders.build)
    show(result, lambda: started_text(result), json)


def _known_figures(name: str, spec: RunSpec, folder: Path) -> None:
    """The last benchmark of this image, for the console of the new container."""
    from weighbridge.effects.bench import put_in_console, recorded
    from weighbridge.effects.docker import Host
    from weighbridge.runspec import LABEL

    found = recorded(spec.labels[f"{LABEL}.plan"], folder)
    if found is not None:
        put_in_console(Host().container(name), found)


def _beside(values: dict[str, Any]) -> list[str]:
    """The flags beside the order that were typed, for a line to paste."""
    given = [(name, values[name]) for name, (default, _) in RUN.items() if values[name] != default]
    return [word for n, v in given for word in (f"--{flag_name(n)}", *([] if v is True else [str(v)]))]


@verb({"startup": (False, "where the start of each went, by phase, from its engine's log")}, CATALOG, JSON)
def status(json: bool, startup: bool, **values: Any) -> None:
    """The appliances of this host, and whether each holds the tokens that its plan promised."""
    from weighbridge.effects.docker import Host

    if startup:
        return startups(json, **values)
    from weighbridge.effects.figures import appliances
    from weighbridge.effects.records import proofs
    from weighbridge.report import short_words, status_text

    it = asked(values)
    found = [(seen, proofs(seen.recipe, it.folders.build)) for seen in appliances(Host(), it.catalog)]
    rows = [(*seen.running, short_words(seen.memory), proof.bench_words, proof.smoke_words) for seen, proof in found]
    plain = [{**seen.running._asdict(), "memory": seen.memory, **proof.plain()} for seen, proof in found]
    show(plain, lambda: status_text(rows), json)


def startups(json: bool, **values: Any) -> None:
    """Where the start of every appliance went."""
    from weighbridge.effects.docker import Host
    from weighbridge.effects.startup import starts
    from weighbridge.startup import start_text

    found = starts(Host(), asked(values).catalog)
    texts = [start_text(name, start) for name, start in found.items()]
    show(found, lambda: "\n\n".join(texts) or "no appliance is here; start one: invoke run", json)


@verb(
    NAME,
    {"follow": (False, "stay and print new lines")},
    {"tail": ("all", "only so many of the last lines (default all)")},
)
def logs(name: str | None, follow: bool, tail: str) -> None:
    """What an appliance wrote."""
    from weighbridge.effects.docker import Host
    from weighbridge.order import read_count

    host = Host()
    lines = None if tail == "all" else read_count("--tail", tail, "100")
    try:
        for line in host.logs(host.container(name), follow=follow, tail=lines):
            print(line, flush=follow)
    except BrokenPipeError:  # the reader has seen enough
        hang_up()
    flush()


@verb(
    NAME,
    {"all": (False, "every appliance of this host")},
    {"seconds": (None, "let running requests take so long, 6 to 86400 (default: what it was started with)")},
    DRY,
    JSON,
)
def stop(name: str | None, seconds: str | None, dry_run: bool, json: bool, **values: Any) -> None:
    """Stop and remove an appliance; running requests may end first."""
    from weighbridge.effects.docker import Host
    from weighbridge.effects.stopping import stop_seconds, tell
    from weighbridge.reach import read_stop

    patience, host = read_stop("--seconds", seconds) if seconds else None, Host()
    found = host.appliances() if values["all"] else [_to_stop(host, name)]
    for container in [] if dry_run else found:
        took = patience or stop_seconds(container)
        tell(container, took)
        say(f"stopping {container.name}: running requests may end, within {took} s in all")
        host.stop(container, took)
    names = [str(c.name) for c in found]
    show(
        {"stopped": [] if dry_run else names, "found": names}, lambda: "\n".join(names) or "no appliance is here", json
    )


def _to_stop(host: Host, name: str | None) -> Container:
    """The appliance of this name; no other is offered, for a stop is not to be guessed. Raises UnknownName."""
    from weighbridge.errors import UnknownName

    try:
        return host.container(name)
    except UnknownName as e:
        if name is None:
            raise
        here = sorted(str(c.name) for c in host.appliances())
        words = f"here are {', '.join(here)}: invoke status" if here else "no appliance is here: invoke status"
        raise UnknownName(e.message, words) from None


@verb(
    {
        "cache": (
            False,
            "also the downloaded wheels, the base images, unused cache volumes, and what bakes keep of engines",
        ),
        "layouts": (False, "also the images that bake --to layout wrote beneath build/"),
    },
    DRY,
    JSON,
)
def clean(cache: bool, layouts: bool, dry_run: bool, json: bool) -> None:
    """Remove images built on this host, other checkouts' too, and folders rendered here; not what runs, nor layouts."""
    from weighbridge.effects.clean import clean as sweep
    from weighbridge.effects.clean import our_layouts, remove_layouts
    from weighbridge.effects.docker import Host

    folders = asked({}).folders
    gone = sweep(Host(), folders, cache=cache, dry_run=dry_run)
    if layouts:
        gone += remove_layouts(folders, dry_run=dry_run)
    for place in [] if layouts else our_layouts(folders):
        say(f"kept: {place}, a baked image; clean --layouts removes it")
    show({"removed": [] if dry_run else gone, "found": gone}, lambda: "\n".join(gone) or "nothing to remove", json)
