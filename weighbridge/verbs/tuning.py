"""What tune does between its flags and its table: the search put together, and driven to its end or to Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from weighbridge.errors import BadValue, NotReady, unknown
from weighbridge.order import read_name, read_positive
from weighbridge.orderfile import OrderFile, TuneEvidence, order_yaml
from weighbridge.plan import slug
from weighbridge.road import make_plan
from weighbridge.runspec import container_name
from weighbridge.tune import Candidate, Goal, GoalFile, KnobFile, Search, Trial, aim_of, judge, read_goals, read_knobs
from weighbridge.tunetext import Listing, Planned, Tuning, minutes
from weighbridge.types import Order, Plan, Reach
from weighbridge.verbs.measure import asked_points, metric_file, scenario_file
from weighbridge.verdict import Slo

Say = Callable[[str], None]
_SEED = 1000  # the same prompts for every candidate: each is a fresh engine, so no cache knows them


class Ready(NamedTuple):
    """A search with everything that it needs, before anything is touched."""

    search: Search
    goals: GoalFile
    records: Any
    file: Path
    command: str
    model_config: str | None
    budget_seconds: float | None
    again: bool

    def known(self, plan: Plan) -> Trial | None:
        return None if self.again else self.records.known(plan)

    def seconds(self, trials: list[Trial]) -> tuple[float, str]:
        """How long one candidate takes, and on what that rests."""
        took = [t.wall_seconds for t in trials if t.wall_seconds and not t.error]
        if took:
            return sum(took) / len(took), "as long as those that were measured"
        start = self.goals.start_seconds
        begun = start.get(self.search.base.plan.family, start["other"])
        runs = sum(
            p.repeats * (p.prompts / p.rate if p.rate else self.goals.run_seconds)
            for p in self.records.questions.points
        )
        return begun + runs, "assumed: none was measured yet"

    def listing(self) -> Listing:
        found = [(c, self.known(c.plan)) for c in self.search.candidates()]
        one, basis = self.seconds([t for _, t in found if t])
        planned = tuple(
            Planned(
                candidate=c.label, changes=c.changes, measured=f"measured {t.date}" if t else None,
                seconds=0 if t else round(one),
            )
            for c, t in found
        )  # fmt: skip
        return Listing(
            goal=self.search.aim.goal, metric=self.search.aim.metric,
            points=tuple(f"{p.label}, {p.repeats} runs" for p in self.records.questions.points), candidates=planned,
            skipped=tuple((t.label, t.because) for t in self.search.tried),
            seconds=sum(p.seconds for p in planned), basis=basis, file=str(self.file),
        )  # fmt: skip


def prepared(it: Any, command: str) -> Ready:
    """The search that was asked for. Raises Refused."""
    from weighbridge.effects.bench import read_slo
    from weighbridge.effects.disk import file_to_write
    from weighbridge.effects.tune import Questions, Records
    from weighbridge.verbs.tune import path_of

    flags, goals = it.flags, read_goals(it.catalog)
    if not flags["goal"]:
        raise BadValue("--goal is missing", f"say what is sought: --goal {' | '.join(goals.goals)}")
    scenarios = scenario_file(it.catalog).scenarios
    slo = read_slo(Path(flags["slo"]), list(scenarios)) if flags["slo"] else Slo()
    aim = aim_of(goals, flags["goal"], slo, metric_file(it.catalog).metrics)
    points = _points(it, goals.goals[aim.goal])
    plan = it.plan
    knobs = _some(read_knobs(it.catalog, plan.engine), flags["knobs"])
    attempt: Callable[[Order], Plan] = lambda order: make_plan(order, it.catalog, it.model, it.frame)  # noqa: E731
    search = Search(Candidate(None, {}, it.order, plan), knobs, attempt, aim, bool(flags["lossy"]))
    records = Records(it.folders.build / "tune", Questions(points, slo.goodput, _SEED, command), it.weights)
    config = str(Path(it.config).absolute()) if it.config else None
    budget = 60 * read_positive("--budget", flags["budget"]) if flags["budget"] else None
    file = path_of(flags["output"], slug(plan.profile), slug(plan.model), aim.goal)
    file_to_write("--output", flags["output"] or str(file))
    return Ready(search, goals, records, file, command, config, budget, bool(flags["again"]))


def _points(it: Any, goal: Goal) -> Any:
    values = {**it.flags, "scenario": it.flags["scenario"] or ",".join(goal.scenarios)}
    found, _ = asked_points(it.catalog, values, it.plan.max_model_len, Reach(keys="").key_streams)
    once = next((p for p in found if p.repeats < 2), None)
    if once:
        raise BadValue(f"{once.label}: one run has no interval, so nothing can be told", "ask for more: --repeats 3")
    return found


def _some(file: KnobFile, names: str | None) -> dict[str, Any]:
    """The knobs of --knobs a,b; all without it. Raises UnknownName."""
    wanted = [n.strip() for n in names.split(",")] if names else list(file.knobs)
    for name in wanted:
        if name not in file.knobs:
            raise unknown("knob", name, file.knobs, "invoke tune --dry-run")
    return {n: k for n, k in file.knobs.items() if n in wanted}


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
        """Raises NotReady when the order as asked does not serve, BadValue for a budget that does not reach its end."""
        every = self._every()
        self.complete = self._seen_again() and every

    def _every(self) -> bool:
        """Every candidate measured; False when the budget ended it before."""
        for candidate in self.search.candidates():
            trial = self.ready.known(candidate.plan)
            if trial is None and self._late(1):
                if candidate.knob is None:
                    took = minutes(self._one())
                    raise BadValue(f"--budget is less than the first candidate takes, {took}", "leave --budget out")
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
            pair.append(msgspec.structs.replace(first, reports=first.reports[1:]))
        said = judge(self.search.aim, pair[0].reports, pair[1])
        self.confirmed = said.kind == "better"
        self.say(f"second start: {said.kind}: {said.words}")
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
            gain=None if best is search.base else judge(search.aim, first.reports, trial).words,
        )  # fmt: skip
        file = OrderFile(order=best.order, model_config=ready.model_config, evidence=evidence)
        write_file(ready.file, order_yaml(file))
        if not self.complete:
            self.say(f"the best so far is in {ready.file}")
        return Tuning(order=best.order, changes=best.changes, file=str(ready.file), evidence=evidence)
