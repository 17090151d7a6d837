"""A model's folder: its lock, or the files there are; small files hashed, large ones left for when they are poured."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import msgspec

from weighbridge.effects.oci.digests import Digests
from weighbridge.effects.oci.pour import mismatch, sha256_of
from weighbridge.errors import BadFile
from weighbridge.layers import Inside, is_large
from weighbridge.lock import LOCK_NAME, Lock, LockedFile, is_plain_path, read_lock

# The same tensors in formats that no engine here reads, some of them programs: not what a sealed image should carry.
_TWINS = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".ot")
_TWIN_FOLDERS = ("original", "onnx", "openvino", "metal")


class ModelFolder:
    """The files of a model that go into an image, and the lock over them. Raises BadFile."""

    def __init__(self, folder: Path, root: str, model: str, digests: Digests) -> None:
        self.folder, self.root, self.model, self.digests = folder, root.strip("/"), model, digests
        self.given, self.lock, wanted = _read(folder)
        self.files = tuple(self._inside(f) for f in wanted)

    def _inside(self, file: LockedFile) -> Inside:
        path = self.folder / file.path
        try:
            stat = path.stat()
        except OSError as e:
            raise BadFile(f"{path}: {e.strerror}", "fetch the model again") from None
        if stat.st_size != file.size_bytes:
            raise BadFile(f"{path}: {stat.st_size} bytes, the lock has {file.size_bytes}", "fetch this file again")
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
        content = self.given or lock_json(lock)
        return lock, _of_content(f"{self.root}/{LOCK_NAME}", content)


def listed(folder: Path, root: str) -> tuple[tuple[Inside, ...], bool]:
    """The files with nothing read, and whether a lock lies among them."""
    _, lock, wanted = _read(folder)
    place = root.strip("/")
    files = (Inside(path=f"{place}/{f.path}", size_bytes=f.size_bytes, sha256=None, source=f.path) for f in wanted)
    return tuple(files), lock is not None


def _read(folder: Path) -> tuple[bytes | None, Lock | None, tuple[LockedFile, ...]]:
    path = folder / LOCK_NAME
    if not path.is_file():
        return None, None, tuple(_found(folder))
    text = path.read_bytes()
    lock = read_lock(text.decode(errors="replace"), path)
    return text, lock, lock.files


def lock_json(lock: Lock) -> bytes:
    """A lock as it lies in a model's folder, in an image too."""
    kept = {k: v for k, v in msgspec.to_builtins(lock).items() if v is not None}
    return msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n"


def _of_content(path: str, content: bytes) -> Inside:
    return Inside(path=path, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), content=content)


def _found(folder: Path) -> Iterator[LockedFile]:
    """The files of a folder without a lock, but for hidden ones and twins of the weights."""
    root = folder.resolve()
    paths = [Path(at) / name for at, _, names in os.walk(folder) for name in names]
    for path in sorted(paths):
        relative = path.relative_to(folder).as_posix()
        if not _is_wanted(relative):
            continue
        if not path.resolve().is_relative_to(root) or not path.is_file():
            hint = f"cp -rL {folder} NEW, then --weights NEW"
            raise BadFile(f"{path}: no plain file of this folder", hint)
        if not is_plain_path(relative):
            raise BadFile(f"{path!s}: a name that cannot be in an image", "rename it")
        yield LockedFile(path=relative, size_bytes=path.stat().st_size, sha256="")


def _is_wanted(relative: str) -> bool:
    parts = PurePosixPath(relative).parts
    twin = relative.endswith(_TWINS) or parts[0] in _TWIN_FOLDERS
    return not twin and not any(p.startswith(".") for p in parts) and relative != LOCK_NAME
