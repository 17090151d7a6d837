"""What `invoke tune` may turn on an engine: the knobs of images/<engine>/tune.yaml, and which apply to a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.errors import BadFile, BadValue, Refused, UnknownName, Unsupported, nearest
from weighbridge.facts import Value
from weighbridge.types import Order, Plan

_NEVER = ("profile", "model", "engine", "engine_version", "visible_gib")  # what is tuned, not what may be turned


class Knob(Value, frozen=True, kw_only=True):
    """What may be turned, and to what. A value is a part of an order.

    `lossy`: answers may change, so it is turned only when that is asked for. `cards_from`: fewer cards have no choice.
    """

    values: tuple[Order, ...]
    families: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    cards_from: int = 1
    lossy: bool = False
    because: str


class KnobFile(Value, frozen=True, kw_only=True):
    """images/<engine>/tune.yaml, in the order in which the knobs are turned."""

    knobs: dict[str, Knob]
    sources: tuple[str, ...] = ()


class Turned(NamedTuple):
    """For what knobs are turned: the order as asked, the goal, and whether answers may change."""

    plan: Plan
    goal: str
    lossy: bool

    def why_not(self, knob: Knob) -> str | None:
        """Why a knob is left alone here; None when it is turned."""
        if knob.families and self.plan.family not in knob.families:
            return "not for these cards"
        if self.plan.cards < knob.cards_from:
            return f"{self.plan.cards} of at least {knob.cards_from} cards"
        if knob.goals and self.goal not in knob.goals:
            return f"moves nothing for {self.goal}"
        return "answers may change: turned only with --lossy" if knob.lossy and not self.lossy else None

    def only_lossy(self, knob: Knob) -> bool:
        """Whether --lossy, which is not given, would turn it."""
        return self.why_not(knob) is not None and self._replace(lossy=True).why_not(knob) is None


def read_knobs(catalog: Catalog, engine: str) -> KnobFile:
    """The knobs of an engine. Raises Unsupported where it has none, BadFile for one that turns what is tuned."""
    title = catalog.engine(engine).title
    try:
        path = catalog.engine_file(engine, "tune.yaml")
    except BadFile:
        raise Unsupported(f"{title} has no knobs here", f"write images/{engine}/tune.yaml") from None
    found = convert(read_yaml(path), KnobFile, path)
    for name, knob in found.knobs.items():
        if any(changes_of(value).keys() & set(_NEVER) or not changes_of(value) for value in knob.values):
            raise BadFile(f"{path}: {name} must turn a part of an order, and not {', '.join(_NEVER)}", f"edit {path}")
    return found


def changes_of(value: Order) -> dict[str, Any]:
    """The fields of a part of an order that say something."""
    plain = Order()
    names = Order.__struct_fields__
    return {n: getattr(value, n) for n in names if getattr(value, n) != getattr(plain, n)}


def chosen(file: KnobFile, given: str | None, here: Turned, line: Callable[..., str]) -> dict[str, Knob]:
    """The knobs of --knobs a,b; all without it. `line`: the command with other flags, for the hint.

    Raises UnknownName for one that the engine does not have, BadValue where nothing is left to turn.
    """
    if given is None:
        return file.knobs
    names = [n.strip() for n in given.split(",") if n.strip()]
    if not names:
        raise BadValue("--knobs names no knob", _those_here(file, here, line))
    for name in names:
        if name not in file.knobs:
            raise _no_such(name, file, here, line)
    found = {n: k for n, k in file.knobs.items() if n in names}
    why = [f"{n}: {said}" for n, k in found.items() if (said := here.why_not(k))]
    if len(why) == len(found):
        lossy = any(here.only_lossy(k) for k in found.values())
        hint = f"if answers may change: {line(lossy=True)}" if lossy else _those_here(file, here, line)
        raise BadValue(f"--knobs {given}: nothing to turn: {'; '.join(why)}", hint)
    return found


def _no_such(name: str, file: KnobFile, here: Turned, line: Callable[..., str]) -> Refused:
    near = nearest(name, [n for n, k in file.knobs.items() if here.why_not(k) is None])
    hint = _those_here(file, here, line)
    return UnknownName(f"no knob called {name!r}", f"did you mean {near}? {hint}" if near else hint)


def _those_here(file: KnobFile, here: Turned, line: Callable[..., str]) -> str:
    """The command with every knob that applies, and what --lossy would add."""
    plan = here.plan
    names = [n for n, k in file.knobs.items() if here.why_not(k) is None]
    lossy = [n for n, k in file.knobs.items() if here.only_lossy(k)]
    words = f"those of {plan.engine} on {plan.profile}: {line(knobs=','.join(names))}" if names else "leave --knobs out"
    return words + (f"; with --lossy also {', '.join(lossy)}" if lossy else "")
