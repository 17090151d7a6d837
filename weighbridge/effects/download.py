"""Files of a source into the store: several at a time, resumed at the byte where they stopped, hashed as they come."""

from __future__ import annotations

import hashlib
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from weighbridge.effects.hashing import Stat, is_settled, sha256_of, stat_of
from weighbridge.effects.hubs import Hub, Place
from weighbridge.effects.store import Store
from weighbridge.effects.web import BLOCK, Again, Web, blocks
from weighbridge.errors import HostError
from weighbridge.sources import RemoteFile, shown

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Stopped(Exception):
    """Another file failed, or somebody pressed Ctrl-C."""


@dataclass
class Meter:
    """Bytes that are here, and bytes that came over the network since the start."""

    here: int = 0
    came: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, here: int, came: int = 0) -> None:
        with self._lock:
            self.here += here
            self.came += came


@dataclass
class Job:
    """One fetch's shared things. `results` maps a file's path to its sha256; `hashed` the sha256 of what this fetch
    itself read to the stat of the content then: what lay in the store already is not among them."""

    web: Web
    hub: Hub
    store: Store
    revision: str | None
    meter: Meter = field(default_factory=Meter)
    stop: threading.Event = field(default_factory=threading.Event)
    results: dict[str, str] = field(default_factory=dict)
    hashed: dict[str, Stat] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)


def bring_all(job: Job, files: Sequence[RemoteFile], jobs: int, tick: Callable[[], None]) -> None:
    """Every file into the store, the largest first; `tick` is called a few times a second.

    Raises the first error of any file, or KeyboardInterrupt; either way what came is kept, and the same again goes on.
    """
    waiting: queue.SimpleQueue[RemoteFile] = queue.SimpleQueue()
    firsts: dict[str, RemoteFile] = {}  # of files with one content, which are one transfer
    for file in sorted(files, key=lambda f: -f.size_bytes):
        if firsts.setdefault(file.key or file.path, file) is file:
            waiting.put(file)
    # Daemons: a thread that waits for a silent server must not keep an interrupted command alive.
    threads = [threading.Thread(target=_work, args=(job, waiting), daemon=True) for _ in range(min(jobs, len(files)))]
    for thread in threads:
        thread.start()
    try:
        while any(t.is_alive() for t in threads) and not job.errors:
            next(t for t in threads if t.is_alive() or t is threads[-1]).join(0.2)
            tick()
    finally:
        job.stop.set()
        for thread in threads:
            thread.join(1)
    if job.errors:
        raise job.errors[0]
    for file in files:
        first = firsts[file.key or file.path]
        if first is not file:
            job.results[file.path] = job.results[first.path]
            job.meter.add(file.size_bytes)


def _work(job: Job, waiting: queue.SimpleQueue[RemoteFile]) -> None:
    try:
        while not job.stop.is_set():
            file = waiting.get_nowait()
            job.results[file.path] = bring(job, file)
    except (queue.Empty, Stopped):
        return
    except BaseException as e:
        job.errors.append(e)


def bring(job: Job, file: RemoteFile) -> str:
    """One file into the store; returns its sha256. Raises HostError for what is not what the source or lock says."""
    if file.sha256 and job.store.has(file.sha256, file.size_bytes):
        job.meter.add(file.size_bytes)
        return file.sha256
    place = job.hub.locate(file, job.revision)
    if place.path is not None:
        return _take(job, file, place.path)
    part = Part(
        job.store.part(file.key or f"once-{os.getpid()}-{hashlib.sha256(file.path.encode()).hexdigest()}"), file
    )
    try:
        part.open()
        job.meter.add(part.have)
        if place.content is not None:
            part.write(place.content[: file.size_bytes + 1])
            job.meter.add(len(place.content))
        else:
            _download(job, part, place)
        part.settle()
    finally:
        part.close()
    return _check(job, part)


