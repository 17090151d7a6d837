"""`weighbridge`: the same verbs as `invoke`, from an installed package."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from weighbridge import __version__
from weighbridge.catalog import DATA
from weighbridge.cli import complain
from weighbridge.errors import BadValue, Refused, unknown


class Verbs(Program):
    """A flag or a verb that is none is refused as a wrong value is: two lines, the near miss, exit code 2."""

    def parse_tasks(self) -> None:
        with self.refusing():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        with self.refusing():
            super().parse_cleanup()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        try:
            yield
        except ParseError as e:
            error = explained(e, list(self.collection.task_names))
            raise Exit(code=complain(error, "--json" in self.argv)) from None


def explained(error: ParseError, verbs: list[str]) -> Refused:
    """What the parser did not take, in our words."""
    verb = error.context.name if error.context else None
    usage = f"weighbridge {verb} --help" if verb else "weighbridge --list"
    match = re.fullmatch(r"No idea what '(.*)' is!", str(error), re.DOTALL)
    if match is None:
        return BadValue(str(error).rstrip("!"), f"see what it takes: {usage}")
    word = match[1]
    if not word.startswith("-"):
        return unknown("verb", word, verbs, "weighbridge --list")
    known = error.context.flags if error.context else ()
    return unknown("flag", word, [flag for flag in known if flag.startswith("--")], usage)


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
