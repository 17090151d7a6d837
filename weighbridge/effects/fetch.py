"""fetch: from a wish to a whole, checked folder in the store; interrupted anywhere, it goes on from there."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from weighbridge.effects.disk import write_file
from weighbridge.effects.download import Job, Meter, bring_all
from weighbridge.effects.hashing import Digests, Stat, is_settled, same_content, stat_of
from weighbridge.effects.hubs import FolderHub
from weighbridge.effects.weights import check_weights
from weighbridge.effects.wish import Wish
from weighbridge.errors import BadFile, HostError
from weighbridge.fetching import Fetched, progress_line, size_text
from weighbridge.lock import Lock, LockedFile, lock_text
from weighbridge.sources import Listing, RemoteFile, card_licence, checked, licence_file

_SETTLES_SECONDS = 0.2  # at most, for time stamps to be old enough
_SPARE_BYTES = 16 << 20  # names, the lock, what a file system keeps for itself

Say = Callable[[str], None]


def fetch(wish: Wish, say: Say, *, dry_run: bool = False, digests: Digests | None = None) -> Fetched:
    """The model's files in the store, against the lock where there is one. Raises Refused or Failed.

    `digests` learns what was hashed on its way in, so that nobody has to read it again.
    """
    begun = time.monotonic()
    if wish.lock and wish.store.is_complete(wish.name, wish.lock):
        return _report(wish, wish.lock, _listed(wish.lock), present=True, dry_run=dry_run)
    wish.store.check_replaceable(wish.name, wish.model, wish.given)
    listing = _listed(wish.lock) if wish.lock else checked(wish.hub.listing(), wish.hub.where)
    needed = _needed(wish, listing)
    if dry_run:
        return _report(wish, wish.lock, listing, needed=needed, dry_run=True)
    _check_disk(wish, needed)
    with wish.store.locked(say):
        wish.store.sweep()
        lock, job = _bring(wish, listing, needed, say)
        _finish(wish, lock)
        _remember(wish, lock, job.hashed, digests)
    seconds = time.monotonic() - begun
    return _report(wish, lock, listing, needed=needed, network=job.meter.came, seconds=seconds)


def _remember(wish: Wish, lock: Lock, hashed: Mapping[str, Stat], digests: Digests | None) -> None:
    """What came was hashed on its way; a clock's tick later every change of it would show.

    What lay in the store already was compared by size alone: it is left for verify and bake to read.
    """
    paths = {wish.store.root / wish.name / f.path: f.sha256 for f in lock.files if f.sha256 in hashed}
    stats = {path: stat for path, sha256 in paths.items() if same_content(stat := stat_of(path), hashed[sha256])}
    if digests is None or not stats:
        return
    changed, until = max(max(s[3:]) for s in stats.values()), time.monotonic() + _SETTLES_SECONDS
    while not is_settled(changed, time.time_ns()) and time.monotonic() < until:
        time.sleep(0.01)
    for path, stat in stats.items():
        digests.remember(path, paths[path], stat, time.time_ns())


def _listed(lock: Lock) -> Listing:
    files = tuple(RemoteFile(path=f.path, size_bytes=f.size_bytes, sha256=f.sha256) for f in lock.files)
    return Listing(repository=lock.repository or "", revision=lock.revision, licence=lock.licence, files=files)


def _needed(wish: Wish, listing: Listing) -> int:
    """Bytes that the store will grow by: what is not here, without what a broken transfer left or can be linked."""
    if isinstance(wish.hub, FolderHub):
        return _copied(wish, wish.hub.folder, listing)
    here = {f.sha256 for f in listing.files if f.sha256 and wish.store.has(f.sha256, f.size_bytes)}
    missing = {f.key or f.path: f for f in listing.files if f.sha256 not in here or f.sha256 is None}
    parts = [wish.store.part(f.key) for f in missing.values() if f.key]
    kept = sum(p.stat().st_size for p in parts if p.is_file())
    return max(0, sum(f.size_bytes for f in missing.values()) - kept)


def _copied(wish: Wish, folder: Path, listing: Listing) -> int:
    """Bytes of a folder's files that can neither share blocks with it nor be linked, and are not here.

    What is not hashed yet is taken for what the store's own lock of this model says of its name and size.
    """
    own = wish.store.lock_of(wish.name)
    before = {(f.path, f.size_bytes): f.sha256 for f in own.files} if own else {}
    named = {f: f.sha256 or before.get((f.path, f.size_bytes)) for f in listing.files}
    missing = [folder / f.path for f, sha256 in named.items() if not (sha256 and wish.store.has(sha256, f.size_bytes))]
    there = [p for p in missing if p.is_file() and p.stat().st_size]
    if not there or wish.store.shares(max(there, key=lambda p: p.stat().st_size)):
        return 0
    return sum(wish.store.cost_of(p) for p in there)


def _check_disk(wish: Wish, needed: int) -> None:
    free = wish.store.free_bytes()
    if needed and free < needed + _SPARE_BYTES:
        raise _full(wish, needed, free)


def _full(wish: Wish, needed: int, free: int) -> HostError:
    message = (
        f"{wish.store.root}: {wish.model} needs {size_text(needed + _SPARE_BYTES)} more, {size_text(free)} are free"
    )
    return HostError(message, "free some, or name another disk: WEIGHBRIDGE_STORE=FOLDER invoke fetch")


def _bring(wish: Wish, listing: Listing, needed: int, say: Say) -> tuple[Lock, Job]:
    """All files into the store; the lock they make, which is the given one where there is one."""
    revision = wish.revision if wish.lock else listing.revision
    job = Job(web=wish.web, hub=wish.hub, store=wish.store, revision=revision)
    total = sum(f.size_bytes for f in listing.files)
    teller = Teller(job.meter, total, say)
    try:
        bring_all(job, listing.files, wish.jobs, teller.tick)
    except KeyboardInterrupt:
        say(f"fetch: {size_text(job.meter.here)} of {size_text(total)} are kept; the same command goes on from there")
        raise
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(wish, _needed(wish, listing), wish.store.free_bytes()) from None
        name = e.filename or wish.store.root
        raise HostError(f"{name}: {e.strerror or e}", "WEIGHBRIDGE_STORE=FOLDER names another place") from None
    if wish.lock:
        return wish.lock, job
    files = tuple(
        LockedFile(path=f.path, size_bytes=f.size_bytes, sha256=job.results[f.path])
        for f in sorted(listing.files, key=lambda f: f.path)
    )
    lock = Lock(
        model=wish.model, source=wish.source_id, repository=listing.repository, revision=listing.revision,
        licence=listing.licence or _licence(wish, files), files=files,
    )  # fmt: skip
    return lock, job


def _licence(wish: Wish, files: tuple[LockedFile, ...]) -> str | None:
    """What the model card says, else what the catalogue knows."""
    card = next((f for f in files if f.path.lower() == "readme.md"), None)
    said = card_licence(wish.store.blob(card.sha256).read_text("utf-8", "replace")) if card else None
    return said or wish.licence


def _finish(wish: Wish, lock: Lock) -> None:
    """The folder, and the lock beside an order when one was asked for."""

    def check(folder: Path) -> None:
        try:
            check_weights(folder)
        except BadFile as e:
            where = e.message.replace(str(folder), wish.hub.where)
            raise HostError(where, "choose another source: --source or --endpoint; the store is as it was") from None

    try:
        wish.store.assemble(wish.name, lock, check)
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(wish, 0, wish.store.free_bytes()) from None
        raise HostError(
            f"{wish.store.root}: {e.strerror or e}", "WEIGHBRIDGE_STORE=FOLDER names another place"
        ) from None
    if wish.new_lock:
        write_file(wish.new_lock, lock_text(lock))


def _report(
    wish: Wish, lock: Lock | None, listing: Listing, *, needed: int = 0, network: int = 0, seconds: float = 0.0,
    present: bool = False, dry_run: bool = False,
) -> Fetched:  # fmt: skip
    paths = tuple(f.path for f in listing.files)
    return Fetched(
        model=wish.model, folder=str(wish.store.root / wish.name), source=wish.source_id,
        repository=listing.repository or None, revision=listing.revision, files=paths,
        size_bytes=sum(f.size_bytes for f in listing.files), needed_bytes=needed, free_bytes=wish.store.free_bytes(),
        network_bytes=network, seconds=round(seconds, 2), lock_digest=lock.digest if lock else None,
        lock_file=str(wish.new_lock) if wish.new_lock and not dry_run else None,
        licence=(lock.licence if lock else None) or listing.licence or wish.licence, licence_file=licence_file(paths),
        present=present, dry_run=dry_run,
    )  # fmt: skip


class Teller:
    """Says how far a fetch is: after one second, then every five."""

    def __init__(self, meter: Meter, total: int, say: Say) -> None:
        self.meter, self.total, self.say = meter, total, say
        self.begun = self.before = time.monotonic()
        self.next, self.moved, self.rate = self.begun + 1, 0, 0.0

    def tick(self) -> None:
        now = time.monotonic()
        if now < self.next:
            return
        moved = self.meter.came or self.meter.here  # a folder's bytes come over no network
        fresh = (moved - self.moved) / (now - self.before)
        self.rate = fresh if not self.rate else 0.6 * self.rate + 0.4 * fresh
        self.before, self.moved, self.next = now, moved, now + 5
        self.say(progress_line(self.meter.here, self.total, self.rate))
