"""Where layers go: what a sink can do, and where the bytes of a layer come from a second time."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from weighbridge.effects.oci.digests import Digests
from weighbridge.effects.oci.pour import Pour
from weighbridge.image import Image, Sealed
from weighbridge.layers import Inside, Layer

PIECE_BYTES = 1 << 20  # sockets take about so much at once, and HTTP libraries copy what is left over


class Source(NamedTuple):
    """A layer whose digest is known: its file in the cache, or the model's files that it is made of."""

    sealed: Sealed
    path: Path | None = None
    layer: Layer | None = None
    folder: Path = Path()
    digests: Digests | None = None

    def pieces(self, stop: threading.Event) -> Generator[memoryview, None, None]:
        """The bytes, in pieces that are good until the next one is asked for."""
        if self.path:
            yield from _file_pieces(self.path)
            return
        assert self.layer
        assert self.digests
        pour = Pour(self.layer, self.folder, self.digests, passed=lambda _: None, stop=stop)
        for view in pour:
            yield from small(view)


def small(view: memoryview) -> Generator[memoryview, None, None]:
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]


def _file_pieces(path: Path) -> Generator[memoryview, None, None]:
    buffer = memoryview(bytearray(PIECE_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            yield buffer[:count]


class Sink(Protocol):
    """A place for an image. Nothing is visible there before `commit`, and everything after it."""

    kind: str
    written: int

    def cut(self, files: Sequence[Inside], most_gib: float) -> tuple[Layer, ...]:
        """How the large files are cut into layers."""

    def check_room(self, new_bytes: int) -> None:
        """Raises HostError when so many new bytes cannot fit."""

    def has(self, sealed: Sealed) -> bool:
        """Whether these bytes need not be sent."""

    def put(self, pour: Pour) -> None:
        """Take a layer of weights, whole or not at all."""

    def put_file(self, sealed: Sealed, path: Path) -> None:
        """Take a layer of the engine's image."""

    def commit(self, image: Image, sources: Sequence[Source]) -> str:
        """Make the image visible; what to type for it."""

    def close(self) -> None:
        """Leave nothing behind but what is whole."""
