"""What builds leave on a host, and its removal: what Weighbridge wrote, and nothing that lies beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from docker.models.images import Image

from weighbridge.effects.appliance import Folders
from weighbridge.effects.disk import MARKER
from weighbridge.effects.docker import WARM, Host
from weighbridge.effects.oci.bake import cache_of
from weighbridge.effects.oci.daemon import IMPORTED, mark_of, no_bake
from weighbridge.errors import HostError
from weighbridge.runspec import LABEL

_CACHED = ("wheels", "train", "oci")


def clean(host: Host, folders: Folders, *, cache: bool, dry_run: bool) -> list[str]:
    """What was removed, or would be. Images and volumes that an appliance uses are kept, and so is what a bake that is
    at work stands on, or one that works from another cache."""
    shared = cache_of(folders.cache)
    with no_bake(shared) as alone:
        return _clean(host, folders, shared, cache=cache, alone=alone, dry_run=dry_run)


def _clean(host: Host, folders: Folders, shared: Path, *, cache: bool, alone: bool, dry_run: bool) -> list[str]:
    used = [c.image for c in host.appliances() if c.image]
    images = [i for i in host.images() if _is_ours(i, shared, alone=alone) and not any(_needed(i, u) for u in used)]
    bases = host.bases() if cache else []
    volumes = host.idle_volumes() if cache else []
    places = [p for p in our_folders(folders, cache=cache) if alone or p != shared]
    gone = [*(t for i in images for t in i.tags), *map(str, places), *(t for i in bases for t in i.tags)]
    gone += [str(v.name) for v in volumes]
    if not dry_run:
        for image in [*sorted(images, key=lambda i: WARM not in i.labels), *bases]:  # what lies on another first
            host.remove_image(image)
        for volume in volumes:
            host.remove_volume(volume)
        for place in places:
            _remove_folder(place)
    return gone


def _is_ours(image: Image, shared: Path, *, alone: bool) -> bool:
    """Weights that wait for their image are their bake's; the mark `1` is of bakes that did not say whose they were."""
    mark = image.labels.get(IMPORTED)
    return mark is None or (alone and mark in ("1", mark_of(shared)))


def _needed(image: Image, used: Image) -> bool:
    """An image that runs, and the one without a warm layer that it lies on."""
    recipe = used.labels.get(f"{LABEL}.recipe")
    return image.id == used.id or (recipe is not None and image.labels.get(f"{LABEL}.recipe") == recipe)


def our_folders(folders: Folders, *, cache: bool) -> list[Path]:
    """The folders that were written whole by us: `build` and the cache may be anybody's."""
    places = [place for place in _marked(folders) if not _is_layout(place)]
    cached = [folders.cache / name for name in _CACHED] if cache else []
    return [*places, *(p for p in cached if p.is_dir() and not p.is_symlink())]


def our_layouts(folders: Folders) -> list[Path]:
    """Baked images beneath `build`: hours of work, and perhaps the only copy of them."""
    return [place for place in _marked(folders) if _is_layout(place)]


def remove_layouts(folders: Folders, *, dry_run: bool) -> list[str]:
    """What was removed of them, or would be."""
    places = our_layouts(folders)
    for place in [] if dry_run else places:
        _remove_folder(place)
    return [str(place) for place in places]


def _marked(folders: Folders) -> list[Path]:
    return sorted(mark.parent for mark in folders.build.glob(f"*/{MARKER}") if not mark.parent.is_symlink())


def _is_layout(place: Path) -> bool:
    """Also one that a bake has only begun."""
    return (place / "blobs" / "sha256").is_dir()


def _remove_folder(place: Path) -> None:
    try:
        shutil.rmtree(place)
    except OSError as e:
        raise HostError(f"{place}: {e.strerror or e}", f"ls -la {place}") from None
