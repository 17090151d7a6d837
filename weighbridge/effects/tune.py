"""Candidates started, measured and removed one at a time; what was measured is kept, and not measured again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from weighbridge.bench import BenchReport, Point
from weighbridge.catalog import Catalog
from weighbridge.diagnose import explained
from weighbridge.effects import appliance, bench
from weighbridge.effects.disk import one_at_a_time, write_file
from weighbridge.effects.docker import Host
from weighbridge.effects.keyring import Keyring, read_secret
from weighbridge.effects.probe import free_port
from weighbridge.errors import HostError, NotReady
from weighbridge.facts import Model
from weighbridge.reach import read_reach
from weighbridge.render import render_image, spec_of
from weighbridge.runspec import LABEL
from weighbridge.tune import Candidate, Trial, fingerprint
from weighbridge.types import Plan, RunSpec

Say = Callable[[str], None]
_FOR = f"{LABEL}.for"  # on a container: whose it is; a search removes its own, and no appliance of a person's


class Questions(NamedTuple):
    """What every candidate is asked, with which seed, and the line that asked for it."""

    points: Sequence[Point]
    goodput: dict[str, float]
    seed: int
    command: str


class Place(NamedTuple):
    """Where candidates run: their one name, their weights, their keys, and the folders of this command."""

    name: str
    weights: Path
    home: Path
    folders: appliance.Folders
    model: Model | None
    gids: tuple[int, ...]


class Records:
    """What was measured, a file for each plan and set of questions."""

    def __init__(self, folder: Path, questions: Questions, weights: Path) -> None:
        self.folder, self.questions, self.weights = folder, questions, weights

    def path(self, plan: Plan) -> Path:
        asked = self.questions
        return self.folder / f"{fingerprint(plan, asked.points, asked.goodput, str(self.weights))}.json"

    def known(self, plan: Plan) -> Trial | None:
        """What an earlier search measured of the same plan, asked the same; None without a file that can be read.

        One that failed is tried again: what ended it may have been the machine's state.
        """
        with suppress(OSError, msgspec.MsgspecError):
            found = msgspec.json.decode(self.path(plan).read_bytes(), type=Trial)
            return None if found.error else found
        return None

    def keep(self, plan: Plan, trial: Trial) -> None:
        write_file(self.path(plan), json.dumps(msgspec.to_builtins(trial), indent=1, ensure_ascii=False) + "\n")


class Lab:
    """One machine, one candidate at a time. Whatever ends a trial, its container is gone after it."""

    def __init__(self, place: Place, catalog: Catalog, host: Host, records: Records, say: Say) -> None:
        self.place, self.catalog, self.host, self.records, self.say = place, catalog, host, records, say
        self._built: set[str] = set()

    def trial(self, candidate: Candidate, before: Trial | None = None) -> Trial:
        """Start, measure, remove, keep. `before`: an earlier start of the same plan, which this one is added to.

        A plan that does not serve is a trial that failed. Raises HostError for what is wrong with the machine.
        """
        plan, began = candidate.plan, time.monotonic()
        done = Trial(
            fingerprint=self.records.path(plan).stem, engine_args=plan.engine_args,
            reports=before.reports if before else (), date=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        try:
            ready, report = self.measured(plan)
            done = msgspec.structs.replace(done, ready_seconds=ready, reports=(*done.reports, report))
        except NotReady as e:
            told = explained(e, candidate.order, self.catalog, self.place.model, ())
            lines = [line.strip() for line in told.message.splitlines() if not line.startswith("  |")]
            done = msgspec.structs.replace(done, error="; ".join(lines)[:400])
        except Broken as e:
            done = msgspec.structs.replace(done, error=e.message.partition("\n")[0])
        done = msgspec.structs.replace(done, wall_seconds=round(time.monotonic() - began, 1))
        self.records.keep(plan, done)
        return done

    def measured(self, plan: Plan) -> tuple[float | None, BenchReport]:
        digest = render_image(plan, self.catalog).digest
        if self.host.find(digest) is None:
            self._built.add(digest)
        spec = self._spec(plan)
        self.clear()
        try:
            started = appliance.run(plan, spec, self.catalog, self.host, self.place.folders, self.say)
            container, key = self.host.container(self.place.name), read_secret(self.place.home / "key")
            return started.ready_seconds, self.asked(plan, container, key)
        finally:
            with appliance.undisturbed():
                self._sweep()

    def _spec(self, plan: Plan) -> RunSpec:
        ring = Keyring(self.place.home)
        ring.ensure()
        reach = read_reach({}, keys=str(ring.file), tls=None, gids=self.place.gids)
        port = free_port(reach.address)
        spec = spec_of(plan, self.catalog, weights=self.place.weights, name=self.place.name, port=port, reach=reach)
        how = f"{LABEL}.spec"  # another one than an appliance's: nobody waits for this one, nor this for theirs
        labels = {**spec.labels, _FOR: "tune", how: f"{spec.labels[how]}-tune"}
        return msgspec.structs.replace(spec, labels=labels)

    def asked(self, plan: Plan, container: Any, key: str, events: bench.Events | None = None) -> BenchReport:
        """The questions put to one that runs. Raises Broken where the benchmark does not come to its end."""
        asked = self.records.questions
        words = bench.Bench(container, plan, asked.points, asked.goodput, key, asked.seed, asked.command, ())
        log = self.records.folder / f"{self.place.name}-bench.log"
        try:
            return bench.measure(words, self.catalog, log, self.say, events)
        except HostError as e:
            raise Broken(e.message, e.hint) from None

    def clear(self) -> None:
        """The name made free of what a killed search left. Raises HostError when a container of another kind has it."""
        self._sweep()
        self.host.check_free(self.place.name)

    def _sweep(self) -> None:
        """The container of this search, also one that a killed search left."""
        for container in self.host.appliances():
            labels = container.labels
            if labels.get(f"{LABEL}.name") == self.place.name and labels.get(_FOR) == "tune":
                self.say(f"removing {self.place.name}")
                self.host.stop(container, 5)

    def tidy(self, keep: Sequence[Plan]) -> None:
        """The images that this search built for candidates that lost."""
        kept = {render_image(plan, self.catalog).digest for plan in keep}
        for digest in self._built - kept:
            with suppress(HostError):
                image = self.host.find(digest)
                if image is not None:
                    self.host.remove_image(image)


class Broken(HostError):
    """The benchmark ended before its last run: this candidate's fault, not the machine's."""


def others(host: Host, name: str) -> list[str]:
    """Appliances beside the one that is tuned, which take a part of the machine."""
    return [str(c.name) for c in host.appliances() if c.status == "running" and c.labels.get(f"{LABEL}.name") != name]


def alone(home: Path, name: str) -> AbstractContextManager[None]:
    """One search of one appliance at a time. Raises HostError while another one runs."""
    return one_at_a_time(home.parent / f".{name}.tune", f"another search measures {name} at this moment")
