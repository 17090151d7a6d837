"""What the doctor looks at itself, where no tool has to be asked: ports, disks, the model store, proxies."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from weighbridge.doctor import Answer, Question
from weighbridge.doctor_read import read_pairs
from weighbridge.effects.doctor import ask
from weighbridge.effects.probe import check_port
from weighbridge.effects.weights import check_weights
from weighbridge.errors import BadFile, HostError
from weighbridge.reach import asked_at
from weighbridge.runspec import LABEL

_GIB = 2**30
_SAMPLE_BYTES = 512 * 2**20
_SAMPLE_SECONDS = 3.0
_LEAST_SAMPLE_BYTES = 64 * 2**20
_MOST_FOLDERS = 200
_ENGINE_SECONDS = 20.0
_UNFINISHED = ("*.incomplete", "*.part", "*.partial", "*.aria2", "*.tmp")
_SET_ASIDE = ("*.quarantined", "*.corrupt", "*.bad", "quarantine/*", ".quarantine/*")


def look_around(
    store: Path, port: int, answers: Mapping[str, Answer], environment: Mapping[str, str]
) -> dict[str, Any]:
    """The values that expressions know as port, store, docker_root and proxies. Changes nothing."""
    return {
        "port": look_at_port(port),
        "store": look_at_store(store),
        "docker_root": look_at_root(answers.get("docker_info")),
        "proxies": look_at_proxies(environment),
    }


def look_at_port(port: int) -> dict[str, Any]:
    """Does something listen on 127.0.0.1 there already, and is it an appliance of this host?"""
    try:
        check_port("127.0.0.1", port)
    except HostError:
        return {"number": port, "taken": True, "appliance": _appliance_at(port)}
    return {"number": port, "taken": False, "appliance": ""}


def _appliance_at(port: int) -> str:
    """The name of the appliance that publishes this port; empty when none does, or no Docker engine answers in time."""
    labels = [f'{{{{.Label "{LABEL}.{name}"}}}}' for name in ("port", "address", "name")]
    filters = ("--filter", f"label={LABEL}.name", "--filter", "status=running")
    line = ("docker", "ps", *filters, "--format", "\t".join(labels))
    answer = ask(Question(command=line, seconds=_ENGINE_SECONDS))
    rows = [row.split("\t") for row in answer.text.splitlines()] if answer.status == "ok" else []
    for published, address, name in (row for row in rows if len(row) == len(labels)):
        if published == str(port) and asked_at(address or "127.0.0.1") == "127.0.0.1":
            return name
    return ""


def look_at_root(info: Answer | None) -> dict[str, Any] | None:
    """Room where Docker keeps images; None when the engine is elsewhere or does not say."""
    path = read_pairs(info.text, "").get("docker_root_dir") if info and info.status == "ok" else None
    try:
        found = os.statvfs(path or "")
    except OSError:
        return None
    inodes = found.f_favail / found.f_files if found.f_files else None
    return {"path": path, "free_gib": found.f_bavail * found.f_frsize / _GIB, "free_inodes_share": inodes}


def look_at_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """The proxy of this shell, without the password in it, and what is left out of it."""
    names = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    proxy = next((environment[n] for n in names if environment.get(n)), "")
    none = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return {"shell": proxy.rsplit("@", 1)[-1], "none": none}


def look_at_store(store: Path) -> dict[str, Any]:
    """Room, speed and unfinished business in the folder of models."""
    there = store
    while not there.exists() and there != there.parent:
        there = there.parent  # where it would be made
    free = os.statvfs(there)
    models = sorted(p for p in _inside(store) if p.is_dir() and not p.name.startswith("."))[:_MOST_FOLDERS]
    return {
        "path": str(store),
        "exists": store.exists(),
        "folder": store.is_dir(),
        "writable": os.access(store, os.W_OK | os.X_OK),
        "free_gib": free.f_bavail * free.f_frsize / _GIB,
        "file_system": file_system(there, Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")),
        "models": len(models),
        "incomplete": [*_named(store, _UNFINISHED), *(str(m) for m in models if _broken(m))],
        "quarantined": _named(store, _SET_ASIDE),
        "read_mb_s": read_speed(_largest(models)),
    }


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _named(store: Path, patterns: tuple[str, ...]) -> list[str]:
    found = {str(p) for depth in ("", "*/", "*/*/") for pattern in patterns for p in store.glob(depth + pattern)}
    return sorted(found)


def _broken(folder: Path) -> bool:
    """A folder that a run would refuse; one without config.json is somebody's other folder."""
    try:
        if (folder / "config.json").is_file():
            check_weights(folder)
    except BadFile:
        return True
    except OSError:
        return False
    return False


def _largest(folders: list[Path]) -> Path | None:
    files: list[tuple[int, Path]] = []
    for path in (p for folder in folders for p in _inside(folder)):
        with suppress(OSError):
            files.append((path.stat().st_size, path))
    size, largest = max(files, default=(0, Path()))
    return largest if size >= _LEAST_SAMPLE_BYTES else None


def read_speed(path: Path | None) -> float | None:
    """MB/s of reading a file past the page cache, by a sample of at most 512 MiB or 3 s; None where it cannot be."""
    if path is None:
        return None
    buffer = mmap.mmap(-1, 8 * 2**20)  # aligned, as O_DIRECT wants it
    try:
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return None
    try:
        began, done = time.monotonic(), 0
        while done < _SAMPLE_BYTES and time.monotonic() - began < _SAMPLE_SECONDS:
            got = os.readv(file, [buffer])
            done += got
            if got < len(buffer):
                break
        return done / 1e6 / (time.monotonic() - began)
    except OSError:
        return None
    finally:
        os.close(file)


def file_system(path: Path, mounts: str) -> str:
    """The type of the file system that holds a path, by the text of /proc/mounts."""
    fields = [line.split() for line in mounts.splitlines()]
    holding = [(len(f[1]), n, f[2]) for n, f in enumerate(fields) if len(f) > 2 and path.resolve().is_relative_to(f[1])]
    return max(holding)[2] if holding else ""
