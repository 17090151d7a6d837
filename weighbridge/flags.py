"""An engine's command line by version: which arguments exist, what they take, and what is wrong with given ones."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Literal

from weighbridge.errors import nearest
from weighbridge.facts import Value

Fault = Literal[
    "unknown", "abbreviated", "choice", "registered", "type", "no-value", "unwanted-value", "twice", "deprecated"
]
_MARKS = ("enable", "disable")
_CHECKS = {
    "int": r"[-+]?\d+",
    "float": r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?",
    "size": r"auto|[-+]?\d+(\.\d+)?[kKmMgGtT]?(i?B)?",
    "json": r"(?s)[\[{\"].*|.*\..*|none|null|\d+",
    "bool": r"(?i)true|false|1|0|yes|no",
}


class Flag(Value, frozen=True, kw_only=True):
    """One argument. `also`: its other names; `registered`: names that are looked up after parsing."""

    flag: str
    kind: Literal["switch", "value", "optional", "list"]
    also: tuple[str, ...] = ()
    takes: Literal["int", "float", "size", "json", "bool"] | None = None
    choices: tuple[str, ...] = ()
    registered: tuple[str, ...] = ()
    default: str | None = None
    deprecated: bool = False
    help: str | None = None

    @property
    def many(self) -> bool:
        return self.kind == "list"


class Given(Value, frozen=True, kw_only=True):
    """An argument as it stands in a command: the word typed, and the words it takes."""

    word: str
    values: tuple[str, ...] = ()


class Problem(Value, frozen=True, kw_only=True):
    """What is wrong with one argument; `near` is what was probably meant."""

    fault: Fault
    given: Given
    flag: Flag | None = None
    near: str | None = None


class Flags(Value, frozen=True, kw_only=True, dict=True):
    """images/<engine>/flags/<version>.json: made by scripts/flags.py from the engine's own parser."""

    engine: str
    version: str
    made_from: str
    flags: tuple[Flag, ...]

    @cached_property
    def by_name(self) -> dict[str, Flag]:
        return {name: flag for flag in self.flags for name in (flag.flag, *flag.also)}

    def find(self, word: str) -> Flag | None:
        """The flag of an exact name; underscores are dashes to the parsers."""
        return self.by_name.get(word) or self.by_name.get(_dashes(word))

    def begun(self, word: str) -> list[str]:
        """The long names that `word` is the beginning of, as the parser would complete it."""
        return [n for n in self.by_name if word.startswith("--") and n.startswith(_dashes(word))]

    def split(self, words: Sequence[str]) -> tuple[list[str], list[Given]]:
        """(positional words, arguments with their values), as the parser reads them."""
        loose: list[str] = []
        found: list[Given] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if not _is_flag(word):
                loose.append(word)
                continue
            name, equals, value = word.partition("=")
            wants = self._wanted(name)
            values = [value] if equals else []
            while rest and not equals and wants and not _is_flag(rest[0]):
                values.append(rest.pop(0))
                wants -= 1
            found.append(Given(word=name, values=tuple(values)))
        return loose, found

    def _wanted(self, name: str) -> int:
        """How many words a flag takes at most; one that is not known takes the next word that is no flag."""
        begun = self.begun(name)
        flag = self.find(name) or (self.by_name[begun[0]] if begun else None)
        return 1 if flag is None else {"switch": 0, "list": 10**6}.get(flag.kind, 1)

    def problems(self, given: Sequence[Given], *, literal: bool = False) -> Iterator[Problem]:
        """What this version's parser, or the engine behind it, would not take, or would take for something else.

        Unless they are `literal`, values that a shell or a person fills in are let through.
        """
        seen: set[str] = set()
        for one in given:
            flag = self.find(one.word)
            if flag is None:
                yield self._not_exact(one)
                continue
            if flag.flag in seen and not flag.many:
                yield Problem(fault="twice", given=one, flag=flag)
            seen.add(flag.flag)
            if flag.deprecated:
                yield Problem(fault="deprecated", given=one, flag=flag)
            yield from _of_values(one, flag, literal)

    def _not_exact(self, one: Given) -> Problem:
        begun = self.begun(one.word)
        if len(one.word) > 3 and begun:
            first = min(begun, key=len)
            return Problem(fault="abbreviated", given=one, flag=self.by_name[first], near=first)
        return Problem(fault="unknown", given=one, near=self._near(one.word))

    def _near(self, word: str) -> str | None:
        """The name that was probably meant; never one that says the opposite, however like it looks."""
        says, core = meaning(_dashes(word))
        alike = [n for n in self.by_name if n.startswith("--") and meaning(n)[0] == says]
        bare = {re.sub(r"[-_]", "", n): n for n in alike}
        same = {meaning(n): n for n in reversed(alike)}
        return bare.get(re.sub(r"[-_]", "", word)) or same.get((says, core)) or _like(word, core, alike, says)


def _of_values(one: Given, flag: Flag, literal: bool) -> Iterator[Problem]:
    if flag.kind == "switch":
        if one.values:
            yield Problem(fault="unwanted-value", given=one, flag=flag)
        return
    if not one.values and flag.kind == "value":
        yield Problem(fault="no-value", given=one, flag=flag)
    for value in one.values:
        if _open(value) and not literal:
            continue
        if flag.choices and value not in flag.choices:
            yield Problem(fault="choice", given=one, flag=flag, near=nearest(value, flag.choices))
        elif flag.registered and value and value not in flag.registered:
            yield Problem(fault="registered", given=one, flag=flag, near=nearest(value, flag.registered))
        elif flag.takes and not (re.fullmatch(_CHECKS[flag.takes], value) and _parses(flag, value, literal)):
            yield Problem(fault="type", given=one, flag=flag)


def _parses(flag: Flag, value: str, literal: bool) -> bool:
    """Whether what looks like JSON, or all that is `literal`, is: a shell takes quotes away that it is not told of."""
    if flag.takes != "json" or not (literal or re.fullmatch(r"(?s)\{.*\}", value)):
        return True
    with suppress(ValueError):
        return isinstance(json.loads(value), dict | list)
    return False


def _open(value: str) -> bool:
    """A value that only the shell, or a person, fills in."""
    return "$" in value or "`" in value or (value.startswith("<") and value.endswith(">"))


def version_key(version: str) -> tuple[int, ...]:
    """For comparing versions: the numbers of a release."""
    return tuple(int(n) for n in re.findall(r"\d+", version)[:3])


def _like(word: str, core: str, names: Sequence[str], says: bool) -> str | None:
    """The nearest; of a negation only one that negates nearly the same, for there are few of them."""
    near = nearest(word, names)
    if near is None or says:
        return near
    return near if difflib.SequenceMatcher(None, core, meaning(near)[1]).ratio() > 0.7 else None


def meaning(name: str) -> tuple[bool, str]:
    """(does it say yes, what to): `--no-enable-X` and `--disable-X` are one; a slip in either word changes nothing."""
    says, rest = True, name.lstrip("-")
    while "-" in rest:
        first, _, more = rest.partition("-")
        mark = first if first == "no" else nearest(first, _MARKS) if len(first) > 4 else None
        if mark is None or difflib.SequenceMatcher(None, first, mark).ratio() < 0.8:
            break
        says, rest = says ^ (mark in ("no", "disable")), more
    return says, rest


def _is_flag(word: str) -> bool:
    return bool(re.match(r"--?[a-zA-Z]|--$", word))


def _dashes(word: str) -> str:
    return word.replace("_", "-") if word.startswith("--") else word
