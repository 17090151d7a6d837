"""The benchmark's sums, words and pictures; its drive on a real container is in tests/live."""

from __future__ import annotations

import importlib.util
import json
import math
import statistics
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from support import ROOT

from weighbridge.bench import BenchReport, Figures, Measured, Point, Scenario, chosen, clipped, points, read_rates
from weighbridge.benchdraw import bench_html, bench_svg
from weighbridge.benchtext import bench_text, change_text, held_text
from weighbridge.catalog import Catalog
from weighbridge.effects.bench import read_report, read_slo, record, recorded
from weighbridge.errors import BadFile, BadValue, UnknownName
from weighbridge.verbs.measure import asked_points, metric_file, scenario_file
from weighbridge.verdict import Limit, Slo, check_slo, compare, estimate, held, metric_names, ratio, value

RUN = (28.57, 28.88, 28.53, 29.05, 29.12)  # requests/s of one plan on an H100
EAGER = (13.6, 14.5, 15.0, 15.0, 14.9)


def figures(rate: float, **more: Any) -> Figures:
    times = {"mean": 10.0, "p50": 9.0, "p90": 12.0, "p95": 13.0, "p99": 20.0}
    return Figures(
        seconds=25 / rate, completed=25, failed=0, input_tokens=1600, output_tokens=3200, requests_per_second=rate,
        output_tokens_per_second=128 * rate, total_tokens_per_second=192 * rate, ttft_ms=times, tpot_ms=times,
        itl_ms=times, e2e_ms={k: v * 1000 / rate for k, v in times.items()}, **more,
    )  # fmt: skip


def report(rates: tuple[float, ...], name: str = "few", **more: Any) -> BenchReport:
    point = Point(
        scenario=name, input_tokens=64, output_tokens=128, prefix_tokens=0, prompts=25, rate=None, concurrency=None,
        repeats=len(rates),
    )  # fmt: skip
    return BenchReport(
        name="a", model='it\'s <a> "model"', profile="p", engine="e", engine_version="1", recipe="0123456789abcdef",
        engine_args=("--x", "<y>"), max_model_len=2048, date="2026-11-21", seed=1, command="invoke bench", words=(),
        measured=(Measured(point=point, repeats=tuple(figures(r, **more) for r in rates)),),
    )  # fmt: skip


# --- what is asked -------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [40, 64, 512, 2048, 14_000])
def test_a_clipped_scenario_fits_the_context(context: int, catalog: Catalog) -> None:
    for scenario in scenario_file(catalog).scenarios.values():
        found, words = clipped(scenario, context)
        whole = found.prefix_tokens + found.input_tokens + found.output_tokens
        assert whole < context
        assert min(found.input_tokens, found.output_tokens) > 0
        assert (words is None) == (found is scenario)


def test_a_context_that_holds_nothing_is_refused(catalog: Catalog) -> None:
    with pytest.raises(BadValue, match="holds no benchmark"):
        clipped(scenario_file(catalog).scenarios["few"], 16)


def test_scenarios_are_chosen_by_name(catalog: Catalog) -> None:
    file = scenario_file(catalog)
    assert chosen(file, None) == list(file.default)
    assert chosen(file, "all") == list(file.scenarios)
    assert chosen(file, "rag, few,rag") == ["rag", "few"]
    with pytest.raises(UnknownName, match="'fwe'") as caught:
        chosen(file, "fwe")
    assert "did you mean few?" in caught.value.hint


@pytest.mark.parametrize("text", ["0", "-1", "nan", "fast", "1,,2"])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="is no rate"):
        read_rates(text)


def test_a_sweep_asks_every_pair_within_what_a_key_may(catalog: Catalog) -> None:
    scenario = {"few": scenario_file(catalog).scenarios["few"]}
    found, words = points(scenario, context=2048, rates=[1.0, None], concurrencies=[4, 20, 30], most=16)
    assert [(p.rate, p.concurrency) for p in found] == [(1.0, 4), (1.0, 16), (None, 4), (None, 16)]
    assert words == ["few: at most 16 requests at a time, which is what one key may have open"]
    assert points(scenario, context=2048, most=256)[0][0].concurrency is None


@pytest.mark.parametrize("flag", ["repeats", "concurrency"])
@pytest.mark.parametrize("text", ["0", "-1"])
def test_none_of_something_is_refused(flag: str, text: str, catalog: Catalog) -> None:
    with pytest.raises(BadValue, match=f"--{flag} '{text}' is not a whole number from 1 to 1000000000"):
        asked_points(catalog, {flag: text}, 2048, 256)


# --- what may be said of it ----------------------------------------------------------------------------


def test_the_interval_is_students() -> None:
    found = estimate(RUN)
    half = 2.776 * statistics.stdev(RUN) / math.sqrt(5)  # 4 degrees of freedom
    assert found.low == pytest.approx(statistics.mean(RUN) - half)
    assert found.high == pytest.approx(statistics.mean(RUN) + half)
    assert estimate([3.0]).low is None


