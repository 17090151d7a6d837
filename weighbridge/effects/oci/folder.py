"""A model's folder: its lock, or the files there are; small files hashed, large ones left for when they are poured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from weighbridge.effects.oci.digests import Digests
from weighbridge.effects.oci.pour import mismatch, sha256_of
from weighbridge.errors import BadFile
from weighbridge.layers import Inside, is_large
from weighbridge.lock import LOCK_NAME, Lock, LockedFile, is_plain_path, lock_json
from weighbridge.sources import wanted


class ModelFolder:
    """The files of a model that go into an image, and the lock over them: `lock`, else one that is made.

    Raises BadFile.
    """

    def __init__(self, folder: Path, root: str, model: str, digests: Digests, lock: Lock | None = None) -> None:
        self.folder, self.root, self.model, self.digests = folder, root.strip("/"), model, digests
        self.lock = lock
        self.files = tuple(self._inside(f) for f in _chosen(folder, lock))

    def _inside(self, file: LockedFile) -> Inside:
        path = self.folder / file.path
        try:
            stat = path.stat()
        except OSError as e:
            raise BadFile(f"{path}: {e.strerror}", "fetch the model again") from None
        if stat.st_size != file.size_bytes:
            hint = "fetch this file again; or name the lock that it follows: --lock FILE"
            raise BadFile(f"{path}: {stat.st_size} bytes, the lock has {file.size_bytes}", hint)
        known = file.sha256 or self.digests.file(stat)
        if not is_large(stat.st_size):
            known = sha256_of(path, self.digests)
            if file.sha256 not in ("", known):
                raise mismatch(path, file.sha256, known)
        return Inside(path=f"{self.root}/{file.path}", size_bytes=stat.st_size, sha256=known, source=file.path)

    def locked(self, hashed: Mapping[str, str]) -> tuple[Lock, Inside]:
        """The lock and its file, once every sha256 is known. `hashed`: those found since, by path in the image."""
        rows = [(f, f.sha256 or hashed[f.path]) for f in self.files]
        files = tuple(LockedFile(path=f.source, size_bytes=f.size_bytes, sha256=sha256) for f, sha256 in rows)
        lock = self.lock or Lock(model=self.model, files=tuple(sorted(files, key=lambda f: f.path)))
        return lock, _of_content(f"{self.root}/{LOCK_NAME}", lock_json(lock).encode())


def listed(folder: Path, root: str, lock: Lock | None = None) -> tuple[Inside, ...]:
    """The files with nothing read."""
    place = root.strip("/")
    return tuple(
        Inside(path=f"{place}/{f.path}", size_bytes=f.size_bytes, sha256=None, source=f.path)
        for f in _chosen(folder, lock)
    )


def _chosen(folder: Path, lock: Lock | None) -> tuple[LockedFile, ...]:
    """The lock's files; without one what a fetch would take from this folder."""
    return lock.files if lock else tuple(_found(folder))


def _of_content(path: str, content: bytes) -> Inside:
    return Inside(path=path, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), content=content)


def _found(folder: Path) -> Iterator[LockedFile]:
    root = folder.resolve()
    names = wanted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())
    for name in names:
        path = folder / name
        if not path.resolve().is_relative_to(root) or not path.is_file():
            hint = f"cp -rL {folder} NEW, then --weights NEW"
            raise BadFile(f"{path}: no plain file of this folder", hint)
        if not is_plain_path(name):
            raise BadFile(f"{path!s}: a name that cannot be in an image", "rename it")
        yield LockedFile(path=name, size_bytes=path.stat().st_size, sha256="")
