"""A layer poured once: its bytes in order, hashed on the way, and checked against what was expected of its files."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from weighbridge.effects.oci.blocks import Block, read_ahead
from weighbridge.effects.oci.digests import Digests, identity, now_ns
from weighbridge.errors import BadFile
from weighbridge.image import Sealed
from weighbridge.layers import FORMAT, Inside, Layer


class Pour:
    """One layer of the files in `folder`. Iterate over its bytes; then `sealed` says what they came to.

    A view is good until the next one is asked for. A file whose sha256 is kept from before is not hashed by itself
    again. Raises BadFile when a file is not what was expected, or changes while it is read.
    """

    def __init__(
        self, layer: Layer, folder: Path, digests: Digests, *, passed: Callable[[int], None], stop: threading.Event
    ) -> None:
        self.layer, self.folder, self.digests = layer, folder, digests
        self.passed, self.stop = passed, stop
        self.sealed: Sealed | None = None
        self.files: dict[str, str] = {}  # path in the image: sha256, of files whose hash was not known
        self.started = now_ns()
        self.before = {f.path: self._stat(f) for f in layer.files if f.content is None}

    @property
    def size_bytes(self) -> int:
        return self.layer.size_bytes

    @property
    def identity(self) -> str:
        """The same text for the same files as they are now, before any digest is known."""
        rows = [[f.path, f.size_bytes, f.sha256 if f.content else identity(self.before[f.path])]
                for f in self.layer.files]  # fmt: skip
        return json.dumps([FORMAT, rows])

    def __iter__(self) -> Generator[memoryview, None, None]:
        whole, each = hashlib.sha256(), self._unknown()
        with ThreadPoolExecutor(1) as hasher, closing(read_ahead(self.layer, self.folder, self.stop)) as blocks:
            for block in blocks:
                hashed = hasher.submit(_hash, block, whole, each)
                yield block.view
                hashed.result()
                self.passed(len(block.view))
        for file in self.layer.files:
            self._settle(file, each)
        digest = whole.hexdigest()
        self.sealed = Sealed(digest=digest, size_bytes=self.size_bytes, title=self.layer.title)
        known = tuple(_with(f, self.files.get(f.path)) for f in self.layer.files)
        self.layer = Layer(files=known)

    def drain(self) -> None:
        """Only hash it."""
        for _ in self:
            pass

    def _unknown(self) -> dict[str, hashlib._Hash]:
        """A hash for each file that must be hashed by itself."""
        found = {}
        for file in self.layer.files:
            if file.content is None and (
                file.sha256 is None or self.digests.file(self.before[file.path]) != file.sha256
            ):
                found[file.path] = hashlib.sha256()
        return found

    def _settle(self, file: Inside, each: dict[str, hashlib._Hash]) -> None:
        """What was read is what was expected, and did not change while it was read."""
        if file.content is not None:
            return
        stat = self._stat(file)
        before = self.before[file.path]
        if (stat.st_mtime_ns, stat.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns):
            raise BadFile(f"{self.folder / file.source}: changed while it was read", "leave it alone and bake again")
        if file.path not in each:
            return
        found = each[file.path].hexdigest()
        if file.sha256 not in (None, found):
            raise mismatch(self.folder / file.source, str(file.sha256), found)
        self.files[file.path] = found
        self.digests.keep_file(stat, found, self.started)

    def _stat(self, file: Inside) -> os.stat_result:
        path = self.folder / file.source
        try:
            found = path.stat()
        except OSError as e:
            raise BadFile(f"{path}: {e.strerror}", "fetch the model again") from None
        if found.st_size != file.size_bytes:
            raise BadFile(f"{path}: {found.st_size} bytes, expected {file.size_bytes}", "fetch this file again")
        return found


def mismatch(path: Path, expected: str, found: str) -> BadFile:
    hint = "fetch this file again; or name the lock that it follows: --lock FILE"
    return BadFile(f"{path}: sha256 {found[:16]}…, the lock has {expected[:16]}…", hint)


def _with(file: Inside, sha256: str | None) -> Inside:
    return replace(file, sha256=sha256) if sha256 else file


def _hash(block: Block, whole: hashlib._Hash, each: dict[str, hashlib._Hash]) -> None:
    whole.update(block.view)
    for span in block.spans:
        if span.file.path in each:
            each[span.file.path].update(block.view[span.begin : span.end])


def sha256_of(path: Path, digests: Digests) -> str:
    """A file's sha256, from the cache when it has not changed. Raises BadFile."""
    started = now_ns()
    try:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            found = digests.file(stat) or hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise BadFile(f"{path}: {e.strerror}", "fetch this file again") from None
    digests.keep_file(stat, found, started)
    return found
