"""images/**/failures.yaml: why an appliance fails, by which signs a log shows it, and what to change in the order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.errors import BadFile, nearest
from weighbridge.facts import Value
from weighbridge.types import Order

CERTAINTIES = ("sure", "likely", "possible")
_SHARED = "_shared"


class Sign(Value, frozen=True, kw_only=True):
    """A pattern for one line of a log. Its named groups are numbers that a change may use.

    It counts only beside a line that shows `near`, `last` as the last thing written, `served` after the engine served.
    """

    text: str
    near: str | None = None
    last: bool = False
    served: bool = False
    certainty: Literal["sure", "likely", "possible"] = "sure"


class Change(Value, frozen=True, kw_only=True):
    """A field of the order and its new value.

    It is `value` itself; or a number of the log (`group`, `over` another, rounded down to `step`); or what is planned
    now, `times` so much; or the largest divisor of `divides` that is less than `below`.
    """

    field: str
    value: str | int | bool | None = None
    group: str | None = None
    over: str | None = None
    times: float | None = None
    step: int = 1
    divides: str | None = None
    below: str | None = None
    because: str

    @property
    def constant(self) -> bool:
        """Whether `value` is what it says; null then means: as planned."""
        return self.group is None and self.times is None and self.divides is None


class Failure(Value, frozen=True, kw_only=True):
    """What an appliance can fail of. `changes` are tried in turn; `type` is what a person can type beside them."""

    title: str
    because: str
    changes: tuple[Change, ...] = ()
    type: tuple[str, ...] = ()
    signs: tuple[Sign, ...]


class _SharedFile(Value, frozen=True, kw_only=True):
    """images/_shared/failures.yaml."""

    prefixes: tuple[str, ...]
    processes: tuple[str, ...]
    ready: tuple[str, ...]
    noise: tuple[str, ...]
    failures: dict[str, Failure]


class _EngineFile(Value, frozen=True, kw_only=True):
    """images/<engine>/failures.yaml: more signs of the same failures."""

    signs: dict[str, tuple[Sign, ...]]
    sources: tuple[str, ...] = ()


class Book(Value, frozen=True, kw_only=True):
    """All that is known of failures, for one engine or for all of them. Patterns compile."""

    prefixes: tuple[str, ...]
    processes: tuple[str, ...]
    ready: tuple[str, ...]
    noise: tuple[str, ...]
    failures: dict[str, Failure]


def read_book(catalog: Catalog, engine: str | None = None) -> Book:
    """Every failure with the signs of `engine`, or of all engines. Raises BadFile."""
    shared = _newest(catalog, _SHARED)
    if shared is None:
        raise BadFile(f"images/{_SHARED}/failures.yaml: no such file", "install Weighbridge again")
    found = convert(read_yaml(shared), _SharedFile, shared)
    failures = dict(found.failures)
    for name in [engine] if engine else _engines(catalog):
        path = _newest(catalog, name)
        if path is not None:
            _add(failures, convert(read_yaml(path), _EngineFile, path), path)
    whole = {f: getattr(found, f) for f in Book.__struct_fields__}
    book = Book(**{**whole, "failures": failures})
    _check(book, shared)
    return book


def _newest(catalog: Catalog, folder: str) -> Path | None:
    """The file of the catalogue's last folder that has it."""
    paths = [f / "images" / folder / "failures.yaml" for f in catalog.folders]
    return next((p for p in reversed(paths) if p.is_file()), None)


def _engines(catalog: Catalog) -> list[str]:
    paths = [p for f in catalog.folders for p in (f / "images").glob("*/failures.yaml")]
    return sorted({p.parent.name for p in paths} - {_SHARED})


def _add(failures: dict[str, Failure], file: _EngineFile, path: Path) -> None:
    for name, signs in file.signs.items():
        if name not in failures:
            near = nearest(name, failures)
            hint = f"did you mean {near}?" if near else f"the failures are: {', '.join(sorted(failures))}"
            raise BadFile(f"{path}: signs: no failure called {name!r}", hint)
        failures[name] = msgspec.structs.replace(failures[name], signs=(*failures[name].signs, *signs))


def _check(book: Book, path: Path) -> None:
    """Patterns compile, and changes are about fields that an order has."""
    patterns = [*book.prefixes, *book.processes, *book.ready, *book.noise]
    for failure in book.failures.values():
        patterns += [p for sign in failure.signs for p in (sign.text, sign.near) if p is not None]
        for change in failure.changes:
            if change.field not in Order.__struct_fields__:
                near = nearest(change.field, Order.__struct_fields__)
                hint = f"did you mean {near}?" if near else f"edit {path}"
                raise BadFile(f"{path}: changes: an order has no {change.field!r}", hint)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as e:
            raise BadFile(f"{path}: {pattern!r} is no pattern: {e}", f"edit {path}") from None


def loosely(patterns: Iterable[str]) -> re.Pattern[str]:
    """One pattern that matches wherever any of these does; names of groups left out, for they may stand twice."""
    return re.compile("|".join(f"(?:{re.sub(r'[(][?]P<[a-z]+>', '(?:', p)})" for p in patterns))
