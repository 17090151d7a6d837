"""What can go wrong, in two lines each: the subject with its numbers, then something to type.

WeighbridgeError
├── Refused            exit 2: what was asked is wrong
│   ├── UnknownName    no such profile, model, engine, version or target
│   ├── BadFile        a YAML or JSON file that does not say what it must
│   ├── BadValue       an option whose value cannot be
│   ├── Unsupported    the parts exist and do not go together
│   ├── NotPublic      nobody publishes what the plan needs
│   └── DoesNotFit     the model does not fit the machine
└── Failed             exit 1: the world failed
    ├── HostError      Docker, disk, network or the machine itself
    └── NotReady       the engine died or did not become ready in time
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Any


class Ended(KeyboardInterrupt):
    """A signal that ends the command as Ctrl-C does; the exit code says which it was."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"ended by signal {signal_number}")
        self.exit_code = 128 + signal_number


class WeighbridgeError(Exception):
    """A message (subject, then numbers; no trailing stop) and a hint that can be typed."""

    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}\n  {hint}")
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, Any]:
        """The same as an object: error, hint, alternatives."""
        return {"error": self.message, "hint": self.hint, "alternatives": []}


class Refused(WeighbridgeError):
    """`alternatives`: command lines that would do, nearest first, with what each changes."""

    exit_code = 2
    alternatives: tuple[dict[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "alternatives": list(self.alternatives)}


class UnknownName(Refused):
    pass


class BadFile(Refused):
    pass


class BadValue(Refused):
    pass


class Unsupported(Refused):
    pass


class DoesNotFit(Refused):
    pass


class NotPublic(Refused):
    pass


class Failed(WeighbridgeError):
    exit_code = 1


class HostError(Failed):
    pass


class NotReady(Failed):
    """`log`: the lines that the engine wrote."""

    log: tuple[str, ...] = ()


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None. What a name begins with is meant before what it is like."""
    wanted = name.lower().lstrip("-")
    lowered = {n.lower().lstrip("-"): n for n in known}
    begun = [n for n in lowered if n.startswith(f"{wanted}-")]
    found = difflib.get_close_matches(wanted, begun or lowered, n=1, cutoff=0 if begun else 0.54)
    return lowered[found[0]] if found else None


def unknown(kind: str, name: str, known: Iterable[str], list_with: str) -> UnknownName:
    """UnknownName for `name`, with the near miss or the command that lists them all."""
    near = nearest(name, known)
    hint = f"did you mean {near}? see them all with: {list_with}" if near else f"see them all with: {list_with}"
    return UnknownName(f"no {kind} called {name!r}", hint)


def none_of(kind: str, name: str, choices: Collection[str]) -> UnknownName:
    """UnknownName for a value that is none of a few: the nearest, and all of them."""
    near, (*others, last) = nearest(name, choices), choices
    all_of_them = f"{', '.join(others)} or {last}" if others else last
    return UnknownName(
        f"no {kind} called {name!r}", f"{f'did you mean {near}? ' if near else ''}it takes {all_of_them}"
    )
