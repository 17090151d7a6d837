"""Command lines within a hint: each carries on what was given, so that it can be pasted as it stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

Flags = dict[str, tuple[Any, str]]
_COMMAND = re.compile(r"\binvoke ([a-z]+(?:-[a-z]+)*)(?= |$|[,;)])")
_WORD = re.compile(r" ((?:'[^']*'|\"[^\"]*\"|[^\s;()'\"])+?)(?=[,;)]*(?:\s|$))")
_ACTS = ("json", "dry_run", "print", "apply", "fix", "list", "list_scenarios", "here", "add", "compare", "with_")


class Taken(NamedTuple):
    """What a verb takes: its flags, and those of them that are plain words."""

    flags: Flags
    words: tuple[str, ...] = ()


class _Line(NamedTuple):
    """A command line in a text: the words after the verb, the names of its flags, where it ends."""

    words: tuple[str, ...]
    given: tuple[str, ...]
    end: int


def carried(
    hint: str, verb: str, values: Mapping[str, Any], verbs: Mapping[str, Taken], order: Collection[str],
    frame: Collection[str],
) -> str:  # fmt: skip
    """The hint, its command lines completed by what `verb` was given and they take as well.

    `order`: names of the flags that make a plan; a line that has one of them was worked out and is only told the
    `frame`, such as the appliance's name.
    """
    parts, at = [], 0
    for match in _COMMAND.finditer(hint):
        target = verbs.get(match[1])
        if target is None or match.start() < at:
            continue
        line = _line(hint, match.end(), target)
        names = _to_carry(line, match[1], verb, values, verbs, order, frame)
        parts += [hint[at : line.end], *(f" {w}" for w in given_words(values, verbs[verb].flags, names))]
        at = line.end
    return "".join([*parts, hint[at:]])


def _line(text: str, at: int, target: Taken) -> _Line:
    """The command line that goes on at `at`: plain words, then flags with their values; prose ends it."""
    words: list[str] = []
    given: list[str] = []
    while match := _WORD.match(text, at):
        word = match[1]
        name = _name(word)
        if word.startswith("--"):
            given.append(name)
            at = match.end()
            value = _WORD.match(text, at)
            if name in target.flags and not isinstance(target.flags[name][0], bool) and "=" not in word and value:
                at = value.end()
        elif len(words) < len(target.words) and not given:
            words.append(word)
            at = match.end()
        else:
            break
    return _Line(tuple(words), tuple(given), at)


def _name(word: str) -> str:
    name = word.lstrip("-").partition("=")[0].replace("-", "_")
    return f"{name}_" if name in ("from", "with") else name


def _to_carry(
    line: _Line, target: str, verb: str, values: Mapping[str, Any], verbs: Mapping[str, Taken],
    order: Collection[str], frame: Collection[str],
) -> list[str]:  # fmt: skip
    """The flags that were given, are taken there, and are not said there already."""
    if {"help", "list", "list_scenarios"} & {*line.given}:
        return []
    own = verbs[verb]
    again = target == verb and line.words == tuple(str(values[w]) for w in own.words)
    usual = {*frame} if set(line.given) & set(order) else {*frame, *order}
    if again and not line.given:
        usual |= {*own.flags} - {*_ACTS}
    takes = verbs[target]
    return [
        name
        for name in own.flags
        if name in usual and name in takes.flags and name not in {*line.given, *own.words, *takes.words}
    ]


def given_words(values: Mapping[str, Any], flags: Flags, names: Collection[str]) -> list[str]:
    """Those of the named flags that were given, as they are typed."""
    given = [(n, values[n]) for n in names if n in values and values[n] != flags[n][0] and values[n] != ""]
    return [
        shlex.quote(word)
        for n, value in given
        for word in (f"--{n.strip('_').replace('_', '-')}", *([] if value is True else [str(value)]))
    ]
