"""The local Docker engine: weights imported as one layer, or streamed in an archive; what it has is left out of either.

An engine with overlay storage writes an import once and a load twice (the archive is unpacked aside first), so the
large files are one import there. It looks a layer up by the chain beneath it before it opens the layer's file, so
layers that it has need not be in the archive. An engine on the containerd store compresses imports: it is loaded.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import docker.errors

from weighbridge.effects.docker import Host, engine_trouble
from weighbridge.effects.oci.blocks import Stopped
from weighbridge.effects.oci.pour import Pour
from weighbridge.effects.oci.sink import Source, small
from weighbridge.errors import HostError
from weighbridge.image import BAKED, Image, Sealed, archive_manifest, index_entry, index_json
from weighbridge.layers import Inside, Layer, cut, is_large, one_layer
from weighbridge.memory import GIB
from weighbridge.runspec import LABEL

IMPORTED = f"{LABEL}.imported"  # on weights that wait, without a name, for the image that holds them
_CONTAINERD = "io.containerd.snapshotter.v1"
_BLOB = "blobs/sha256/"
_LOCK = "docker.lock"  # in the shared folder; every bake at work holds it


class DockerSink:
    """Gives the engine an image called `tag`. `shared` is a folder of all bakes of this user.

    Weights that were imported when a bake was killed serve the next bake of them; any bake that is alone sweeps them.
    Bakes that share another folder are not seen from here: what they imported bears their mark and is left to them.
    """

    kind = "docker"

    def __init__(self, host: Host, tag: str, shared: Path) -> None:
        self.host, self.tag, self.written = host, tag, 0
        self.api: Any = host.client.api  # its stubs leave some calls untyped
        with engine_trouble("the Docker engine does not say how it stores images"):
            self.info = host.client.info()
        self.imports = _CONTAINERD not in json.dumps(self.info.get("DriverStatus"))
        self.stop = threading.Event()
        shared.mkdir(parents=True, exist_ok=True)
        self._own = f"{IMPORTED}={mark_of(shared)}"
        self._others = (shared / _LOCK).open("a")
        fcntl.flock(self._others, fcntl.LOCK_SH)
        with engine_trouble("the Docker engine does not list its images"):
            self._left = self._marked(self._own)
            self._chains = set(self._known_chains())
        self._imported: list[str] = []

    def _known_chains(self) -> Iterator[tuple[str, ...]]:
        """Every run of lowest layers that an image with weights at its bottom has here."""
        for image in {*self._left, *self._marked(BAKED)}:
            try:
                layers = self.api.inspect_image(image)["RootFS"].get("Layers") or []
            except docker.errors.APIError:  # removed meanwhile
                continue
            names = tuple(d.removeprefix("sha256:") for d in layers)
            yield from (names[:n] for n in range(1, len(names) + 1))

    def _marked(self, mark: str, **filters: bool) -> list[str]:
        found: list[str] = self.api.images(quiet=True, filters={"label": mark, **filters})
        return found

    def cut(self, files: Sequence[Inside], most_gib: float) -> tuple[Layer, ...]:
        return one_layer(files) if self.imports else cut(files, most_gib)

    def check_room(self, new_bytes: int) -> None:
        """Raises HostError when the engine's disk, where it is this machine's, cannot hold the new layers."""
        root = Path(str(self.info.get("DockerRootDir") or "/var/lib/docker"))
        with suppress(OSError):  # an engine elsewhere
            free = shutil.disk_usage(root).free
            needed = new_bytes * (1.1 if self.imports else 2.05)
            if needed > free:
                message = f"{root}: {needed / GIB:.2f} GiB are needed, {free / GIB:.2f} GiB are free"
                raise HostError(message, "make room there, or bake elsewhere: --to layout --output FOLDER")

    def has(self, sealed: Sealed) -> bool:
        """Layers above the lowest depend on what lies beneath them: commit leaves out those that are here."""
        return (sealed.digest,) in self._chains or sealed.title == "engine"

    def put(self, pour: Pour) -> None:
        if not self.imports or not is_large(pour.layer.files[0].size_bytes):
            pour.drain()
            return
        with engine_trouble("the Docker engine did not take the weights"), closing(_pieces(pour)) as data:
            answer: Any = self.api.import_image_from_data(data=data, changes=[f"LABEL {self._own}"])
        self._imported.append(_last_status(answer))
        assert pour.sealed
        self.written += pour.size_bytes
        self._chains.add((pour.sealed.digest,))

    def put_file(self, sealed: Sealed, path: Path) -> None:
        """Engine layers go with the archive."""

    def commit(self, image: Image, sources: Sequence[Source]) -> str:
        missing = self.missing(image)
        with engine_trouble(f"the Docker engine did not load {self.tag}"):
            archive = _archive(image, [s for s in sources if s.sealed.digest in missing], self.tag, self.stop)
            for event in self.api.load_image(archive):
                if "error" in event:
                    raise HostError(f"the Docker engine did not load {self.tag}: {event['error']}", "docker system df")
            self.written += sum(s.sealed.size_bytes for s in sources if s.sealed.digest in missing)
            self._sweep()
        return "invoke run --baked"

    def _sweep(self) -> None:
        """Imported weights whose layer is the image's now; with no other bake at work, also what killed ones left."""
        names = list(self._imported)
        if not names and not self._left:
            return
        with suppress(BlockingIOError):
            fcntl.flock(self._others, fcntl.LOCK_EX | fcntl.LOCK_NB)
            names = self._marked(self._own, dangling=True)
        for name in names:
            with suppress(docker.errors.APIError):  # somebody runs it
                self.api.remove_image(name)

    def missing(self, image: Image) -> set[str]:
        """Layers above the longest run that an image here has."""
        layers = image.all_layers
        known = max((n for n in range(len(layers) + 1) if layers[:n] in self._chains), default=0)
        return set(layers[known:])

    def close(self) -> None:
        self.stop.set()
        self._others.close()


