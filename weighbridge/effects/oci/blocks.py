"""A layer's bytes in large aligned blocks, read ahead of whoever takes them, with direct I/O where it is offered.

Direct reads go from the disk into one of a few aligned buffers, and the same buffer may be written on directly: no copy
in the page cache, so a model of any size evicts nothing and needs no more memory than the buffers.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from weighbridge.errors import BadFile, HostError
from weighbridge.layers import Inside, Layer, parts

BLOCK_BYTES = 8 << 20
_BUFFERS = 3
_DIRECT_FROM = 4 << 20  # below this the page cache costs nothing that matters


class Stopped(Exception):
    """Another layer failed, or somebody pressed Ctrl-C: this one ends too."""


class Span(NamedTuple):
    """Where in a block the bytes of a file lie."""

    file: Inside
    begin: int
    end: int


class Block(NamedTuple):
    """A filled buffer; `view` is a multiple of 4096 long, and so is its place in the layer."""

    view: memoryview
    spans: tuple[Span, ...]


def read_ahead(layer: Layer, folder: Path, stop: threading.Event) -> Generator[Block, None, None]:
    """The blocks of a layer, read by a thread of its own. A block is good until the next one is asked for.

    Raises BadFile for a file that ends too soon, HostError when the disk fails, Stopped when `stop` is set.
    """
    empty: queue.Queue[mmap.mmap] = queue.Queue()
    filled: queue.Queue[tuple[mmap.mmap, Block] | BaseException | None] = queue.Queue()
    ended = threading.Event()
    for _ in range(_BUFFERS):
        empty.put(mmap.mmap(-1, BLOCK_BYTES))

    def take() -> mmap.mmap:
        while not (ended.is_set() or stop.is_set()):
            with suppress(queue.Empty):
                return empty.get(timeout=0.1)
        raise Stopped

    def read() -> None:
        try:
            for found in _Filling(take).blocks(layer, folder):
                filled.put(found)
            filled.put(None)
        except BaseException as e:
            filled.put(e)

    reader = threading.Thread(target=read, name="weighbridge-read", daemon=True)
    reader.start()
    try:
        while (found := filled.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found[1]
            if stop.is_set():
                raise Stopped
            empty.put(found[0])
    finally:
        ended.set()
        reader.join()


class _Filling:
    """One buffer after the other, filled with what a layer is made of."""

    def __init__(self, take: Callable[[], mmap.mmap]) -> None:
        self.take = take
        self._next()

    def _next(self) -> None:
        self.buffer, self.position = self.take(), 0
        self.spans: list[Span] = []

    def blocks(self, layer: Layer, folder: Path) -> Iterator[tuple[mmap.mmap, Block]]:
        for part in parts(layer):
            yield from self._add(part.head)
            if part.file and part.file.content is not None:
                yield from self._add(part.file.content)
            elif part.file:
                yield from self._read(part.file, folder / part.file.source)
        if self.position:
            yield self._full()

    def _add(self, content: bytes) -> Iterator[tuple[mmap.mmap, Block]]:
        while content:
            piece = content[: BLOCK_BYTES - self.position]
            self.buffer[self.position : self.position + len(piece)] = piece
            content = content[len(piece) :]
            yield from self._filled(len(piece))

    def _read(self, file: Inside, path: Path) -> Iterator[tuple[mmap.mmap, Block]]:
        """The bytes of a file. It begins at a multiple of 4096 in the layer, so each read is aligned for direct I/O."""
        handle = open_to_read(path, file.size_bytes)
        try:
            offset = 0
            while offset < file.size_bytes:
                count = min(_read_some(handle, self.buffer, self.position, offset, path), file.size_bytes - offset)
                if not count:
                    raise BadFile(f"{path}: ends after {offset} of {file.size_bytes} bytes", "fetch this file again")
                self.spans.append(Span(file, self.position, self.position + count))
                offset += count
                yield from self._filled(count)
        finally:
            forget(handle)
            os.close(handle)

    def _filled(self, count: int) -> Iterator[tuple[mmap.mmap, Block]]:
        self.position += count
        if self.position == BLOCK_BYTES:
            yield self._full()
            self._next()

    def _full(self) -> tuple[mmap.mmap, Block]:
        return self.buffer, Block(memoryview(self.buffer)[: self.position], tuple(self.spans))


def _read_some(handle: int, buffer: mmap.mmap, position: int, offset: int, path: Path) -> int:
    """Bytes read to the buffer's position; a file system that takes no direct reads is read as usual."""
    target = [memoryview(buffer)[position:]]
    try:
        return os.preadv(handle, target, offset)
    except OSError as e:
        if e.errno != errno.EINVAL or not is_direct(handle):
            raise HostError(f"{path}: {e.strerror}", "see what the disk says: dmesg | tail") from None
        set_direct(handle, False)
        return os.preadv(handle, target, offset)


def open_to_read(path: Path, size: int) -> int:
    """A file open for reading, directly when it is large and its file system allows that. Raises BadFile."""
    wanted = os.O_DIRECT if size >= _DIRECT_FROM else 0
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | wanted)
    except OSError as e:
        if not wanted or e.errno != errno.EINVAL:
            raise BadFile(f"{path}: {e.strerror}", "fetch this file again") from None
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def is_direct(handle: int) -> bool:
    return bool(fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_DIRECT)


def set_direct(handle: int, wanted: bool) -> None:
    flags = fcntl.fcntl(handle, fcntl.F_GETFL)
    fcntl.fcntl(handle, fcntl.F_SETFL, flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT)


def forget(handle: int) -> None:
    """What was read or written through the page cache need not stay there."""
    if not is_direct(handle):
        with suppress(OSError):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
