"""What was hashed before: a file's sha256 by its inode and times, a layer's by what it is made of."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weighbridge.effects.hashing import DIGESTS, FILES_TABLE, is_settled
from weighbridge.errors import HostError
from weighbridge.image import Sealed
from weighbridge.layers import Layer

_TABLES = f"""
{FILES_TABLE};
create table if not exists layers (key text primary key, digest text, size integer) without rowid;
create table if not exists places (digest text, registry text, repository text,
  primary key (digest, registry)) without rowid;
"""
_PATIENCE_SECONDS = 60


class Digests:
    """The two caches, and where a registry has a blob. Several processes may use them at once.

    Nothing here is believed for longer than size, mtime and ctime of a file stay what they were.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / DIGESTS
        self._path, self._lock = path, threading.Lock()
        with self._trouble():
            folder.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, check_same_thread=False, isolation_level=None)
            self._base.executescript(_TABLES)

    def close(self) -> None:
        self._base.close()

    def file(self, stat: os.stat_result) -> str | None:
        """The sha256 of a file that has not changed since it was hashed."""
        row = self._one(
            "select sha256 from files where device=? and inode=? and size=? and mtime=? and ctime=?", *identity(stat)
        )
        return row[0] if row else None

    def keep_file(self, stat: os.stat_result, sha256: str, started_ns: int) -> None:
        """`started_ns`: when reading began. What was changed just before is not kept."""
        if is_settled(max(stat.st_mtime_ns, stat.st_ctime_ns), started_ns):
            self._do("insert or replace into files values (?, ?, ?, ?, ?, ?)", *identity(stat), sha256)

    def layer(self, layer: Layer) -> Sealed | None:
        """What a layer's bytes come to, on any machine; None while it is not known."""
        key = layer.key
        row = self._one("select digest, size from layers where key=?", key) if key else None
        return Sealed(digest=row[0], size_bytes=row[1], title=layer.title) if row else None

    def keep_layer(self, layer: Layer, sealed: Sealed) -> None:
        self._do("insert or replace into layers values (?, ?, ?)", layer.key, sealed.digest, sealed.size_bytes)

    def place(self, digest: str, registry: str) -> str | None:
        """A repository of a registry that was given this blob."""
        row = self._one("select repository from places where digest=? and registry=?", digest, registry)
        return row[0] if row else None

    def keep_place(self, digest: str, registry: str, repository: str) -> None:
        self._do("insert or replace into places values (?, ?, ?)", digest, registry, repository)

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        with self._lock, self._trouble():
            found: tuple[Any, ...] | None = self._base.execute(statement, values).fetchone()
            return found

    def _do(self, statement: str, *values: object) -> None:
        with self._lock, self._trouble():
            self._base.execute(statement, values)

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as e:
            hint = f"remove it, it is only a cache: rm {self._path}; or name another place with WEIGHBRIDGE_CACHE"
            raise HostError(f"{self._path}: {e}", hint) from None


def now_ns() -> int:
    return time.time_ns()


def identity(stat: os.stat_result) -> tuple[int, int, int, int, int]:
    """What a file is known by until it changes."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
