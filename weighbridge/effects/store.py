"""The store: a folder a model, of real files; below them, once, the contents that several models may share."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from weighbridge.effects.clone import clone_range, shares_blocks
from weighbridge.effects.disk import write_file
from weighbridge.effects.hashing import Stat, same_content, stat_of
from weighbridge.effects.locks import BROKEN_LOCK
from weighbridge.errors import BadFile, BadValue, HostError
from weighbridge.lock import LOCK_NAME, Lock, LockedFile, lock_json, read_lock

SYSTEM = Path("/var/lib/weighbridge/models")
_LINKED_BYTES = 64 << 20
_KEPT = ".kept-"  # a folder that no fetch wrote, between two renames: never swept away


def places(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where models may lie: WEIGHBRIDGE_STORE alone, else the system's store and the user's own."""
    named = environment.get("WEIGHBRIDGE_STORE")
    if named:
        return (Path(named).absolute(),)
    data = environment.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return SYSTEM, Path(data).absolute() / "weighbridge" / "models"


def store_folder(environment: Mapping[str, str]) -> Path:
    """Where new models go: the first place that this user may write to."""
    found = places(environment)
    return next((p for p in found if _may_write(p)), found[0])


def model_folder(environment: Mapping[str, str], name: str) -> Path:
    """The folder of a model in the first place that has it; else where it would go."""
    there = [p / name for p in places(environment) if (p / name).is_dir()]
    return there[0] if there else store_folder(environment) / name


def _may_write(folder: Path) -> bool:
    there = next(p for p in (folder, *folder.parents) if p.exists())
    return os.access(there, os.W_OK | os.X_OK)


class Store:
    """One store. Nothing is made before it is needed; `locked` keeps a second fetch out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / ".blobs" / "sha256"
        self.parts = root / ".blobs" / "parts"
        self.quarantined = root / ".quarantine"

    def blob(self, sha256: str) -> Path:
        return self.blobs / sha256

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether a content is here whole. It was checked when it came; `verify` checks it again."""
        try:
            return self.blob(sha256).stat().st_size == size_bytes
        except OSError:
            return False

    def part(self, key: str) -> Path:
        return self.parts / f"{key}.part"

    def free_bytes(self) -> int:
        """What this user may still write on the store's disk."""
        disk = os.statvfs(self._there())
        return disk.f_bavail * disk.f_frsize

    @contextmanager
    def locked(self, say: object = None) -> Iterator[None]:
        """Alone in the store: a second fetch waits until the first is done. Raises HostError."""
        try:
            for folder in (self.blobs, self.parts):
                folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / ".blobs" / "fetch.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as e:
            hint = "WEIGHBRIDGE_STORE=FOLDER names another place"
            raise HostError(f"{self.root}: {e.strerror or e}", hint) from None
        try:
            _wait_for(handle, self.root, say)
            yield
        finally:
            os.close(handle)

    def keep(self, part: Path, sha256: str) -> Path:
        """A whole part becomes a content; readable by every container, writable by nobody."""
        part.chmod(0o444)
        target = self.blob(sha256)
        part.replace(target)
        return target

    def take(self, source: Path, sha256: str, before: Stat) -> str:
        """A file of this machine becomes a content: a reflink where the disk can, else a link, else a copy.

        `before` is what it was before it was hashed. Returns how: reflink, link or copy. Raises HostError.
        """
        aside = self.part(f"take-{os.getpid()}-{sha256}")
        aside.unlink(missing_ok=True)
        try:
            how = _place(source, aside)
            if not same_content(stat_of(source), before) or aside.stat().st_size != before[2]:
                raise HostError(f"{source}: changed while it was read", "let it rest, then fetch again")
            if how == "link":
                aside.replace(self.blob(sha256))
                aside.unlink(missing_ok=True)  # rename does nothing between two names of one file
            else:
                self.keep(aside, sha256)
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
        return how

    def cost_of(self, source: Path) -> int:
        """Bytes that the disk must have for taking this file, when blocks cannot be shared."""
        found, root = source.stat(), self._there()
        return 0 if found.st_dev == root.stat().st_dev and _may_link(found) else found.st_size

    def shares(self, source: Path) -> bool:
        """Whether the store's disk can share the blocks of this file."""
        return shares_blocks(source, self._there())

    def _there(self) -> Path:
        """The store, or where it will be made."""
        return next(p for p in (self.root, *self.root.parents) if p.exists())

    def quarantine(self, path: Path, name: str, found: str) -> Path:
        """A file whose content is not what it should be, moved out of everybody's way."""
        self.quarantined.mkdir(parents=True, exist_ok=True)
        target = self.quarantined / f"{name.replace('/', '__')}.{found[:16]}"
        path.replace(target)
        return target

    def lock_of(self, name: str) -> Lock | None:
        """The lock in a model's folder, also of one that a check found broken; None when there is none."""
        for path in (self.root / name / LOCK_NAME, self.root / name / BROKEN_LOCK):
            with suppress(OSError, UnicodeDecodeError, BadFile):
                return read_lock(path.read_text(encoding="utf-8"), path)
        return None

    def is_complete(self, name: str, lock: Lock) -> bool:
        """Whether the model's folder holds just this lock's files, by their sizes."""
        folder = self.root / name
        if not (folder / LOCK_NAME).is_file() or self.lock_of(name) != lock:
            return False
        return all(_has_size(folder, f) for f in lock.files)

    def check_replaceable(self, name: str, model: str, given: Path | None) -> None:
        """Raises BadValue for a folder of files that no fetch wrote, unless it is the source itself; and for another
        model's, whose name only ends as this one's does."""
        folder, lock = self.root / name, self.lock_of(name)
        if lock is not None and lock.model != model:
            hint = f"keep them apart: WEIGHBRIDGE_STORE=FOLDER; or take the other one away: rm -r {folder}"
            raise BadValue(f"{folder}: holds {lock.model}, not {model}", hint)
        ours = lock is not None or not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if not ours and not (given and given.resolve() == folder.resolve()):
            hint = f"take its files into the store: invoke fetch --model {name} --source dir --from {folder}"
            raise BadValue(f"{folder}: was not written by fetch", hint)

    def assemble(self, name: str, lock: Lock, check: Callable[[Path], None]) -> Path:
        """The model's folder of links to contents: made aside, checked, its lock written last, then swapped in."""
        folder = self.root / name
        aside = self.root / f".new-{name}-{os.getpid()}"
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            for file in lock.files:
                target = aside / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(self.blob(file.sha256), target)
            check(aside)
            write_file(aside / LOCK_NAME, lock_json(lock))
            _settle(aside)
            _swap(aside, folder, keep=self.lock_of(name) is None)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return folder

    def break_up(self, folder: Path, file: LockedFile, found: str) -> Path:
        """A file of a model's folder is corrupt: it and its content leave, and the folder is complete no more."""
        target = self.quarantine(folder / file.path, file.path, found)
        with suppress(FileNotFoundError):
            if self.blob(file.sha256).samefile(target):
                self.blob(file.sha256).unlink()
        with suppress(FileNotFoundError):
            (folder / LOCK_NAME).replace(folder / BROKEN_LOCK)
        return target

    def sweep(self) -> None:
        """What a killed fetch left of its last step. Parts of files stay: they are resumed."""
        for kept in self.root.glob(f"{_KEPT}*"):  # somebody's own: back where it was, else beside what was fetched
            folder = self.root / kept.name.removeprefix(_KEPT).rpartition("-")[0]
            kept.rename(_beside(folder) if folder.exists() else folder)
        for old in self.root.glob(".old-*"):
            folder = self.root / old.name.removeprefix(".old-").rpartition("-")[0]
            if not folder.exists():  # killed between two renames
                old.rename(folder)
        for left in (*self.root.glob(".new-*"), *self.root.glob(".old-*")):
            shutil.rmtree(left, ignore_errors=True)
        for part in self.parts.glob("take-*.part"):
            part.unlink(missing_ok=True)


