"""Plans and reports as text for people, JSON for programs, JUnit for CI."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

from weighbridge.calibration import About, Row
from weighbridge.types import Check, Line, Plan, RankMemory, Reconciliation, RunSpec, SmokeReport
from weighbridge.words import many

_BAR_WIDTH = 48
MARKS = {True: "ok", False: "FAIL", None: "skip"}
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # not even escaped


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Columns as wide as their widest cell, two spaces between."""
    cells = [[str(c) for c in row] for row in ([header] if header else []) + list(rows)]
    if not cells:
        return ""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def plan_text(plan: Plan) -> str:
    """The plan as a table, a memory bar for each pipeline stage, and the reasons."""
    parts = [table(plan_rows(plan)), "", *_bars(plan)]
    if plan.warnings:
        parts += ["", *(f"warning: {w}" for w in plan.warnings)]
    parts += ["", "because", *(f"  {b}" for b in plan.because)]
    parts += ["", "the engine is called with", f"  {shlex.join([*plan.command, *plan.engine_args])}"]
    return "\n".join(parts)


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    tokens = plan.kv_cache_tokens
    parallel = f"TP {plan.tensor_parallel} x PP {plan.pipeline_parallel} x DP {plan.data_parallel}"
    held = f"{tokens.low:,} tokens promised, up to {tokens.high:,} hoped, a replica" if tokens else "not promised"
    return [
        ("profile", f"{plan.profile} ({many(plan.cards, 'card')} on {many(plan.nodes, 'machine')})"),
        ("model", plan.model),
        ("engine", f"{plan.engine} {plan.engine_version}"),
        ("parallel", parallel),
        ("precision", f"{plan.precision}, KV cache {plan.kv_dtype}"),
        ("context", many(plan.max_model_len, "token")),
        ("batches", f"{many(plan.max_num_batched_tokens, 'token')}, {many(plan.max_num_seqs, 'sequence')}"),
        ("KV cache", held),
        ("shm", f"{plan.shm_gib:g} GiB"),
        ("evidence", f"{plan.evidence.level}{': ' + plan.evidence.note if plan.evidence.note else ''}"),
    ]


def _bars(plan: Plan) -> list[str]:
    """One bar a stage; ranks of a stage hold the same."""
    firsts = {r.stage: r for r in reversed(plan.memory.per_rank)}
    lines = [f"memory of a card, GiB ({'#'} weights, {'='} KV cache promised, {'-'} band, . not ours)"]
    for stage in sorted(firsts):
        rank = firsts[stage]
        name = f"stage {stage}" if len(firsts) > 1 else "card"
        lines.append(f"{name:8} [{_bar(rank)}] {_sum(rank)}")
    return lines


def _bar(rank: RankMemory) -> str:
    per_cell = rank.visible_gib / _BAR_WIDTH
    weights = min(_BAR_WIDTH, round(rank.weights_gib / per_cell))
    kv = min(_BAR_WIDTH - weights, round(rank.kv_gib_low / per_cell))
    budget = round(rank.budget_gib / per_cell)
    band = max(0, budget - weights - kv)
    return ("#" * weights + "=" * kv + "-" * band).ljust(_BAR_WIDTH, ".")[:_BAR_WIDTH]


def _sum(rank: RankMemory) -> str:
    return (
        f"weights {rank.weights_gib:.2f} + KV {rank.kv_gib_low:.2f}..{rank.kv_gib_high:.2f}"
        f" + overhead {rank.overhead_gib_low:.2f}..{rank.overhead_gib_high:.2f}"
        f" = {rank.budget_gib:.2f} of {rank.visible_gib:.2f}"
    )


def reasons_text(run: RunSpec) -> str:
    """Why the container starts as it does."""
    rows = [*run.reasons.items(), *((t.path, t.because) for t in run.tmpfs)]
    rows += [(m.target, m.because) for m in run.mounts[int("weights" in run.reasons) :]]  # first, the weights
    return "\n".join(["because", *(f"  {name}: {why}" for name, why in rows)])


def reconciliation_text(found: Reconciliation) -> str:
    """Planned, reported and the difference as a table; the last line names a broken promise."""
    rows = [(x.name, _number(x.low), _number(x.high), _number(x.reported), _difference(x)) for x in found.lines]
    if not rows:
        return "the engine reported no figures of its memory"
    text = table(rows, ("", "PLANNED", "UP TO", "REPORTED", "AGAINST PLANNED"))
    if found.missing_share:
        text += f"\nwarning: {found.missing_share:.1%} fewer tokens of KV cache than were promised"
    return text


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def _difference(line: Line) -> str:
    return f"{line.reported / line.low - 1:+.1%}" if line.low else "-"


def calibration_text(rows: Sequence[tuple[About, Row]]) -> str:
    """Runs of one's own as a table, and whether a promise was broken."""
    if not rows:
        return "no runs of your own are kept; keep one: invoke calibrate --add --name NAME"
    cells = [
        (
            row.id, about.card or "-", f"{about.engine} {row.engine_version or about.engine_version}",
            f"{row.promised:,}" if row.promised else "-",
            f"{row.reported['kv_tokens']:,.0f}" if "kv_tokens" in row.reported else "-",
            f"short by {row.missing_share:.1%}" if row.missing_share else "kept" if row.promised else "-",
        )
        for about, row in rows
    ]  # fmt: skip
    broken = sum(row.missing_share > 0 for _, row in rows)
    last = (
        f"warning: {broken} of {many(len(rows), 'promise')} {'was' if broken == 1 else 'were'} broken"
        if broken
        else "no promise was broken"
    )
    return table(cells, ("RUN", "CARD", "ENGINE", "PROMISED", "REPORTED", "")) + f"\n\n{last}"


