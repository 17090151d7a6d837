"""An OCI layout in a folder: blobs share blocks with the model's files where the disk can, else are copied directly."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from weighbridge.effects.clone import clone_range, shares_blocks
from weighbridge.effects.disk import MARKER, check_ours
from weighbridge.effects.oci.blocks import forget, is_direct, set_direct
from weighbridge.effects.oci.pour import Pour
from weighbridge.effects.oci.sink import Source
from weighbridge.errors import BadFile, HostError
from weighbridge.image import Image, Sealed, index_entry, index_json, named, sealed
from weighbridge.layers import ALIGNMENT, Inside, Layer, cut, parts
from weighbridge.memory import GIB
from weighbridge.referrer import Artifact

_PART = ".part-"


class LayoutSink:
    """Writes `folder`; `reference` is the image's name in it, `model` where the files come from. One bake at a time."""

    kind = "layout"

    def __init__(self, folder: Path, reference: str, model: Path) -> None:
        self.folder, self.reference, self.model, self.written = folder, reference, model, 0
        self.blobs = folder / "blobs" / "sha256"
        self._counting = threading.Lock()
        check_ours(folder)
        with self._trouble():
            self.blobs.mkdir(parents=True, exist_ok=True)
            self._mark = (folder / MARKER).open("a+")
            self._own()
            for left in self.blobs.glob(f"{_PART}*"):  # of a bake that was killed
                left.unlink()

    def _own(self) -> None:
        try:
            fcntl.flock(self._mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._mark.close()
            raise HostError(
                f"{self.folder}: another bake writes there", "wait for it, or choose another --output"
            ) from None
        if not self._mark.tell():
            self._mark.write("Written by Weighbridge, which replaces and removes this folder whole.\n")
            self._mark.flush()

    def cut(self, files: Sequence[Inside], most_gib: float) -> tuple[Layer, ...]:
        return cut(files, most_gib)

    def check_room(self, new_bytes: int) -> None:
        if new_bytes > shutil.disk_usage(self.folder).free and not can_share(self.model, self.blobs):
            raise self._full(new_bytes)

    def has(self, sealed: Sealed) -> bool:
        path = self.blobs / sealed.digest
        return path.is_file() and path.stat().st_size == sealed.size_bytes

    def put(self, pour: Pour) -> None:
        with self._trouble(pour.size_bytes), self._aside() as (part, name):
            if self._clone(pour, part):
                pour.drain()
            else:
                self._copy(pour, part)
            assert pour.sealed
            os.fsync(part)
            name.rename(self.blobs / pour.sealed.digest)

    @contextmanager
    def _aside(self) -> Iterator[tuple[int, Path]]:
        """An open file; who has written it whole renames it, else it is removed."""
        handle, name = tempfile.mkstemp(prefix=_PART, dir=self.blobs)
        try:
            os.fchmod(handle, 0o644)
            yield handle, Path(name)
        finally:
            os.close(handle)
            Path(name).unlink(missing_ok=True)

    def _clone(self, pour: Pour, part: int) -> bool:
        """The layer with the blocks of its files; False, and nothing written, where the file system shares none."""
        offset = wrote = 0
        for piece in parts(pour.layer):
            content = piece.head
            if piece.file and piece.file.content is not None:
                content += piece.file.content
            if content:
                wrote += os.pwrite(part, content, offset)
                offset += len(content)
            if piece.file and piece.file.content is None:
                copied = _clone_file(pour.folder / piece.file.source, piece.file.size_bytes, part, offset)
                if copied is None:
                    os.ftruncate(part, 0)
                    return False
                wrote, offset = wrote + copied, offset + piece.file.size_bytes
        self._count(wrote)
        return True

    def _copy(self, pour: Pour, part: int) -> None:
        os.posix_fallocate(part, 0, pour.size_bytes)
        with suppress(OSError):  # tmpfs and some network file systems take no direct writes
            set_direct(part, True)
        offset = 0
        with closing(iter(pour)) as views:
            for view in views:
                _write_all(part, view, offset)
                offset += len(view)
        self._count(offset)
        forget(part)

    def put_file(self, sealed: Sealed, path: Path) -> None:
        target = self.blobs / sealed.digest
        with self._trouble(sealed.size_bytes):
            try:
                os.link(path, target)
            except FileExistsError:
                return
            except OSError:  # another file system
                self._copy_file(path, target)

    def _copy_file(self, path: Path, target: Path) -> None:
        with self._aside() as (part, name), path.open("rb") as source:
            if not clone_range(source.fileno(), 0, 0, part, 0):  # 0 bytes: all of it
                with open(part, "wb", closefd=False) as copy:
                    shutil.copyfileobj(source, copy, 4 << 20)
                self._count(path.stat().st_size)
            os.fsync(part)
            name.rename(target)

    def commit(self, image: Image, sources: Sequence[Source]) -> str:
        with self._trouble():
            self._write(self.blobs / image.config_blob.digest, image.config)
            self._write(self.blobs / image.manifest_blob.digest, image.manifest)
            self._write(self.folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _sync_folder(self.blobs)
            others = [e for e in self.entries() if named(e) != self.reference]
            entries = self._true_still([*others, index_entry(image, self.reference)])
            self._write(self.folder / "index.json", index_json(entries))
            _sync_folder(self.folder)
            self._sweep(entries)
        return f"skopeo copy oci:{self.folder}:{self.reference} docker://HOST/NAME:TAG --preserve-digests"

    def add(self, artifact: Artifact) -> None:
        """Something said about an image: beside it in the index, where it is found by its subject."""
        with self._trouble():
            for blob, data in [*artifact.blobs, (sealed(artifact.manifest), artifact.manifest)]:
                self._write(self.blobs / blob.digest, data)
            own = artifact.descriptor()
            others = [e for e in self.entries() if e["digest"] != own["digest"]]
            self._write(self.folder / "index.json", index_json([*others, own]))
            _sync_folder(self.folder)

    def entries(self) -> list[dict[str, Any]]:
        path = self.folder / "index.json"
        try:
            return list(json.loads(path.read_bytes())["manifests"]) if path.exists() else []
        except (ValueError, LookupError, TypeError):
            raise BadFile(f"{path}: no index of a layout", f"rm -r {self.folder}") from None

    def _true_still(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Without what was said about an image that is gone: a check that another image passed proves nothing."""
        there = {e["digest"] for e in entries}
        return [e for e in entries if e.get("artifactType") is None or self._subject(e) in there]

    def _subject(self, entry: Mapping[str, Any]) -> str | None:
        """The digest of what an artifact is about."""
        manifest = json.loads((self.blobs / str(entry["digest"]).removeprefix("sha256:")).read_bytes())
        return (manifest.get("subject") or {}).get("digest")

    def _sweep(self, entries: Sequence[dict[str, Any]]) -> None:
        """Blobs that no image of the index has any more."""
        used = set()
        for entry in entries:
            digest = str(entry["digest"]).removeprefix("sha256:")
            manifest = json.loads((self.blobs / digest).read_bytes())
            used |= {digest, *(d["digest"].removeprefix("sha256:") for d in (manifest["config"], *manifest["layers"]))}
        for path in self.blobs.iterdir():
            if path.name not in used:
                path.unlink()

    def _write(self, path: Path, content: bytes) -> None:
        with self._aside() as (part, name):
            os.write(part, content)
            os.fsync(part)
            name.replace(path)
        self._count(len(content))

    def close(self) -> None:
        self._mark.close()

    def _count(self, count: int) -> None:
        with self._counting:
            self.written += count

    @contextmanager
    def _trouble(self, wanted: int = 0) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full(wanted) from None
            raise HostError(f"{self.folder}: {e.strerror or e}", "choose another place: --output FOLDER") from None

    def _full(self, wanted: int) -> HostError:
        free = shutil.disk_usage(self.folder).free
        message = f"{self.folder}: {wanted / GIB:.2f} GiB are needed at once, {free / GIB:.2f} GiB are free"
        return HostError(message, "choose a larger place: --output FOLDER")


def can_share(model: Path, place: Path) -> bool:
    """Whether a file system can share the blocks of a model's files with files in `place`."""
    source = next((p for p in sorted(model.iterdir()) if p.is_file() and p.stat().st_size >= ALIGNMENT), None)
    return source is not None and shares_blocks(source, place)


def _clone_file(path: Path, size: int, part: int, offset: int) -> int | None:
    """Bytes that had to be copied: those after the last whole block. None where blocks cannot be shared."""
    shared = size - size % ALIGNMENT
    with path.open("rb") as source:
        if shared and not clone_range(source.fileno(), 0, shared, part, offset):
            return None
        rest = os.pread(source.fileno(), size - shared, shared)
    return os.pwrite(part, rest, offset + shared) if rest else 0


def _write_all(part: int, view: memoryview, offset: int) -> None:
    while len(view):
        try:
            count = os.pwrite(part, view, offset)
        except OSError as e:
            if e.errno != errno.EINVAL or not is_direct(part):
                raise
            set_direct(part, False)
            continue
        view, offset = view[count:], offset + count


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
