"""Compiled kernels from a start of this plan, as a layer of its image: one run, one tar, one build without network."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import msgspec
from docker.errors import ImageNotFound, NotFound
from docker.models.containers import Container
from docker.models.images import Image

from weighbridge.catalog import Catalog
from weighbridge.effects import appliance, disk
from weighbridge.effects.appliance import Folders, Say, ended_like_interrupted
from weighbridge.effects.docker import WARM, Host, engine_trouble
from weighbridge.errors import BadFile, HostError, Unsupported
from weighbridge.runspec import LABEL, cache_volume
from weighbridge.types import File, Plan, RunSpec
from weighbridge.warm import CACHE, LAYER, MANIFEST, Manifest, Warmed, folders_of, misfit, read_manifest

_PACK = ["python3", "/opt/weighbridge/warm.py", "pack"]
_DOCKERFILE = f"FROM {{base}}\nADD {LAYER}.tar /opt/weighbridge/\n"
_COLD = "-cold"  # the tag of the image without the layer, which the next layer is laid on
_CHUNK_BYTES = 1 << 20
_FOR = f"{LABEL}.for"  # on a container that is started for its cache: only such a one is removed


def source_of(spec: RunSpec, name: str, host: Host) -> Container | None:
    """The appliance of this name when it runs this very plan: its cache has what a start compiles."""
    wanted = spec.labels[f"{LABEL}.plan"]
    named = (c for c in host.appliances() if c.labels[f"{LABEL}.name"] == name and _FOR not in c.labels)
    found = next(named, None)
    return found if found and found.status == "running" and found.labels[f"{LABEL}.plan"] == wanted else None


def warm(
    plan: Plan,
    spec: RunSpec,
    name: str,
    catalog: Catalog,
    folders: Folders,
    say: Say,
    *,
    home: Path,
    export: Path | None,
) -> Warmed:
    """The plan's image with what a start of it compiled. `spec` is of the container that is started for it.

    The appliance called `name`, whose folder is `home`, is asked instead when it runs this plan. Raises
    WeighbridgeError; the image is then what it was before.
    """
    began, host = time.monotonic(), Host()
    with ended_like_interrupted(), alone(home, spec.name), _aside(folders.build) as aside:
        running = source_of(spec, name, host)
        if running:
            say(f"taking what {name} compiled")
            _take(running, aside, f"have one started for it: invoke stop --name {name}, then: invoke warm")
        else:
            with _started(plan, spec, catalog, host, folders, say) as container:
                say("taking what it compiled")
                _take(container, aside, "see what it does: invoke run, then: invoke status --startup")
        if export:  # before the image: where it cannot be written, nothing is changed
            _checked(aside, plan, "its cache")
            _hand_over(aside, export)
            say(f"wrote {export}")
        done = _bake(aside, plan, catalog, host, folders, say)
    seconds = round(time.monotonic() - began, 1)
    return msgspec.structs.replace(done, seconds=seconds, export=str(export) if export else None)


def import_layer(file: Path, plan: Plan, catalog: Catalog, folders: Folders, say: Say) -> Warmed:
    """The plan's image with the layer of a file. Raises BadFile, Unsupported for another plan's, HostError."""
    host = Host()
    with ended_like_interrupted(), _aside(folders.build) as aside:
        try:
            shutil.copyfile(file, aside)
        except OSError as e:
            raise BadFile(f"{file}: {e.strerror or e}", "make one: invoke warm --export FILE") from None
        return _bake(aside, plan, catalog, host, folders, say, str(file))


# --- the run -------------------------------------------------------------------------------------------


def alone(home: Path, name: str) -> AbstractContextManager[None]:
    """One start of this name for its cache at a time. Raises HostError while another command's goes on."""
    return disk.one_at_a_time(home.parent / f".{name}.warm", f"another command warms {name} at this moment")


