"""docs/performance.md: a plan beside what is pasted, from the rows in tests/bench/serving/rows.

PYTHONPATH=. python tests/bench/serving/page.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from weighbridge.benchtext import number
from weighbridge.catalog import Catalog
from weighbridge.startup import phases
from weighbridge.verdict import estimate, ratio

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
PAGE = ROOT / "docs" / "performance.md"
TRIALS = HERE / "tuned-h100-trials.json"
SCENARIOS = {
    "few": ("25 requests at once, 64 tokens in, 128 out", "requests_per_second", "requests/s"),
    "load": ("1000 requests at once, 64 in, 128 out", "requests_per_second", "requests/s"),
    "documents": ("128 requests at once, 1500 in, 256 out", "requests_per_second", "requests/s"),
    "rate": ("160 requests, 8 a second, 512 in, 128 out", "e2e_p50_ms", "median E2E, ms"),
}
NAMES = {
    "a1-planned-cold": "plan",
    "c4-planned-again": "plan, later",
    "c2-planned-1024": "plan, 1024 sequences",
    "c3-planned-fp8": "plan, FP8",
    "b1-pasted-001": "pasted: eager, float16, utilization 0.95",
    "b2-pasted-002": "pasted: only a context of 2048",
    "b4-pasted-004": "pasted: utilization 0.98, context 32768",
}
LOGS = {
    "cold: nothing cached": "h100-cold",
    "warm: cache volume kept": "h100-warm",
    "warm, and the engine's startup plan": "h100-warm-startup-plan",
    "the same, forked": "h100-warm-fork",
}
TEXT = """# Performance

Made by `make performance` from `tests/bench/serving/rows/`. Measure your own: `invoke bench`, in
[benchmark.md](benchmark.md).

## Planned against pasted

A 7B model (DeepSeek-R1-Distill-Qwen-7B: real shape, dummy weights) on one H100, vLLM 0.26.0, {date}. *Plan* is the
rendered entrypoint of `invoke plan --profile h100-80g-x1 --model deepseek-r1-distill-qwen-7b`; *pasted* are command
lines of blog posts, translated to the current engine. The engine's own benchmark asks through the API on the same
machine. Calls were made one after another on one machine; the same line twice is two starts of the same arguments.

{tables}
What this says, and what it does not:

- **At 25 requests the plan answers {few} times as fast as the eager line**, online, through the API: compiled code and
  captured graphs against neither. It is not 3 times: short steps of a 7B on an H100 wait for memory either way. A
  pasted line that leaves the engine's defaults alone is as fast as the plan here.
- **FP8 is the larger step**: {fp8} times the eager line at 25 requests, where the card can and it is asked for.
- **Under load the figures of one plan move by a third between starts** ({load_first} and, later on the same machine,
  {load_later} requests/s): nothing was
  changed between them, and the host's cores, which the benchmark and the API server need, are shared. So at 1000
  requests the plan is not told apart from the pasted lines with certainty, although it led in its own call.
- The line with utilization 0.98 **died of memory while it warmed up** and served nothing. That is what a plan is for.

## Where a start goes

The same model on the same machine, seconds to `/health`; the first token came 0.03 s later. Times by
`weighbridge/startup.py`; `invoke status --startup` shows them for your own.

{startup}

Each column is one start. What is shipped, forked and without the startup plan, was measured on another H100 with
weights to read: 77.5 s cold, 40.4 with the cache kept ([warm.md](warm.md)).

More than half of a warm start is Python importing the engine, twice: once for the API server, once for the engine's
process. The cache volume saves compilation and the look at the model's class. Forking the engine's process saves the
second import, so CUDA plans set it; on four H200 (70B, TP2 x DP2) it started and served as well. The engine's startup
plan is left off: it saved two seconds, and with it the engine held fewer tokens (1,058,864) than were promised
(1,066,736).

## The same offline, and on four cards

Single runs, the engine's own tools, the same day:

| what | figure |
|---|---|
| `vllm bench throughput`, 7B on an H100, 64 in / 128 out, 25 prompts: the plan's arguments | 28.95 requests/s |
| the same with the eager line's (float16, utilization 0.95) | 12.80 requests/s: the plan is 2.26 times as fast |
| the same later on other H100s: the eager line; in one call the plan with FP8, the eager line | 15.35; 37.43, 12.17 |
| 70B on 4 x H200, 25 prompts through the API, three runs: the plan (TP2 x DP2) | 8.9, 9.0, 9.0 requests/s |
| the same with a pasted line (TP2 x PP2, context 73712) | 8.2, 8.5, 8.5 requests/s |
| 70B, 512 in / 128 out, 300 prompts, two runs: the plan; the pasted line | 25.1, 28.1; 23.7, 29.0: not told apart |
| a pasted line with utilization 1 | refused by the engine: 137.8 of 139.8 GiB are free |

So offline FP8 is 3.1 times the eager line of its own call, and 2.4 times the fastest of the eager line's three runs.
The two lines on four H200 ran with the fused all-reduce off (`fuse_allreduce_rms: false`): that host has no NVLink
multicast.

Command of the tables above, but for single runs: `{command}`. Basis: {basis}.

## What a search found

`invoke tune --goal throughput --scenario few,load --knobs weights --lossy`, Qwen2.5-7B's shape with random weights on
one H100, and the eager line as an order that is asked the same questions, all on one machine and within 15 minutes.
Requests/s, mean and least … most of three runs:

{searched}

