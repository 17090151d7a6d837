"""From what was typed to a bake: the sink, the model's folder, the engine's image; or what all of it would cost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from weighbridge.catalog import Catalog
from weighbridge.effects import appliance
from weighbridge.effects.appliance import Folders, Say, ended_like_interrupted
from weighbridge.effects.docker import Host, engine_trouble
from weighbridge.effects.locks import lock_of
from weighbridge.effects.oci.bake import Baked, Work, bake, cache_of, jobs_of
from weighbridge.effects.oci.digests import Digests
from weighbridge.effects.oci.engine import engine_image
from weighbridge.effects.oci.folder import ModelFolder, listed
from weighbridge.effects.oci.layout import LayoutSink, can_share
from weighbridge.effects.oci.sink import Sink
from weighbridge.errors import BadValue, HostError, UnknownName, unknown
from weighbridge.facts import Value
from weighbridge.forecast import SINKS, Forecast, forecast
from weighbridge.image import WEIGHTS, baked_tag, marks
from weighbridge.layers import cut
from weighbridge.plan import slug
from weighbridge.reference import Reference, read_reference
from weighbridge.render import render_image
from weighbridge.types import Plan

_PODMAN = "podman"


class Wanted(Value, frozen=True, kw_only=True):
    """What was typed, beside the order."""

    to: str | None
    output: Path
    reference: Reference | None
    most_gib: float
    jobs: int | None
    insecure: bool
    digest_first: bool
    lock: str | None = None


def read_wanted(values: Mapping[str, Any], plan: Plan) -> Wanted:
    """The flags of the verb. Raises UnknownName, BadValue."""
    to, ref = values["to"], values["ref"]
    if to and to not in SINKS:
        raise unknown("sink", to, SINKS, "invoke bake --dry-run")
    if to == "registry" and not ref:
        raise BadValue(
            "--to registry without a name there", "add --ref HOST/NAME:TAG, for example: 127.0.0.1:5000/demo:1"
        )
    if ref and to not in (None, "registry"):
        raise BadValue(f"--ref is a name at a registry, and --to is {to}", "leave --ref out, or write --to registry")
    name = f"{slug(plan.profile)}-{slug(plan.model)}"
    return Wanted(
        to=to, output=Path(values["output"] or Path("build") / f"{name}-baked").absolute(),
        reference=read_reference(ref) if ref else None, most_gib=_number("--max-layer-gib", values["max_layer_gib"]),
        jobs=int(_number("--jobs", values["jobs"])) if values["jobs"] else None,
        insecure=values["insecure"], digest_first=values["digest_first"], lock=values["lock"],
    )  # fmt: skip


def _number(flag: str, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 1 <= found < 1000:
        raise BadValue(f"{flag} {text!r} is not a number from 1 to 1000", f"for example: {flag} 9")
    return found


def start(plan: Plan, catalog: Catalog, folders: Folders, weights: Path, wanted: Wanted, say: Say) -> Baked:
    """Build what is missing, then bake. Raises WeighbridgeError."""
    host, cache = Host(), cache_of(folders.cache)
    lock = lock_of(weights, plan.model, catalog, wanted.lock, say)
    with closing(Digests(folders.cache)) as digests, ended_like_interrupted():
        model = ModelFolder(weights, plan.model_path, plan.model, digests, lock)
        cut(model.files, wanted.most_gib)  # a file that no layer holds is refused before anything is built
        built = appliance.build(plan, catalog, host, folders, say)
        image = host.find(built.digest)
        if image is None:
            raise HostError(f"{built.tag} was built and is not there", "invoke build")
        engine = engine_image(image, host, cache, plan.model_path, say)
        licence = _licence(plan, catalog)
        with closing(_sink(baked_tag(plan, built.digest), plan, wanted, weights, host, digests, cache)) as sink:
            work = Work(
                model, engine, lambda lock: marks(plan, lock, built.digest, licence), wanted.most_gib,
                jobs_of(wanted.jobs),
            )  # fmt: skip
            return bake(work, sink, digests, say)


def _licence(plan: Plan, catalog: Catalog) -> str | None:
    try:
        return catalog.model(plan.model).licence
    except UnknownName:  # planned from a config.json
        return None


def _sink(
    tag: str, plan: Plan, wanted: Wanted, weights: Path, host: Host, digests: Digests, cache: Path
) -> Sink:  # fmt: skip
    """Each sink's library is loaded for that sink alone: they are half of the time of a bake with nothing to move."""
    if wanted.to == "docker":
        from weighbridge.effects.oci.daemon import DockerSink

        return DockerSink(host, tag, cache)
    if wanted.to == "podman":
        from weighbridge.effects.oci.pull import PodmanSink

        return PodmanSink(_PODMAN, tag)
    if wanted.reference:
        from weighbridge.effects.oci.registry import RegistrySink

        return RegistrySink(
            wanted.reference, digests, os.environ, insecure=wanted.insecure, digest_first=wanted.digest_first,
            uploads=cache / "uploads",
        )  # fmt: skip
    return LayoutSink(wanted.output, f"{slug(plan.profile)}-{slug(plan.model)}", weights)