def for_its_cache(spec: RunSpec, image: str) -> RunSpec:
    """A container that is no appliance of anybody's: marked, with a cache under a name that no appliance can have."""
    volumes = {cache_volume(f"_{spec.name}"): path for path in spec.volumes.values()}
    labels = {**spec.labels, _FOR: "warm", f"{LABEL}.spec": f"warm {spec.labels[f'{LABEL}.spec']}"}
    return msgspec.structs.replace(spec, image=image, volumes=volumes, labels=labels)


@contextmanager
def _started(
    plan: Plan, spec: RunSpec, catalog: Catalog, host: Host, folders: Folders, say: Say
) -> Iterator[Container]:
    """An appliance without a layer that has answered once, with a cache of its own; nothing is left of either."""
    _forget(host, spec)
    host.check_free(spec.name)
    built = appliance.build(plan, catalog, host, folders, say)
    own = for_its_cache(spec, str(_cold(host, built.digest, built.tag).id))
    try:
        appliance.run(plan, own, catalog, host, folders, say, baked=True)
        yield host.container(own.name)
    finally:
        with appliance.undisturbed():
            _forget(host, own)


def _forget(host: Host, spec: RunSpec) -> None:
    """Container and cache of a run that was for its cache alone, also of one that was killed; nobody else's."""
    for container in host.appliances():
        if container.name == spec.name and container.labels.get(_FOR) == "warm":
            host.stop(container, 5)
    volume = cache_volume(f"_{spec.name}")
    with engine_trouble(f"volume {volume}", "docker volume ls"), suppress(NotFound):
        host.remove_volume(host.client.volumes.get(volume))


def _take(container: Container, target: Path, hint: str) -> None:
    """The tar that a container packs of its cache. Raises HostError with what it said when it packed none."""
    api: Any = container.client.api if container.client else None
    said = b""
    with engine_trouble(f"{container.name} does not pack its cache"):
        order = api.exec_create(str(container.id), _PACK)["Id"]
        with _writing(target) as file:
            for out, err in api.exec_start(order, stream=True, demux=True):
                file.write(out or b"")
                said += err or b""
        code = api.exec_inspect(order)["ExitCode"]
    if code:
        words = said.decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
        raise HostError(f"{container.name} has no layer to give: {words[-1][:200]}", hint)


# --- the layer -----------------------------------------------------------------------------------------


def read_layer(path: Path, name: str) -> tuple[Manifest, str]:
    """The manifest of a tar whose every byte it names, and the tar's sha256. Raises BadFile."""
    seen: dict[str, tuple[str, int]] = {}
    content = b""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isdir() and _is_inside(f"{member.name}/"):
                    continue
                inner = tar.extractfile(member) if member.isreg() else None
                if inner is None or not _is_inside(member.name):
                    raise BadFile(f"{name}: {member.name} does not belong in a warm layer", _AGAIN)
                if member.name == MANIFEST:
                    content = inner.read()
                else:
                    seen[member.name.removeprefix(CACHE)] = (_sha256(inner), member.size)
    except (OSError, tarfile.TarError, EOFError) as e:
        raise BadFile(f"{name}: no whole tar: {e}", _AGAIN) from None
    manifest = read_manifest(content, name)
    wrong = sorted(p for p in seen.keys() | manifest.files.keys() if seen.get(p) != manifest.files.get(p))
    if wrong:
        raise BadFile(f"{name}: {wrong[0]} is not what {MANIFEST} says, and {len(wrong) - 1} more", _AGAIN)
    return manifest, digest


_AGAIN = "make it again: invoke warm --export FILE"


def _is_inside(name: str) -> bool:
    """A file, or a folder with a slash at its end."""
    return ".." not in name.split("/") and (name in (f"{LAYER}/", MANIFEST) or name.startswith(CACHE))


def _checked(tar: Path, plan: Plan, name: str) -> tuple[Manifest, str]:
    """As read_layer(), of a layer that was made for this plan. Raises BadFile, Unsupported."""
    manifest, digest = read_layer(tar, name)
    other = misfit(manifest, plan)
    if other:
        raise Unsupported(f"{name} was made for another plan: {other}", "plan as it was made, or: invoke warm")
    return manifest, digest