The search wrote `quantization: fp8`: at 25 requests 1.32 times (95 %: 1.28 … 1.36) as good at the first start of each,
1.44 (1.41 … 1.48) at the second, and each start of FP8 better than each start as asked; at 1000
0.85 times at the first start, not told apart, and 1.54 at the second. The order as asked gave 122 at 1000 and, started
again, 83: starts differ there by more than the orders do.
Through the API FP8 is 2.7 times the eager line at 25 requests. It may change answers, so only `--lossy` tries it.
The search, the judge and the file (`tests/bare/tuned-h100.yaml`) are those of `invoke tune`;
its candidates were processes of a host without Docker. The eager line came with a second call, which found the others
measured. PREPARED is made by `tests/bare/prepare.py`; ENGINE is where vLLM is:

    PYTHONPATH=.:tests:ENGINE python tests/bare/tune.py PREPARED RESULTS \\
      '{{goal: throughput, profile: h100-80g-x1, model: qwen2.5-7b-instruct,
        scenario: "few,load", repeats: 3, lossy: true, knobs: weights, budget: 8}}' \\
      'pasted={{eager: true, dtype: float16, utilization: 0.95, context: 4096}}'
"""


def searched_table() -> str:
    """Every start of a search, in the order in which they were made."""
    trials = json.loads(TRIALS.read_text(encoding="utf-8"))["trials"]
    lines = ["| order | start | 25 at once | 1000 at once |", "|---|---|---|---|"]
    for trial in trials:
        told = [f"{fmean(r):.3g} ({min(r):.3g} … {max(r):.3g})" for r in trial["requests_per_second"].values()]
        lines.append(f"| {trial['order']} | {trial['start']} | {' | '.join(told)} |")
    return "\n".join(lines)


def sides(rows: list[dict[str, Any]], scenario: str, metric: str) -> Iterator[tuple[str, str, list[float] | None]]:
    for row in sorted(rows, key=lambda r: list(NAMES).index(r["id"]) if r["id"] in NAMES else 99):
        if row["id"] not in NAMES:
            continue
        if row.get("died"):
            yield row["id"], row["call"], None
        elif scenario in row.get("scenarios", {}):
            yield row["id"], row["call"], row["scenarios"][scenario][metric]


def one_table(rows: list[dict[str, Any]], scenario: str) -> str:
    title, metric, unit = SCENARIOS[scenario]
    found = list(sides(rows, scenario, metric))
    plan = next(values for name, _, values in found if name == "a1-planned-cold")
    assert plan
    lines = [
        f"**{title}** ({unit})",
        "",
        "| arguments | call | runs | mean | from … to | the plan is faster, times (95 %) |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for name, call, values in found:
        if values is None:
            lines.append(f"| {NAMES[name]} | {call} | 0 | out of memory in warm-up | | |")
            continue
        times, low, high = ratio(values, plan)
        if metric.endswith("_ms"):
            times, low, high = ratio(plan, values)
        said = "" if values is plan else f"{times:.2f}"
        if said and low is not None and high is not None:
            said += f" ({low:.2f} … {high:.2f})" + (" not told apart" if low <= 1 <= high else "")
        lines.append(
            f"| {NAMES[name]} | {call} | {len(values)} | {number(estimate(values).mean)} |"
            f" {number(min(values))} … {number(max(values))} | {said} |"
        )
    return "\n".join(lines) + "\n"


def startup_table() -> str:
    patterns = Catalog().engine("vllm").startup
    took: dict[str, dict[str, float]] = {}
    for title, name in LOGS.items():
        text = (ROOT / "tests" / "startup" / f"{name}.log").read_text(encoding="utf-8")
        stamped = [(float(m[1]), m[2]) for m in re.finditer(r"^\[ *([\d.]+)\] (.*)$", text, re.MULTILINE)]
        took[title] = {t.phase: t.seconds for t in phases(stamped, patterns)}
    lines = ["| phase | " + " | ".join(LOGS) + " |", "|---|" + "---|" * len(LOGS)]
    for phase in (p.name for p in patterns):
        cells = [f"{t[phase]:.1f}" if phase in t else "" for t in took.values()]
        if any(cells):
            lines.append(f"| {phase} | {' | '.join(cells)} |")
    lines.append("| **in all** | " + " | ".join(f"**{sum(t.values()):.1f}**" for t in took.values()) + " |")
    return "\n".join(lines)


def page() -> str:
    file = yaml.safe_load((HERE / "rows" / "h100-vllm-0.26.0.yaml").read_text(encoding="utf-8"))
    rows, about = file["rows"], file["about"]
    at = {(r["id"], r["call"]): r.get("scenarios", {}) for r in rows}
    metric = "requests_per_second"
    plan, eager = at["a1-planned-cold", "first"], at["b1-pasted-001", "first"]
    fp8, later = at["c3-planned-fp8", "third"], at["c4-planned-again", "second"]

    def span(side: dict[str, Any]) -> str:
        values = side["load"][metric]
        return f"{number(min(values))} … {number(max(values))}"

    return TEXT.format(
        tables="\n".join(one_table(rows, name) for name in SCENARIOS),
        few=f"{ratio(eager['few'][metric], plan['few'][metric])[0]:.2f}",
        fp8=f"{ratio(eager['few'][metric], fp8['few'][metric])[0]:.2f}",
        load_first=span(plan),
        load_later=span(later),
        startup=startup_table(),
        searched=searched_table(),
        **{k: about[k] for k in ("date", "command", "basis")},
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
