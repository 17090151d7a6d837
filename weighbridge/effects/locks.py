"""Which lock a folder of weights is held to: the one that was named, else the catalogue's, else the folder's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from weighbridge.catalog import Catalog
from weighbridge.errors import BadFile
from weighbridge.lock import LOCK_NAME, Lock, read_lock

BROKEN_LOCK = f".{LOCK_NAME}"  # the lock of a folder that a check found broken


def read_lock_file(path: Path) -> Lock:
    """A lock by its file. Raises BadFile."""
    try:
        return read_lock(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as e:
        raise BadFile(f"{path}: {getattr(e, 'strerror', None) or 'not text'}", "name a lock: --lock FILE") from None


def own_lock(folder: Path) -> Lock | None:
    """The lock that lies in a folder, also one that a check moved aside. Raises BadFile for a broken one."""
    found = next((p for p in (folder / LOCK_NAME, folder / BROKEN_LOCK) if p.is_file()), None)
    return read_lock_file(found) if found else None


def lock_of(
    folder: Path, model: str, catalog: Catalog, named: str | None, say: Callable[[str], None] = lambda _: None
) -> Lock | None:
    """The lock that a folder's files must agree with; None when nobody has one. Raises BadFile.

    Where the folder's own lock is broken, or of other files than the one that is kept to, that is said.
    """
    known = Path(named) if named else catalog.model_lock(model)
    if known is None:
        return own_lock(folder)
    kept, own = read_lock_file(known), _own_if_sound(folder, known, say)
    if own and own.digest != kept.digest:
        say(f"warning: {folder}: its own lock is of other files{_differs(own, kept)}; {known} is kept to")
    return kept


def _own_if_sound(folder: Path, known: Path, say: Callable[[str], None]) -> Lock | None:
    try:
        return own_lock(folder)
    except BadFile as e:
        say(f"warning: {e.message}; {known} is kept to")
        return None


def _differs(own: Lock, kept: Lock) -> str:
    """In how many files two locks differ, and whose revisions they are, where both say."""
    rows = [{(f.path, f.size_bytes, f.sha256) for f in lock.files} for lock in (own, kept)]
    names = sorted({row[0] for row in rows[0] ^ rows[1]})
    revisions = f", revision {own.revision} not {kept.revision}" if own.revision != kept.revision else ""
    return f" ({len(names)}, the first is {names[0]}{revisions})"
