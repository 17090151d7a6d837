"""The verb that searches by measuring: tune."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.cli import DRY, JSON, ORDER, RUN, Flags, flag_name, say, show, verb
from weighbridge.verbs import asked

if TYPE_CHECKING:
    from weighbridge.tunetext import Tuning

TUNE: Flags = {
    "goal": (None, "what is sought: throughput or latency"),
    "slo": (None, "a YAML file with goodput and limits, as for bench; who breaks a limit does not win"),
    "scenario": (None, "scenarios that decide, with commas (default: the goal's; see: invoke bench --list-scenarios)"),
    "repeats": (None, "runs of each point, 2 or more (default: the scenario's)"),
    "concurrency": (None, "most requests at a time, with commas (default: the scenario's)"),
    "knobs": (None, "only these knobs, with commas (default: all that apply)"),
    "lossy": (False, "also what may change answers: FP8 weights, FP8 KV cache, another type"),
    "budget": (None, "minutes; no candidate is begun that would end later (default: none)"),
    "output": (None, "file for the order that was found (default build/tune/<profile>-<model>-<goal>.yaml)"),
    "name": (None, "name of the container that each candidate has in turn (default: from the model, with -tune)"),
    "again": (False, "measure again what an earlier search measured"),
    "weights": RUN["weights"],
}


@verb(TUNE, ORDER, DRY, JSON, own_empty=("knobs", "budget"))
def tune(json: bool, dry_run: bool, **values: Any) -> int:
    """Start one candidate after the other, measure each, and write the best order that the figures allow to name."""
    from weighbridge.tunetext import listing_text, tuning_text
    from weighbridge.verbs.tuning import prepared, searched

    it = asked({**values, "dry_run": dry_run})
    for line in it.own_runs if not dry_run else ():
        say(f"warning: {line}")
    ready = prepared(it, line_of(values))
    if dry_run:
        listing = ready.listing()
        show(listing, lambda: listing_text(listing), json)
        return 0
    found: Tuning = searched(it, ready, say)
    show(found, lambda: tuning_text(found), json)
    return 0


def line_of(values: Mapping[str, Any], **changed: Any) -> str:
    """The command as it was typed, for the evidence; `changed`: with other values, for a hint."""
    asked_for = {"dry_run": False, **values, **changed}
    given = [(n, asked_for[n]) for n, (default, _) in {**TUNE, **ORDER, **DRY}.items() if asked_for[n] != default]
    words = [w for n, v in given for w in (f"--{flag_name(n)}", *([] if v is True else [str(v)]))]
    return shlex.join(["invoke", "tune", *words])


def path_of(output: str | None, profile: str, model: str, goal: str) -> Path:
    return Path(output) if output else Path("build") / "tune" / f"{profile}-{model}-{goal}.yaml"
