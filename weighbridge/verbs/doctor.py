"""Verbs that look at a machine and prepare it: doctor, host-setup."""

from __future__ import annotations

from typing import Any

from weighbridge.cli import CATALOG, DRY, JSON, Flags, say, show, verb
from weighbridge.verbs import asked

DOCTOR: Flags = {
    "profile": ("auto", "judge for this profile (default auto: the one that this machine shows)"),
    "only": (None, "judge only these findings, commas between; see --list (default: all)"),
    "fix": (False, "run the fixes of what was found, those that are safe, and check again"),
    "list": (False, "print every finding that there is, and look at nothing"),
    "captured": (None, "judge the answers in this folder, written elsewhere by tests/doctor/capture.sh"),
    "port": ("8000", "port that an appliance would take (default 8000)"),
}


@verb(DOCTOR, DRY, CATALOG, JSON)
def doctor(json: bool, dry_run: bool, fix: bool, **values: Any) -> int:
    """Look whether this machine is fit to serve: what is wrong, what it means, what to type. Exit 1 at an error."""
    from weighbridge.doctor import areas
    from weighbridge.doctor_report import doctor_json, doctor_text, list_text, mended_text
    from weighbridge.effects.doctor_visit import Visit

    it = asked(values)
    if values["list"]:
        show(areas(it.catalog), lambda: list_text(areas(it.catalog)), json)
        return 0
    visit = Visit(it.catalog, {**values, "fix": fix}, it.store)
    mended = visit.mend(say, dry_run=dry_run) if fix else ()
    report = visit.report
    text = f"{doctor_text(report, visit.about)}" + (f"\n\n{mended_text(mended)}" if fix else "")
    show(doctor_json(report, mended), lambda: text, json)
    return 1 if report.errors else 0


SETUP: Flags = {
    "profile": ("auto", "kind of machine to prepare (default auto: the one that this machine shows)"),
    "network": (None, "addresses of the cards' network ports, for example 10.0.0.0/24; needed for --apply"),
    "gateway": (None, "gateway of that network (default: its first address)"),
    "machine": ("1", "which machine of several this is; each takes its own addresses (default 1)"),
    "print": (False, "print the script (what happens anyway unless --apply is given)"),
    "apply": (False, "run the script here, as root"),
}


@verb(SETUP, DRY, CATALOG, JSON)
def host_setup(json: bool, dry_run: bool, **values: Any) -> int:
    """Write the script that prepares a host for a profile's cards: driver check, network ports, services."""
    from weighbridge.effects.host_setup import apply
    from weighbridge.host_setup import read_setup, setup_script

    it = asked(values)
    profile = it.catalog.profile(it.profile_name)
    setup = read_setup(profile, values)
    text = setup_script(setup, it.catalog)
    if values["apply"] and not dry_run:
        return apply(text, say)
    show({"profile": profile.id, "script": text, "applied": False}, lambda: text.rstrip("\n"), json)
    return 0
