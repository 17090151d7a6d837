"""`invoke tune` on a machine with cards and no Docker: its own search, judge and file; the starting is done here.

    PYTHONPATH=.:tests:ENGINE python tests/bare/tune.py PREPARED RESULTS '{goal: …, profile: …, …}' [NAME='{…}' …]

PREPARED: prepare.py's, for the gateway and the demo model, which is grown to the model's shape; the engine fills it
with random numbers, since zeros would cost the card less. The third word holds the flags of `invoke tune`, with `_` for
`-`; RESULTS/tune.yaml is the order that it writes. Each NAME is an order that is measured beside it with the same
questions, such as what a pasted line asks for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from bare.prepare import prepare
from bare.prove import ROOT, as_user, ready, started
from weighbridge.bench import BenchReport
from weighbridge.catalog import Catalog
from weighbridge.cli import ORDER
from weighbridge.effects import bench
from weighbridge.effects.asked import Asked
from weighbridge.effects.keyring import read_secret
from weighbridge.effects.tune import Lab, Place
from weighbridge.errors import HostError, NotReady
from weighbridge.order import read_order
from weighbridge.road import make_plan
from weighbridge.tune import Candidate, judge, tried_of
from weighbridge.types import Plan
from weighbridge.verbs.tune import TUNE
from weighbridge.verbs.tuning import _Drive, prepared

READY_SECONDS = 240
DUMMY = ["--load-format", "dummy"]


class Bare(Lab):
    """Candidates as processes of this machine."""

    def __init__(self, folder: Path, results: Path, *lab: Any) -> None:
        super().__init__(*lab)
        self.folder, self.results, self.user, self.count = folder, results, as_user(), 0

    def measured(self, plan: Plan) -> tuple[float | None, BenchReport]:
        self.count += 1
        here = self.results / "runs" / f"t{self.count}"
        row = {"id": here.name, "order": {}, "cache": "tune", "extra": DUMMY}
        prepare(row, self.catalog, self.results, plan)
        run = json.loads((here / "run.json").read_text())
        with started(self.folder, here, run, plan, self.user, self.results / f"{here.name}.log") as it:
            if not ready(it.process, plan.port, time.monotonic() + READY_SECONDS):
                raise NotReady("it was not ready", f"less {self.results / here.name}.log")
            took = round(time.monotonic() - it.log.began, 1)
            assert it.ring.own is not None
            here_is: Any = SimpleNamespace(name="bare", labels={}, attrs={"Config": {"Env": []}})
            report = self.asked(plan, here_is, read_secret(it.ring.own), beside)
            it.stop()
            return took, report


def beside(words: bench.Bench, catalog: Catalog, order: dict[str, Any], log: Path) -> Iterator[dict[str, Any]]:
    """The benchmark's own script, as a process of this machine. Raises HostError where it fails."""
    order["path"] = str(ROOT / "models" / words.plan.model)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as said:
        command = bench.script_of(words.plan, catalog)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
    assert process.stdin is not None
    assert process.stdout is not None
    with closing(process.stdin), process.stdout:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        yield from map(json.loads, process.stdout)
    if process.wait():
        raise HostError(f"the benchmark ended with exit code {process.returncode}", f"less {log}")


def say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:6.1f}] {text}", flush=True)


def main() -> None:
    folder, results = Path(sys.argv[1]), Path(sys.argv[2])
    given = yaml.safe_load(sys.argv[3])
    flags = {name: default for name, (default, _) in {**TUNE, **ORDER}.items()}
    it = Asked({**flags, **given, "output": str(results / "tune.yaml")}, {})
    found = prepared(it, f"tests/bare/tune.py {sys.argv[3]}")
    place = Place("bare", results, results, it.folders, it.model, ())
    lab = Bare(folder, results, place, it.catalog, None, found.records, say)
    drive = _Drive(found, lab, say)
    drive.ended()
    told = results / "tune.yaml"
    told.write_text(f"# By tests/bare/tune.py: random weights ({' '.join(DUMMY)}), no container.\n{told.read_text()}")
    base = drive.search.trials[drive.search.base.label]
    for word in sys.argv[4:]:
        name, _, text = word.partition("=")
        order = read_order({**yaml.safe_load(text)}, it.order)
        beside = Candidate(name, {}, order, make_plan(order, it.catalog))
        trial = lab.trial(beside)
        said = judge(found.search.aim, base.reports, trial)
        say(f"{name}: {said.kind}: {said.words}: {tried_of(beside, trial, found.search.aim, said).figures}")


BEGAN = time.monotonic()
if __name__ == "__main__":
    main()
