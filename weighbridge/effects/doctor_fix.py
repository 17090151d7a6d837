"""Mends what the doctor found, as far as that is safe: each fix is said, run and checked again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Literal

from weighbridge.doctor import Fix, Found
from weighbridge.facts import Value

_FIX_SECONDS = 120


class Mended(Value, frozen=True, kw_only=True):
    """One fix: what was run, and whether the finding is gone."""

    id: str
    command: str
    result: Literal["fixed", "still there", "failed", "not run"]
    detail: str = ""


def line_of(fix: Fix) -> str:
    """A fix as it is run: with sudo when it needs root and we are not."""
    import shlex

    if not fix.root or os.geteuid() == 0:
        return fix.command
    return f"sudo -n sh -c {shlex.quote(fix.command)}"


def mend(found: Found, fix: Fix, gone: Callable[[str], bool], say: Callable[[str], None]) -> Mended:
    """Runs one fix; `gone` asks and judges again. A sudo that wants a password is a fix that failed."""
    line = line_of(fix)
    say(f"fixing {found.id}: {line}")
    if line.startswith("sudo") and not shutil.which("sudo"):
        return Mended(id=found.id, command=line, result="failed", detail="needs root, and sudo is not here")
    try:
        done = subprocess.run(
            ["sh", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_FIX_SECONDS, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Mended(id=found.id, command=line, result="failed", detail=f"not done after {_FIX_SECONDS} s")
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        return Mended(id=found.id, command=line, result="failed", detail=said[:200])
    return Mended(id=found.id, command=line, result="fixed" if gone(found.id) else "still there")