# --- what it would cost --------------------------------------------------------------------------------


class Costs(Value, frozen=True, kw_only=True):
    """A dry run: the sink that was named, or all."""

    layers: int
    lock: bool
    sinks: tuple[Forecast, ...]


def costs(plan: Plan, catalog: Catalog, weights: Path, wanted: Wanted) -> Costs:
    """What each sink would cost, with nothing touched. Raises what the bake itself would refuse."""
    lock = lock_of(weights, plan.model, catalog, wanted.lock)
    files = listed(weights, plan.model_path, lock)
    layers = cut(files, wanted.most_gib)
    size, engine = sum(f.size_bytes for f in files), _engine_bytes(plan, catalog)
    kinds: Sequence[str] = [wanted.to] if wanted.to else SINKS
    rows = []
    for kind in kinds:
        place = _place(kind, wanted)
        shares = kind == "layout" and place is not None and can_share(weights, place)
        free = shutil.disk_usage(place).free if place else None
        rows.append(forecast(kind, size, engine, free_bytes=free, shares=shares))
    return Costs(layers=len(layers) + 1, lock=lock is not None, sinks=tuple(rows))


def _engine_bytes(plan: Plan, catalog: Catalog) -> int:
    """Of the engine's image, when it is here."""
    digest = render_image(plan, catalog).digest
    with suppress(HostError):
        found = Host().find(digest)
        return int(found.attrs["Size"]) if found else 0
    return 0


def _place(kind: str, wanted: Wanted) -> Path | None:
    """A folder on the disk that a sink would write to; None where nothing is written here, or nobody knows."""
    if kind == "layout":
        return next(p for p in (wanted.output, *wanted.output.parents) if p.is_dir())
    if kind == "docker":
        with suppress(HostError), engine_trouble("the Docker engine does not say where it stores images"):
            root = Path(str(Host().client.info().get("DockerRootDir")))
            return root if root.is_dir() else None
    if kind == "podman" and shutil.which(_PODMAN):
        from weighbridge.effects.oci.pull import PodmanSink

        return PodmanSink(_PODMAN, "").store()
    return None


def weights_label(tag: str, plan: Plan) -> str:
    """The digest of the weights in a baked image, which must be here. Raises HostError."""
    from docker.errors import ImageNotFound

    host = Host()
    with engine_trouble("the Docker engine does not list its images"):
        try:
            return str(host.client.images.get(tag).labels.get(WEIGHTS, ""))
        except ImageNotFound:
            message = f"no image {tag}: weights and engine of this plan are not baked"
            raise HostError(message, "bake it: invoke bake --to docker") from None
