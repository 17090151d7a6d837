"""sha256 at the speed of the disk: past the page cache, read ahead, on every core; remembered by the file's stat."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

_DIRECT_BYTES = 32 << 20  # smaller files are read through the page cache
_BLOCK = 8 << 20
_ALIGNED = 4096
DIGESTS = "digests.sqlite"  # beneath the cache folder: what fetch, verify and bake hashed, each for the others
FILES_TABLE = (
    "create table if not exists files (device integer, inode integer, size integer, mtime integer, ctime integer, "
    "sha256 text, primary key (device, inode)) without rowid"
)

Progress = Callable[[int], None]
Stat = tuple[int, int, int, int, int]


def sha256_of(path: Path, progress: Progress = lambda _: None) -> str:
    """The sha256 of a file; `progress` hears how many bytes were read. Raises OSError."""
    if path.stat().st_size < _DIRECT_BYTES:
        return _buffered(path, progress)
    try:
        return _direct(path, progress)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # tmpfs and some network disks know no O_DIRECT
            raise
    return _buffered(path, progress)


def _buffered(path: Path, progress: Progress) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        block = memoryview(bytearray(min(_BLOCK, max(_ALIGNED, path.stat().st_size))))
        while size := file.readinto(block):
            digest.update(block[:size])
            progress(size)
        with suppress(OSError):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return digest.hexdigest()


def _direct(path: Path, progress: Progress) -> str:
    """Two aligned buffers: while one is hashed the other is filled. Neither lets go of what the page cache holds."""
    digest, handle = hashlib.sha256(), os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with ThreadPoolExecutor(1) as ahead:
            buffers = [mmap.mmap(-1, _BLOCK), mmap.mmap(-1, _BLOCK)]
            at, turn = 0, 0
            pending = ahead.submit(os.preadv, handle, [buffers[0]], 0)
            while size := pending.result():
                at += size
                full, turn = buffers[turn], 1 - turn
                # A short read is the end of the file; an offset past it that is not aligned would be refused.
                if size == _BLOCK:
                    pending = ahead.submit(os.preadv, handle, [buffers[turn]], at)
                digest.update(memoryview(full)[:size])
                progress(size)
                if size < _BLOCK:
                    break
    finally:
        os.close(handle)
    return digest.hexdigest()


class Digests:
    """Digests of files by device, inode, size and times. What it cannot read or write it does without."""

    def __init__(self, file: Path | None, *, read: bool = True) -> None:
        self.file, self.read = file, read
        self._lock = threading.Lock()
        self.read_bytes = 0  # of files whose digest was not known

    def known(self, path: Path) -> str | None:
        """The digest of a file that did not change since it was remembered."""
        if not self.read:
            return None
        row = self._ask("SELECT size, mtime, ctime, sha256 FROM files WHERE device=? AND inode=?", stat_of(path)[:2])
        return str(row[3]) if row and tuple(row[:3]) == stat_of(path)[2:] else None

    def remember(self, path: Path, sha256: str, stat: Stat) -> None:
        """Keep a digest, unless the file changed since `stat` was taken, before it was read."""
        with self._lock:
            self.read_bytes += stat[2]
        if stat_of(path) == stat:
            self._ask("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", (*stat, sha256))

    def _ask(self, sql: str, values: tuple[int | str, ...]) -> tuple[int | str, ...] | None:
        if self.file is None:
            return None
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=10)) as base, base:
                base.execute(FILES_TABLE)
                found: tuple[int | str, ...] | None = base.execute(sql, values).fetchone()
                return found
        except (sqlite3.DatabaseError, OSError):
            return None


def stat_of(path: Path) -> Stat:
    """Device, inode, size, and the times of the last change of content and of the file itself, ns."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def hash_all(paths: Iterable[Path], digests: Digests, progress: Progress = lambda _: None) -> dict[Path, str]:
    """The sha256 of every file, large ones first, several at a time. Raises OSError."""
    ordered = sorted(set(paths), key=lambda p: -p.stat().st_size)

    def one(path: Path) -> str:
        known, stat = digests.known(path), stat_of(path)
        if known is not None:
            progress(stat[2])
            return known
        found = sha256_of(path, progress)
        digests.remember(path, found, stat)
        return found

    pool = ThreadPoolExecutor(min(8, 2 * len(os.sched_getaffinity(0))))
    try:
        return dict(zip(ordered, pool.map(one, ordered), strict=True))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
