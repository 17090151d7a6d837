"""The wheels of a lock, downloaded beforehand so that a build needs no network."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from weighbridge.errors import BadFile, HostError

GLIBC_MINOR = 36  # of the base image: Debian bookworm has glibc 2.36
BATCH = 12  # wheels a pip run: what an interrupted download loses at most
DIGESTS = "digests.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Pin:
    requirement: str
    sha256: frozenset[str]

    def __str__(self) -> str:
        return " ".join([self.requirement, *(f"--hash=sha256:{h}" for h in sorted(self.sha256))])


def fetch_wheels(lock: Path, cache: Path, *, python: str, say: Say) -> list[Path]:
    """The wheel files of `lock` in its order, after downloading into `cache` what is not there.

    `python` is the version the wheels are for ("3.11"); the host's own may be another.
    Every file's sha256 is in the lock. Raises BadFile (lock) or HostError (download).
    """
    try:
        return _fetch(read_lock(lock), cache, python, say)
    except OSError as e:
        hint = "WEIGHBRIDGE_CACHE=FOLDER names another place for downloads"
        raise HostError(f"{e.filename or cache}: {e.strerror or e}", hint) from None


def _fetch(pins: Sequence[Pin], cache: Path, python: str, say: Say) -> list[Path]:
    cache.mkdir(parents=True, exist_ok=True)
    have = _by_digest(cache)
    missing = [pin for pin in pins if not pin.sha256 & have.keys()]
    for start in range(0, len(missing), BATCH):
        say(f"wheels: {len(pins) - len(missing) + start} of {len(pins)} at hand")
        _download(missing[start : start + BATCH], cache, python, say)
    if missing:
        have = _by_digest(cache)
        size = sum(path.stat().st_size for path in have.values())
        say(f"wheels: {len(pins)} of {len(pins)} at hand, cache {size / 2**20:.0f} MiB")
    return [_wheel(pin, have) for pin in pins]


def read_lock(lock: Path) -> list[Pin]:
    """The pins of a hashed requirements file. Raises BadFile when one lacks a version or a hash."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (line.split("#", 1)[0].split() for line in text.splitlines())
    pins = [Pin(words[0], frozenset(_hashes(words[1:]))) for words in lines if words]
    for pin in pins:
        if "==" not in pin.requirement or not pin.sha256:
            raise BadFile(f"{lock}: {pin.requirement} has no exact version or no sha256", f"python {_recipe(lock)}")
    return pins


def target_flags(python: str) -> list[str]:
    """What tells pip to choose wheels for the image instead of for the Python that runs pip."""
    machine = platform.machine()
    names = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR, 4, -1)]
    names += [f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    abis = [f"cp{python.replace('.', '')}", "abi3", "none"]
    flags = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    flags += [flag for abi in abis for flag in ("--abi", abi)]
    return flags + [flag for name in [*names, "any"] for flag in ("--platform", name)]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hashes(words: Sequence[str]) -> list[str]:
    return [word.removeprefix("--hash=sha256:") for word in words if word.startswith("--hash=sha256:")]


def _recipe(lock: Path) -> str:
    return f"{lock.parent}/lock.py {lock.with_suffix('.in')}"


def _wheel(pin: Pin, have: dict[str, Path]) -> Path:
    digest = next(iter(sorted(pin.sha256 & have.keys())), None)
    if digest is None:
        raise HostError(f"{pin.requirement}: pip brought no wheel with a sha256 of the lock", "run it again")
    return have[digest]


def _by_digest(cache: Path) -> dict[str, Path]:
    """sha256 → file. A file is hashed again only when its size or its time of change differs."""
    memo = _read_memo(cache / DIGESTS)
    fresh: dict[str, list[int | str]] = {}
    for path in sorted(cache.glob("*.whl")):
        stat = path.stat()
        known = memo.get(path.name)
        if known is None or known[:2] != [stat.st_size, stat.st_mtime_ns]:
            known = [stat.st_size, stat.st_mtime_ns, sha256_of(path)]
        fresh[path.name] = known
    if fresh != memo:
        _write(cache / DIGESTS, json.dumps(fresh, indent=0, sort_keys=True))
    return {str(known[2]): cache / name for name, known in fresh.items()}


def _read_memo(path: Path) -> dict[str, list[int | str]]:
    try:
        memo = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(memo, dict):
        return {}
    return {name: row for name, row in memo.items() if isinstance(row, list) and len(row) == 3}


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _download(pins: Sequence[Pin], cache: Path, python: str, say: Say) -> None:
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=cache) as name:
        part = Path(name)
        wanted = part / "requirements.txt"
        wanted.write_text("".join(f"{pin}\n" for pin in pins), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input"]
        command += ["--progress-bar=off", "--dest", str(part), "-r", str(wanted), *target_flags(python)]
        _pip(command, say)
        for wheel in part.glob("*.whl"):
            wheel.replace(cache / wheel.name)


def _pip(command: Sequence[str], say: Say) -> None:
    """Run pip, saying what it downloads; raises HostError with pip's own first error."""
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                found = re.search(r"Downloading \S*?([^/\s]+\.whl) \((.+?)\)", line)
                if found:
                    say(f"  {found[1]} {found[2]}")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise _pip_error(lines)


def _pip_error(lines: Sequence[str]) -> HostError:
    if any("No module named pip" in line for line in lines):
        return HostError(f"{sys.executable} has no pip to download wheels with", f"{sys.executable} -m ensurepip")
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    # The last error names the package; the ones before it may list every version there is.
    reason = (errors or list(lines) or ["it said nothing"])[-1][:300]
    return HostError(f"wheels could not be downloaded: {reason}", "see where pip looks: python -m pip config list")