def mark_of(shared: Path) -> str:
    """What tells the bakes that share this folder from others of the same engine: machine, user and place."""
    return hashlib.sha256(f"{os.uname().nodename}\n{os.getuid()}\n{shared.resolve()}".encode()).hexdigest()[:16]


@contextmanager
def no_bake(shared: Path) -> Iterator[bool]:
    """Whether no bake that shares this folder is at work; if so, none begins meanwhile."""
    try:
        lock = (shared / _LOCK).open("a" if os.access(shared / _LOCK, os.W_OK) else "r")
    except FileNotFoundError:
        yield True
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _pieces(pour: Pour) -> Generator[bytes, None, None]:
    """Bytes, because the engine's library copies each piece into a frame anyway."""
    with closing(iter(pour)) as views:
        for view in views:
            if pour.stop.is_set():
                raise Stopped
            yield from (bytes(piece) for piece in small(view))


def _last_status(answer: str) -> str:
    """The id of an imported image."""
    events = [json.loads(line) for line in answer.splitlines() if line.strip()]
    error = next((e["error"] for e in events if "error" in e), None)
    if error or not events:
        message = f"the Docker engine did not take the weights: {error or 'it said nothing'}"
        raise HostError(message, "see what it holds: docker system df")
    return str(events[-1]["status"])


def _archive(image: Image, sources: Sequence[Source], tag: str, stop: threading.Event) -> Iterator[bytes]:
    """A layout and a Docker archive in one: old engines read manifest.json, new ones index.json."""
    paths = [f"{_BLOB}{d}" for d in image.all_layers]
    config = f"{_BLOB}{image.config_blob.digest}"
    yield from _text(config, image.config)
    yield from _text(f"{_BLOB}{image.manifest_blob.digest}", image.manifest)
    for source in sources:
        yield _header(f"{_BLOB}{source.sealed.digest}", source.sealed.size_bytes)
        yield from _checked(source, stop)
        yield bytes(-source.sealed.size_bytes % 512)
    entry = index_entry(image, tag)
    entry["annotations"]["io.containerd.image.name"] = f"docker.io/{tag}"
    yield from _text("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    yield from _text("index.json", index_json([entry]))
    yield from _text("manifest.json", archive_manifest(image, tag, paths, config))
    yield bytes(1024)


def _checked(source: Source, stop: threading.Event) -> Iterator[bytes]:
    """A layer's bytes; a file that changed since it was hashed ends the archive before its end."""
    found = hashlib.sha256()
    for piece in source.pieces(stop):
        found.update(piece)
        yield bytes(piece)
    if found.hexdigest() != source.sealed.digest:
        raise HostError(f"{source.sealed.title}: changed while it was baked", "leave it alone and bake again")


def _text(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content)) + content + bytes(-len(content) % 512)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT)
