"""What builds leave on a host, and its removal."""

from __future__ import annotations

import shutil
from pathlib import Path

from docker.errors import APIError

from weighbridge.effects.appliance import Folders
from weighbridge.effects.docker import Host
from weighbridge.errors import HostError
from weighbridge.runspec import CACHE_VOLUME


def clean(host: Host, folders: Folders, *, cache: bool, dry_run: bool) -> list[str]:
    """What was removed, or would be. Images that an appliance uses are kept."""
    used = {c.image.id for c in host.appliances() if c.image}
    images = [i for i in host.images() if i.id not in used]
    places = [folders.build, *([folders.cache] if cache else [])]
    places = [p for p in places if p.is_dir()]
    bases = host.client.images.list(name="weighbridge-base") if cache else []
    volumes = [v for v in host.client.volumes.list() if v.name == CACHE_VOLUME] if cache else []
    gone = [*(t for i in images for t in i.tags), *map(str, places), *(t for i in bases for t in i.tags)]
    gone += [v.name for v in volumes]
    if not dry_run:
        for image in [*images, *bases]:
            host.remove_image(image)
        for volume in volumes:
            _remove_volume(volume)
        for place in places:
            _remove_folder(place)
    return gone


def _remove_volume(volume: object) -> None:
    try:
        volume.remove()  # type: ignore[attr-defined]
    except APIError as e:
        raise HostError(f"volume {CACHE_VOLUME}: {e.explanation}", "stop what uses it: invoke stop --all") from None


def _remove_folder(place: Path) -> None:
    try:
        shutil.rmtree(place)
    except OSError as e:
        raise HostError(f"{place}: {e.strerror}", f"ls -la {place}") from None