def test_a_ratio_has_an_interval_and_one_run_has_none() -> None:
    times, low, high = ratio(EAGER, RUN)
    assert low is not None
    assert high is not None
    assert 1.85 < low < times < high < 2.1
    times, low, high = ratio(EAGER[:1], RUN)
    assert times == pytest.approx(28.83 / 13.6, rel=0.01)
    assert low is high is None


def test_runs_that_cannot_be_told_apart_are_not(catalog: Catalog) -> None:
    metrics = metric_file(catalog).metrics
    same = compare(report((27.9, 28.6, 28.4, 29.0, 29.1)), report(RUN), metrics)
    assert {c.better for c in same if c.metric == "requests_per_second"} == {None}
    better = {c.metric: c.better for c in compare(report(EAGER), report(RUN), metrics)}
    assert better["requests_per_second"] is True
    assert better["e2e_ms.p50"] is True  # lower is better there
    assert better["ttft_ms.p50"] is None  # the same figure, and no spread
    assert "no difference can be told: one run" in change_text(compare(report((1.0,)), report(RUN), metrics))
    assert "WORSE" in change_text(compare(report(RUN), report(EAGER), metrics))


def test_results_without_a_point_in_common_are_refused(catalog: Catalog) -> None:
    with pytest.raises(BadValue, match="no point in common: the older one has rag"):
        compare(report(RUN, "rag"), report(RUN), metric_file(catalog).metrics)


def test_limits_are_kept_or_broken_and_what_was_not_measured_is_broken() -> None:
    slo = Slo(
        limits=(
            Limit(metric="requests_per_second", at_least=28.0), Limit(metric="requests_per_second", at_least=29.0),
            Limit(metric="ttft_ms.p95", at_most=13.0), Limit(metric="power_watts", at_most=700.0),
            Limit(scenario="rag", metric="failed", at_most=0.0),
        )
    )  # fmt: skip
    found = held(slo, report(RUN).measured)
    assert [h.ok for h in found] == [True, False, True, False, False]
    assert "3 of 5 limits are broken" in held_text(found)


def test_every_metric_has_a_value_and_words(catalog: Catalog) -> None:
    some = figures(1.0, power_watts=300.0, goodput_per_second=0.5)
    assert all(value(some, name) is not None for name in metric_names())
    words = metric_file(catalog).metrics
    assert words.keys() <= {name.partition(".")[0] for name in metric_names()}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("limits: [{metric: ttft.p95, at_most: 1}]", UnknownName, "did you mean ttft_ms.p95?"),
        ("limits: [{metric: failed, scenario: fwe, at_most: 1}]", UnknownName, "did you mean few?"),
        ("limits: [{metric: failed}]", BadValue, "give it one"),
        ("limits: [{metric: failed, atmost: 1}]", BadFile, "did you mean at_most?"),
        ("goodput: {ttft: 1}", UnknownName, "did you mean ttft_ms?"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(text: str, error: type[Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "slo.yaml").write_text(text)
    with pytest.raises(error) as caught:
        read_slo(tmp_path / "slo.yaml", ["few", "rag"])
    assert said in caught.value.hint


def test_without_a_file_there_are_no_limits(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="no such file"):
        read_slo(tmp_path / "slo.yaml", [])
    assert check_slo(Slo(), []) == Slo()


# --- records, pictures, pages --------------------------------------------------------------------------


def test_a_result_is_recorded_under_its_image(tmp_path: Path) -> None:
    some = report(RUN)
    assert recorded(some.recipe, tmp_path) is None
    path = record(some, tmp_path)
    assert read_report(path) == some == recorded(some.recipe, tmp_path)
    path.write_text(path.read_text()[:-40])
    assert recorded(some.recipe, tmp_path) is None
    with pytest.raises(BadFile, match="no benchmark's result"):
        read_report(path)


def test_the_picture_is_whole_and_quotes_what_it_is_given() -> None:
    some = report(RUN)
    tree = ElementTree.fromstring(bench_svg(some))  # noqa: S314
    dots = [e for e in tree.iter() if e.tag.endswith("circle")]
    assert len(dots) == 4 * len(RUN)
    assert "<a>" not in bench_html(some)
    empty = msgspec.structs.replace(some, measured=(Measured(point=some.measured[0].point, repeats=(), errors=("x",)),))
    ElementTree.fromstring(bench_svg(empty))  # noqa: S314
    assert "broken: few: x" in bench_text(empty)


def made(script: str) -> Any:
    spec = importlib.util.spec_from_file_location("made", ROOT / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("script", "name"),
    [("tests/bench/serving/page.py", "docs/performance.md"), ("scripts/benchmark_page.py", "docs/benchmark.md")],
)
def test_the_pages_are_what_their_data_make(script: str, name: str) -> None:
    assert made(script).page() == (ROOT / name).read_text(encoding="utf-8"), "make performance"


def test_a_scenario_of_the_catalogue_says_why(catalog: Catalog) -> None:
    scenarios: dict[str, Scenario] = scenario_file(catalog).scenarios
    assert all(s.because for s in scenarios.values())
    assert json.loads(msgspec.json.encode(scenarios))
