"""`--extra-args`: arguments for the engine beside those that a plan decides, of those that an engine leaves open."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from weighbridge.engines import Engine
from weighbridge.errors import BadValue, Refused, Unsupported, nearest
from weighbridge.flags import Flags, Given
from weighbridge.types import PLANNED_AS, Order

_MOST_CHARACTERS = 4000
_EXAMPLE = "quoted as for a shell: --extra-args '--seed 7'"
_NAMES = ("profile", "model", "engine", "engine_version")


def words_of(order: Order) -> tuple[str, ...]:
    """The words of `--extra-args`, as a shell reads them. Raises BadValue without a value, which may be a secret."""
    if order.extra_args is None:
        return ()
    text = " ".join(order.extra_args.splitlines())
    try:
        words = shlex.split(text)
    except ValueError as e:
        raise BadValue(f"--extra-args cannot be read: {str(e).lower()}", _EXAMPLE) from None
    if not text.isprintable() or len(text) > _MOST_CHARACTERS:
        raise BadValue(f"--extra-args is text of at most {_MOST_CHARACTERS} printable characters", _EXAMPLE)
    if not words or not words[0].startswith("--"):
        raise BadValue("--extra-args begins with the whole name of an argument, two dashes and all", _EXAMPLE)
    return tuple(words)


def told(words: Sequence[str]) -> dict[str, Any]:
    """What a plan keeps of them."""
    return {"extra_args": shlex.join(words) if words else None}


def warnings(words: Sequence[str]) -> tuple[str, ...]:
    """What the plan cannot say of them."""
    return (f"beside the plan: {shlex.join(words)}; what that does is not weighed",) if words else ()


def check(order: Order, engine: Engine, version: str, flags: Flags | None) -> None:
    """Raises BadValue for an argument that the engine does not leave open, or not with this value.

    Unsupported for an engine that takes none, and for a version whose parser nobody has read yet.
    """
    words = words_of(order)
    if not words:
        return
    if not engine.open:
        raise Unsupported(f"{engine.title} takes no arguments beside the plan", "leave --extra-args out")
    if flags is None:
        learn = f"make flags ENGINE={engine.id} VERSION={version}"
        raise Unsupported(f"--extra-args: nobody has read the arguments of {engine.title} {version} yet", learn)
    loose, given = flags.split(words)
    if loose:
        raise BadValue("--extra-args: a word belongs to no argument", _EXAMPLE)
    for at, one in enumerate(given):
        _check_open(one, engine, version, flags)
        _check_value(one, flags)
        if any(flags.find(one.word) == flags.find(other.word) for other in given[:at]):
            raise BadValue(f"--extra-args: {one.word} is given twice", "give it once")


def _check_open(one: Given, engine: Engine, version: str, flags: Flags) -> None:
    flag = flags.find(one.word)
    names = {flag.flag, *flag.also} if flag else set()
    if names & set(engine.open):
        return
    decided = _decided(names or {*flags.begun(one.word)[:1]}, engine)
    if decided:
        raise decided
    if flag is None:
        raise BadValue(f"--extra-args: {engine.title} {version} has no {one.word}", _near(one.word, engine))
    hint = "docs/planner.md: which are, and how a catalogue of your own opens another"
    raise BadValue(f"--extra-args: {flag.flag} is none of the arguments that are left open", hint)


def _decided(names: set[str], engine: Engine) -> Refused | None:
    """The refusal of one that the plan decides, with the option that says it to the plan."""
    for argument in engine.arguments:
        if argument.flag in names:
            option = {v: k for k, v in PLANNED_AS.items()}.get(argument.field or "", argument.field or "")
            told_so = option in Order.__struct_fields__ and option not in _NAMES
            hint = f"see --{option.replace('_', '-')} of: invoke plan --help" if told_so else "leave it out"
            return BadValue(f"--extra-args: {argument.flag} is the plan's to decide", hint)
    return None


def _near(word: str, engine: Engine) -> str:
    near = nearest(word, engine.open)
    return f"did you mean {near}?" if near else "docs/planner.md: which it takes beside the plan"


def _check_value(one: Given, flags: Flags) -> None:
    """Raises BadValue for a value that the parser would not take; lint lets through what a shell would fill in."""
    flag = flags.find(one.word)
    assert flag is not None
    if all(problem.fault == "deprecated" for problem in flags.problems([one], literal=True)):
        return
    if flag.choices:
        raise BadValue(f"--extra-args: not a value of {flag.flag}", f"it takes one of {', '.join(flag.choices)}")
    if flag.takes == "json":
        quoted = f"""{flag.flag} {{\\"a\\": 1}}"""
        raise BadValue(f"--extra-args: not JSON behind {flag.flag}", f"with its quotes: --extra-args '{quoted}'")
    wanted = "stands alone" if flag.kind == "switch" else f"takes {flag.takes or 'a value'}"
    raise BadValue(f"--extra-args: not a value of {flag.flag}", f"{flag.flag} {wanted}")
