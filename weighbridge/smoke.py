"""The smoke contract as values: images/_shared/smoke.yaml and what images/<engine>/smoke.yaml changes in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.errors import BadFile, none_of
from weighbridge.facts import Value

LEVELS = ("quick", "full")
Level = Literal["quick", "full"]
Need = Literal["tokens", "gateway", "reasoning", "tools", "metrics", "context", "sequences"]
# Why a question is not asked, where what it needs is not there.
WITHOUT: Mapping[Need, str] = {
    "gateway": "no gateway of ours is known to stand there",
    "reasoning": "no reasoning parser was planned",
    "tools": "no tool parser was planned",
    "metrics": "no metrics: no key for them, or no names in smoke.yaml",
    "context": "no longest request is known",
    "sequences": "the most requests at a time are not known",
}


class Question(Value, frozen=True, kw_only=True):
    """One check. `ask` names the way of asking, by default the check's own id; the rest are its parameters."""

    level: Level = "full"
    ask: str | None = None
    needs: tuple[Need, ...] = ()
    skip: str | None = None
    method: Literal["GET", "POST"] = "POST"
    path: str = ""
    body: dict[str, Any] = msgspec.field(default_factory=dict)
    text: str | None = None
    oversize: bool = False
    key: Literal["right", "none", "wrong"] = "right"
    status: int = 200
    code: str | None = None
    requests: int = 1
    tries: int = 1
    tokens: int = 0
    seconds: float = 0


class Metrics(Value, frozen=True, kw_only=True):
    """Names in the engine's Prometheus text; an engine without one leaves it out."""

    running: str | None = None
    prefix_hits: str | None = None


class Closed(Value, frozen=True, kw_only=True):
    """A path of the engine that the gateway must not let through."""

    method: Literal["GET", "POST"]
    path: str


class Contract(Value, frozen=True, kw_only=True):
    """All that a running appliance is asked. `endless` is added to a body that must be answered to its last token."""

    answer_seconds: float
    checks: dict[str, Question]
    endless: dict[str, Any] = msgspec.field(default_factory=dict)
    metrics: Metrics = Metrics()
    closed: tuple[Closed, ...] = ()

    def asked(self, level: str) -> dict[str, Question]:
        """The questions of a level, in order."""
        return {name: q for name, q in self.checks.items() if level == LEVELS[-1] or q.level == level}


def read_level(text: str) -> str:
    """Raises UnknownName with the near miss."""
    if text not in LEVELS:
        raise none_of("level", text, LEVELS)
    return text


def read_contract(catalog: Catalog, engine: str) -> Contract:
    """The contract of an engine. Raises BadFile."""
    path = catalog.data_file("images", "_shared/smoke.yaml")
    found = read_yaml(path)
    convert(found, Contract, path)
    try:
        own_path = catalog.engine_file(engine, "smoke.yaml")
    except BadFile:  # an engine with nothing of its own is asked what all are asked
        return convert(found, Contract, path)
    own = read_yaml(own_path)
    rows = {name: {**found["checks"].get(name, {}), **row} for name, row in (own.get("checks") or {}).items()}
    return convert({**found, **own, "checks": {**found["checks"], **rows}}, Contract, own_path)
