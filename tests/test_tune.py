"""The search of invoke tune: what is tried, what may be said of it, and the order file; its drive is in tests/live."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from support import ROOT

from weighbridge.bench import BenchReport, Figures, Measured, Point
from weighbridge.catalog import Catalog
from weighbridge.effects.tune import Questions, Records, alone
from weighbridge.errors import BadFile, HostError, NotReady, Refused
from weighbridge.knobs import Knob, read_knobs
from weighbridge.orderfile import OrderFile, Tried, TuneEvidence, order_yaml, strayed
from weighbridge.plan import plan as _plan
from weighbridge.road import make_plan
from weighbridge.tune import Aim, Candidate, Search, Trial, fingerprint, judge, read_goals
from weighbridge.tuneready import Ready
from weighbridge.tunetext import tuning_text
from weighbridge.types import Order, Plan
from weighbridge.verbs.measure import asked_points
from weighbridge.verbs.tuning import _Drive
from weighbridge.verdict import Estimate, Limit, Slo

RATES = (100.0, 101.0, 99.0)
AIM = Aim("throughput", "output_tokens_per_second", True, 1.05, Slo())
SHORTER = Aim("latency", "e2e_ms.p50", False, 1.05, Slo())


def report(rates: tuple[float, ...], *, failed: int = 0, scenario: str = "few") -> BenchReport:
    """A report whose output tokens/s are `rates`, and whose latencies are their reverse."""
    point = Point(
        scenario=scenario, input_tokens=8, output_tokens=8, prefix_tokens=0, prompts=8, rate=None, concurrency=None,
        repeats=len(rates),
    )  # fmt: skip

    def figures(rate: float) -> Figures:
        times = {name: 1e5 / rate for name in ("mean", "p50", "p90", "p95", "p99")}
        return Figures(
            seconds=1.0, completed=8, failed=failed, input_tokens=64, output_tokens=64, requests_per_second=rate / 8,
            output_tokens_per_second=rate, total_tokens_per_second=2 * rate, ttft_ms=times, tpot_ms=times,
            itl_ms=times, e2e_ms=times,
        )  # fmt: skip

    return BenchReport(
        name="a", model="m", profile="p", engine="e", engine_version="1", recipe="r", engine_args=(),
        max_model_len=64, date="2026-11-21", seed=1, command="", words=(),
        measured=(Measured(point=point, repeats=tuple(figures(r) for r in rates)),),
    )  # fmt: skip


def good(rates: tuple[float, ...]) -> BenchReport:
    """A report whose goodput is `rates`, and all else the same."""
    found = report(tuple(100.0 for _ in rates))
    repeats = zip(found.measured[0].repeats, rates, strict=True)
    kept = tuple(msgspec.structs.replace(f, goodput_per_second=rate) for f, rate in repeats)
    return msgspec.structs.replace(found, measured=(msgspec.structs.replace(found.measured[0], repeats=kept),))


def trial(*rates: float, **more: Any) -> Trial:
    return Trial(fingerprint="f", engine_args=(), reports=(report(rates, **more),), wall_seconds=60.0)


def dead(words: str = "the engine died") -> Trial:
    return Trial(fingerprint="f", engine_args=(), error=words)


@pytest.fixture
def attempt(catalog: Catalog) -> Callable[[Order], Plan]:
    return lambda order: make_plan(order, catalog)


def search(attempt: Callable[[Order], Plan], knobs: dict[str, Knob], order: Order, **more: Any) -> Search:
    given = {"aim": AIM, "lossy": False, **more}
    return Search(Candidate(None, {}, order, attempt(order)), knobs, attempt, **given)


def knob(*values: dict[str, Any], **more: Any) -> Knob:
    return Knob(values=tuple(Order(**v) for v in values), because="a test", **more)


def drive(found: Search, outcome: Callable[[Candidate], Trial]) -> list[str]:
    """The labels of what was measured, in order."""
    labels = []
    for candidate in found.candidates():
        labels.append(candidate.label)
        found.tell(candidate, outcome(candidate))
    return labels


# --- what is tried ---------------------------------------------------------------------------------------


def test_each_knob_is_turned_on_the_best_so_far(attempt: Callable[[Order], Plan]) -> None:
    knobs = {
        "sequences": knob({"sequences": 8}, {"sequences": 32}),
        "step": knob({"batched_tokens": 1024}),
        "scheduling": knob({"scheduling": "sync"}),
    }
    rates = {"as asked": RATES, "sequences 32": (200.0, 201.0, 199.0)}
    found = search(attempt, knobs, Order())
    labels = drive(found, lambda c: trial(*rates.get(c.label, RATES)))
    assert labels == [
        "as asked", "sequences 8", "sequences 32", "sequences 32, batched-tokens 1024", "sequences 32, scheduling sync",
    ]  # fmt: skip
    assert found.best.label == "sequences 32"
    assert found.best.order == Order(sequences=32)
    assert [t.verdict for t in found.tried] == ["start", "not told apart", "better", "worse", "worse"]


def test_what_does_not_plan_is_skipped_with_its_reason(attempt: Callable[[Order], Plan]) -> None:
    order = Order(profile="h100-80g-x1", model="deepseek-r1-distill-qwen-7b")
    knobs = {
        "cut": knob({"tensor_parallel": 2}, cards_from=2),
        "heads": knob({"tensor_parallel": 8}),
        "words": knob({"scheduling": "snyc"}),
        "same": knob({"sequences": 256}),
        "weights": knob({"quantization": "fp8"}, lossy=True),
        "other": knob({"eager": False}, families=("cpu",)),
        "goal": knob({"graph_size": 8}, goals=("latency",)),
    }
    found = search(attempt, knobs, order)
    assert drive(found, lambda _: trial(*RATES)) == ["as asked"]
    why = {t.label: t.because for t in found.tried if t.verdict == "skipped"}
    assert why["cut"] == "1 of at least 2 cards"
    assert why["tensor-parallel 8"].startswith("does not plan: 8 x 1 x 1 = 8 cards")
    assert "is none of async, sync" in why["scheduling snyc"]
    assert why["sequences 256"] == "the same engine line as one before"
    assert why["weights"] == "answers may change: turned only with --lossy"
    assert why["other"] == "not for these cards"
    assert why["goal"] == "moves nothing for throughput"
    assert [c.label for c in search(attempt, knobs, order, lossy=True).candidates()] == ["as asked", "quantization fp8"]


def test_a_candidate_never_has_a_shorter_context(attempt: Callable[[Order], Plan]) -> None:
    """One that would take its speed from the context is planned with the context that was there, or not at all."""
    order = Order(profile="l40s-48g-x4", model="deepseek-r1-distill-llama-70b")
    asked = attempt(order).max_model_len
    knobs = {"step": knob({"batched_tokens": 32768}), "few": knob({"sequences": 8, "batched_tokens": 512})}
    found = search(attempt, knobs, order)
    plans = [c.plan for c in found.candidates()]
    assert all(p.max_model_len >= asked for p in plans)
    assert any("does not plan" in t.because and f"{asked} are asked" in t.because for t in found.tried)


def test_a_plan_that_does_not_serve_is_no_end_of_the_search(attempt: Callable[[Order], Plan]) -> None:
    found = search(attempt, {"step": knob({"batched_tokens": 512}, {"batched_tokens": 1024})}, Order())
    faster = trial(200.0, 201.0, 199.0)
    drive(found, lambda c: dead() if "512" in c.label else faster if "1024" in c.label else trial(*RATES))
    assert [(t.verdict, t.because) for t in found.tried[1:2]] == [("failed", "the engine died")]
    assert found.best.label == "batched-tokens 1024"


# --- what may be said ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "kind"),
    [
        ((200.0, 201.0, 199.0), "better"), ((50.0, 50.5, 49.5), "worse"), ((99.0, 104.0, 101.0), "not told apart"),
        ((103.0, 103.1, 103.2), "too small"), ((200.0,), "not told apart"), ((80.0, 400.0, 90.0), "not told apart"),
    ],
)  # fmt: skip
def test_better_is_what_the_intervals_allow_to_say(rates: tuple[float, ...], kind: str) -> None:
    said = judge(AIM, [report(RATES)], trial(*rates))
    assert said.kind == kind
    assert judge(SHORTER, [report(RATES)], trial(*rates)).kind == kind, "twice the tokens, half the time"


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ((0.0, 0.0, 0.0), (5.0, 5.1, 5.2), "better", "few: some, where there was none"),
        ((5.0, 5.1, 5.2), (0.0, 0.0, 0.0), "worse", "few: none, where there was some"),
        ((0.0, 0.0, 0.0), (1.0, 3.0, 12.0), "better", "few: some, where there was none"),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), "not told apart", "1.00 times as good (1.00 to 1.00)"),
        ((0.0, 0.0, 0.0), (0.0, 5.0, 5.0), "not told apart", "some"),
        ((0.0,), (5.0, 5.1), "not told apart", "some"),
        ((0.0, 0.1, 0.2), (5.0, 5.1, 5.2), "better", "51.00 times"),
        ((5.0, 5.1, 5.2), (0.0, 0.1, 0.2), "worse", "0.02 times"),
        ((0.0, 5.0, 5.1), (5.0, 5.1, 5.2), "not told apart", "1.51 times"),
    ],
)
def test_no_goodput_is_told_from_some(old: tuple[float, ...], new: tuple[float, ...], kind: str, words: str) -> None:
    """A 0 has no logarithm: nobody in time against everybody in time is the plainest difference there is."""
    aim = AIM._replace(metric="goodput_per_second")
    said = judge(aim, [good(old)], Trial(fingerprint="f", engine_args=(), reports=(good(new),)))
    assert (said.kind, words in said.words) == (kind, True), said.words


def test_a_gain_at_one_point_is_none_beside_a_loss_at_another() -> None:
    both = [report(RATES), report(RATES, scenario="rag")]
    faster, slower = report((200.0, 201.0, 199.0)), report((50.0, 50.5, 49.5), scenario="rag")
    mixed = Trial(fingerprint="f", engine_args=(), reports=(faster, slower))
    assert judge(AIM, both, mixed).kind == "worse"


def test_limits_come_before_figures() -> None:
    slo = Slo(limits=(Limit(metric="ttft_ms.p95", at_most=800.0),))
    aim = AIM._replace(slo=slo)
    kept, broken = report((200.0, 201.0, 199.0)), report(RATES)
    slow = Trial(fingerprint="f", engine_args=(), reports=(broken,))
    assert judge(aim, [kept], slow).kind == "breaks more limits"
    assert judge(aim, [broken], trial(200.0, 201.0, 199.0)).kind == "better"
    assert judge(AIM, [report(RATES)], trial(200.0, 201.0, 199.0, failed=1)).kind == "failed"


def test_starts_of_one_plan_are_joined() -> None:
    twice = Trial(fingerprint="f", engine_args=(), reports=(report(RATES), report((104.0, 105.0, 103.0))))
    said = judge(AIM, [report(RATES), report((130.0, 129.0, 131.0))], twice)
    assert said.kind == "not told apart", "two starts that differ widen the interval"


# --- data ------------------------------------------------------------------------------------------------


TUNED = [e for e in Catalog().engine_ids() if (ROOT / "images" / e / "tune.yaml").is_file()]


@pytest.mark.parametrize("engine", TUNED)
def test_knobs_of_the_catalogue_can_be_turned(engine: str, catalog: Catalog) -> None:
    knobs = read_knobs(catalog, engine).knobs
    goals, families = read_goals(catalog).goals, catalog.engine(engine).families
    for name, found in knobs.items():
        assert set(found.families) <= families.keys(), name
        assert set(found.goals) <= goals.keys(), name
        assert found.because


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("knobs: {step: {values: [{batched_token: 1}], because: x}}", "unknown key 'batched_token'"),
        ("knobs: {step: {values: [{model: x}], because: x}}", "step must turn a part of an order"),
        ("knobs: {step: {values: [{}], because: x}}", "step must turn a part of an order"),
        ("knobs: {step: {value: [{}], because: x}}", "unknown key 'value'"),
    ],
)
def test_a_knob_that_turns_nothing_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "images" / "vllm").mkdir(parents=True)
    (tmp_path / "images" / "vllm" / "tune.yaml").write_text(text)
    with pytest.raises(BadFile) as caught:
        read_knobs(Catalog(tmp_path), "vllm")
    assert said in caught.value.message


def test_every_goal_can_be_measured(catalog: Catalog) -> None:
    for goal in read_goals(catalog).goals.values():
        found, _ = asked_points(catalog, {"scenario": ",".join(goal.scenarios)}, 2048, 256)
        assert all(p.repeats >= 2 for p in found), "one run has no interval"


def test_a_fingerprint_is_of_the_engine_and_the_questions_alone(catalog: Catalog) -> None:
    order = Order()
    plain, said = make_plan(order, catalog), make_plan(Order(sequences=16, batched_tokens=2048), catalog)
    assert plain != said, "the reasons differ"
    points, _ = asked_points(catalog, {"scenario": "few"}, 2048, 256)
    one = fingerprint(plain, points, {}, "/w")
    assert one == fingerprint(said, points, {}, "/w")
    other = make_plan(Order(sequences=8), catalog)
    assert len({one, fingerprint(other, points, {}, "/w"), fingerprint(plain, points, {"ttft_ms": 1.0}, "/w"),
                fingerprint(plain, points, {}, "/x")}) == 4  # fmt: skip


# --- the order file --------------------------------------------------------------------------------------


def evidence(tuned: Order, engine: str) -> TuneEvidence:
    return TuneEvidence(
        command="invoke tune --goal throughput", date="2026-11-21", goal="throughput", metric="m", engine=engine,
        scenarios=("few",), complete=True, confirmed=True, gain="1.2 times", tuned=tuned, tried=(),
    )  # fmt: skip


def test_an_order_file_is_read_as_it_was_written(tmp_path: Path, catalog: Catalog, inv: Any) -> None:
    order = Order(profile="t4-16g-x1", batched_tokens=4096, scheduling="sync", eager=False)
    (tmp_path / "found.yaml").write_text(order_yaml(OrderFile(order=order, evidence=evidence(Order(), "e 1"))))
    assert msgspec.convert(yaml.safe_load((tmp_path / "found.yaml").read_text()), OrderFile).order == order
    said = inv("plan", "--order", "found.yaml", "--json")
    assert said.data == json.loads(msgspec.json.encode(make_plan(order, catalog)))
    said = inv("plan", "--order", "found.yaml", "--batched-tokens", "1024", "--eager", "--json")
    wins = make_plan(msgspec.structs.replace(order, batched_tokens=1024, eager=True), catalog)
    assert said.data == json.loads(msgspec.json.encode(wins)), "what is typed wins"


def test_the_order_file_of_a_search_that_found_nothing_better_is_read(inv: Any, tmp_path: Path) -> None:
    """What is not known is left out of the file: no gain, nothing confirmed, no interval of a single run."""
    once = Tried(changes={}, verdict="start", because="x", figures={"few": Estimate(mean=1.0, count=1)})
    nothing = msgspec.structs.replace(evidence(Order(), "e 1"), confirmed=None, gain=None, tried=(once,))
    file = OrderFile(order=Order(sequences=8), evidence=nothing)
    (tmp_path / "found.yaml").write_text(order_yaml(file))
    assert inv("plan", "--order", "found.yaml", "--json").data["max_num_seqs"] == 8
    assert msgspec.convert(yaml.safe_load((tmp_path / "found.yaml").read_text()), OrderFile) == file


def test_an_order_file_of_another_machine_is_a_guess(inv: Any, tmp_path: Path, catalog: Catalog) -> None:
    plan = make_plan(Order(), catalog)
    engine = f"{plan.engine} {plan.engine_version}"
    file = OrderFile(order=Order(sequences=8), evidence=evidence(Order(), engine))
    (tmp_path / "found.yaml").write_text(order_yaml(file))
    assert strayed(file, Order(sequences=8), engine) is None
    assert inv("plan", "--order", "found.yaml").err == ""
    said = inv("plan", "--order", "found.yaml", "--profile", "t4-16g-x1")
    assert said.code == 0
    assert "warning: the order file was measured with profile cpu" in said.err
    assert ": here it is a guess" in said.err


def test_an_order_file_of_an_older_engine_is_a_guess(inv: Any, tmp_path: Path) -> None:
    """Neither order names a version: what was measured and what would run say it."""
    file = OrderFile(order=Order(sequences=8), evidence=evidence(Order(), "vllm 0.1.0"))
    (tmp_path / "found.yaml").write_text(order_yaml(file))
    said = inv("plan", "--order", "found.yaml")
    assert (said.code, said.err.strip()) == (
        0, "warning: the order file was measured with engine vllm 0.1.0: here it is a guess",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("order: {batched_token: 4}", "order: unknown key 'batched_token'", "did you mean batched_tokens?"),
        ("ordre: {}", "unknown key 'ordre'", "did you mean order?"),
        ("order: {batched_tokens: many}", "Expected `int | null`", "edit"),
        ("order: {profile: tpu-x1}", "no profile called 'tpu-x1'", "invoke profiles"),
        ("order: {batched_tokens: 0}", "--batched-tokens 0 is less than 1", "--batched-tokens"),
        ("[]", "holds list", "edit"),
    ],
)
def test_a_wrong_order_file_is_told(text: str, said: str, hint: str, inv: Any, tmp_path: Path) -> None:
    (tmp_path / "found.yaml").write_text(text)
    found = inv("plan", "--order", "found.yaml")
    assert found.code == 2
    assert said in found.err
    assert hint in found.err


def test_without_an_order_file_it_says_how_one_is_made(inv: Any) -> None:
    found = inv("plan", "--order", "nowhere.yaml")
    assert (found.code, "invoke tune" in found.err) == (2, True)


def test_the_model_of_a_config_is_in_the_order_file(inv: Any, tmp_path: Path) -> None:
    config = ROOT / "models" / "weighbridge-demo" / "config.json"
    file = OrderFile(order=Order(model="mine"), model_config=str(config))
    (tmp_path / "found.yaml").write_text(order_yaml(file))
    assert inv("plan", "--order", "found.yaml", "--json").data["model"] == "mine"
    other = inv("plan", "--order", "found.yaml", "--model", "qwen3-8b", "--profile", "t4-16g-x2", "--json").data
    assert other["model"] == "qwen3-8b", "and of no other model"


# --- the verb --------------------------------------------------------------------------------------------


def test_dry_run_lists_candidates_and_time_and_touches_nothing(inv: Any, tmp_path: Path) -> None:
    found = inv("tune", "--goal", "latency", "--profile", "h100-80g-x1", "--model", "qwen3-8b", "--dry-run", "--json")
    assert found.code == 0
    data = found.data
    labels = [c["candidate"] for c in data["candidates"]]
    assert labels[0] == "as asked"
    assert "batched-tokens 4096" in labels
    assert data["seconds"] == sum(c["seconds"] for c in data["candidates"]) > 60
    assert ["weights", "answers may change: turned only with --lossy"] in data["skipped"]
    assert list(tmp_path.iterdir()) == []


def test_dry_run_says_how_long_all_that_may_follow_takes_and_what_lossy_would_add(inv: Any) -> None:
    words = ("tune", "--goal", "throughput", "--profile", "h100-80g-x1", "--model", "qwen3-8b", "--dry-run")
    data = inv(*words, "--json").data
    one = data["candidates"][0]["seconds"]
    later = [why for _, why in data["skipped"] if why.startswith(("the same engine line", "does not plan"))]
    assert later
    assert data["most_seconds"] == data["seconds"] + (len(later) + 2) * one
    assert data["lossy"] == [["weights", "quantization fp8"], ["kv-cache", "kv-dtype fp8"]]
    text = inv(*words).out
    assert "--lossy would add: weights (quantization fp8); kv-cache (kv-dtype fp8)" in text
    assert re.search(r"\nabout (\d+ min), about (?!\1)\d+ min if all that may follow is tried: what a better", text)
    assert "and two starts that confirm it (assumed" in text
    lossy = inv(*words, "--lossy", "--json").data
    assert (lossy["lossy"], len(lossy["candidates"])) == ([], len(data["candidates"]) + 2)
    assert "--lossy would add" not in inv(*words, "--lossy").out
    assert inv(*words, "--budget", "10", "--json").data["most_seconds"] == 600
    short = inv(*words, "--budget", "10").out
    assert "\nabout 10 min, where --budget ends it (assumed" in short
    middle = str((data["seconds"] + one) / 60)
    assert "if all that may follow is tried, where --budget ends it (assumed" in inv(*words, "--budget", middle).out
    alone = inv(*words, "--knobs", "scheduling", "--concurrency", "4").out
    assert "at most" not in text + short + alone, "it is reckoned from starts that may take longer"


def test_a_hint_of_a_search_can_be_typed(inv: Any) -> None:
    """It names the knobs of this engine and these cards, and keeps what was given."""
    given = ("--goal", "throughput", "--profile", "h100-80g-x1", "--model", "qwen3-8b", "--repeats", "3", "--dry-run")
    wrong_knobs = [("--knobs", text) for text in ("type", "", " ,", "setp")]
    wrong_budgets = [("--budget", text) for text in ("", "0", "-5", "abc", "nan", "0.1")]
    for wrong in wrong_knobs + wrong_budgets:
        said = inv("tune", *given, *wrong)
        assert (said.code, len(said.err.splitlines())) == (2, 2), wrong
        line = said.err.splitlines()[1].partition("invoke ")[2].partition(";")[0].partition(", or ")[0]
        assert shlex.split(line)[-1] == "--dry-run"
        again = inv(*shlex.split(line), "--json")
        assert again.code == 0, line
        assert again.data["points"][0].endswith("3 runs")
        assert {c["candidate"].split()[0] for c in again.data["candidates"][1:]} >= {"batched-tokens", "scheduling"}
    assert "did you mean step? those of vllm on h100-80g-x1: invoke tune" in inv("tune", *given, "--knobs", "setp").err
    assert "with --lossy also weights, kv-cache" in inv("tune", *given, "--knobs", "x").err
    without = inv("tune", *given[2:])
    assert (without.code, without.err.splitlines()[0]) == (2, "error: --goal is missing")
    line = without.err.partition("invoke ")[2].partition(";")[0]
    assert inv(*shlex.split(line)).code == 0


@pytest.mark.parametrize("knobs", ["kv-cache", "weights,kv-cache", "kv-cache,cut"])
def test_a_knob_that_waits_for_lossy_alone_is_answered_with_it(knobs: str, inv: Any) -> None:
    words = ("tune", "--goal", "throughput", "--profile", "h100-80g-x1", "--model", "qwen3-8b", "--knobs", knobs)
    said = inv(*words, "--dry-run")
    assert said.code == 2
    line = said.err.splitlines()[1].partition("if answers may change: invoke ")[2]
    assert sorted(shlex.split(line)) == sorted([*words, "--lossy", "--dry-run"])
    again = inv(*shlex.split(line), "--json")
    assert again.code == 0
    assert any(c["changes"].get("kv_dtype") == "fp8" for c in again.data["candidates"])


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ((), "--goal is missing", "invoke tune --goal throughput --dry-run; or --goal latency"),
        (("--goal", "latancy"), "no goal called 'latancy'", "did you mean latency?"),
        (("--goal", "latency", "--knobs", "setp"), "no knob called 'setp'", "--knobs scheduling --dry-run"),
        (
            ("--goal", "latency", "--knobs", "step"),
            "step: not for these cards",
            "--knobs scheduling --dry-run",
        ),
        (("--goal", "latency", "--scenario", "fwe"), "no scenario called 'fwe'", "did you mean few?"),
        (("--goal", "latency", "--repeats", "1"), "one run has no interval", "--repeats 3"),
        (("--goal", "latency", "--slo", "none.yaml"), "none.yaml: no such file", "docs/benchmark.md"),
        (("--goal", "latency", "--budget", "-3"), "--budget '-3' is no number of minutes above 0", "--budget 3"),
        (("--goal", "latency", "--engine", "sglang", "--profile", "t4-16g-x1"), "has no knobs here", "tune.yaml"),
        (("--goal", "latency", "--output", "."), "--output .: is a folder", "name a file in it"),
        (("--goal", "latency", "--output", "new/"), "--output new/: is a folder", "name a file in it"),
    ],
)
def test_what_cannot_be_sought_is_told(words: tuple[str, ...], said: str, hint: str, inv: Any) -> None:
    found = inv("tune", "--dry-run", *words)
    assert found.code == 2
    assert said in found.err
    assert hint in found.err


# --- scheduling and graphs as parts of an order ------------------------------------------------------------


def test_scheduling_and_graphs_reach_the_engine_only_when_asked(catalog: Catalog) -> None:
    order = Order(profile="h100-80g-x1", model="qwen3-8b")
    plain = make_plan(order, catalog)
    assert not {"graph_size", "scheduling"} & json.loads(msgspec.json.encode(plain)).keys(), "plans stay as they were"
    asked = make_plan(msgspec.structs.replace(order, graph_size=64, scheduling="sync"), catalog)
    assert [a for a in asked.engine_args if a not in plain.engine_args] == [
        "--max-cudagraph-capture-size", "64", "--no-async-scheduling",
    ]  # fmt: skip
    assert "--async-scheduling" in make_plan(msgspec.structs.replace(order, scheduling="async"), catalog).engine_args
    assert any("graphs up to 64" in w for w in asked.warnings)
    assert msgspec.json.decode(msgspec.json.encode(asked), type=Plan) == asked


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"graph_size": 64}, "takes no --graph-size on CPU"),
        ({"graph_size": 0, "profile": "h100-80g-x1", "model": "qwen3-8b"}, "--graph-size 0 is less than 1"),
        ({"graph_size": 8, "eager": True, "profile": "h100-80g-x1", "model": "qwen3-8b"}, "captures no graphs"),
        (
            {"without": "multi-cast"},
            "--without 'multi-cast' is none of multicast, peer-to-peer\n  try --without multicast",
        ),
        ({"without": "peer-to-peer, multicats"}, "try --without peer-to-peer,multicast"),
        ({"without": "multicast,"}, "try --without multicast or --without peer-to-peer"),
        ({"without": "p2p"}, "try --without multicast or --without peer-to-peer"),
        ({"without": "peer-to-peer", "profile": "mi300x-192g-x8"}, "is not known\n  leave --without out"),
        ({"scheduling": "sync", "profile": "t4-16g-x1", "engine": "sglang"}, "takes no --scheduling"),
    ],
)
def test_what_an_engine_cannot_be_told_is_refused(flags: dict[str, Any], said: str, catalog: Catalog) -> None:
    order = Order(**{"model": "weighbridge-demo", **flags})
    profile = catalog.profile(order.profile)
    engine = catalog.engine(order.engine or profile.family.default_engine)
    with pytest.raises(Refused) as caught:
        _plan(order, profile, engine, catalog.model(order.model))
    assert said in str(caught.value)


# --- the drive, with trials from a list in the place of a machine (tests/live drives the real one) ---------


class Given:
    """A lab whose trials are given: one for each start, by the candidate's label."""

    def __init__(self, **rates: list[tuple[float, ...]]) -> None:
        self.rates, self.started = rates, 0

    def trial(self, candidate: Candidate, before: Trial | None = None) -> Trial:
        self.started += 1
        name = "best" if candidate.changes else "base"
        old = before.reports if before else ()
        return Trial(
            fingerprint="f", engine_args=(), wall_seconds=60.0, date="2026-11-21",
            reports=(*old, report(self.rates[name][len(old)])),
        )  # fmt: skip


