"""verify: a model's folder beside its lock. Sizes at once, contents at the speed of the disk, structure, no pickle."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from weighbridge.effects.hashing import Digests, hash_all
from weighbridge.effects.store import Store
from weighbridge.effects.weights import check_weights
from weighbridge.errors import BadFile, HostError
from weighbridge.fetching import Checked, Problem, progress_line
from weighbridge.lock import LOCK_NAME, Lock, LockedFile
from weighbridge.sources import is_pickle

Say = Callable[[str], None]


def verify(folder: Path, model: str, lock: Lock | None, digests: Digests, say: Say, *, quick: bool) -> Checked:
    """What is wrong with a folder. `quick` compares sizes and structure alone. Raises BadFile without a folder."""
    if not folder.is_dir():
        raise BadFile(f"{folder}: no such folder of weights", f"invoke fetch --model {model}")
    begun = time.monotonic()
    problems = _shape(folder, lock)
    broken = {p.path for p in problems}
    whole = [f for f in lock.files if f.path not in broken] if lock and not quick else []
    meter = _Meter(sum(f.size_bytes for f in whole), say)
    try:
        found = hash_all([folder / f.path for f in whole], digests, meter.add) if whole else {}
    except OSError as e:
        raise HostError(f"{e.filename or folder}: {e.strerror or e}", "see the kernel's messages: dmesg") from None
    wrong = [
        Problem(path=f.path, kind="sha256", expected=f.sha256, found=found[folder / f.path])
        for f in whole
        if found[folder / f.path] != f.sha256
    ]
    problems += [msgspec.structs.replace(p, moved_to=_moved(folder, lock, p)) for p in wrong]
    return Checked(
        folder=str(folder), model=model, files=len(lock.files) if lock else len(_files(folder)),
        size_bytes=lock.size_bytes if lock else sum((folder / f).stat().st_size for f in _files(folder)),
        hashed=bool(lock and not quick), read_bytes=digests.read_bytes, seconds=round(time.monotonic() - begun, 4),
        lock_digest=lock.digest if lock else None, problems=tuple(problems),
    )  # fmt: skip


def _shape(folder: Path, lock: Lock | None) -> list[Problem]:
    """What names, sizes and headers say, without reading the weights."""
    files = _files(folder)
    problems = [Problem(path=f, kind="pickle", found="it runs code when it is loaded") for f in files if is_pickle(f)]
    if lock:
        problems += [p for f in lock.files if (p := _size(folder, f))]
        known = {f.path for f in lock.files} | {p.path for p in problems}
        problems += [Problem(path=f, kind="not in the lock") for f in files if f not in known]
    if not problems:
        with suppress(FileNotFoundError):
            try:
                check_weights(folder)
            except BadFile as e:
                problems.append(Problem(path=folder.name, kind="structure", found=e.message))
    return problems


def _size(folder: Path, file: LockedFile) -> Problem | None:
    try:
        size = (folder / file.path).stat().st_size
    except OSError:
        return Problem(path=file.path, kind="missing")
    if size == file.size_bytes:
        return None
    return Problem(path=file.path, kind="size", expected=str(file.size_bytes), found=str(size))


def _files(folder: Path) -> list[str]:
    """Every file but hidden ones and the lock."""
    found = (p.relative_to(folder) for p in sorted(folder.rglob("*")) if not p.is_dir())
    return [str(p) for p in found if not any(x.startswith(".") for x in p.parts) and str(p) != LOCK_NAME]


def _moved(folder: Path, lock: Lock | None, problem: Problem) -> str | None:
    """In a store a file that differs from its own lock is moved away, so that fetch brings that one again.

    Elsewhere, and beside another lock, it stays: it may be just what somebody wants.
    """
    file = next((f for f in lock.files if f.path == problem.path), None) if lock else None
    store = Store(folder.parent)
    own = store.lock_of(folder.name)
    same = lock is not None and own is not None and own.digest == lock.digest
    if file is None or not same or not store.blobs.is_dir() or not os.access(folder, os.W_OK):
        return None
    with suppress(OSError):
        return str(store.break_up(folder, file, problem.found or ""))
    return None


class _Meter:
    """Bytes that were hashed, said every five seconds."""

    def __init__(self, total: int, say: Say) -> None:
        self.total, self.say, self.here = total, say, 0
        self.begun = time.monotonic()
        self.next = self.begun + 5
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        with self._lock:
            self.here += size
            now = time.monotonic()
            if now >= self.next:
                self.next = now + 5
                line = progress_line(self.here, self.total, self.here / (now - self.begun))
                self.say(line.replace("fetch:", "verify:", 1))