def _wait_for(handle: int, root: Path, say: object) -> None:
    told = False
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if e.errno not in (errno.EAGAIN, errno.EACCES):
                raise HostError(f"{root}: {e.strerror}", "WEIGHBRIDGE_STORE=FOLDER names another place") from None
        if not told and callable(say):
            say(f"fetch: another fetch works in {root}; waiting for it")
            told = True
        time.sleep(0.3)


def _place(source: Path, target: Path) -> str:
    """A file's content at another name, in the cheapest safe way."""
    source = source.resolve()  # a link to a link would lead out of the store
    with source.open("rb") as old, target.open("xb") as new, suppress(OSError):
        if clone_range(old.fileno(), 0, 0, new.fileno(), 0):
            return "reflink"
    target.unlink()
    if _may_link(source.stat()):
        with suppress(OSError):
            os.link(source, target)
            return "link"
    _copy(source, target)
    return "copy"


def _may_link(stat: os.stat_result) -> bool:
    """A link shares its bytes with a file that somebody may edit in place: only where a copy would cost something."""
    return bool(stat.st_mode & 0o004) and stat.st_size >= _LINKED_BYTES


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("xb") as new:
        try:
            while os.copy_file_range(old.fileno(), new.fileno(), 64 << 20):
                pass
        except OSError as e:
            if e.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            shutil.copyfileobj(old, new, 8 << 20)  # goes on where the kernel stopped
        new.flush()
        os.fsync(new.fileno())


def _link(blob: Path, target: Path) -> None:
    try:
        os.link(blob, target)
    except OSError as e:
        if e.errno in (errno.ENOENT, errno.ENOSPC, errno.EDQUOT):
            raise
        _place(blob, target)  # a file system without links
        target.chmod(0o444)


def _settle(folder: Path) -> None:
    """Names on disk before the folder is shown; 0755 whatever the umask."""
    for path in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        path.chmod(0o755)
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _swap(aside: Path, folder: Path, *, keep: bool) -> None:
    """The new folder in the place of the old one. With `keep` the old one, which no fetch wrote, stays beside it."""
    keep = keep and folder.is_dir() and any(folder.iterdir())
    old = aside.with_name(f"{_KEPT if keep else '.old-'}{folder.name}-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    try:
        aside.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    if keep:
        old.rename(_beside(folder))
    else:
        shutil.rmtree(old, ignore_errors=True)


def _beside(folder: Path) -> Path:
    """The name under which a folder that no fetch wrote stays beside the one that was fetched."""
    names = (f"{folder.name}.before-fetch{'' if n == 1 else f'-{n}'}" for n in itertools.count(1))
    return next(p for p in map(folder.with_name, names) if not p.exists())


def _has_size(folder: Path, file: LockedFile) -> bool:
    try:
        return (folder / file.path).stat().st_size == file.size_bytes
    except OSError:
        return False
