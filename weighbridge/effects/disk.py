"""Files and folders, written aside and then renamed: whoever looks sees the old or the new, never half."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from weighbridge.errors import BadValue, HostError
from weighbridge.types import File
from weighbridge.words import many

MARKER = ".weighbridge"  # in every folder that was written whole, and may therefore be replaced or removed whole


def write_folder(folder: Path, files: Mapping[str, File], links: Mapping[str, Path] | None = None) -> Path:
    """`folder` with exactly these files; `links` are large files, hard-linked where the disk can.

    Raises BadValue for a folder with something else in it, HostError when it cannot be written.
    """
    aside, folder = None, _behind_link(folder)
    try:
        check_ours(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        _write(aside / MARKER, File(text="Written by Weighbridge, which replaces and removes this folder whole.\n"))
        for name, file in files.items():
            _write(aside / name, file)
        for name, source in (links or {}).items():
            _link(source, aside / name)
        aside.chmod(0o755)
        _swap(aside, folder)
    except OSError as e:
        raise HostError(f"{folder}: {e.strerror or e}", f"choose another place than {folder.parent}") from e
    finally:
        if aside:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def _behind_link(path: Path) -> Path:
    """Where a link leads: what lies there is written anew, and the link stays. A ring of links is a HostError."""
    try:
        return path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError) as e:
        raise HostError(f"{path}: a link that leads nowhere: {e}", "choose another place") from None


def check_ours(folder: Path) -> None:
    """Raises BadValue for a folder with files that are not ours, and for what is no folder."""
    if folder.exists() and not folder.is_dir():
        raise BadValue(f"{folder}: is a file, not a folder", "choose another: --output FOLDER")
    found = sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0
    if found and not (folder / MARKER).is_file():
        hint = "choose another: --output FOLDER"
        raise BadValue(
            f"{folder}: holds {many(found, 'file or folder', 'files or folders')} that Weighbridge did not write", hint
        )


def file_to_write(flag: str, text: str | None) -> Path | None:
    """The file of an option, looked at before the work whose result goes there. Raises BadValue, HostError."""
    if not text:
        return None
    path = Path(text)
    if text.endswith("/") or path.is_dir():
        raise BadValue(f"{flag} {text}: is a folder, not a file", f"name a file in it: {flag} {path / 'NAME'}")
    above = next(p for p in path.absolute().parents if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise HostError(f"{flag} {text}: nothing can be written in {above}", f"choose another place: {flag} FILE")
    return path


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """One file, whole or not at all. Raises BadValue for a folder, HostError when it cannot be written."""
    path = _behind_link(path)
    if path.is_dir():
        raise BadValue(f"{path}: is a folder, not a file", f"name a file in it: {path / 'NAME'}")
    if path.exists() and not path.is_file():  # a pipe or a terminal takes what is written, and stays what it is
        return _into(path, text)
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # new, and for nobody else to read
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(aside, mode)
        os.replace(aside, path)
    except OSError as e:
        raise HostError(f"{path}: {e.strerror or e}", f"choose another place than {path.parent}") from e
    finally:
        if aside:
            with suppress(OSError):
                os.unlink(aside)


def _into(path: Path, text: str) -> None:
    try:
        with path.open("w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as e:
        raise HostError(f"{path}: {e.strerror or e}", "choose another place") from e


def _write(path: Path, file: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file.text, encoding="utf-8")
    path.chmod(0o640 if file.private else 0o755 if file.executable else 0o644)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _swap(aside: Path, folder: Path) -> None:
    old = aside.with_name(aside.name + ".old")
    if folder.exists():
        folder.rename(old)
    try:
        aside.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def one_at_a_time(path: Path, taken: str) -> Iterator[None]:
    """The file of this path held until the end. Raises HostError, `taken`, while another command holds it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as e:
        raise HostError(f"{path}: {e.strerror}", "set XDG_CONFIG_HOME to a folder of yours") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError(taken, "wait for it, or end it") from None
        yield
    finally:
        os.close(handle)
