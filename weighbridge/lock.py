"""The lock of a model's files: revision, and size and sha256 of each. The same lock verifies every source."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path, PurePosixPath

import msgspec
import yaml

from weighbridge.errors import BadFile
from weighbridge.facts import Value

SUFFIX = ".lock.yaml"
LOCK_NAME = "weighbridge.lock.json"  # in a model's folder, written last: a folder that has it is complete
_HEAD = "# The files of a model, by content. Made by: invoke fetch. The same lock verifies every source.\n"
_HEX = frozenset("0123456789abcdef")


class LockedFile(Value, frozen=True, kw_only=True):
    """One file: its path beneath the model's folder, bytes, and sha256 in hexadecimal."""

    path: str
    size_bytes: int
    sha256: str


class Lock(Value, frozen=True, kw_only=True):
    """A model at one revision. `source` and `repository` say where it was made from."""

    model: str
    source: str | None = None
    repository: str | None = None
    revision: str | None = None
    licence: str | None = None
    files: tuple[LockedFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(f.size_bytes for f in self.files)

    @property
    def digest(self) -> str:
        """sha256 over paths, sizes and contents: the same files, whatever they came from."""
        rows = sorted((f.path, f.size_bytes, f.sha256) for f in self.files)
        return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def read_lock(text: str, path: Path) -> Lock:
    """The lock in a file's text, YAML or JSON. Raises BadFile for anything that is not a whole and harmless one."""
    hint = "name another: --lock FILE; fetch writes the one that it names when it is not there"
    try:
        plain = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=yaml.CSafeLoader)
        found = msgspec.convert(plain, Lock)
    except (yaml.YAMLError, msgspec.ValidationError, ValueError, RecursionError) as e:
        raise BadFile(f"{path}: no lock: {' '.join(str(e).split())}", hint) from None
    wrong = next((f.path for f in found.files if not _is_sound(f)), None)
    if wrong is not None:
        raise BadFile(f"{path}: {wrong!r} has no plain relative path, size and sha256", hint)
    paths = [f.path for f in found.files]
    twice = next((p for p, n in Counter(paths).items() if n > 1), None)
    if twice or not paths:
        raise BadFile(f"{path}: {f'{twice!r} stands twice' if twice else 'names no files'}", hint)
    return found


def lock_text(lock: Lock) -> str:
    """The lock as a file: files in the order of their paths, the same bytes for the same lock."""
    plain = msgspec.to_builtins(msgspec.structs.replace(lock, files=tuple(sorted(lock.files, key=lambda f: f.path))))
    kept = {k: v for k, v in plain.items() if v is not None}
    return _HEAD + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=1000)


def lock_json(lock: Lock) -> str:
    """The lock as it stands in a model's folder: what the container compares sizes with before its engine starts."""
    ordered = msgspec.structs.replace(lock, files=tuple(sorted(lock.files, key=lambda f: f.path)))
    return msgspec.json.format(msgspec.json.encode(ordered), indent=1).decode() + "\n"


def is_plain_path(path: str) -> bool:
    """Whether a path stays beneath the folder it is joined to, on any system."""
    parts = PurePosixPath(path).parts
    safe = not path.startswith("/") and "\\" not in path and path.isprintable() and len(path) < 512
    return bool(parts) and safe and path == "/".join(parts) and ".." not in parts


def _is_sound(file: LockedFile) -> bool:
    return is_plain_path(file.path) and file.size_bytes >= 0 and len(file.sha256) == 64 and set(file.sha256) <= _HEX
