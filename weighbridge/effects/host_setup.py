"""Runs the script that prepares a host, here and now: only when it was asked for, and only as root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from weighbridge.errors import HostError


def apply(script: str, say: Callable[[str], None]) -> int:
    """Runs the script; its output is shown as it comes. Raises HostError when it fails or we are not root."""
    if os.geteuid() != 0:
        hint = "print it, read it and run it: invoke host-setup > host-setup.sh && sudo sh host-setup.sh"
        raise HostError("--apply needs root", hint)
    say("preparing this host")
    done = subprocess.run(["sh", "-s"], input=script, text=True, check=False)
    if done.returncode != 0:
        raise HostError(
            f"the script stopped with exit code {done.returncode}", "mend what its last line names, and run it again"
        )
    return 0
