"""What the measuring verbs share: scenarios and metrics of the catalogue, one benchmark of one appliance."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from weighbridge.bench import BenchReport, MetricFile, Point, ScenarioFile, chosen, points, read_rates
from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.errors import BadValue
from weighbridge.order import read_count
from weighbridge.verdict import Slo

Say = Callable[[str], None]
_ASKED = ("scenario", "rates", "concurrency", "repeats", "slo", "gate")


def scenario_file(catalog: Catalog) -> ScenarioFile:
    path = catalog.data_file("images", "_shared/bench/scenarios.yaml")
    return convert(read_yaml(path), ScenarioFile, path)


def metric_file(catalog: Catalog) -> MetricFile:
    path = catalog.data_file("images", "_shared/bench/metrics.yaml")
    return convert(read_yaml(path), MetricFile, path)


def asked_points(catalog: Catalog, values: Mapping[str, Any], context: int, most: int) -> tuple[list[Point], list[str]]:
    """The points of --scenario, --rates, --concurrency and --repeats within a context, `most` requests at a time."""
    file = scenario_file(catalog)
    names = chosen(file, values.get("scenario"))
    counts = [_some("--concurrency", c) for c in (values.get("concurrency") or "").split(",") if c]
    repeats = _some("--repeats", values["repeats"]) if values.get("repeats") else None
    return points(
        {name: file.scenarios[name] for name in names},
        context=context, rates=read_rates(values.get("rates")), concurrencies=counts, repeats=repeats,
        most=most,
    )  # fmt: skip


def _some(flag: str, text: str) -> int:
    count = read_count(flag, text)
    if not count:
        raise BadValue(f"{flag} 0 measures nothing", f"for example: {flag} 3")
    return count


def measured(it: Any, slo: Slo | None, dry_run: bool, say: Say) -> BenchReport | None:
    """The benchmark of the named appliance, recorded under its image; None for a dry run."""
    from weighbridge.effects import bench as effects
    from weighbridge.effects.docker import Host

    values = it.flags
    host = Host()
    container = host.container(values["name"])
    effects.must_run(container)
    plan = host.plan_of(container)
    found, words = asked_points(it.catalog, values, plan.max_model_len, effects.streams_of(container))
    for line in words:
        say(f"note: {line}")
    if dry_run:
        for point in found:
            say(f"would ask {container.name}: {point.label}, {point.prompts} requests, {point.repeats} times")
        return None
    key = effects.key_of(host, container, values["key_file"])
    given = [w for n in _ASKED if values.get(n) for w in (f"--{n}", str(values[n]))]
    bench = effects.Bench(
        container, plan, found, slo.goodput if slo else {}, key, 1 + secrets.randbelow(2**30),
        shlex.join(["invoke", "bench", *given]), words,
    )  # fmt: skip
    report = effects.measure(bench, host, it.catalog, it.folders.build / f"{container.name}-bench.log", say)
    say(f"recorded in {effects.record(report, it.folders.build)}")
    effects.put_in_console(container, report)
    return report


def write_pictures(report: BenchReport, values: Mapping[str, Any]) -> None:
    """--output, --svg and --html."""
    from weighbridge.benchdraw import bench_html, bench_svg
    from weighbridge.effects.bench import write_report
    from weighbridge.effects.disk import write_file

    if values["output"]:
        write_report(report, Path(values["output"]))
    for name, draw in (("svg", bench_svg), ("html", bench_html)):
        if values[name]:
            write_file(Path(values[name]), draw(report))
