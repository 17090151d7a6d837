"""A benchmark, pure: scenarios clipped to a plan, the points they make, and the figures of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from weighbridge.errors import BadValue, unknown
from weighbridge.facts import Value
from weighbridge.words import many

PERCENTILES = (50, 90, 95, 99)
LATENCIES = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms")
_MARGIN_TOKENS = 8  # random words may become a few tokens more than they were
_LEAST_TOKENS = 8


class Scenario(Value, frozen=True, kw_only=True):
    """What is asked: tokens a request, how many requests, how they arrive. rate None: all at once."""

    title: str
    input_tokens: int
    output_tokens: int
    prefix_tokens: int = 0
    prompts: int
    rate: float | None = None
    concurrency: int | None = None
    repeats: int = 3
    because: str


class ScenarioFile(Value, frozen=True, kw_only=True):
    """images/_shared/bench/scenarios.yaml."""

    default: tuple[str, ...]
    scenarios: dict[str, Scenario]
    sources: tuple[str, ...] = ()


class Metric(Value, frozen=True, kw_only=True):
    """One word of the report."""

    title: str
    unit: str
    better: Literal["higher", "lower"]
    means: str
    percentiles: bool = False


class MetricFile(Value, frozen=True, kw_only=True):
    """images/_shared/bench/metrics.yaml."""

    metrics: dict[str, Metric]
    log_words: dict[str, str]


class Point(Value, frozen=True, kw_only=True):
    """A scenario at one rate (requests/s, None: all at once) and one concurrency (None: no bound)."""

    scenario: str
    input_tokens: int
    output_tokens: int
    prefix_tokens: int
    prompts: int
    rate: float | None
    concurrency: int | None
    repeats: int

    @property
    def label(self) -> str:
        parts = [self.scenario]
        if self.rate is not None:
            parts.append(f"{self.rate:g}/s")
        if self.concurrency is not None:
            parts.append(f"{self.concurrency} at a time")
        return ", ".join(parts)


class Figures(Value, frozen=True, kw_only=True):
    """One run of one point. Latencies are ms: mean, p50, p90, p95, p99."""

    seconds: float
    completed: int
    failed: int
    input_tokens: int
    output_tokens: int
    requests_per_second: float
    output_tokens_per_second: float
    total_tokens_per_second: float
    goodput_per_second: float | None = None
    ttft_ms: dict[str, float]
    tpot_ms: dict[str, float]
    itl_ms: dict[str, float]
    e2e_ms: dict[str, float]
    power_watts: float | None = None


class Measured(Value, frozen=True, kw_only=True):
    """A point and its repeats; `errors` are of the repeats that broke."""

    point: Point
    repeats: tuple[Figures, ...]
    errors: tuple[str, ...] = ()


class BenchReport(Value, frozen=True, kw_only=True):
    """What an appliance did, and what it was. `recipe` names the image."""

    name: str
    model: str
    profile: str
    engine: str
    engine_version: str
    recipe: str
    engine_args: tuple[str, ...]
    max_model_len: int
    date: str
    seed: int
    command: str
    words: tuple[str, ...]
    measured: tuple[Measured, ...]


# --- what is asked -------------------------------------------------------------------------------------


def clipped(scenario: Scenario, context: int) -> tuple[Scenario, str | None]:
    """The scenario within `context` tokens, and what to say of it. Raises BadValue for a context that holds nothing."""
    room = context - _MARGIN_TOKENS
    whole = scenario.prefix_tokens + scenario.input_tokens + scenario.output_tokens
    if whole <= room:
        return scenario, None
    if room < 2 * _LEAST_TOKENS:
        raise BadValue(f"a context of {context} tokens holds no benchmark", "plan a longer one: --context 512")
    share = room / whole
    output = max(_LEAST_TOKENS, int(scenario.output_tokens * share))
    prefix = int(scenario.prefix_tokens * share)
    given = max(_LEAST_TOKENS, room - output - prefix)
    prefix = max(0, room - output - given)
    words = (
        f"{scenario.prefix_tokens + scenario.input_tokens} + {scenario.output_tokens} tokens do not fit a context of"
        f" {context}: clipped to {prefix + given} + {output}"
    )
    return replaced(scenario, input_tokens=given, output_tokens=output, prefix_tokens=prefix), words


def replaced(scenario: Scenario, **changes: Any) -> Scenario:
    return Scenario(**{name: getattr(scenario, name) for name in scenario.__struct_fields__} | changes)


def chosen(file: ScenarioFile, names: str | None) -> list[str]:
    """The scenarios of --scenario a,b; `all` is every one. Raises UnknownName."""
    if not names:
        return list(file.default)
    if names == "all":
        return list(file.scenarios)
    found = [name.strip() for name in names.split(",")]
    for name in found:
        if name not in file.scenarios:
            raise unknown("scenario", name, [*file.scenarios, "all"], "invoke bench --list-scenarios")
    return list(dict.fromkeys(found))


def read_rates(text: str | None) -> list[float | None]:
    """--rates 1,4,inf as requests a second; inf (all at once) is None. Raises BadValue."""
    found: list[float | None] = []
    for word in text.split(",") if text else []:
        try:
            rate = float(word)
        except ValueError:
            rate = math.nan
        if math.isnan(rate) or rate <= 0:
            raise BadValue(f"--rates {text!r}: {word.strip()!r} is no rate", "for example: --rates 1,4,inf")
        found.append(None if math.isinf(rate) else rate)
    return found


def points(
    scenarios: Mapping[str, Scenario],
    *,
    context: int,
    rates: Sequence[float | None] = (),
    concurrencies: Sequence[int | None] = (),
    repeats: int | None = None,
    most: int | None = None,
) -> tuple[list[Point], list[str]]:
    """Every scenario at every rate and concurrency that was asked, else its own; and what was clipped.

    `most`: requests at a time that are let through; more of them wait at the asking side.
    """
    found, words = [], []
    for name, asked in scenarios.items():
        scenario, said = clipped(asked, context)
        words += [f"{name}: {said}"] if said else []
        wanted = [c or scenario.prompts for c in concurrencies or [scenario.concurrency]]
        if most and min(max(wanted), scenario.prompts) > most:
            words.append(f"{name}: at most {many(most, 'request')} at a time, which is what one key may have open")
        for rate in rates or [scenario.rate]:
            for count in dict.fromkeys(min(c, most or c) for c in wanted):
                found.append(_point(name, scenario, rate, count, repeats))
    return found, words


def _point(name: str, scenario: Scenario, rate: float | None, count: int, repeats: int | None) -> Point:
    """A bound on the requests at a time is none where there are not so many."""
    return Point(
        scenario=name,
        input_tokens=scenario.input_tokens,
        output_tokens=scenario.output_tokens,
        prefix_tokens=scenario.prefix_tokens,
        prompts=scenario.prompts,
        rate=rate,
        concurrency=count if count < scenario.prompts else None,
        repeats=repeats or scenario.repeats,
    )
