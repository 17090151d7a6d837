"""Checks before the start, in the container: standard library only. Each has an id, what was found, what to type."""

from __future__ import annotations

import json
import os
import re
import ssl
import sys
from pathlib import Path

WRONG = 78  # the exit code for a wrong configuration, as sysexits.h has it
LOCK = "weighbridge.lock.json"
_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}) (api|metrics) sha256:([0-9a-f]{64})")


class Wrong(Exception):
    """A failed check."""

    def __init__(self, check: str, found: str, hint: str) -> None:
        super().__init__(f"weighbridge: check {check} failed: {found}\n  {hint}")


def weights(folder: Path) -> int:
    """How many files the lock names, all there in full size; 0 without a lock. Hashes would take minutes."""
    try:
        rows = [(str(r["path"]), int(r["size_bytes"])) for r in json.loads((folder / LOCK).read_bytes())["files"]]
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, LookupError, TypeError) as e:
        raise Wrong(
            "weights", f"{folder / LOCK} cannot be read: {e}", "fetch the weights again: invoke fetch"
        ) from None
    for name, wanted in rows:
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as e:
            raise Wrong("weights", f"{path}: {e.strerror}", "fetch the weights again: invoke fetch") from None
        if size != wanted:
            found = f"{path} has {size} bytes, the lock says {wanted}"
            raise Wrong("weights", found, "fetch the weights again: invoke fetch")
    return len(rows)


def read_keys(path: Path) -> dict[str, dict[str, str]]:
    """Scope -> sha256 -> name. A line that is no `name scope sha256:…` is refused by its number, never shown."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not text"
        hint = f"mount the folder that holds it, readable for uid {os.getuid()}; invoke keys add makes it"
        raise Wrong("keys", f"{path}: {reason}", hint) from None
    found: dict[str, dict[str, str]] = {"api": {}, "metrics": {}}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            hint = "write it with: invoke keys add; the file holds hashes, never keys"
            raise Wrong("keys", f"line {number} of {path} is not: name scope sha256:HASH", hint)
        found[match[2]][match[3]] = match[1]
    return found


def readable(check: str, path: Path) -> None:
    """Raises Wrong when this uid cannot read a file."""
    if not os.access(path, os.R_OK):
        state = "cannot be read" if path.exists() else "is not there"
        hint = f"mount its folder, and let uid {os.getuid()} or one of its groups {os.getgroups()} read it"
        raise Wrong(check, f"{path} {state}", hint)


def writable(check: str, folder: Path) -> None:
    """Raises Wrong when this uid cannot write to a folder."""
    if not os.access(folder, os.W_OK):
        raise Wrong(check, f"{folder} cannot be written by uid {os.getuid()}", f"start with --tmpfs {folder}")


def no_pair(file: Path) -> str | None:
    """Why certificate and key in a file do not belong together; None when they do."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file, password=lambda: "")
    except (ssl.SSLError, ValueError) as e:
        return str(getattr(e, "reason", None) or e)
    return None


if __name__ == "__main__":
    try:
        weights(Path(sys.argv[2]))
    except Wrong as e:
        print(e, file=sys.stderr)
        raise SystemExit(WRONG) from None
