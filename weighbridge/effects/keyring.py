"""The keys of an appliance on this host: hashes in a folder that is mounted, and beside it the owner's own key."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from weighbridge.effects.disk import write_file
from weighbridge.errors import BadFile, BadValue, HostError
from weighbridge.keys import METRICS, OWNER, Key, keys_text, read_keys, with_key, without_key
from weighbridge.words import many

_BITS = 256


class Made(NamedTuple):
    """A new key: its entry, and its value, which is shown once."""

    key: Key
    value: str


class Keyring:
    """A file of hashes, by default `<home>/keys/keys`; beside it the owner's own, `key` and `metrics-key`."""

    def __init__(self, home: Path, file: Path | None = None) -> None:
        usual = home / "keys" / "keys"
        self.home, self.file = home, file or usual
        self.own: Path | None = home / "key" if self.file == usual else None
        self.own_metrics: Path | None = home / "metrics-key" if self.file == usual else None

    @property
    def is_new(self) -> bool:
        return not self.file.exists()

    def read(self) -> list[Key]:
        """Raises BadFile for a file that is none, BadValue when there is no file."""
        try:
            return read_keys(self.file.read_text(encoding="utf-8"), str(self.file))
        except FileNotFoundError:
            hint = "start the appliance, which makes it: invoke run; or add a key: invoke keys add --key-name NAME"
            raise BadValue(f"{self.file}: no key file", hint) from None
        except (OSError, UnicodeDecodeError) as e:
            raise BadFile(f"{self.file}: {getattr(e, 'strerror', None) or e}", f"ls -l {self.file}") from None

    def ensure(self) -> list[Made]:
        """The keys of a first run, when there is no file yet: one to ask with, one for metrics.

        Raises BadValue when a file that was named is not there: nobody would keep what is made for it.
        """
        if not self.is_new or self.own is None:
            self.read()  # what is wrong in it is said before anything starts
            return []
        with self._alone():  # both or neither: another start that waits here finds a file with both
            return self._added((OWNER, "api"), (METRICS, "metrics")) if self.is_new else []

    def add(self, name: str, scope: str) -> Made:
        """A new random key. The file is replaced whole."""
        with self._alone():
            return self._added((name, scope))[0]

    def _added(self, *wanted: tuple[str, str]) -> list[Made]:
        keys = [] if self.is_new else self.read()
        made = []
        for name, scope in wanted:
            value = f"wb-{secrets.token_urlsafe(_BITS // 8)}"
            keys = with_key(keys, name, scope, value)
            made.append(Made(keys[-1], value))
        for key, value in made:  # its owner's copy first: a hash whose value nobody has is a key nobody can use
            own = {OWNER: self.own, METRICS: self.own_metrics}.get(key.name)
            if own is not None:
                write_file(own, f"{value}\n", mode=0o600)
        self._write(keys)
        return made

    def revoke(self, name: str) -> Key:
        """The key that is no more; streams that it began may end."""
        with self._alone():
            keys = self.read()
            left = without_key(keys, name)
            self._write(left)
        return next(k for k in keys if k.name == name)

    def _write(self, keys: list[Key]) -> None:
        write_file(self.file, keys_text(keys))  # 0644: the container's uid reads it, and hashes are no secret

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One change at a time. The folder above is the owner's alone, the one that is mounted is not."""
        try:
            if self.own is not None:
                self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
                self.home.chmod(0o700)
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            if self.own is not None:
                self.file.parent.chmod(0o755)  # whatever the umask: the container's uid must enter
            handle = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as e:
            raise HostError(f"{self.file.parent}: {e.strerror}", "name another place: --keys FILE") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def own_of(hashes: Path, name: str) -> Path | None:
    """The owner's `key` or `metrics-key` beside a file of hashes; None for a file that somebody named."""
    return hashes.parent.parent / name if (hashes.parent.name, hashes.name) == ("keys", "keys") else None


def check_alone(file: Path) -> None:
    """Raises BadValue for a file beside others: its folder is mounted whole, so that a change arrives."""
    others = (
        [p for p in file.parent.iterdir() if p != file and not p.name.startswith(".")] if file.parent.is_dir() else []
    )
    if others:
        more = many(len(others), "other file or folder", "other files or folders")
        message = f"--keys {file}: its folder is mounted whole, and holds {more}"
        raise BadValue(message, f"give it a folder of its own: --keys {file.parent}/weighbridge-keys/keys")


def read_secret(path: Path) -> str:
    """The key in a file that holds nothing else. Raises BadValue; HostError when others may read it."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        hint = "a file with the key and nothing else: --key-file FILE"
        raise BadValue(f"--key-file {path}: {getattr(e, 'strerror', None) or 'not text'}", hint) from None
    if mode & 0o044:
        raise HostError(f"{path} can be read by others (mode {mode & 0o777:o})", f"chmod 600 {path}")
    if not text or len(text.split()) != 1 or not text.isascii():
        raise BadValue(f"--key-file {path} holds no key", "a file with the key and nothing else: --key-file FILE")
    return text
