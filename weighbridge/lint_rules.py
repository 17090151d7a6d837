"""What lint/ and images/<engine>/lint.yaml say: findings with their conditions, and how commands are read."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.errors import BadFile
from weighbridge.facts import Value
from weighbridge.flags import Flags, version_key

Severity = Literal["error", "warning", "note"]


class When(Value, frozen=True, kw_only=True):
    """When a rule finds something. All that is said must hold; `value` is a pattern for whatever is looked at."""

    option: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    mount: str | None = None
    image: str | None = None
    environment: str | None = None
    argument: tuple[str, ...] = ()
    role: str | None = None
    words: str | None = None
    value: str | None = None
    not_value: str | None = None
    with_: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    with_value: dict[str, str] = msgspec.field(default_factory=dict)
    above: float | None = None


class Rule(Value, frozen=True, kw_only=True):
    """One thing that can be found, by a stable id. `service`: what is better in a file of services."""

    id: str
    severity: Severity
    means: str
    better: str
    service: str | None = None
    when: When | None = None


class Option(Value, frozen=True, kw_only=True):
    """An option of a container runtime."""

    short: str | None = None
    value: bool = True
    many: bool = False
    same_as: str | None = None


class Containers(Value, frozen=True, kw_only=True):
    """lint/containers.yaml."""

    runtimes: tuple[str, ...]
    options: dict[str, Option]
    podman_only: dict[str, Option]
    services: dict[str, str]
    sources: tuple[str, ...] = ()

    @property
    def known(self) -> dict[str, Option]:
        return {**self.options, **self.podman_only}


class Launcher(Value, frozen=True, kw_only=True):
    """How an engine is started; `wrong`: there is no such command, and this is meant."""

    words: tuple[str, ...]
    model: Literal["taken", "ignored", "none"] = "none"
    wrong: str | None = None
    retired: str | None = None


class OfImage(Value, frozen=True, kw_only=True):
    """Images that start the engine themselves."""

    pattern: str
    launcher: tuple[str, ...]


class Gone(Value, frozen=True, kw_only=True):
    """An argument that is no more, or never was."""

    last: str | None = None
    gone: str
    instead: str | None = None


class EngineLint(Value, frozen=True, kw_only=True):
    """images/<engine>/lint.yaml."""

    id: str
    launchers: tuple[Launcher, ...]
    images: tuple[OfImage, ...]
    version_in_image: str
    version_in_install: str
    distribution: str
    keys: tuple[str, ...]
    roles: dict[str, str]
    machines: tuple[str, ...]
    gone: dict[str, Gone]
    findings: tuple[Rule, ...]
    sources: tuple[str, ...] = ()


class _RuleFile(Value, frozen=True, kw_only=True):
    findings: tuple[Rule, ...]


class Rules(Value, frozen=True, kw_only=True):
    """All of it, with the arguments of every engine and version."""

    rules: dict[str, Rule]
    containers: Containers
    engines: tuple[EngineLint, ...]
    flags: dict[str, tuple[Flags, ...]]

    def engine_of(self, rule: str) -> str | None:
        """The engine whose lint.yaml has the rule; None for one that is about any."""
        return next((e.id for e in self.engines for r in e.findings if r.id == rule), None)

    def flags_of(self, engine: str, version: str | None) -> Flags | None:
        """The newest that is not newer than `version`; the newest of all for None; the oldest when all are newer."""
        found = self.flags.get(engine, ())
        if not found or version is None:
            return found[-1] if found else None
        fitting = [f for f in found if version_key(f.version) <= version_key(version)]
        return fitting[-1] if fitting else found[0]


@cache
def load_rules(catalog: Catalog) -> Rules:
    """Everything that lint needs, from the catalogue. Raises BadFile."""
    path = catalog.data_file("lint", "findings.yaml")
    general = convert({"findings": read_yaml(path)["findings"]}, _RuleFile, path).findings
    path = catalog.data_file("lint", "containers.yaml")
    containers = convert(read_yaml(path), Containers, path)
    engines = []
    for name in catalog.linted_engine_ids():
        path = catalog.data_file("images", f"{name}/lint.yaml")
        engines.append(convert({"id": name, **read_yaml(path)}, EngineLint, path))
    rules: dict[str, Rule] = {}
    for rule in (*general, *(r for e in engines for r in e.findings)):
        if rule.id in rules:
            raise BadFile(f"{path}: finding {rule.id} is there already", "give it another id")
        rules[rule.id] = rule
    flags = {e.id: tuple(catalog.flags(e.id)) for e in engines}
    return Rules(rules=rules, containers=containers, engines=tuple(engines), flags=flags)
