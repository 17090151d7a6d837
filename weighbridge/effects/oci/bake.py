"""A model's files and an engine's image, joined into one image at a sink. Each layer moves once, and never again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

from weighbridge.effects.oci.blocks import Stopped
from weighbridge.effects.oci.digests import Digests
from weighbridge.effects.oci.engine import EngineImage
from weighbridge.effects.oci.folder import ModelFolder
from weighbridge.effects.oci.pour import Pour
from weighbridge.effects.oci.sink import Sink, Source
from weighbridge.errors import Unsupported
from weighbridge.facts import Value
from weighbridge.image import Image, Sealed, image_of
from weighbridge.layers import ALL_LAYERS, Layer, is_large, small_layer
from weighbridge.lock import Lock
from weighbridge.memory import GIB

Say = Callable[[str], None]
_SAY_EVERY_SECONDS = 2.0


class Baked(Value, frozen=True, kw_only=True):
    """What came of a bake. `digest` is the manifest's, `image_id` the config's; bytes are of weights and engine."""

    to: str
    digest: str
    image_id: str
    lock: str
    layers: int
    weights_bytes: int
    poured_bytes: int
    written_bytes: int
    seconds: float
    use: str


class Work(NamedTuple):
    """What is baked. `marked` makes labels and annotations once the lock is whole."""

    model: ModelFolder
    engine: EngineImage
    marked: Callable[[Lock], Mapping[str, str]]
    most_gib: float
    jobs: int


def bake(work: Work, sink: Sink, digests: Digests, say: Say) -> Baked:
    """The image at the sink. Raises WeighbridgeError; what was whole by then is not done again next time."""
    started = time.monotonic()
    large = sink.cut(work.model.files, work.most_gib)
    new = new_bytes(large, work, sink, digests)
    sink.check_room(new)
    progress = _Progress(new, say)
    poured = _Pouring(work, sink, digests, progress).all(large)
    hashed = {path: sha256 for p in poured for path, sha256 in p.files.items()}
    lock, lock_file = work.model.locked(hashed)
    top = small_layer((*work.model.files, lock_file))
    poured += _Pouring(work, sink, digests, progress).all([top])
    for layer in work.engine.layers:
        if not sink.has(layer):
            sink.put_file(layer, work.engine.path(layer))
    image = image_of([p.sealed for p in poured], work.engine.config, work.engine.layers, work.marked(lock))
    _check_count(image)
    sources = [Source(p.sealed, None, p.layer, work.model.folder, digests) for p in poured]
    sources += [Source(s, work.engine.path(s)) for s in work.engine.layers]
    use = sink.commit(image, sources)
    return Baked(
        to=sink.kind, digest=f"sha256:{image.manifest_blob.digest}", image_id=f"sha256:{image.config_blob.digest}",
        lock=f"sha256:{lock.digest}", layers=len(image.layers), weights_bytes=sum(p.sealed.size_bytes for p in poured),
        poured_bytes=sum(p.moved for p in poured), written_bytes=sink.written,
        seconds=round(time.monotonic() - started, 3), use=use,
    )  # fmt: skip


def new_bytes(large: Sequence[Layer], work: Work, sink: Sink, digests: Digests) -> int:
    """Bytes that the sink does not have yet, as far as digests are known."""
    missing = [y.size_bytes for y in large if not ((known := digests.layer(y)) and sink.has(known))]
    files = [s.size_bytes for s in work.engine.layers if not sink.has(s)]
    return sum(missing) + sum(f.size_bytes for f in work.model.files if not is_large(f.size_bytes)) + sum(files)


def _check_count(image: Image) -> None:
    if len(image.layers) > ALL_LAYERS:
        message = f"{len(image.layers)} layers; overlay file systems hold {ALL_LAYERS}"
        raise Unsupported(message, "put more shards into a layer: --max-layer-gib 20")


class _Poured(NamedTuple):
    """A layer that is at the sink. `moved`: bytes that were read for it now."""

    layer: Layer
    sealed: Sealed
    files: Mapping[str, str]
    moved: int


class _Pouring:
    """Several layers at a time; when one fails the others stop."""

    def __init__(self, work: Work, sink: Sink, digests: Digests, progress: _Progress) -> None:
        self.work, self.sink, self.digests, self.progress = work, sink, digests, progress
        self.stop = threading.Event()

    def all(self, layers: Sequence[Layer]) -> list[_Poured]:
        with ThreadPoolExecutor(self.work.jobs, "weighbridge-pour") as pool:
            futures = [pool.submit(self._one, layer) for layer in layers]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self.stop.set()
                for future in futures:
                    future.cancel()
        _raise_first(futures)
        return [f.result() for f in futures]

    def _one(self, layer: Layer) -> _Poured:
        known = self.digests.layer(layer)
        if known and self.sink.has(known):
            return _Poured(layer, known, {}, 0)
        if self.stop.is_set():
            raise Stopped
        pour = Pour(layer, self.work.model.folder, self.digests, passed=self.progress, stop=self.stop)
        self.sink.put(pour)
        assert pour.sealed
        self.digests.keep_layer(pour.layer, pour.sealed)
        return _Poured(pour.layer, pour.sealed, pour.files, pour.sealed.size_bytes)


def _raise_first(futures: Sequence[Future[_Poured]]) -> None:
    """The error that stopped the others."""
    errors = [e for f in futures if not f.cancelled() and (e := f.exception())]
    first = next((e for e in errors if not isinstance(e, Stopped)), next(iter(errors), None))
    if first:
        raise first


class _Progress:
    """A line every two seconds: how much, how fast, how long still."""

    def __init__(self, total: int, say: Say) -> None:
        self.total, self.say, self.done = total, say, 0
        self.started = self.last = time.monotonic()
        self.lock = threading.Lock()

    def __call__(self, count: int) -> None:
        with self.lock:
            self.done += count
            now = time.monotonic()
            if now - self.last < _SAY_EVERY_SECONDS:
                return
            self.last = now
            rate = self.done / (now - self.started)
            left = max(0, self.total - self.done) / rate
            self.say(
                f"  {self.done / GIB:.1f} of {self.total / GIB:.1f} GiB, {rate / GIB:.2f} GiB/s, {left:.0f} s left"
            )


def jobs_of(asked: int | None) -> int:
    """Layers at a time: as many as cores, and not more than 4, which a disk or a link rarely rewards."""
    return asked or min(4, len(os.sched_getaffinity(0)))


def cache_of(folder: Path) -> Path:
    """Where digests and the engine's blobs are kept."""
    return folder / "oci"
