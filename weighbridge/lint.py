"""Findings in a command that somebody pasted, or that we render: what is wrong, what it means, the better form."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from weighbridge.catalog import Catalog
from weighbridge.errors import BadValue
from weighbridge.facts import Value
from weighbridge.lint_around import Hit
from weighbridge.lint_checks import checks
from weighbridge.lint_options import Container, containers_of
from weighbridge.lint_read import Launch, Reader, Reading
from weighbridge.lint_rules import Rule, Rules, Severity, When, load_rules
from weighbridge.lint_yaml import Places, value_of
from weighbridge.render import RUNTIMES, render_target, spelling
from weighbridge.runspec import LABEL
from weighbridge.types import Order, Plan, RunSpec
from weighbridge.words import many

_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
_SECRET = re.compile(
    r"(?i)((?:api[-_]?ke?y?|token|secret|passw(?:or)?d|bearer|basic)[\"']?[=:\s]+)\S.*|(//)[^/@\s]+(?=@)"
)


class Finding(Value, frozen=True, kw_only=True):
    """One thing found: by id, on a line of the text, with what was typed there."""

    id: str
    severity: Severity
    line: int
    typed: str
    means: str
    better: str


class Linted(Value, frozen=True, kw_only=True):
    """All that was found in a text, and our own line for the same model, or one for each machine that may do."""

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    instead: str | None = None

    @property
    def errors(self) -> int:
        return sum(f.severity == "error" for f in self.findings)


def lint(text: str, catalog: Catalog, *, version: str | None = None, order: Order | None = None) -> Linted:
    """What is wrong with a text of shell commands, or with a file of services. `order`: what it should serve, where.

    Raises BadValue, UnknownName. `version` is the engine's; without one, the text's own, else our images'.
    """
    if version and not re.match(r"\d+\.\d+", version):
        raise BadValue(f"--engine-version {version!r} is no version", "for example: --engine-version 0.26.0")
    if order:
        catalog.profile(order.profile)  # a name that is none is refused before anything is looked at
    rules = load_rules(catalog)
    reading = _reading(text, Reader(rules, version, _pinned(catalog, order)), rules)
    hits = [Hit(t.id, t.line, t.text) for t in reading.traps]
    hits += [h for r in rules.rules.values() if r.when for h in _applied(r.id, r.when, reading, rules.engine_of(r.id))]
    made = checks(reading, rules, catalog, order)
    hits += made.hits
    ours = {c.line for c in reading.containers if any(v.startswith(f"{LABEL}.plan=") for v in c.values("--label"))}
    hits = [h for h in hits if h.id != "no-init" or h.line not in ours]  # our images have an init process inside
    lines = reading.text.splitlines()
    hits = [h._replace(line=_line_of(h, lines)) for h in hits]
    services = any(c.service is not None for c in reading.containers)
    return Linted(findings=tuple(_findings(hits, rules, services)), checked=_checked(reading), instead=made.instead)


def must_be_known(found: Linted) -> None:
    """Raises BadValue for a text in which nothing was read and nothing found: that is no praise."""
    if not found.checked and not found.findings:
        message = "no container is started there, and no engine that is known here: nothing was looked at"
        raise BadValue(message, "paste the line that starts it, or its file of services: invoke lint --file FILE")


def lint_plan(plan: Plan, spec: RunSpec, catalog: Catalog) -> Linted:
    """The same over everything that we render to start a plan's container."""
    inside = shlex.join([*plan.command, *plan.engine_args])
    texts = [f"{spelling(runtime, plan, spec, catalog).rstrip()} {inside}\n" for runtime in RUNTIMES]
    for target in catalog.target_ids():
        files = render_target(target, plan, spec, catalog)
        texts += [file.text for name, file in sorted(files.items()) if name.endswith((".yaml", ".yml", ".sh"))]
    parts = [lint(text, catalog, version=plan.engine_version) for text in texts]
    decided = {"eager": plan.eager, "no-init": True}  # by the plan; an init process is in every image
    return Linted(
        findings=tuple({f: None for part in parts for f in part.findings if not decided.get(f.id)}),
        checked=tuple({c: None for part in parts for c in part.checked}),
    )


def _pinned(catalog: Catalog, order: Order | None) -> dict[str, str]:
    """By engine, the version that our images have: for the cards of the order, else for the first family."""
    wanted = catalog.profile(order.profile).card.family if order else ""
    found = {}
    for engine in set(catalog.linted_engine_ids()) & set(catalog.engine_ids()):
        families = catalog.engine(engine).families
        found[engine] = families.get(wanted, next(iter(families.values()))).version
    return found


def _reading(text: str, reader: Reader, rules: Rules) -> Reading:
    """A mapping with services is such a file; everything else is shell."""
    mapping = _mapping(text)
    found = Reading(text)
    for container in containers_of(mapping.get("services"), rules.containers, Places(text)):
        reader.contained(container, found, {})
    if not found.containers and not reader.configured(mapping, found):
        return reader.read(text)
    return found


def _mapping(text: str) -> dict[str, Any]:
    """A text that is YAML and a mapping; the line breaks that a page turned into backquotes are put back.

    Raises BadValue.
    """
    try:
        found = value_of(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) and all(isinstance(k, str) for k in found) else {}


def _line_of(hit: Hit, lines: list[str]) -> int:
    """The line of the very word, which stands at or below the first line of its command."""
    word = hit.typed.split(" ")[0]
    if not re.match(r"[-/$]", word):
        return hit.line
    below = (n for n in range(hit.line, len(lines) + 1) if word.split(":")[0] in lines[n - 1])
    return next(below, hit.line)


