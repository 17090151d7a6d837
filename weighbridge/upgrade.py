"""What changes on an engine's command line from one version to another, what our plans use first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from weighbridge.catalog import Catalog
from weighbridge.errors import BadValue, UnknownName, Unsupported, nearest, unknown
from weighbridge.facts import Value
from weighbridge.flags import Flag, Flags, meaning


class Change(Value, frozen=True, kw_only=True):
    """One argument that is another in the newer version. `ours`: plans use it, a name that changed as it stands.

    `kind`: of a name that changed as many others do, the pattern.
    """

    flag: str
    change: str
    ours: bool
    kind: str | None = None


class _Renamed(NamedTuple):
    """A name that is no more, and the one that says the same now."""

    lost: str
    now: str | None

    @property
    def text(self) -> str:
        return f"{self.lost} is now {self.now}" if self.now else f"no longer called {self.lost}"

    @property
    def kind(self) -> str | None:
        core = meaning(self.lost)[1]
        return self.text.replace(core, "X") if self.now else None


class Upgrade(Value, frozen=True, kw_only=True):
    engine: str
    old: str
    new: str
    changes: tuple[Change, ...]


def upgrade(catalog: Catalog, engine: str, old: str, new: str) -> Upgrade:
    """All changes between two versions whose arguments are known. Raises UnknownName."""
    before, after = _flags(catalog, engine, old), _flags(catalog, engine, new)
    ours = _used(catalog, engine)
    names = sorted({f.flag for f in (*before.flags, *after.flags)})
    changes = []
    for name in names:
        pair = before.find(name), after.find(name)
        used = bool({name, *_names(before, name), *_names(after, name)} & ours)
        changes += [Change(flag=name, change=text, ours=used) for text in _changes(*pair, name)]
        changes += [Change(flag=name, change=r.text, ours=r.lost in ours, kind=r.kind) for r in _renamed(*pair, name)]
    ordered = sorted(changes, key=lambda c: (not c.ours, not c.change.startswith("gone"), c.flag))
    return Upgrade(engine=engine, old=old, new=new, changes=tuple(ordered))


def versions_of(catalog: Catalog, engine: str, old: str | None, new: str | None) -> tuple[str, str]:
    """The versions to compare: from the oldest that we pin to the newest whose arguments are known, unless told.

    Raises UnknownName, Unsupported for an engine without arguments or with one version, BadValue for one version twice.
    """
    if engine in catalog.engine_ids() and engine not in catalog.linted_engine_ids():
        found = catalog.engine(engine)
        profile = next(p.id for p in catalog.profiles() if p.card.family in found.families)
        line = f"invoke render --profile {profile} --engine {engine} --engine-version VERSION --output FOLDER"
        message = f"{found.title} takes no arguments: what a plan decides is in files that it reads"
        raise Unsupported(message, f"compare them, made for each version: {line}")
    known = catalog.flag_versions(engine)
    if not known:  # no such engine: upgrade() says so
        return old or "none", new or "none"
    learn = f"learn another: make flags ENGINE={engine} VERSION=…"
    if len(known) == 1 and old in (None, *known) and new in (None, *known):
        raise Unsupported(f"{engine}: the arguments of one version alone are known, {known[0]}", learn)
    old, new = old or _pinned(catalog, engine, known), new or known[-1]
    if old == new:
        raise BadValue(f"--old and --new are both {old}", f"name two of {', '.join(known)}, or {learn}")
    return old, new


def _pinned(catalog: Catalog, engine: str, known: Sequence[str]) -> str:
    """The oldest version that some cards' images have, as far as its arguments are known."""
    families = catalog.engine(engine).families.values() if engine in catalog.engine_ids() else ()
    ours = [v for v in known if v in {f.version for f in families}]
    return (ours or known)[0]


def _flags(catalog: Catalog, engine: str, version: str) -> Flags:
    if engine not in catalog.linted_engine_ids():
        raise unknown("engine", engine, catalog.linted_engine_ids(), "invoke engines")
    found = catalog.flags_at(engine, version) if version in catalog.flag_versions(engine) else None
    if found is None:
        versions = catalog.flag_versions(engine)
        near = nearest(version, versions)
        meant = f"did you mean {near}? " if near else ""
        hint = f"{meant}known are {', '.join(versions)}; learn another: make flags ENGINE={engine} VERSION={version}"
        raise UnknownName(f"no version of {engine} whose arguments are known called {version!r}", hint)
    return found


def _used(catalog: Catalog, engine: str) -> set[str]:
    return {a.flag for a in catalog.engine(engine).arguments} if engine in catalog.engine_ids() else set()


def _names(flags: Flags, name: str) -> set[str]:
    found = flags.find(name)
    return {found.flag, *found.also} if found else set()


def _changes(old: Flag | None, new: Flag | None, name: str) -> Iterator[str]:
    if old is None or new is None:
        yield "new" if old is None else "gone"
        return
    if old.flag != name and new.flag != name:
        return
    if old.default != new.default:
        yield _default(old.default, new.default)
    if old.kind != new.kind:
        yield f"was a {old.kind}, is a {new.kind}"
    if new.deprecated and not old.deprecated:
        yield "deprecated"
    for what, before, after in (("choice", old.choices, new.choices), ("name", old.registered, new.registered)):
        lost, more = sorted(set(before) - set(after)), sorted(set(after) - set(before))
        if lost and after:
            yield f"{what} gone: {', '.join(lost)}"
        if more and before:
            yield f"{what} new: {', '.join(more)}"


def _default(old: str | None, new: str | None) -> str:
    """What is left out, the parser's own words being quoted: a default may be the word none."""
    if new is None:
        return f"the parser names no default now; it was {old}"
    return f"default {old} is now {new}" if old is not None else f"default is now {new}; the parser named none"


def _renamed(old: Flag | None, new: Flag | None, name: str) -> Iterator[_Renamed]:
    """The other names that are no more, each with the new one that means the same."""
    if old is None or new is None or name not in (old.flag, new.flag):
        return
    gained = sorted({new.flag, *new.also} - {old.flag, *old.also})
    for lost in sorted(set(old.also) - {new.flag, *new.also}):
        yield _Renamed(lost, next((n for n in gained if meaning(n) == meaning(lost)), None))


def _row_texts(rows: Sequence[Change]) -> Iterator[str]:
    """A line each; one for all whose names changed alike."""
    alike: Counter[str | None] = Counter(c.kind for c in rows if c.kind)
    for c in rows:
        if alike[c.kind] < 2:
            yield f"{c.flag}: {c.change}"
    for kind, count in alike.items():
        if count > 1:
            example = next(c.change for c in rows if c.kind == kind)
            yield f"{count} arguments: {kind}, as in: {example}"


def upgrade_text(found: Upgrade) -> str:
    """For people: what our plans use, then the rest."""
    lines = [f"{found.engine} {found.old} -> {found.new}"]
    for ours, title in ((True, "arguments of our plans"), (False, "others")):
        rows = [c for c in found.changes if c.ours == ours]
        lines.append(f"\n{title}: {len(rows) or 'no'} change{'' if len(rows) == 1 else 's'}")
        lines += [f"  {text}" for text in _row_texts(rows)]
    return "\n".join(lines)
