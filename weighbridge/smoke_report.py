"""A smoke report as a page, and two of them side by side: what broke, what was mended, what became slower."""

from __future__ import annotations

from html import escape
from typing import Literal

import msgspec

from weighbridge.errors import BadFile
from weighbridge.facts import Value
from weighbridge.report import MARKS, counted, reconciliation_text, table
from weighbridge.types import Check, SmokeReport

# A check that takes this many times as long, and this much longer, is called slower: less is the machine's mood.
_SLOWER_TIMES, _SLOWER_SECONDS = 1.5, 0.25
_WORDS = {True: "passed", False: "failed", None: "skipped"}
_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --good: #2b8a3e; --bad: #c92a2a; --bar: #3b5bdb }}
@media (prefers-color-scheme: dark) {{ :root {{ --good: #51cf66; --bad: #ff8787; --bar: #748ffc }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top }}
th {{ font-weight: 500; opacity: .75 }}
td {{ overflow-wrap: anywhere }}
.checks {{ width: 100% }}
.checks td:first-child, .checks td:nth-child(2), .checks td:nth-child(3) {{ white-space: nowrap }}
.passed {{ color: var(--good) }} .failed {{ color: var(--bad); font-weight: 600 }} .skipped {{ opacity: .75 }}
svg {{ width: 8rem; height: .75rem; vertical-align: middle }} rect {{ fill: var(--bar) }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .75rem; border: 1px solid #8886 }}
</style>
<h1>{title}</h1>
<p class="{kind}">{words}</p>
<table>
{about}
</table>
<table class="checks">
<tr><th>result<th>check<th>seconds<th>what was seen
{rows}
</table>
{memory}
</html>
"""


class Change(Value, frozen=True, kw_only=True):
    """One check in two reports; `kind` is what happened between them."""

    id: str
    kind: Literal["broke", "mended", "slower", "faster", "same", "new", "gone"]
    before: str
    after: str
    seconds_before: float | None
    seconds_after: float | None
    detail: str


class Comparison(Value, frozen=True, kw_only=True):
    """Two reports of the same contract. Broken: what passed before and fails now, or is asked no more."""

    before: dict[str, str]
    after: dict[str, str]
    changes: tuple[Change, ...]

    @property
    def ok(self) -> bool:
        return not any(c.kind == "broke" for c in self.changes)


def read_report(text: str, name: str) -> SmokeReport:
    """The report that --json wrote. Raises BadFile for anything else."""
    try:
        return msgspec.json.decode(text.encode(), type=SmokeReport)
    except msgspec.MsgspecError as e:
        raise BadFile(f"{name}: no smoke report: {e}", "make one: invoke smoke --json > FILE") from None


def compare_reports(before: SmokeReport, after: SmokeReport) -> Comparison:
    old, new = ({c.id: c for c in report.checks} for report in (before, after))
    names = [*old, *(name for name in new if name not in old)]
    changes = tuple(_change(name, old.get(name), new.get(name)) for name in names)
    return Comparison(before=_about(before), after=_about(after), changes=changes)


def _about(report: SmokeReport) -> dict[str, str]:
    return {"model": report.model, **report.about, "url": report.url, "level": report.level}


def _change(name: str, old: Check | None, new: Check | None) -> Change:
    return Change(
        id=name, kind=_kind(old, new), before=_WORDS[old.ok] if old else "-", after=_WORDS[new.ok] if new else "-",
        seconds_before=old.seconds if old else None, seconds_after=new.seconds if new else None,
        detail=new.detail if new else "not asked",
    )  # fmt: skip


def _kind(
    old: Check | None, new: Check | None
) -> Literal["broke", "mended", "slower", "faster", "same", "new", "gone"]:
    if new is None:
        return "gone"
    if old is None:
        return "broke" if new.ok is False else "new"
    if old.ok is not new.ok:
        return "broke" if new.ok is False or old.ok else "mended"
    if _longer(old.seconds, new.seconds):
        return "slower"
    return "faster" if _longer(new.seconds, old.seconds) else "same"


def _longer(one: float, other: float) -> bool:
    return other > one * _SLOWER_TIMES and other - one > _SLOWER_SECONDS


def compare_text(found: Comparison) -> str:
    """What differs between the two, a table of all checks, and one closing line."""
    names = [n for n in {**found.before, **found.after} if found.before.get(n) != found.after.get(n)]
    rows = [(n, found.before.get(n, "-"), found.after.get(n, "-")) for n in names]
    checks = [
        (c.kind, c.id, c.before, _seconds(c.seconds_before), c.after, _seconds(c.seconds_after),
         c.detail if c.kind == "broke" else "")
        for c in found.changes
    ]  # fmt: skip
    parts = [table(rows, ("", "BEFORE", "AFTER")), ""] if rows else []
    parts.append(table(checks, ("", "CHECK", "BEFORE", "", "AFTER", "", "")))
    counts = {kind: sum(c.kind == kind for c in found.changes) for kind in ("broke", "mended", "slower", "faster")}
    said = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
    return "\n".join([*parts, said or "nothing changed"])


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def smoke_html(report: SmokeReport) -> str:
    """One page that needs nothing else: what was asked, what was seen, how long each took."""
    title = f"smoke test of {report.model}"
    about = {**_about(report), "rounds": str(report.rounds)}
    longest = max((c.seconds for c in report.checks), default=0) or 1
    memory = f"<h2>Memory</h2>\n<pre>{escape(reconciliation_text(report.memory))}</pre>" if report.memory else ""
    return _PAGE.format(
        title=escape(title),
        kind="passed" if report.ok else "failed",
        words=escape(counted(report)),
        about="\n".join(f"<tr><th>{escape(k)}<td>{escape(v)}" for k, v in about.items()),
        rows="\n".join(_row(c, longest) for c in report.checks),
        memory=memory,
    )


def _row(check: Check, longest: float) -> str:
    wide = 100 * check.seconds / longest
    frame = '<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
    bar = f'{frame}<rect width="{wide:.1f}" height="10"/></svg>'
    word = _WORDS[check.ok]
    return (
        f'<tr><td class="{word}">{MARKS[check.ok]}<td>{escape(check.id)}'
        f"<td>{check.seconds:.2f} {bar}<td>{escape(check.detail)}"
    )
