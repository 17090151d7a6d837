"""sha256 at the speed of the disk: past the page cache, read ahead, on every core; remembered by the file's stat."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

_DIRECT_BYTES = 32 << 20  # smaller files are read through the page cache
_BLOCK = 8 << 20
_ALIGNED = 4096
_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2_000_000_000  # the worst that is known: FAT
DIGESTS = "digests.sqlite"  # beneath the cache folder: what fetch, verify and bake hashed, each for the others
FILES_TABLE = (
    "create table if not exists files (device integer, inode integer, size integer, mtime integer, ctime integer, "
    "sha256 text, primary key (device, inode)) without rowid"
)

Progress = Callable[[int], None]
Stat = tuple[int, int, int, int, int]


def sha256_of(path: Path, progress: Progress = lambda _: None) -> str:
    """The sha256 of a file; `progress` hears how many bytes were read.

    Raises OSError, also for a file that gives more or fewer bytes than it has by its stat.
    """
    digest, size = hashlib.sha256(), path.stat().st_size
    at = _direct(path, digest, progress) if size >= _DIRECT_BYTES else 0
    at = _buffered(path, digest, at, progress) if at != size else at
    if at != size:
        raise OSError(errno.ESTALE, f"gave {at} of {size} bytes: it changes while it is read", str(path))
    return digest.hexdigest()


def _buffered(path: Path, digest: hashlib._Hash, at: int, progress: Progress) -> int:
    """The rest of a file from `at`; where it ended."""
    with path.open("rb", buffering=0) as file:
        file.seek(at)
        block = memoryview(bytearray(min(_BLOCK, max(_ALIGNED, path.stat().st_size))))
        while size := file.readinto(block):
            digest.update(block[:size])
            progress(size)
            at += size
        with suppress(OSError):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return at


def _direct(path: Path, digest: hashlib._Hash, progress: Progress) -> int:
    """Two aligned buffers: while one is hashed the other is filled. Neither lets go of what the page cache holds.

    Ends with the first short read, which usually is the end of the file, or where direct reads are refused.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError as e:
        return _refused(e)
    at = 0
    try:
        with ThreadPoolExecutor(1) as ahead:
            buffers = [mmap.mmap(-1, _BLOCK), mmap.mmap(-1, _BLOCK)]
            turn = 0
            pending = ahead.submit(os.preadv, handle, [buffers[0]], 0)
            while size := pending.result():
                at += size
                full, turn = buffers[turn], 1 - turn
                if size == _BLOCK:
                    pending = ahead.submit(os.preadv, handle, [buffers[turn]], at)
                digest.update(memoryview(full)[:size])
                progress(size)
                if size < _BLOCK:  # the next offset might not be aligned
                    break
    except OSError as e:
        return at + _refused(e)
    finally:
        os.close(handle)
    return at


def _refused(error: OSError) -> int:
    """Tmpfs and some network disks know no O_DIRECT; any other error is raised."""
    if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
        raise error
    return 0


def is_settled(changed_ns: int, seen_ns: int) -> bool:
    """Whether a file that was last changed then, as seen at `seen_ns`, will show any later change by its time stamps.

    Stamps are taken from a clock that ticks every few milliseconds; some file systems keep whole seconds alone.
    """
    tick = _COARSE_TICK_NS if changed_ns % 1_000_000_000 == 0 else _TICK_NS
    return changed_ns < seen_ns - tick


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

    def remember(self, path: Path, sha256: str, stat: Stat, seen_ns: int) -> None:
        """Keep a digest, unless the file changed since `stat` was taken, at `seen_ns`, before it was read; or just
        before that, so that a change after it might not show."""
        with self._lock:
            self.read_bytes += stat[2]
        if stat_of(path) == stat and is_settled(max(stat[3:]), seen_ns):
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


def same_content(one: Stat, other: Stat) -> bool:
    """Whether nothing was written between two looks at a file. A name more or fewer changes its ctime alone."""
    return one[:4] == other[:4]


def hash_all(paths: Iterable[Path], digests: Digests, progress: Progress = lambda _: None) -> dict[Path, str]:
    """The sha256 of every file, large ones first, several at a time. Raises OSError."""
    ordered = sorted(set(paths), key=lambda p: -p.stat().st_size)

    def one(path: Path) -> str:
        seen, known, stat = time.time_ns(), digests.known(path), stat_of(path)
        if known is not None:
            progress(stat[2])
            return known
        found = sha256_of(path, progress)
        digests.remember(path, found, stat, seen)
        return found

    pool = ThreadPoolExecutor(min(8, 2 * len(os.sched_getaffinity(0))))
    try:
        return dict(zip(ordered, pool.map(one, ordered), strict=True))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
