"""`weighbridge`: the same verbs as `invoke`, from an installed package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from invoke.collection import Collection

from weighbridge import __version__
from weighbridge.catalog import DATA
from weighbridge.program import Verbs


def _tasks(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("tasks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tasks"] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    verbs = Collection.from_module(_tasks(DATA / "tasks.py"))
    Verbs(name="weighbridge", binary="weighbridge", namespace=verbs, version=__version__).run()


if __name__ == "__main__":
    main()
