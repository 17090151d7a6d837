"""An order in a file, as --order reads it, and the evidence that invoke tune writes beside the order it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from weighbridge.facts import Value
from weighbridge.types import Order
from weighbridge.verdict import Estimate

_HEAD = """\
# An order that invoke tune found by measuring. Take it: invoke run --order FILE; an option that is typed wins.
# What it rests on stands below it.
"""


class Tried(Value, frozen=True, kw_only=True):
    """One candidate: what it changes in the order that was tuned, what came of it, and the figures by point.

    Without changes it is the order as asked; or, skipped, a whole knob.
    """

    knob: str | None = None
    changes: dict[str, Any]
    verdict: str
    because: str
    engine_args: tuple[str, ...] = ()
    ready_seconds: float | None = None
    date: str | None = None
    figures: dict[str, Estimate] = msgspec.field(default_factory=dict)

    @property
    def label(self) -> str:
        return words_of(self.changes) or self.knob or "as asked"


def words_of(changes: Mapping[str, Any]) -> str:
    """The changes in words, as the flags are called."""
    return ", ".join(f"{n.replace('_', '-')} {_word(v)}" for n, v in changes.items())


def _word(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


class TuneEvidence(Value, frozen=True, kw_only=True):
    """Where the order comes from. `confirmed`: a second start of it and of the order it replaces said the same."""

    command: str
    date: str
    goal: str
    metric: str
    engine: str
    scenarios: tuple[str, ...]
    complete: bool
    confirmed: bool | None = None
    gain: str | None = None
    tuned: Order
    tried: tuple[Tried, ...]


class OrderFile(Value, frozen=True, kw_only=True):
    """What --order reads. `model_config`: the shape of a model that is not in the catalogue."""

    order: Order = Order()
    model_config: str | None = None
    evidence: TuneEvidence | None = None


def order_yaml(file: OrderFile) -> str:
    """The file as YAML, what is not said left out."""
    text = yaml.safe_dump(_said(msgspec.to_builtins(file)), sort_keys=False, allow_unicode=True, width=110)
    return f"{_HEAD}{text}"


def _said(value: Any) -> Any:
    """Without what is None; the rest as lists and mappings."""
    if isinstance(value, Mapping):
        return {k: _said(v) for k, v in value.items() if v is not None}
    return [_said(v) for v in value] if isinstance(value, list | tuple) else value


def strayed(file: OrderFile | None, order: Order, engine: str) -> str | None:
    """What to say of an order whose evidence is of another machine, model or engine; `engine`: the one here."""
    if file is None or file.evidence is None:
        return None
    tuned = file.evidence.tuned
    rows = (
        ("profile", tuned.profile, order.profile), ("model", tuned.model, order.model),
        ("engine", file.evidence.engine, engine),
    )  # fmt: skip
    other = ", ".join(f"{name} {then}" for name, then, now in rows if then != now)
    return f"the order file was measured with {other}: here it is a guess" if other else None
