"""The verbs that measure: bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weighbridge.cli import CATALOG, DRY, JSON, NAME, Flags, say, show, verb
from weighbridge.verbs import asked

ASK: Flags = {
    "scenario": (None, "scenarios, with commas; all: every one (default: those with a star in --list-scenarios)"),
    "list_scenarios": (False, "print what can be asked, and ask nothing"),
    "rates": (None, "requests a second, with commas; inf: all at once (default: the scenario's)"),
    "concurrency": (None, "most requests at a time, with commas (default: the scenario's)"),
    "repeats": (None, "runs of each point (default: the scenario's)"),
    "key_file": (None, "file with a key for the appliance (default: the appliance's own)"),
}
GIVE: Flags = {
    "result": (None, "show this recorded result instead of measuring"),
    "slo": (None, "a YAML file with goodput and limits; says which are kept"),
    "gate": (None, "the same, and exit 1 when a limit is broken"),
    "compare": (None, "set this older result beside the new one"),
    "output": (None, "also write the result as JSON to this file"),
    "svg": (None, "also draw it to this file, as SVG"),
    "html": (None, "also write it as an HTML page to this file"),
}


@verb(NAME, ASK, GIVE, CATALOG, DRY, JSON)
def bench(json: bool, dry_run: bool, **values: Any) -> int:
    """Measure a running appliance with its engine's own benchmark: throughput, latency, limits; compare two results."""
    from weighbridge.benchtext import bench_text, change_text, held_text, scenarios_text
    from weighbridge.effects import bench as effects
    from weighbridge.errors import BadValue
    from weighbridge.verbs.measure import files_to_write, measured, metric_file, scenario_file, write_pictures
    from weighbridge.verdict import compare, held

    if values["slo"] and values["gate"]:
        raise BadValue("--slo and --gate are one file", "leave --slo out: --gate says which limits are kept, too")
    it = asked(values)
    scenarios = scenario_file(it.catalog)
    if values["list_scenarios"]:
        show(scenarios, lambda: scenarios_text(scenarios), json)
        return 0
    files = files_to_write(values)
    limits = values["gate"] or values["slo"]
    slo = effects.read_slo(Path(limits), list(scenarios.scenarios)) if limits else None
    old = effects.read_report(Path(values["compare"])) if values["compare"] else None
    report = effects.read_report(Path(values["result"])) if values["result"] else measured(it, slo, dry_run, say)
    if report is None:
        return 0
    write_pictures(report, files, say)
    kept = held(slo, report.measured) if slo else []
    changes = compare(old, report, metric_file(it.catalog).metrics) if old else []
    parts = [bench_text(report), *([held_text(kept)] if slo else []), *([change_text(changes)] if old else [])]
    show({"report": report, "limits": kept, "changes": changes}, lambda: "\n\n".join(parts), json)
    broken = any(m.errors or sum(f.failed for f in m.repeats) for m in report.measured)
    return 1 if broken or (values["gate"] and not all(h.ok for h in kept)) else 0
