"""What the measuring verbs share: scenarios and metrics of the catalogue, one benchmark of one appliance."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from weighbridge.bench import BenchReport, MetricFile, Point, ScenarioFile, chosen, points, read_rates
from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.order import read_count
from weighbridge.verdict import Slo
from weighbridge.words import many

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
    counts = [read_count("--concurrency", c, "3", least=1) for c in (values.get("concurrency") or "").split(",") if c]
    repeats = read_count("--repeats", values["repeats"], "3", least=1) if values.get("repeats") else None
    return points(
        {name: file.scenarios[name] for name in names},
        context=context, rates=read_rates(values.get("rates")), concurrencies=counts, repeats=repeats,
        most=most,
    )  # fmt: skip


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
            often = f"{many(point.prompts, 'request')}, {many(point.repeats, 'time')}"
            say(f"would ask {container.name}: {point.label}, {often}")
        return None
    key = effects.key_of(host, container, values["key_file"])
    given = [w for n in _ASKED if values.get(n) for w in (f"--{n}", str(values[n]))]
    bench = effects.Bench(
        container, plan, found, slo.goodput if slo else {}, key, 1 + secrets.randbelow(2**30),
        shlex.join(["invoke", "bench", *given]), words,
    )  # fmt: skip
    report = effects.measure(bench, it.catalog, it.folders.build / "bench" / f"{container.name}.log", say)
    say(f"recorded in {effects.record(report, it.folders.build)}")
    effects.put_in_console(container, report)
    return report


def files_to_write(values: Mapping[str, Any]) -> dict[str, Path | None]:
    """--output, --svg and --html, looked at before minutes of measuring. Raises BadValue, HostError."""
    from weighbridge.effects.disk import file_to_write

    return {name: file_to_write(f"--{name}", values[name]) for name in ("output", "svg", "html")}


def write_pictures(report: BenchReport, files: Mapping[str, Path | None], say: Say) -> None:
    """The result as JSON, drawn, and as a page."""
    from weighbridge.benchdraw import bench_html, bench_svg
    from weighbridge.effects.bench import write_report
    from weighbridge.effects.disk import write_file

    if output := files["output"]:
        write_report(report, output)
        say(f"wrote {output}")
    for name, draw in (("svg", bench_svg), ("html", bench_html)):
        if path := files[name]:
            write_file(path, draw(report))
            say(f"wrote {path}")
