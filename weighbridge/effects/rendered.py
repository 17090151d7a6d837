"""A rendered folder: whose plan lies there already, and what one types next."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from weighbridge.effects.asked import Asked
from weighbridge.effects.disk import write_folder
from weighbridge.road import command_line
from weighbridge.runspec import LABEL
from weighbridge.types import File

_OF_IMAGE, _OF_MACHINES = "run/docker.sh", "plan.json"


def write(folder: Path, files: Mapping[str, File], say: Callable[[str], None], *, dry_run: bool) -> str | None:
    """The folder with these files; gives the other plan that it held, which is said. Raises BadValue, HostError."""
    other = _replaced(folder, files)
    if not dry_run:
        write_folder(folder, files)
    if other:
        say(f"{folder}: {'would replace' if dry_run else 'replaces'} the plan {other} that was there")
    return other


def _replaced(folder: Path, files: Mapping[str, File]) -> str | None:
    """The plan in `folder`, by its image's digits, when `files` are another's; None for the same, or none."""
    there = {}
    for name in (_OF_IMAGE, _OF_MACHINES):
        with suppress(OSError, UnicodeDecodeError):
            there[name] = (folder / name).read_text(encoding="utf-8")
    old = _plan_of(there)
    return None if old == _plan_of({name: file.text for name, file in files.items()}) else old


def _plan_of(texts: Mapping[str, str]) -> str | None:
    """Of machines, which have no image here, the digest is that of the plan's own file."""
    found = re.search(rf"{re.escape(LABEL)}\.plan=([0-9a-f]{{12}})", texts.get(_OF_IMAGE, ""))
    if found:
        return found[1]
    whole = texts.get(_OF_MACHINES)
    return hashlib.sha256(whole.encode()).hexdigest()[:12] if whole else None


def next_line(it: Asked, folder: Path, beside: Sequence[str]) -> str:
    """What brings the files to use. `beside`: the flags of the container, as they were typed."""
    if it.machines:
        return "next: bring these files to every machine; one with a number is that machine's alone"
    build = command_line(it.order, it.frame).replace("invoke plan", "invoke build", 1)
    lines = command_line(it.order, [*it.frame, *beside]).replace("invoke plan", "invoke run", 1)
    start = shlex.join(["sh", str(folder / _OF_IMAGE)])
    return f"next: {build} && {start}   # which keys and weights it needs first: {lines} --print docker"