class Part:
    """A file on its way: its length is the journal, for bytes are only ever appended, and its name is its content's."""

    def __init__(self, path: Path, file: RemoteFile) -> None:
        self.path, self.file = path, file
        self.have, self._handle = 0, -1
        self._start()

    def _start(self) -> None:
        self.sha256 = hashlib.sha256()
        self.sha1 = hashlib.sha1(b"blob %d\0" % self.file.size_bytes, usedforsecurity=False)

    def open(self) -> None:
        """Hash what is here already, which is also the check that it can be read."""
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        size = os.fstat(self._handle).st_size
        if size > self.file.size_bytes or self.file.key is None:
            os.ftruncate(self._handle, 0)
            size = 0
        while self.have < size:
            block = os.pread(self._handle, 8 * BLOCK, self.have)
            self._hash(block)
            self.have += len(block)
        os.lseek(self._handle, self.have, os.SEEK_SET)

    def _hash(self, block: bytes) -> None:
        self.sha256.update(block)
        if self.file.sha256 is None:
            self.sha1.update(block)

    def write(self, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(self._handle, rest) :]
        self._hash(block)
        self.have += len(block)

    def settle(self) -> None:
        os.fsync(self._handle)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _download(job: Job, part: Part, place: Place) -> None:
    """All bytes of a part, in as many requests as patience allows without progress between them."""
    failures = 0
    while part.have < part.file.size_bytes:
        before = part.have
        try:
            _request(job, part, place)
            if part.have < part.file.size_bytes:
                raise Again(f"{part.file.path} ends after {part.have} of {part.file.size_bytes} bytes")
        except Again as e:
            failures = 1 if part.have > before else failures + 1
            _wait(job, job.web.pause(e, failures, place.address))


def _wait(job: Job, seconds: float) -> None:
    if job.stop.wait(seconds):
        raise Stopped


def _request(job: Job, part: Part, place: Place) -> None:
    start = part.have
    headers = {**place.headers, **({"Range": f"bytes={start}-"} if start else {})}
    with job.web.open(place.address, headers) as answer:
        skip = _skip(answer, start, part.file)
        watch = Watch(job.web)
        for block in blocks(answer):
            if job.stop.is_set():
                raise Stopped
            watch.saw(len(block))
            skipped, skip = block[:skip], max(0, skip - len(block))
            fresh = block[len(skipped) :][: part.file.size_bytes - part.have]
            job.meter.add(len(fresh), len(block))
            part.write(fresh)
            if len(fresh) < len(block) - len(skipped):
                raise _too_long(part.file, place)


def _too_long(file: RemoteFile, place: Place) -> HostError:
    message = f"{shown(place.address)}: {file.path} has more than the {file.size_bytes} bytes that were said"
    return HostError(message, "choose another source: --source or --endpoint; or another --revision")


def _skip(answer: urllib3.BaseHTTPResponse, start: int, file: RemoteFile) -> int:
    """Bytes at the head of this answer that are here already: all of them when a server ignores ranges."""
    if answer.status == 200:
        return start
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status == 206 and found and int(found[1]) == start and found[3] in ("*", str(file.size_bytes)):
        return 0
    said = answer.headers.get("Content-Range", f"status {answer.status}")
    raise Again(f"{file.path}: asked for bytes from {start}, answers {said[:60]!r}")


class Watch:
    """Raises Again when a server drips: fewer bytes in a window than patience asks for."""

    def __init__(self, web: Web) -> None:
        self.patience, self.seen, self.since = web.patience, 0, time.monotonic()

    def saw(self, size: int) -> None:
        self.seen += size
        now = time.monotonic()
        if now - self.since >= self.patience.window_seconds:
            if self.seen < self.patience.window_bytes:
                raise Again(f"only {self.seen} bytes in {now - self.since:.0f} s")
            self.seen, self.since = 0, now


def _check(job: Job, part: Part) -> str:
    """The finished part becomes a content, or leaves for the quarantine."""
    file, sha256, sha1 = part.file, part.sha256.hexdigest(), part.sha1.hexdigest()
    expected, found = (file.sha256, sha256) if file.sha256 else (file.git_sha1 or sha1, sha1)
    if part.have != file.size_bytes or expected != found:
        moved = job.store.quarantine(part.path, file.path, found)
        kind = "sha256" if file.sha256 else "git object"
        message = f"{file.path} from {job.hub.where}: expected {kind} {expected}, found {found} ({part.have} bytes)"
        raise HostError(message, f"choose another source: --source or --endpoint; the file is kept as {moved}")
    came = stat_of(part.path)
    job.store.keep(part.path, sha256)
    job.hashed[sha256] = came
    return sha256


def _take(job: Job, file: RemoteFile, path: Path) -> str:
    """A file of this machine: hashed where it lies, then linked or copied."""
    try:
        seen, before = time.time_ns(), stat_of(path)
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}", "choose another folder: --from FOLDER") from None
    size = before[2]
    if size != file.size_bytes:
        raise HostError(f"{path}: {size} bytes, expected {file.size_bytes}", "choose another folder: --from FOLDER")
    found = sha256_of(path, job.meter.add)
    if file.sha256 not in (None, found):
        message = f"{path}: expected sha256 {file.sha256}, found {found}"
        raise HostError(message, "choose another folder: --from FOLDER, or another lock: --lock FILE")
    if not job.store.has(found, size):
        job.store.take(path, found, before)
        if is_settled(before[3], seen):  # else a change while it was read might not have shown
            job.hashed[found] = stat_of(job.store.blob(found))
    return found
