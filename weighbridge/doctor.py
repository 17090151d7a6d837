"""The doctor's questions and findings, which are data in profiles/_doctor/, and the judgement of a machine's answers.

A question asks one thing of a machine: a command, a file, an address. Its answer is read by one of a few readers into
a value with the question's name. A finding holds an expression over these values; where it is true, the machine has
that finding. What was not answered is not judged, and said so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jinja2
import jinja2.meta
import jinja2.sandbox
import msgspec

from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.doctor_read import READERS, version, within
from weighbridge.engines import Engine
from weighbridge.errors import BadFile, nearest, unknown
from weighbridge.facts import Profile, Value
from weighbridge.render import shell

SEVERITIES = ("error", "warning", "info")
_WHY = {"missing": "is not here", "failed": "failed", "slow": "did not answer in time"}
# Names that stand beside the answers: the wanted machine, how each question went, what it said, its value if it has
# one, and what Python itself looks at.
GIVEN = ("profile", "status", "said", "maybe", "port", "store", "docker_root", "proxies")


class Question(Value, frozen=True, kw_only=True):
    """One thing asked of a machine: a command or an address. Needs no root, changes nothing, takes `seconds` at most.

    `of` names another question whose text this one reads in its own way.
    """

    command: tuple[str, ...] = ()
    url: str | None = None
    of: str | None = None
    seconds: float = 15
    reads: Literal["text", "csv", "rows", "pairs", "matrix", "json"] = "text"
    pattern: str = ""


class Fix(Value, frozen=True, kw_only=True):
    """A command that mends a finding, is safe to repeat and loses nothing."""

    command: str
    root: bool = False


class Finding(Value, frozen=True, kw_only=True):
    """What may be wrong. `when` is an expression over the answers; with `each`, over every `row` of that list.

    `says`, `type` and `fix` are templates; they see `rows`, those for which `when` was true, and `row`, the first.
    """

    severity: Literal["error", "warning", "info"]
    each: str | None = None
    when: str
    says: str
    means: str
    type: tuple[str, ...]
    fix: Fix | None = None
    sources: tuple[str, ...] = ()


class Area(Value, frozen=True, kw_only=True):
    """A file in profiles/_doctor/. `families`: the cards it is about; none means every machine.

    `shows` is an expression for lines as the family's probe prints them, for answers that came from elsewhere.
    """

    title: str
    families: tuple[str, ...] = ()
    order: int = 9
    shows: str | None = None
    questions: dict[str, Question] = msgspec.field(default_factory=dict)
    tables: dict[str, Any] = msgspec.field(default_factory=dict)
    findings: dict[str, Finding] = msgspec.field(default_factory=dict)
    sources: tuple[str, ...] = ()


class Answer(Value, frozen=True, kw_only=True):
    """What came back: `missing` no such tool or file, `failed` it said no, `slow` it was not waited for."""

    status: Literal["ok", "missing", "failed", "slow"]
    text: str = ""


_NONE = Answer(status="missing")


class Found(Value, frozen=True, kw_only=True):
    """One finding of this machine, in words."""

    id: str
    area: str
    severity: Literal["error", "warning", "info"]
    says: str
    means: str
    type: tuple[str, ...]
    fix: Fix | None = None


class Report(Value, frozen=True, kw_only=True):
    """Findings, worst first; what was judged, and why the rest was not."""

    profile: str | None
    found: tuple[Found, ...]
    judged: tuple[str, ...]
    not_judged: dict[str, str]

    @property
    def errors(self) -> int:
        return sum(f.severity == "error" for f in self.found)


def areas(catalog: Catalog) -> dict[str, Area]:
    """profiles/_doctor/*.yaml of all the catalogue's folders, in their order. Raises BadFile."""
    paths = {p.stem: p for f in catalog.folders for p in sorted((f / "profiles" / "_doctor").glob("*.yaml"))}
    found = {name: convert(read_yaml(path), Area, path) for name, path in paths.items()}
    questions = {q for area in found.values() for q in area.questions}
    for name, area in found.items():
        known = {*questions, *area.tables, *GIVEN}
        for finding_id, finding in area.findings.items():
            _check(paths[name], finding_id, finding, known)
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


def _check(path: Path, finding_id: str, finding: Finding, known: set[str]) -> None:
    """Raises BadFile for an expression that cannot be read or names what nobody asks."""
    fix = finding.fix.command if finding.fix else ""
    for text in (finding.when, finding.each or "none"):
        _named(path, finding_id, "{{ " + text + " }}", {*known, "row", "none"})
    for text in (finding.says, finding.means, fix, *finding.type):
        _named(path, finding_id, text, {*known, "row", "rows"})


def _named(path: Path, finding_id: str, template: str, known: set[str]) -> None:
    try:
        names = _names(template)
    except jinja2.TemplateSyntaxError as e:
        raise BadFile(f"{path}: {finding_id}: {e.message}", f"edit {path}") from None
    for name in sorted(names - known):
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else f"ask it under questions: in {path}"
        raise BadFile(f"{path}: {finding_id}: nobody asks {name!r}", hint)


def about(all_areas: Mapping[str, Area], profile: Profile | None, only: Iterable[str] = ()) -> dict[str, Area]:
    """The areas that bear on a profile; with `only`, those findings alone. Raises UnknownName."""
    wanted = list(only)
    ids = [i for area in all_areas.values() for i in area.findings]
    for name in wanted:
        if name not in ids:
            raise unknown("finding", name, ids, "invoke doctor --list")
    asked_for = [f for area in all_areas.values() for i, f in area.findings.items() if i in wanted]
    found = {}
    for name, area in all_areas.items():
        if area.families and profile and profile.card.family not in area.families and not wanted:
            continue
        findings = {i: f for i, f in area.findings.items() if not wanted or i in wanted}
        questions = _needed(area, asked_for) if wanted else area.questions
        found[name] = msgspec.structs.replace(area, findings=findings, questions=questions)
    return found


def _needed(area: Area, findings: Iterable[Finding]) -> dict[str, Question]:
    """The questions that these findings speak of."""
    words = {w for f in findings for w in re.findall(r"\w+", " ".join((f.when, f.each or "", f.says, *f.type)))}
    words |= {q.of for n, q in area.questions.items() if n in words and q.of}
    return {n: q for n, q in area.questions.items() if n in words}


def about_profile(profile: Profile | None, engine: Engine | None = None) -> dict[str, Any] | None:
    """A profile as expressions see it. `image_major`: the runtime's major version in the image that serves here."""
    if profile is None:
        return None
    bases = engine.families[profile.card.family] if engine else None
    base = bases.bases[bases.version] if bases else None
    return {
        "id": profile.id, "family": profile.card.family, "count": profile.count, "nodes": profile.nodes,
        "image": base.image if base else "", **msgspec.to_builtins(profile.card),
    }  # fmt: skip


def judge(
    found_areas: Mapping[str, Area], answers: Mapping[str, Answer], given: Mapping[str, Any] | None = None
) -> Report:
    """What the answers mean. `given` are the values of GIVEN that are known."""
    questions = {n: q for area in found_areas.values() for n, q in area.questions.items()}
    heard = {n: answers.get(q.of or n) or _NONE for n, q in questions.items()}
    values, why_not = _values(questions, heard)
    values |= {"profile": None, **{k: v for k, v in (given or {}).items() if v is not None}}
    values["status"] = {n: a.status for n, a in heard.items()}
    values["maybe"] = {n: values.get(n) for n in questions}
    values["said"] = {n: a.text for n, a in heard.items()}
    found, judged, not_judged = [], [], {}
    for area in found_areas.values():
        for finding_id, finding in area.findings.items():
            facts = {**values, **area.tables}
            reason, rows = _rows(finding, facts, why_not)
            if reason:
                not_judged[finding_id] = reason
                continue
            judged.append(finding_id)
            if rows:
                found.append(_found(finding_id, area.title, finding, facts, rows))
    found.sort(key=lambda f: SEVERITIES.index(f.severity))
    profile = (values["profile"] or {}).get("id")
    return Report(profile=profile, found=tuple(found), judged=tuple(judged), not_judged=not_judged)


def _values(questions: Mapping[str, Question], heard: Mapping[str, Answer]) -> tuple[dict[str, Any], dict[str, str]]:
    """The answers as values; and why the others are none."""
    values: dict[str, Any] = {}
    why_not = {name: f"{name.replace('_', ' ')} was not looked at" for name in GIVEN}
    for name, question in questions.items():
        asked = questions[question.of] if question.of else question
        if heard[name].status != "ok":
            why_not[name] = f"{_asks(asked)} {_WHY[heard[name].status]}"
            continue
        try:
            values[name] = READERS[question.reads](heard[name].text, question.pattern)
        except ValueError:
            why_not[name] = f"{_asks(asked)} printed what we cannot read"
    return values, why_not


def shown(found_areas: Mapping[str, Area], answers: Mapping[str, Answer]) -> dict[str, list[str]]:
    """By family the lines that name its cards, out of answers that were given elsewhere."""
    found: dict[str, list[str]] = {}
    for area in found_areas.values():
        values, _ = _values(area.questions, {n: answers.get(q.of or n) or _NONE for n, q in area.questions.items()})
        if area.shows and not _names("{{ " + area.shows + " }}") - values.keys():
            found |= {family: [str(line) for line in _value(area.shows, values)] for family in area.families[:1]}
    return found


def _asks(question: Question) -> str:
    """What a question asks, in a word: the tool, the address, the first path of a script."""
    word = question.command[0] if question.command else question.url or ""
    return next(iter(re.findall(r"/[\w/.-]+", question.command[-1])), word) if word == "sh" else word


def _rows(finding: Finding, facts: Mapping[str, Any], why_not: Mapping[str, str]) -> tuple[str, list[Any]]:
    """The rows for which a finding is true (one empty row where it has none), or why it was not judged."""
    text = "{{ " + finding.when + " }}{{ " + (finding.each or "none") + " }}"
    for name in sorted(_names(text) - {"row", "none"}):
        if name not in facts:
            return why_not.get(name, f"{name} was not asked"), []
    try:
        rows = _value(finding.each, facts) if finding.each else [{}]
        return "", [row for row in rows if _value(finding.when, {**facts, "row": row})]
    except (jinja2.UndefinedError, TypeError, ValueError) as e:  # a tool of another version: no reason to stop
        return f"its answer has another form ({e})", []


def _value(expression: str, facts: Mapping[str, Any]) -> Any:
    return _compiled(expression)(**facts)


@cache
def _compiled(expression: str) -> Any:
    return _ENVIRONMENT.compile_expression(expression, undefined_to_none=False)


@cache
def _names(template: str) -> frozenset[str]:
    """The names that a template reads and does not set. Raises TemplateSyntaxError."""
    return frozenset(jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(template)))


def _found(finding_id: str, area: str, finding: Finding, facts: Mapping[str, Any], rows: Sequence[Any]) -> Found:
    seen = {**facts, "rows": rows, "row": rows[0]}

    def filled(template: str) -> str:
        return " ".join(_ENVIRONMENT.from_string(template).render(seen).split())

    fix = finding.fix and Fix(command=filled(finding.fix.command), root=finding.fix.root)
    lines = tuple(_ENVIRONMENT.from_string(line).render(seen).strip() for line in finding.type)
    return Found(
        id=finding_id, area=area, severity=finding.severity, says=filled(finding.says), means=filled(finding.means),
        type=lines, fix=fix,
    )  # fmt: skip


def _hits(text: Any, pattern: str) -> list[str]:
    """Where a pattern is found in a text: the first group of each place, else the whole."""
    return [m[1] if m.re.groups else m[0] for m in re.finditer(pattern, str(text), re.MULTILINE)]


def _named_rows(rows: Iterable[Any], field: str, most: int = 8) -> str:
    """A field of rows as a list to read: `0, 1 and 3`."""
    words = [str(row[field]) for row in rows]
    words = [*words[:most], f"{len(words) - most} more"] if len(words) > most else words
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _environment() -> jinja2.Environment:
    found = jinja2.sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    found.filters.update({"version": version, "hits": _hits, "listed": _named_rows, "sh": shell})
    found.tests["within"] = within
    return found


_ENVIRONMENT = _environment()
