"""Uploads to a registry that did not end: where each goes on, kept from one bake to the next.

A registry that takes a layer in pieces names the address where its upload goes on, and says there how much of it has
come. The address may be as good as a password for this one upload, so only its user may read it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path

_KEPT_SECONDS = 7 * 86400  # registries forget uploads sooner
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


class Upload:
    """One layer on its way to one repository. A second bake of it at the same time keeps nothing, and begins anew.

    `folder` None: nothing is kept at all.
    """

    def __init__(self, folder: Path | None, name: str) -> None:
        self.place = ""
        self._handle = -1
        if folder is None:
            return
        self.path = folder / hashlib.sha256(name.encode()).hexdigest()
        with suppress(OSError):  # then it is as if there were no folder
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._handle >= 0 and not _locked(self._handle):
            self.close()
        if self._handle >= 0:
            self.place = os.pread(self._handle, 1 << 16, 0).decode(errors="replace")

    def keep(self, place: str) -> None:
        """It goes on there. Raises nothing: what cannot be kept is begun anew."""
        self.place = place
        with suppress(OSError):
            if self._handle >= 0:
                os.pwrite(self._handle, place.encode(), 0)
                os.ftruncate(self._handle, len(place.encode()))

    def end(self) -> None:
        """It is whole, or of no use any more."""
        self.keep("")
        if self._handle >= 0:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def sweep(folder: Path) -> None:
    """Uploads that nobody went on with for a week."""
    for path in folder.glob("*"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _KEPT_SECONDS:
                path.unlink()


def come(said: str) -> int:
    """How many bytes have come, by a registry's Range; 0 for none, or no answer. One byte is said as none is."""
    found = _RANGE.fullmatch(said.strip())
    last = int(found[1]) if found else 0
    return last + 1 if last else 0


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