def driven(lab: Given, attempt: Callable[[Order], Plan], catalog: Catalog, folder: Path, **more: Any) -> _Drive:
    questions = Questions(asked_points(catalog, {"scenario": "few"}, 2048, 256)[0], {}, 1, "invoke tune")
    found = search(attempt, {"sequences": knob({"sequences": 8})}, Order())
    given = {"budget_seconds": None, "again": False, **more}
    records = Records(folder / "tune", questions, folder)
    ready = Ready(found, read_goals(catalog), records, folder / "found.yaml", "invoke tune", None, **given)
    return _Drive(ready, lab, lambda _: None)


FASTER = (200.0, 201.0, 199.0)


def test_a_gain_that_is_not_seen_again_is_none(attempt: Any, catalog: Catalog, tmp_path: Path) -> None:
    drive = driven(Given(base=[RATES, RATES], best=[FASTER, RATES]), attempt, catalog, tmp_path)
    drive.all()
    found = drive.written()
    assert found is not None
    assert (found.order, found.changes, found.evidence.confirmed) == (Order(), {}, False)
    assert "a gain was not seen again at a second start" in tuning_text(found)
    drive = driven(Given(base=[RATES, RATES], best=[FASTER, FASTER]), attempt, catalog, tmp_path)
    drive.all()
    found = drive.written()
    assert found is not None
    assert (found.order, found.evidence.confirmed) == (Order(sequences=8), True)
    assert yaml.safe_load((tmp_path / "found.yaml").read_text())["order"]["sequences"] == 8
    assert "confirmed at a second start" in tuning_text(found)
    assert found.evidence.gain is not None
    assert found.evidence.gain.count("2.00 times as good") == 2, "said start by start, not as though all were one"