def _sha256(file: IO[bytes]) -> str:
    found = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        found.update(chunk)
    return found.hexdigest()


def _bake(
    tar: Path, plan: Plan, catalog: Catalog, host: Host, folders: Folders, say: Say, name: str = "its cache"
) -> Warmed:
    """The image with the layer, under the plan's own tag: `invoke run` and `invoke bake` take it from there."""
    manifest, digest = _checked(tar, plan, name)
    built = appliance.build(plan, catalog, host, folders, say)
    base = _tagged_cold(host, built.digest, built.tag)
    folder = folders.build / f"{built.tag.replace('/', '-').replace(':', '-')}-{LAYER}-{os.getpid()}"
    files = {"image/Dockerfile": File(text=_DOCKERFILE.format(base=base))}
    try:
        disk.write_folder(folder, files, {f"image/{LAYER}.tar": tar})
        host.build(folder / "image", tag=built.tag, labels={WARM: digest}, say=say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for image in _found(host, built.digest)[1]:
        if not image.tags:  # the layer before; one that an appliance still runs from goes with: invoke clean
            with suppress(HostError):
                host.remove_image(image)
    return Warmed(
        image=built.tag, card=manifest.card, made=manifest.made, digest=digest, files=len(manifest.files),
        size_bytes=manifest.size_bytes, folders=folders_of(manifest),
    )  # fmt: skip


def _cold(host: Host, digest: str, tag: str) -> Image:
    """The image without a layer. Raises HostError when only the one with a layer is here."""
    cold = next(iter(_found(host, digest)[0]), None)
    if cold is None:
        raise HostError(f"{tag} is here with a warm layer only", f"docker rmi {tag}, then: invoke warm")
    return cold


def _tagged_cold(host: Host, digest: str, tag: str) -> str:
    """A tag of the image without a layer, so that layers do not lie on one another."""
    name, _, version = tag.partition(":")
    cold = _cold(host, digest, tag)
    with engine_trouble(f"{tag} cannot be tagged"):
        cold.tag(name, f"{version}{_COLD}")
    return f"{tag}{_COLD}"


def _found(host: Host, digest: str) -> tuple[list[Image], list[Image]]:
    """Of a recipe's images those without a layer, and those with one."""
    with engine_trouble("the Docker engine does not list its images"):
        found = host.client.images.list(filters={"label": f"{LABEL}.recipe={digest}"})
    return [i for i in found if WARM not in i.labels], [i for i in found if WARM in i.labels]


def layer_here(tag: str) -> str | None:
    """The digest of the layer that an image has; None without the image or the layer."""
    with suppress(HostError), engine_trouble("the Docker engine does not list its images"):
        try:
            return str(Host().client.images.get(tag).labels.get(WARM, "")) or None
        except ImageNotFound:
            return None
    return None


# --- files ---------------------------------------------------------------------------------------------


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A file that is gone afterwards."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".warm-", suffix=".tar", dir=folder)
    except OSError as e:
        raise HostError(f"{folder}: {e.strerror or e}", "work in a folder that can be written") from None
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to; a full disk is an error in two lines."""
    with path.open("wb") as file:
        try:
            yield file
            file.flush()
        except OSError as e:
            if e.errno is None:  # a library's own error about its connection
                raise
            raise HostError(f"{path}: {e.strerror}", f"make room in {path.parent}") from None


def _hand_over(source: Path, target: Path) -> None:
    """The tar under its name, whole or not at all; a link stays, and a pipe takes what is written."""
    special = target.exists() and not target.is_file()
    target = target if special else Path(os.path.realpath(target))
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if special:
            with source.open("rb") as read, target.open("wb") as write:
                shutil.copyfileobj(read, write)
            return
        shutil.copyfile(source, part)
        part.chmod(0o644)
        part.replace(target)
    except OSError as e:
        raise HostError(f"{target}: {e.strerror or e}", "name another place: --export FILE") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
