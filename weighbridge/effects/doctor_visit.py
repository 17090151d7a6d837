"""One visit of the doctor: ask, judge, and where that is wanted mend and judge again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from weighbridge.catalog import Catalog
from weighbridge.doctor import Area, Report, about, about_profile, areas, judge, shown
from weighbridge.effects.doctor import ask_all, captured
from weighbridge.effects.doctor_fix import Mended, line_of, mend
from weighbridge.effects.doctor_host import look_around
from weighbridge.effects.probe import profile_here
from weighbridge.errors import BadValue, Unsupported
from weighbridge.facts import Profile
from weighbridge.here import AUTO, named, seen
from weighbridge.order import read_port


class Visit:
    """Flags of the verb in, a report out. Raises Refused for what cannot be asked."""

    def __init__(self, catalog: Catalog, flags: Mapping[str, Any], store: Path) -> None:
        self.catalog, self.flags, self.store = catalog, flags, store
        self.port = read_port(flags["port"])
        self.folder = Path(flags["captured"]) if flags["captured"] else None
        if self.folder and flags["fix"]:
            raise BadValue("--captured and --fix: another machine cannot be mended from here", "leave one of them out")

    @cached_property
    def areas(self) -> dict[str, Area]:
        only = [w.strip() for w in (self.flags["only"] or "").split(",") if w.strip()]
        if self.flags["only"] and not only:
            raise BadValue(f"--only {self.flags['only']!r} names no finding", "see them all with: invoke doctor --list")
        return about(areas(self.catalog), self._profile[0], only)

    @cached_property
    def _profile(self) -> tuple[Profile | None, str]:
        """The profile to judge for, and how it was found; none where this machine shows cards that nobody knows."""
        wanted = self.flags["profile"]
        if wanted != AUTO:
            profile = self.catalog.profile(wanted)
            return profile, profile.id
        try:
            profile = self.catalog.profile(self._shown())
        except Unsupported as e:
            return None, f"no profile: {e.message.removeprefix(f'--profile {AUTO}: ')}"
        return profile, f"{profile.id}, which {'that' if self.folder else 'this'} machine shows"

    def _shown(self) -> str:
        if self.folder is None:
            return profile_here(self.catalog)
        lines = shown(areas(self.catalog), captured(self.folder))
        return named(self.catalog, seen(self.catalog, lines), {})

    @property
    def about(self) -> str:
        return self._profile[1]

    @cached_property
    def report(self) -> Report:
        return self._judge(self.areas)

    def _judge(self, found_areas: Mapping[str, Area]) -> Report:
        profile = self._profile[0]
        engine = self.catalog.engine(profile.family.default_engine) if profile else None
        given: dict[str, Any] = {"profile": about_profile(profile, engine)}
        if self.folder:
            return judge(found_areas, captured(self.folder), given)
        answers = ask_all(found_areas)
        return judge(found_areas, answers, {**given, **look_around(self.store, self.port, answers, os.environ)})

    def mend(self, say: Callable[[str], None], *, dry_run: bool) -> tuple[Mended, ...]:
        """Runs the fixes of what was found; afterwards `report` is what is left."""
        done = []
        for found in self.report.found:
            if found.fix is None:
                continue
            if dry_run:
                done.append(Mended(id=found.id, command=line_of(found.fix), result="not run"))
            else:
                done.append(mend(found, found.fix, self._gone, say))
        if done and not dry_run:
            self.report = self._judge(self.areas)
        return tuple(done)

    def _gone(self, finding_id: str) -> bool:
        again = self._judge(about(self.areas, self._profile[0], [finding_id]))
        return finding_id in again.judged and not again.found