def started_text(started: Any) -> str:
    """Where it answers, what its engine says of its memory, and what to type next."""
    words = "answers already" if started.ready_seconds is None else f"answers after {started.ready_seconds:.0f} s"
    lines = [f"{started.name} {words}: {started.url}"]
    if started.memory is not None:
        lines += ["", reconciliation_text(started.memory), ""]
    return "\n".join([*lines, f"prove it: invoke smoke --name {started.name}"])


def counted(report: SmokeReport) -> str:
    """How many checks passed of those that apply, and in what time."""
    marks = [c.ok for c in report.checks]
    skipped = f", {marks.count(None)} skipped," if None in marks else ""
    rounds = f" and {report.rounds} rounds" if report.rounds > 1 else ""
    passed = f"{marks.count(True)} of {many(len(marks) - marks.count(None), 'check')} passed"
    return f"{passed}{skipped} in {report.seconds:.1f} s{rounds}"


def check_line(check: Check, width: int) -> str:
    """One check as a row; `width` is that of the longest name."""
    return f"{MARKS[check.ok]:4}  {check.id:{width}}  {check.seconds:.2f} s  {check.detail}"


def smoke_text(report: SmokeReport, *, checks: bool = True) -> str:
    """The checks as a table, when they were not shown one by one, and one closing line."""
    width = max((len(c.id) for c in report.checks), default=0)
    shown = [check_line(c, width) for c in report.checks] if checks else []
    lines = [*shown, f"{counted(report)}: {report.url}"]
    if report.memory is not None:
        lines += ["", reconciliation_text(report.memory)]
    return "\n".join([*lines, "", "ask it yourself:", curl_line(report)] if report.ok else lines)


def _memory_check(memory: Reconciliation | None, tolerated: float | None) -> list[Check]:
    """The promise as one more case of a JUnit report, where the engine reported figures."""
    if memory is None or not memory.lines:
        return []
    ok = tolerated is None or memory.missing_share <= tolerated
    return [Check(id="memory", ok=ok, seconds=0.0, detail=short_words(memory))]


def curl_line(report: SmokeReport) -> str:
    """A first question as a line to paste."""
    question = {"model": report.model, "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    body = shlex.quote(json.dumps(question, ensure_ascii=False))
    trust = f" --cacert {shlex.quote(report.cert)}" if report.cert else ""
    words = f"{trust} {report.url}/v1/chat/completions -H 'Content-Type: application/json' -d {body}"
    if report.key_file is None:
        return f"curl -s{words}"
    # printf is the shell's own, so the key stands in no process's arguments
    header = "'header = \"Authorization: Bearer %s\"'"
    return f'printf {header} "$(cat {shlex.quote(report.key_file)})" | curl -s -K -{words}'


def short_words(memory: Reconciliation | None) -> str:
    """Promised and reported tokens of KV cache in a cell of a table; a dash where no figures are at hand."""
    line = next((x for x in memory.lines if x.name == "KV cache tokens"), None) if memory else None
    if line is None or memory is None:
        return "-"
    kept = f"short by {memory.missing_share:.1%}" if memory.missing_share else "kept"
    return f"{line.low:,.0f} promised, {line.reported:,.0f} reported: {kept}"


def status_text(rows: Sequence[Sequence[object]]) -> str:
    """The appliances of a host: a table of where they answer, and below it what each was proven to do."""
    if not rows:
        return "no appliance is here; start one: invoke run"
    told = ("KV cache tokens", "last benchmark of this image", "last smoke test of this image")
    lines = [table([row[:6] for row in rows], ("NAME", "STATE", "MODEL", "PROFILE", "URL", "SINCE"))]
    for row in rows:
        lines += ["", str(row[0]), table([(f"  {name}", words) for name, words in zip(told, row[6:], strict=True)])]
    return "\n".join(lines)


def smoke_junit(report: SmokeReport, *, tolerated: float | None = None) -> str:
    """The checks as JUnit XML; the memory as properties, and a failure above the `tolerated` missing share."""
    checks = [*report.checks, *_memory_check(report.memory, tolerated)]
    marks = [c.ok for c in checks]
    counts = {
        "tests": str(len(checks)), "failures": str(marks.count(False)), "skipped": str(marks.count(None)),
        "time": f"{report.seconds:.3f}",
    }  # fmt: skip
    suite = ElementTree.Element("testsuite", {"name": "weighbridge-smoke", **counts})
    if report.memory is not None:
        properties = ElementTree.SubElement(suite, "properties")
        for line in report.memory.lines:
            for side in ("low", "high", "reported"):
                pair = {"name": f"{line.name}: {side}", "value": f"{getattr(line, side):g}"}
                ElementTree.SubElement(properties, "property", pair)
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", {"name": check.id, "time": f"{check.seconds:.3f}"})
        if not check.ok:
            kind = "skipped" if check.ok is None else "failure"
            ElementTree.SubElement(case, kind, {"message": _NOT_XML.sub("?", check.detail)})
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"
