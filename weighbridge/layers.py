"""A model's files as layers of an image: which file lies in which layer, and the exact bytes between the files.

A layer is an uncompressed tar: parent folders, then for each file a head, its bytes, and a pad. A head ends on a
multiple of 4096, so that a file's first byte lies where a file system can share blocks and where direct I/O can write.
Nothing in it depends on a machine: owner 0, fixed modes, time 0. Formats: POSIX pax (IEEE 1003.1-2008) and, for sizes
of 8 GiB and more, GNU's base-256 field beside it, because some readers know only one of the two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from weighbridge.errors import Unsupported
from weighbridge.facts import Value
from weighbridge.memory import GIB

FORMAT = "bake-v1"  # another format, another digest: raise it with any change to the bytes
ALIGNMENT = 4096
LARGE_BYTES = 64 << 20  # smaller files share a layer of their own
MOST_LAYERS = 88  # of weights; an engine's image may have 38 more before overlay file systems refuse (127 in all)
ALL_LAYERS = 126
_BLOCK = 512
_OCTAL_BYTES = 8 << 30  # the first size that eleven octal digits do not hold


class Inside(Value, frozen=True, kw_only=True):
    """A file of an image. `path` has no leading slash; `source` is its path in the model's folder.

    `sha256` is None while it is not known; `content` is given for a file that no folder holds.
    """

    path: str
    size_bytes: int
    sha256: str | None
    source: str = ""
    content: bytes | None = None


class Layer(Value, frozen=True, kw_only=True):
    """Files that are one layer, in their order."""

    files: tuple[Inside, ...]

    @property
    def key(self) -> str | None:
        """What the layer's bytes follow from, on any machine; None while a file's sha256 is not known."""
        if any(f.sha256 is None for f in self.files):
            return None
        rows = [(f.path, f.size_bytes, f.sha256) for f in self.files]
        return hashlib.sha256(json.dumps([FORMAT, rows], separators=(",", ":")).encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        return sum(len(p.head) + (p.file.size_bytes if p.file else 0) for p in parts(self))

    @property
    def title(self) -> str:
        first = self.files[0].source or self.files[0].path
        return first if len(self.files) == 1 else f"{first} and {len(self.files) - 1} more"


class Part(NamedTuple):
    """Bytes, and the file whose bytes follow them; after the last file only bytes."""

    head: bytes
    file: Inside | None


def parts(layer: Layer) -> Iterator[Part]:
    """The layer's bytes in order. The whole is a multiple of 4096 long."""
    position = 0
    before = b"".join(_folder(f"{folder}/") for folder in _folders(layer.files))
    for file in layer.files:
        head = before + _head(file, position + len(before))
        yield Part(head, file)
        position += len(head) + file.size_bytes
        before = bytes(-file.size_bytes % _BLOCK)
    end = before + bytes(2 * _BLOCK)
    yield Part(end + bytes(-(position + len(end)) % ALIGNMENT), None)


def _folders(files: Sequence[Inside]) -> list[str]:
    found = {str(parent) for file in files for parent in PurePosixPath(file.path).parents}
    return sorted(found - {"."})


def _folder(path: str) -> bytes:
    records = _path_record(path)
    padded = records + bytes(-len(records) % _BLOCK)
    extended = _member("PaxHeaders/path", len(records), 0o644, b"x") + padded if records else b""
    return extended + _member(path, 0, 0o755, b"5")


def _head(file: Inside, position: int) -> bytes:
    """A pax header, padded by a comment so that the file begins at a multiple of 4096; then the file's own."""
    records = _path_record(file.path)
    if file.size_bytes >= _OCTAL_BYTES:
        records += _record("size", str(file.size_bytes).encode())
    room = -(position + 2 * _BLOCK) % ALIGNMENT
    while room < len(records) + 13:  # the shortest comment
        room += ALIGNMENT
    records += _comment(room - len(records))
    return _member("PaxHeaders/pad", room, 0o644, b"x") + records + _member(file.path, file.size_bytes, 0o644, b"0")


def _path_record(path: str) -> bytes:
    name = path.encode()
    return _record("path", name) if len(name) > 100 or not name.isascii() else b""


def _record(key: str, value: bytes) -> bytes:
    """`<length> key=value`, the length counting itself."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def _comment(length: int) -> bytes:
    """A comment of exactly so many bytes."""
    frame = f"{length} comment="
    return frame.encode() + b" " * (length - len(frame) - 1) + b"\n"


def _member(path: str, size: int, mode: int, kind: bytes) -> bytes:
    """A ustar header; a longer path stands in the pax header before it."""
    name = path.encode()[:100]
    amount = b"%011o\0" % size if size < _OCTAL_BYTES else b"\x80" + size.to_bytes(11, "big")
    zero = b"0000000\0"
    fields = (name.ljust(100, b"\0"), b"%07o\0" % mode, zero, zero, amount, b"%011o\0" % 0)
    rest = kind + bytes(100) + b"ustar\x0000" + bytes(64) + zero + zero + bytes(167)
    start = b"".join(fields)
    checksum = sum(start) + sum(rest) + 8 * 0x20
    return start + b"%06o\0 " % checksum + rest


def is_large(size_bytes: int) -> bool:
    """Whether a file has a layer of its own, or one with its like."""
    return size_bytes >= LARGE_BYTES


def cut(files: Sequence[Inside], most_gib: float) -> tuple[Layer, ...]:
    """The large files as layers: one each, or neighbours together when that would be too many layers.

    Raises Unsupported for a file that is larger than a layer may be, and for a model that no 88 layers hold.
    """
    most = int(most_gib * GIB)
    large = sorted((f for f in files if is_large(f.size_bytes)), key=lambda f: f.path)
    too_large = next((f for f in large if Layer(files=(f,)).size_bytes > most), None)
    if too_large:
        raise Unsupported(
            f"{too_large.source} has {too_large.size_bytes / GIB:.2f} GiB; a layer may have {most_gib:g}, "
            "because registries refuse larger ones",
            f"a registry that takes it: --max-layer-gib {int(too_large.size_bytes / GIB) + 1}; "
            "or save the model in smaller shards",
        )
    layers = tuple(Layer(files=(f,)) for f in large)
    if len(layers) > MOST_LAYERS:
        layers = tuple(_grouped(large, most))
    if len(layers) > MOST_LAYERS:
        total = sum(f.size_bytes for f in large) / GIB
        raise Unsupported(
            f"{total:.0f} GiB in layers of {most_gib:g} GiB are {len(layers)} layers; an image holds {MOST_LAYERS}",
            f"try --max-layer-gib {int(2 * total / MOST_LAYERS) + 1}",
        )
    return layers


def _grouped(files: Sequence[Inside], most: int) -> Iterator[Layer]:
    """Neighbours together, as many as a layer may hold."""
    group: tuple[Inside, ...] = ()
    for file in files:
        if group and Layer(files=(*group, file)).size_bytes > most:
            yield Layer(files=group)
            group = ()
        group = (*group, file)
    if group:
        yield Layer(files=group)


def small_layer(files: Sequence[Inside]) -> Layer:
    """The layer of everything that is small: it lies above the weights, for it changes sooner."""
    return Layer(files=tuple(sorted((f for f in files if not is_large(f.size_bytes)), key=lambda f: f.path)))


def one_layer(files: Sequence[Inside]) -> tuple[Layer, ...]:
    """All large files as one layer, for engines that import exactly one without a second copy."""
    large = tuple(sorted((f for f in files if is_large(f.size_bytes)), key=lambda f: f.path))
    return (Layer(files=large),) if large else ()
