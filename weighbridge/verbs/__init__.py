"""The verbs, where pure code and effects meet: flags in, a result out. tasks.py lists them."""

from __future__ import annotations

import os
from typing import Any


def asked(values: dict[str, Any]) -> Any:
    """What was typed, with what the environment adds to it."""
    from weighbridge.effects.asked import Asked

    return Asked(
        values, {name: value for name, value in os.environ.items() if name.startswith(("WEIGHBRIDGE_", "XDG_"))}
    )
