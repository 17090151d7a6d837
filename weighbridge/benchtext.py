"""A benchmark as text for people: figures with their intervals, limits kept or broken, changes, the glossary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from weighbridge.bench import BenchReport, Measured, MetricFile, ScenarioFile
from weighbridge.report import table
from weighbridge.verdict import Change, Estimate, Held, estimate, values
from weighbridge.words import are, many

_COLUMNS = (
    ("REQUESTS/S", "requests_per_second"), ("OUTPUT TOKENS/S", "output_tokens_per_second"),
    ("GOODPUT/S", "goodput_per_second"), ("POWER W", "power_watts"),
)  # fmt: skip
_LATENCIES = (("TTFT", "ttft_ms"), ("TPOT", "tpot_ms"), ("ITL", "itl_ms"), ("E2E", "e2e_ms"))


def number(value: float) -> str:
    """Three figures that matter, and never an exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(found: Estimate) -> str:
    """`28.8 ±0.3`; a single value says that it is one."""
    if found.low is None or found.high is None:
        return f"{number(found.mean)} (once)"
    return f"{number(found.mean)} ±{number((found.high - found.low) / 2)}"


def bench_text(report: BenchReport) -> str:
    """Throughput and latency of every point; ± is half a 95 % interval over the repeats."""
    lines = [f"{report.model} on {report.profile}, {report.engine} {report.engine_version}, {report.date}"]
    lines += [f"note: {words}" for words in report.words]
    some = [m for m in report.measured if m.repeats]
    shown = [(title, metric) for title, metric in _COLUMNS if any(values(m, metric) for m in some)]
    rows = [
        [m.point.label, len(m.repeats), *(_cell(m, metric) for _, metric in shown), _failed(m)] for m in report.measured
    ]
    lines += ["", table(rows, ("SCENARIO", "RUNS", *(title for title, _ in shown), "FAILED"))]
    rows = [[m.point.label, *(_percentiles(m, name) for _, name in _LATENCIES)] for m in some]
    lines += ["", "milliseconds: median / 95th / 99th percentile, means over the runs"]
    lines += [table(rows, ("SCENARIO", *(title for title, _ in _LATENCIES)))]
    lines += [f"broken: {m.point.label}: {error}" for m in report.measured for error in m.errors]
    return "\n".join(lines)


def _cell(measured: Measured, metric: str) -> str:
    found = values(measured, metric)
    return spread(estimate(found)) if found else "-"


def _failed(measured: Measured) -> int:
    return sum(f.failed for f in measured.repeats) + len(measured.errors) * measured.point.prompts


def _percentiles(measured: Measured, name: str) -> str:
    return " / ".join(number(estimate(values(measured, f"{name}.{p}")).mean) for p in ("p50", "p95", "p99"))


def held_text(found: Sequence[Held]) -> str:
    """Every limit, kept or broken; the last line counts."""
    rows = [
        ("kept" if h.ok else "BROKEN", h.where, h.limit, "not measured" if h.measured is None else number(h.measured))
        for h in found
    ]
    broken = sum(not h.ok for h in found)
    last = (
        f"{broken} of {many(len(found), 'limit')} {are(broken)} broken"
        if broken
        else f"{many(len(found), 'limit')}, all kept"
    )
    return f"{table(rows, ('', 'SCENARIO', 'LIMIT', 'MEASURED'))}\n{last}"


def change_text(found: Iterable[Change]) -> str:
    """Old, new, and the ratio with its interval; where that holds 1, no difference can be told."""
    rows = []
    for c in found:
        if c.low is None or c.high is None:
            said = f"{c.ratio:.3f}"
            verdict = "no difference can be told: one run has no interval"
        else:
            said = f"{c.ratio:.3f} ({c.low:.3f} to {c.high:.3f})"
            verdict = {None: "no difference can be told", True: "better", False: "WORSE"}[c.better]
        rows.append((c.where, c.metric, spread(c.old), spread(c.new), said, verdict))
    return (
        table(rows, ("SCENARIO", "METRIC", "OLD", "NEW", "NEW / OLD (95 %)", ""))
        + "\nthe intervals know the repeats of one start; two starts of one plan differ by more, above all under load"
    )


def brief(report: BenchReport) -> dict[str, Any]:
    """A few figures for the console: of each point the throughput with its interval, and two medians."""
    points = [
        {
            "label": m.point.label, "runs": len(m.repeats),
            "output_tokens_per_second": msgspec.to_builtins(estimate(values(m, "output_tokens_per_second"))),
            "ttft_ms": estimate(values(m, "ttft_ms.p50")).mean, "tpot_ms": estimate(values(m, "tpot_ms.p50")).mean,
        }
        for m in report.measured
        if m.repeats
    ]  # fmt: skip
    return {"date": report.date, "points": points}


def short_bench(report: BenchReport | None) -> str:
    """The last benchmark of an image in a cell of a table."""
    some = [m for m in report.measured if m.repeats] if report else []
    if report is None or not some:
        return "-"
    rate = spread(estimate(values(some[0], "output_tokens_per_second")))
    more = f", {len(some) - 1} more" if len(some) > 1 else ""
    return f"{some[0].point.label}: {rate} output tokens/s{more} ({report.date[:10]})"


def scenarios_text(file: ScenarioFile) -> str:
    """What can be asked."""
    rows = [
        (
            f"{name}{' *' if name in file.default else ''}", s.prompts, s.prefix_tokens + s.input_tokens,
            s.output_tokens, f"{s.rate:g}/s" if s.rate else "at once", s.concurrency or "-", s.repeats, s.title,
        )
        for name, s in file.scenarios.items()
    ]  # fmt: skip
    header = ("SCENARIO", "PROMPTS", "INPUT", "OUTPUT", "ARRIVE", "AT A TIME", "RUNS", "")
    return f"{table(rows, header)}\n* when nothing is named"


def glossary(file: MetricFile) -> str:
    """The words of the report, and those of the engine's log, as Markdown tables."""
    lines = ["| word | name in JSON | unit | better | meaning |", "|---|---|---|---|---|"]
    for name, m in file.metrics.items():
        json = f"`{name}`" + (": `mean`, `p50`, `p90`, `p95`, `p99`" if m.percentiles else "")
        lines.append(f"| {m.title} | {json} | {m.unit} | {m.better} | {m.means} |")
    lines += ["", "Words of the engine's log that are often read wrong:", "", "| word | meaning |", "|---|---|"]
    lines += [f"| {word} | {means} |" for word, means in file.log_words.items()]
    return "\n".join(lines) + "\n"
