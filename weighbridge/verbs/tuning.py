"""What tune does between its flags and its table: the search put together, and driven to its end or to Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from weighbridge.errors import BadValue, NotReady
from weighbridge.knobs import Turned, chosen, read_knobs
from weighbridge.order import read_name, read_positive
from weighbridge.orderfile import OrderFile, TuneEvidence, order_yaml
from weighbridge.plan import slug
from weighbridge.road import make_plan
from weighbridge.runspec import container_name
from weighbridge.tune import Candidate, Goal, Search, aim_of, confirmed, gains, read_goals
from weighbridge.tuneready import Ready
from weighbridge.tunetext import Tuning, minutes
from weighbridge.types import Order, Plan, Reach
from weighbridge.verbs.measure import asked_points, metric_file, scenario_file
from weighbridge.verdict import Slo

Say = Callable[[str], None]
_SEED = 1000  # the same prompts for every candidate: each is a fresh engine, so no cache knows them


def prepared(it: Any, command: str) -> Ready:
    """The search that was asked for. Raises Refused."""
    from weighbridge.effects.bench import read_slo
    from weighbridge.effects.disk import file_to_write
    from weighbridge.effects.tune import Questions, Records
    from weighbridge.verbs.tune import line_of, path_of

    flags, goals = it.flags, read_goals(it.catalog)
    if not flags["goal"]:
        first, *rest = goals.goals
        words = "; or ".join([line_of(flags, goal=first), *(f"--goal {name}" for name in rest)])
        raise BadValue("--goal is missing", f"say what is sought: {words}")
    scenarios = scenario_file(it.catalog).scenarios
    slo = read_slo(Path(flags["slo"]), list(scenarios)) if flags["slo"] else Slo()
    aim = aim_of(goals, flags["goal"], slo, metric_file(it.catalog).metrics)
    points = _points(it, goals.goals[aim.goal])
    plan = it.plan
    here = Turned(plan, aim.goal, bool(flags["lossy"]))
    knobs = chosen(
        read_knobs(it.catalog, plan.engine), flags["knobs"], here, lambda **changed: line_of(flags, **changed)
    )
    attempt: Callable[[Order], Plan] = lambda order: make_plan(order, it.catalog, it.model, it.frame)  # noqa: E731
    search = Search(Candidate(None, {}, it.order, plan), knobs, attempt, aim, here.lossy)
    records = Records(it.folders.build / "tune", Questions(points, slo.goodput, _SEED, command), it.weights)
    config = str(Path(it.config).absolute()) if it.config else None
    file = path_of(flags["output"], slug(plan.profile), slug(plan.model), aim.goal)
    file_to_write("--output", flags["output"] or str(file))
    ready = Ready(search, goals, records, file, command, config, _budget(flags["budget"]), bool(flags["again"]))
    ready.check_budget(flags["budget"], lambda m: line_of(flags, budget=m))
    return ready


def _budget(typed: str | None) -> float | None:
    """The seconds of --budget; None for what is none."""
    with suppress(BadValue):
        return 60 * read_positive("--budget", typed)
    return None


def _points(it: Any, goal: Goal) -> Any:
    values = {**it.flags, "scenario": it.flags["scenario"] or ",".join(goal.scenarios)}
    found, _ = asked_points(it.catalog, values, it.plan.max_model_len, Reach(keys="").key_streams)
    once = next((p for p in found if p.repeats < 2), None)
    if once:
        raise BadValue(f"{once.label}: one run has no interval, so nothing can be told", "ask for more: --repeats 3")
    return found


# --- the search, driven ----------------------------------------------------------------------------------


def searched(it: Any, ready: Ready, say: Say) -> Tuning:
    """Every candidate measured, the best confirmed. What ends it early leaves what was measured and the best so far."""
    from weighbridge.effects import probe
    from weighbridge.effects.appliance import ended_like_interrupted
    from weighbridge.effects.docker import Host
    from weighbridge.effects.tune import Lab, Place, alone, others
    from weighbridge.effects.weights import check_model, check_weights

    plan, host = ready.search.base.plan, Host()
    profile = it.catalog.profile(plan.profile)
    probe.check_cards(profile)
    check_weights(it.weights, None if it.flags["weights"] else plan.model)
    check_model(it.weights, plan.model, (it.model or it.catalog.model(plan.model)).shape, it.catalog)
    name = read_name(it.flags["name"]) if it.flags["name"] else f"{container_name(plan)}-tune"
    gids = probe.device_gids(profile.family.container.devices)
    lab = Lab(Place(name, it.weights, it.home(name), it.folders, it.model, gids), it.catalog, host, ready.records, say)
    for other in others(host, name):
        say(f"warning: {other} runs here too, and takes a part of what is measured")
    drive = _Drive(ready, lab, say)
    with alone(it.home(name), name), ended_like_interrupted():
        lab.clear()
        try:
            found = drive.ended()
        finally:
            lab.tidy([c.plan for c in (ready.search.base, ready.search.best)])
    assert found is not None  # without a first figure, all() has raised
    return found


class _Drive:
    """The loop: how far it came, and whether the best was confirmed."""

    def __init__(self, ready: Ready, lab: Any, say: Say) -> None:
        self.ready, self.lab, self.say, self.search = ready, lab, say, ready.search
        self.complete, self.confirmed, self.began = False, None, time.monotonic()

    confirmed: bool | None

    def ended(self) -> Tuning | None:
        """What was found; what ends it early leaves the best so far in its file."""
        try:
            self.all()
        finally:
            found = self.written()
        return found

    def all(self) -> None:
        """Raises NotReady when the order as asked does not serve."""
        every = self._every()
        self.complete = self._seen_again() and every

    def _every(self) -> bool:
        """Every candidate measured; False when the budget ended it before."""
        for candidate in self.search.candidates():
            trial = self.ready.known(candidate.plan)
            if trial is None and candidate.knob is not None and self._late(1):
                self.say(f"the budget ends the search before {candidate.label}")
                return False
            if trial:
                self.say(f"{candidate.label}: measured {trial.date}")
            else:
                self.say(f"{candidate.label}: starts, about {minutes(self._one())}")
                trial = self.lab.trial(candidate)
            said = self.search.tell(candidate, trial)
            if candidate.knob is None and trial.error:
                raise NotReady(f"the order as asked does not serve: {trial.error}", "start it alone: invoke run")
            if said:
                self.say(f"{candidate.label}: {said.kind}: {said.words}")
        return True

    def _one(self) -> float:
        return self.ready.seconds(list(self.search.trials.values()))[0]

    def _late(self, candidates: int) -> bool:
        budget = self.ready.budget_seconds
        return budget is not None and time.monotonic() - self.began + candidates * self._one() > budget

    def _seen_again(self) -> bool:
        """Both once more, each freshly started: a gain that is not seen again was the start's, not the order's.

        False when the budget leaves no time for it.
        """
        base, best = self.search.base, self.search.best
        if best is base:
            return True
        if self._late(2):
            self.say("the budget leaves no time to confirm the best")
            return False
        pair = []
        for candidate in (base, best):
            first = self.search.trials[candidate.label]
            if len(first.reports) < 2:
                self.say(f"{candidate.label}: starts again, to confirm")
                first = self.lab.trial(candidate, first)
                self.search.trials[candidate.label] = first
            pair.append(first)
        said = confirmed(self.search.aim, *pair)
        self.confirmed = said.kind == "better"
        self.say(f"each start against each: {said.kind}: {said.words}")
        return True

    def written(self) -> Tuning | None:
        """The best so far in its file; None before the first figure."""
        from weighbridge.effects.disk import write_file

        search, ready = self.search, self.ready
        first = search.trials.get(search.base.label)
        if first is None or not first.reports:
            return None
        best = search.base if self.confirmed is False else search.best
        trial = search.trials[best.label]
        evidence = TuneEvidence(
            command=ready.command, date=trial.date, goal=search.aim.goal, metric=search.aim.metric,
            engine=f"{best.plan.engine} {best.plan.engine_version}",
            scenarios=tuple(p.label for p in ready.records.questions.points), complete=self.complete,
            confirmed=self.confirmed, tuned=search.base.order, tried=tuple(search.tried),
            gain=None if best is search.base else gains(search.aim, first, trial),
        )  # fmt: skip
        file = OrderFile(order=best.order, model_config=ready.model_config, evidence=evidence)
        write_file(ready.file, order_yaml(file))
        if not self.complete:
            self.say(f"the best so far is in {ready.file}")
        return Tuning(order=best.order, changes=best.changes, file=str(ready.file), evidence=evidence)