def test_starts_that_differ_as_much_as_the_gain_confirm_nothing(attempt: Any, catalog: Catalog, tmp_path: Path) -> None:
    """Each pair shows a gain of its own; the order as asked once was as fast as the best once."""
    slow, fast, faster = (100.0, 101.0, 99.0), (150.0, 151.0, 149.0), (220.0, 221.0, 219.0)
    drive = driven(Given(base=[slow, fast], best=[fast, faster]), attempt, catalog, tmp_path)
    drive.all()
    assert drive.confirmed is False
    found = drive.written()
    assert found is not None
    assert found.order == Order()


@pytest.mark.parametrize("end", [KeyboardInterrupt(), HostError("the engine is gone", "docker info")])
def test_what_ends_the_confirming_leaves_the_search_open(
    end: BaseException, attempt: Any, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, said = Given(base=[RATES], best=[FASTER]), list[str]()
    first = lab.trial

    def ends(candidate: Candidate, before: Trial | None = None) -> Trial:
        if before is not None:
            raise end
        return first(candidate)

    monkeypatch.setattr(lab, "trial", ends)
    drive = driven(lab, attempt, catalog, tmp_path)
    monkeypatch.setattr(drive, "say", said.append)
    with pytest.raises(type(end)):
        drive.ended()
    found = yaml.safe_load((tmp_path / "found.yaml").read_text())
    assert (found["order"]["sequences"], found["evidence"]["complete"]) == (8, False)
    assert "confirmed" not in found["evidence"]
    assert said[-1] == f"the best so far is in {tmp_path / 'found.yaml'}"


def test_a_search_gone_on_with_says_the_same(attempt: Any, catalog: Catalog, tmp_path: Path) -> None:
    """A second start that differs widens the interval of both: it may not decide what is judged again later."""
    lab = Given(base=[RATES, (146.0, 147.0, 148.0)], best=[FASTER, (398.0, 400.0, 402.0)])
    before = driven(lab, attempt, catalog, tmp_path)
    before.all()
    again = driven(lab, attempt, catalog, tmp_path)
    for label in ("as asked", "sequences 8"):
        again.ready.records.keep(_plan_of(before, label), before.search.trials[label])
    again.all()
    assert lab.started == 4, "nothing is measured again"
    assert again.search.tried == before.search.tried
    assert (again.written(), again.confirmed) == (before.written(), True)


def _plan_of(drive: _Drive, label: str) -> Plan:
    return next(c.plan for c in (drive.search.base, drive.search.best) if c.label == label)


def test_a_budget_ends_the_search_and_keeps_the_best_so_far(
    attempt: Any, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Given(base=[RATES, RATES], best=[FASTER, FASTER])
    drive = driven(lab, attempt, catalog, tmp_path, budget_seconds=1e9)
    monkeypatch.setattr(drive, "_late", lambda candidates: candidates > 1)  # time for one start, not for two
    drive.all()
    found = drive.written()
    assert found is not None
    assert (found.order, found.evidence.confirmed, found.evidence.complete) == (Order(sequences=8), None, False)
    assert "not confirmed by a second start" in tuning_text(found)


def test_an_order_that_does_not_serve_ends_it(
    attempt: Any, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Given()
    monkeypatch.setattr(lab, "trial", lambda candidate: dead())
    drive = driven(lab, attempt, catalog, tmp_path)
    with pytest.raises(NotReady, match="the order as asked does not serve: the engine died"):
        drive.all()
    assert drive.written() is None
    assert list(tmp_path.iterdir()) == []


def test_what_failed_is_tried_again_and_what_served_is_not(attempt: Any, catalog: Catalog, tmp_path: Path) -> None:
    questions = Questions(asked_points(catalog, {"scenario": "few"}, 2048, 256)[0], {}, 1, "invoke tune")
    records, plan = Records(tmp_path, questions, tmp_path), attempt(Order())
    assert records.known(plan) is None
    records.keep(plan, dead())
    assert records.known(plan) is None
    records.keep(plan, trial(*RATES))
    assert records.known(plan) == trial(*RATES)
    records.path(plan).write_text("{")
    assert records.known(plan) is None


def test_one_search_of_one_appliance_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path / "demo", "demo"):
        with pytest.raises(HostError, match="another search measures demo"), alone(tmp_path / "demo", "demo"):
            pass
        with alone(tmp_path / "demo", "other"):
            pass
    with alone(tmp_path / "demo", "demo"):
        pass
