"""The engine's image as blobs: taken once from the Docker engine, then kept by what they are."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from weighbridge.effects.disk import write_file
from weighbridge.errors import HostError, Unsupported
from weighbridge.image import Sealed

if TYPE_CHECKING:  # a bake of layers that are in the cache is done before the Docker library is loaded
    from docker.models.images import Image as DockerImage

    from weighbridge.effects.docker import Host

_CHUNK_BYTES = 4 << 20
_GZIP = b"\x1f\x8b"
_SMALLEST_TAR = 1023  # two blocks of zeros
_PART = ".part-"
_OPAQUE = ".wh..wh..opq"
Say = Callable[[str], None]


class EngineImage(NamedTuple):
    """The config of an image, whole, and its layers, uncompressed, as files of the cache."""

    config: dict[str, Any]
    layers: tuple[Sealed, ...]
    folder: Path

    def path(self, layer: Sealed) -> Path:
        return self.folder / layer.digest

    @property
    def size_bytes(self) -> int:
        return sum(s.size_bytes for s in self.layers)


def engine_image(image: DockerImage, host: Host, cache: Path, hidden: str, say: Say) -> EngineImage:
    """An image of this host by its id; only one that was not seen before is read.

    `hidden` is the folder that no layer may take away. Raises HostError or Unsupported.
    """
    blobs, memo = cache / "blobs", cache / "images" / f"{str(image.id).removeprefix('sha256:')}.json"
    try:
        blobs.mkdir(parents=True, exist_ok=True)
        memo.parent.mkdir(exist_ok=True)
        sweep(cache)
        if not _is_whole(memo, blobs):
            say(f"taking {image.tags[0] if image.tags else image.short_id} from the Docker engine, once")
            _take(image, host, blobs, memo)
        kept = json.loads(memo.read_bytes())
    except OSError as e:
        hint = "WEIGHBRIDGE_CACHE=FOLDER names another place; its own cache can go: invoke clean --cache"
        raise HostError(f"{e.filename or cache}: {e.strerror or e}", hint) from None
    layers = tuple(Sealed(digest=d, size_bytes=n, title="engine") for d, n in kept["layers"])
    found = EngineImage(kept["config"], layers, blobs)
    for layer in layers:
        _check_hides(found.path(layer), hidden, memo.with_name(f"{layer.digest}.whiteouts"))
    return found


def sweep(cache: Path) -> None:
    """What a bake that was killed left half done; what another one still writes is locked, and stays."""
    for part in (cache / "blobs").glob(f"{_PART}*"):
        with suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def _is_whole(memo: Path, blobs: Path) -> bool:
    if not memo.is_file():
        return False
    rows = json.loads(memo.read_bytes())["layers"]
    return all((blobs / d).is_file() and (blobs / d).stat().st_size == n for d, n in rows)


def _take(image: DockerImage, host: Host, blobs: Path, memo: Path) -> None:
    """The archive that the engine writes, read once as it comes: layers to blobs, the rest kept."""
    from weighbridge.effects.docker import engine_trouble

    with engine_trouble(f"{image.short_id} cannot be taken from the Docker engine"):
        stream = _Stream(host.client.api.get_image(str(image.id)))
        layers, texts, links = _unpack(stream, blobs)
    manifest = json.loads(texts["manifest.json"])[0]
    config = json.loads(texts[manifest["Config"]])
    found = [layers[links.get(path, path)] for path in manifest["Layers"]]
    if [f"sha256:{s.digest}" for s in found] != config["rootfs"]["diff_ids"]:
        message = f"{image.short_id}: the layers that the Docker engine gave are not those that its config names"
        raise HostError(message, "build it again: invoke build")
    write_file(memo, json.dumps({"config": config, "layers": [[s.digest, s.size_bytes] for s in found]}))


def _unpack(stream: _Stream, blobs: Path) -> tuple[dict[str, Sealed], dict[str, bytes], dict[str, str]]:
    """Layers as blobs, small JSON files whole, links by where they lead: each by its name in the archive."""
    layers: dict[str, Sealed] = {}
    texts: dict[str, bytes] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if member.issym() or member.islnk():
                links[member.name] = os.path.normpath(PurePosixPath(member.name).parent / member.linkname)
            file = tar.extractfile(member) if member.isfile() else None
            if not file:
                continue
            first = file.read(_CHUNK_BYTES)
            if first[:1] in (b"{", b"["):
                texts[member.name] = first + file.read()
            elif member.size > _SMALLEST_TAR:
                layers[member.name] = _keep(first, file, blobs)
    return layers, texts, links


def _keep(first: bytes, file: IO[bytes], blobs: Path) -> Sealed:
    """A layer as a blob of its own name, uncompressed, whole or not at all."""
    handle, name = _part(blobs)
    digest, size = hashlib.sha256(), 0
    try:
        with open(handle, "wb") as part:
            for chunk in _uncompressed(first, file):
                digest.update(chunk)
                size += part.write(chunk)
            part.flush()
            os.fsync(handle)
            Path(name).chmod(0o644)
            Path(name).replace(blobs / digest.hexdigest())
    finally:
        Path(name).unlink(missing_ok=True)
    return Sealed(digest=digest.hexdigest(), size_bytes=size, title="engine")


def _part(blobs: Path) -> tuple[int, str]:
    """A new file, locked, so that no other bake sweeps it away."""
    while True:
        handle, name = tempfile.mkstemp(prefix=_PART, dir=blobs)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # not swept between the two
            return handle, name
        os.close(handle)


def _uncompressed(first: bytes, file: IO[bytes]) -> Iterator[bytes]:
    """A layer as it was before some engines compressed it."""
    unpack = zlib.decompressobj(31) if first.startswith(_GZIP) else None
    chunk = first
    while chunk:
        yield unpack.decompress(chunk) if unpack else chunk
        chunk = file.read(_CHUNK_BYTES)


def _check_hides(path: Path, hidden: str, memo: Path) -> None:
    """Raises Unsupported when a layer takes away what lies beneath it at the weights' place."""
    marks = _read_memo(memo)
    if marks is None:
        with tarfile.open(path) as tar:
            marks = [m.name.removeprefix("./") for m in tar if ".wh." in m.name]
        write_file(memo, json.dumps(marks))
    place = PurePosixPath(hidden.strip("/"))
    above = {str(p) for p in (place, *place.parents)}
    for mark in marks:
        parent, name = os.path.split(mark)
        taken = parent if name == _OPAQUE else str(PurePosixPath(parent) / name.removeprefix(".wh."))
        if taken in above:
            message = f"a layer of the engine's image removes /{taken}, where the weights must lie"
            raise Unsupported(message, "leave that folder alone in the engine's Dockerfile, then: invoke build")


def _read_memo(memo: Path) -> list[str] | None:
    """What was noted of a layer; None when nothing whole is there."""
    try:
        found = json.loads(memo.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, list) else None


class _Stream(io.RawIOBase):
    """Chunks as a file to read from, once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks, self.rest = iter(chunks), b""

    def read(self, size: int = -1) -> bytes:
        found = [self.rest]
        have = len(self.rest)
        while have < size and (chunk := next(self.chunks, b"")):
            found.append(chunk)
            have += len(chunk)
        whole = b"".join(found)
        self.rest = whole[size:]
        return whole[:size]
