"""What the doctor found, as text for people and as plain data for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from weighbridge.doctor import SEVERITIES, Area, Found, Report
from weighbridge.report import table
from weighbridge.words import many

_WIDTH = 110
_INDENT = "    "


def doctor_text(report: Report, about: str) -> str:
    """Findings by area, worst first, each with what it means and what to type; then what was looked at."""
    parts = [f"judged for {about}"]
    for area in dict.fromkeys(f.area for f in report.found):
        parts += ["", area]
        for found in (f for f in report.found if f.area == area):
            parts += _lines(found)
    return "\n".join([*parts, "", closing(report)])


def _lines(found: Found) -> list[str]:
    rest = textwrap.wrap(found.means, _WIDTH - len(_INDENT), break_long_words=False, break_on_hyphens=False)
    typed = [f"{_INDENT}$ {line}" for line in found.type]
    return [f"  {found.severity:8}{found.id}: {found.says}", *(_INDENT + line for line in rest), *typed]


def closing(report: Report) -> str:
    """How many findings, of how many that were judged; and why others were not."""
    counts = [f"{many(sum(f.severity == s for f in report.found), s)}" for s in SEVERITIES[:2]]
    notes = sum(f.severity == "info" for f in report.found)
    lines = [f"{', '.join(counts)}, {many(notes, 'note')}; {many(len(report.judged), 'finding')} judged"]
    for reason in dict.fromkeys(report.not_judged.values()):
        lines.append(f"not judged: {sum(r == reason for r in report.not_judged.values())}, since {reason}")
    mendable = [f.id for f in report.found if f.fix]
    if mendable:
        lines.append(f"{len(mendable)} can be mended: invoke doctor --fix ({', '.join(mendable)})")
    return "\n".join(lines)


def doctor_json(report: Report, mended: Sequence[Any] = ()) -> dict[str, Any]:
    """The report as plain data; `ok` is what the exit code says."""
    return {"ok": not report.errors, **msgspec.to_builtins(report), "mended": msgspec.to_builtins(list(mended))}


def mended_text(mended: Sequence[Any]) -> str:
    """What was mended, and what was not."""
    rows = [(m.result, m.id, m.detail or m.command) for m in mended]
    return table(rows) if rows else "nothing to mend"


def list_text(areas: Mapping[str, Area]) -> str:
    """Every finding that there is, by area."""
    rows = [
        (finding_id, finding.severity, area.title, "yes" if finding.fix else "", " ".join(finding.means.split())[:80])
        for area in areas.values()
        for finding_id, finding in area.findings.items()
    ]
    return table(rows, ("FINDING", "SEVERITY", "AREA", "FIX", "MEANS"))
