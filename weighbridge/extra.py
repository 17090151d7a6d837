"""`--extra-args`: arguments for the engine beside those that a plan decides."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from weighbridge.engines import Engine
from weighbridge.errors import BadValue, Refused, Unsupported
from weighbridge.flags import Flags, Given, Problem
from weighbridge.types import PLANNED_AS, Order, Plan

_MOST_CHARACTERS = 4000
_OUT = "leave it out of --extra-args"


def words_of(order: Order, engine: Engine) -> tuple[str, ...]:
    """The words of `--extra-args`, as a shell reads them. Raises BadValue; Unsupported where an engine takes none."""
    text = order.extra_args
    if text is None:
        return ()
    if not engine.arguments:
        message = f"{engine.title} takes no arguments: what a plan decides is in files that it reads"
        raise Unsupported(message, "leave --extra-args out")
    try:
        words = shlex.split(text)
    except ValueError as e:
        raise BadValue(f"--extra-args {text[:60]!r} cannot be read: {e}", _example()) from None
    if not words or not words[0].startswith("--") or len(text) > _MOST_CHARACTERS:
        raise BadValue(f"--extra-args {text[:60]!r} begins with no argument of an engine", _example())
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise BadValue("--extra-args holds a control character", _example())
    return tuple(words)


def _example() -> str:
    return "quoted as for a shell: --extra-args '--seed 7'"


def told(words: tuple[str, ...]) -> dict[str, Any]:
    """What a plan keeps of them."""
    return {"extra_args": shlex.join(words) if words else None}


def warnings(words: tuple[str, ...]) -> tuple[str, ...]:
    """What the plan cannot say of them."""
    said = (
        f"beside the plan: {shlex.join(words)}; what that takes of a card's memory, and what it opens, is not weighed"
    )
    return (said,) if words else ()


def check(plan: Plan, engine: Engine, flags: Flags | None) -> None:
    """Raises BadValue for an argument that the engine's version has not, that the plan decides, or that would open it.

    Of a version whose parser nobody has read yet, names are taken on trust.
    """
    if plan.extra_args is None:
        return
    words = shlex.split(plan.extra_args)
    reader = flags or Flags(engine=engine.id, version=plan.engine_version, made_from="", flags=())
    loose, given = reader.split(words)
    if loose:
        raise BadValue(f"--extra-args: {loose[0]!r} belongs to no argument", _example())
    for one in given:
        refusal = _decided(one, plan, engine, reader) or _closed(one, engine, reader)
        if refusal:
            raise refusal
    for problem in reader.problems(given) if flags else ():
        if problem.fault != "deprecated":
            raise BadValue(f"--extra-args: {' '.join(_said(problem, engine, plan))}", _meant(problem))


def _names(one: Given, reader: Flags) -> set[str]:
    """All the names of an argument; of a dotted one, those of the whole."""
    word = one.word.partition(".")[0].replace("_", "-")
    flag = reader.find(word)
    return {word, flag.flag, *flag.also} if flag else {word, *reader.begun(word)[:1]}


def _decided(one: Given, plan: Plan, engine: Engine, reader: Flags) -> Refused | None:
    names, own = _names(one, reader), plan.engine_args[: -len(shlex.split(plan.extra_args or ""))]
    for argument in engine.arguments:
        option = {v: k for k, v in PLANNED_AS.items()}.get(argument.field or "", argument.field)
        if argument.flag not in names or not (option in Order.__struct_fields__ or argument.flag in own):
            continue
        hint = f"say it to the plan: --{option.replace('_', '-')}" if option in Order.__struct_fields__ else _OUT
        return BadValue(f"--extra-args: {one.word} is decided by the plan", hint)
    return None


def _closed(one: Given, engine: Engine, reader: Flags) -> Refused | None:
    why = next((engine.closed[n] for n in sorted(_names(one, reader)) if n in engine.closed), None)
    return BadValue(f"--extra-args: {one.word}: {why}", _OUT) if why else None


def _said(problem: Problem, engine: Engine, plan: Plan) -> Iterator[str]:
    yield f"{engine.title} {plan.engine_version} does not take"
    yield " ".join((problem.given.word, *problem.given.values))


def _meant(problem: Problem) -> str:
    """What was probably meant, or what such a value is."""
    flag = problem.flag
    if flag and flag.choices:
        return f"{flag.flag} takes one of {', '.join(flag.choices)}"
    if problem.near:
        return f"did you mean {problem.near}?"
    if flag and problem.fault in ("type", "no-value"):
        return f"{flag.flag} takes {flag.takes or 'a value'}"
    if flag and problem.fault == "unwanted-value":
        return f"{flag.flag} stands alone"
    return _OUT