def _findings(hits: Iterable[Hit], rules: Rules, services: bool) -> Iterator[Finding]:
    """In the order of the text, the gravest first on each line, the same thing once."""
    seen: set[tuple[str, int, str]] = set()
    for hit in sorted(hits, key=lambda h: (h.line, _RANK[rules.rules[h.id].severity], h.id)):
        rule = rules.rules[hit.id]
        typed = _SECRET.sub(lambda m: f"{m[1] or m[2]}…", hit.typed)
        if (hit.id, hit.line, typed) not in seen:
            seen.add((hit.id, hit.line, typed))
            yield _finding(rule, hit, " ".join(typed.split()), (rule.service if services else None) or rule.better)


def _finding(rule: Rule, hit: Hit, typed: str, better: str) -> Finding:
    short = typed if len(typed) <= 90 else typed[:89] + "…"
    means = f"{rule.means} ({hit.why})" if hit.why else rule.means
    return Finding(
        id=rule.id, severity=rule.severity, line=hit.line, typed=short, means=means, better=hit.better or better
    )


def _checked(reading: Reading) -> tuple[str, ...]:
    """What was read, so that nobody takes silence for praise."""
    found = [c.title for c in reading.containers]
    for launch in reading.launches:
        known = launch.flags.version if launch.flags else "no version known"
        said = f", the text has {launch.version}" if launch.version and launch.version != known else ""
        said = said or ("" if launch.version else ", which our images have: the text names no version")
        found.append(f"{' '.join(launch.launcher.words)} (arguments of {known}{said})")
    return tuple(f"{what}" + (f" x{n}" if n > 1 else "") for what, n in Counter(found).items())


# --- rules that are data -------------------------------------------------------------------------------


def _applied(name: str, when: When, reading: Reading, engine: str | None) -> Iterator[Hit]:
    if when.option or when.lacks or when.mount or when.image:
        for container in reading.containers:
            yield from _in_container(name, when, container)
    elif when.environment:
        yield from _in_environment(name, when.environment, when, reading)
    elif when.argument or when.role:
        for launch in reading.launches:
            if engine in (None, launch.engine.id):
                yield from _in_launch(name, when, launch)
    elif when.words:
        for step in reading.steps:
            if re.search(when.words, step.text):
                yield Hit(name, step.line, step.text)


def _in_environment(name: str, pattern: str, when: When, reading: Reading) -> Iterator[Hit]:
    """Variables of the shell, and those that containers are given."""
    options = [o for c in reading.containers for o in c.options if o.name == "--env"]
    given = [((o.value or "").partition("="), o.line) for o in options]
    for variable, value, line in {*reading.environment, *((n, v, line) for (n, _, v), line in given)}:
        if re.search(pattern, variable) and _matches(when, value):
            yield Hit(name, line, f"{variable}={value}")


def _matches(when: When, value: str) -> bool:
    if when.not_value and re.search(when.not_value, value):
        return False
    return not when.value or bool(re.search(when.value, value))


def _in_container(name: str, when: When, container: Container) -> Iterator[Hit]:
    given = {o.name for o in container.options}
    if when.image and container.image and re.search(when.image, container.image):
        yield Hit(name, container.image_line or container.line, container.image)
    if when.lacks and not given & set(when.lacks):
        yield Hit(name, container.line, f"no {container.said(when.lacks[0])}")
    if when.mount:
        for source, target, _, line in container.mounts():
            if re.search(when.mount, source):
                yield Hit(name, line, f"{source}:{target}")
    if not set(when.with_) <= given:
        return
    if not all(any(re.search(p, v) for v in container.values(n)) for n, p in when.with_value.items()):
        return
    for option in container.options:
        if option.name in when.option and _matches(when, option.value or ""):
            yield Hit(name, option.line, option.typed)


def _in_launch(name: str, when: When, launch: Launch) -> Iterator[Hit]:
    words = {g.word.replace("_", "-") for g in launch.given}
    if when.without and words & set(when.without):
        return
    for given in launch.given:
        if given.word.replace("_", "-") in when.argument and _matches(when, " ".join(given.values)):
            yield Hit(name, launch.line, " ".join((given.word, *given.values)))
    value = launch.role(when.role) if when.role else None
    if value is None or not _matches(when, value):
        return
    if when.above is None or _above(value, when.above):
        yield Hit(name, launch.line, f"{launch.engine.roles[when.role or '']} {value}".strip())


def _above(value: str, limit: float) -> bool:
    try:
        return float(value) > limit
    except ValueError:
        return False


# --- the report ----------------------------------------------------------------------------------------


def lint_text(found: Linted) -> str:
    """For people: what was read, each finding in two lines, our own line."""
    lines = [f"read: {'; '.join(found.checked) or 'no container and no engine that is known here'}"]
    for f in found.findings:
        lines.append(f"{f.severity}: {f.id}, line {f.line}: {f.typed}\n  {f.means}\n  better: {f.better}")
    counts = Counter(f.severity for f in found.findings)
    said = ", ".join(many(counts[s], s) for s in _RANK if counts[s])
    lines.append(said or "nothing found")
    if found.instead:
        lines.append("the same by Weighbridge:\n" + textwrap.indent(found.instead, "  "))
    return "\n".join(lines)


def findings_page(catalog: Catalog) -> str:
    """docs/lint.md's list: every finding there is."""
    rules = load_rules(catalog).rules.values()
    rows = [
        (f"`{r.id}`", r.severity, r.means, r.better) for r in sorted(rules, key=lambda r: (_RANK[r.severity], r.id))
    ]
    cells = ["| finding | severity | what it means | better |", "|---|---|---|---|"]
    return "\n".join([*cells, *("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows)]) + "\n"
