"""Plans and reports as people, programs and CI read them."""

from __future__ import annotations

import re
import shlex
from xml.etree import ElementTree

import msgspec
import pytest
from support import cases, plan_for

from weighbridge.catalog import Catalog
from weighbridge.listing import engines_text, models_json, models_text, profiles_json, profiles_text
from weighbridge.report import _BAR_WIDTH, plan_text, short_words, smoke_junit, smoke_text, table
from weighbridge.types import Check, Line, Reconciliation, SmokeReport

GOOD = Check(id="chat", ok=True, seconds=1.25, detail="'?' -> 'Paris'")
BAD = Check(id="stream", ok=False, seconds=0.5, detail='<wrong> & "quoted" \x1b[31m')


def report(*checks: Check) -> SmokeReport:
    return SmokeReport(url="http://127.0.0.1:8000", model="it's", checks=checks, seconds=1.75)


# --- tables and bars -----------------------------------------------------------------------------------


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table([("a", "bbb"), ("cccc", "d")], ("X", "Y")) == "X     Y\na     bbb\ncccc  d"
    assert table([]) == ""


@pytest.mark.parametrize("case", [c for c in cases() if not c.name.endswith("-refused")], ids=lambda c: c.name)
def test_a_bar_a_stage_all_of_one_width_and_true(case: object, catalog: Catalog) -> None:
    plan = case.plan(catalog)  # type: ignore[attr-defined]
    bars = re.findall(r"\[([#=.-]+)\] weights", plan_text(plan))
    assert len(bars) == plan.pipeline_parallel
    for bar, stage in zip(bars, range(plan.pipeline_parallel), strict=True):
        assert len(bar) == _BAR_WIDTH
        assert re.fullmatch(r"#*=*-*\.*", bar)
        rank = plan.memory.per_rank[stage * plan.tensor_parallel]
        assert bar.count("#") == pytest.approx(rank.weights_gib / rank.visible_gib * _BAR_WIDTH, abs=0.51)
        assert bar.count("=") == pytest.approx(rank.kv_gib_low / rank.visible_gib * _BAR_WIDTH, abs=1)
        assert bar.count(".") == pytest.approx((1 - rank.budget_gib / rank.visible_gib) * _BAR_WIDTH, abs=1)


def test_a_plan_for_people_has_the_numbers_and_every_reason(catalog: Catalog) -> None:
    plan = plan_for(catalog, "h20-96g-x8", "deepseek-r1")
    text = plan_text(plan)
    for words in ("TP 8 x PP 1 x DP 1", "deepseek-r1", f"{plan.max_model_len} tokens", *plan.because):
        assert words in text
    assert f"warning: {plan.warnings[0]}" in text
    assert not any(line.endswith(" ") for line in text.splitlines())


# --- smoke reports -------------------------------------------------------------------------------------


def test_a_smoke_report_counts_and_names_what_failed() -> None:
    text = smoke_text(report(GOOD, BAD))
    assert "1 of 2 checks passed in 1.8 s: http://127.0.0.1:8000" in text
    assert re.search(r"^ok +chat +1\.25 s", text, re.MULTILINE)
    assert re.search(r"^FAIL +stream +0\.50 s", text, re.MULTILINE)


def test_a_good_report_ends_with_a_line_to_paste() -> None:
    last = smoke_text(report(GOOD)).splitlines()[-1]
    words = shlex.split(last)
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:8000/v1/chat/completions"]
    assert '"model": "it\'s"' in words[-1]
    assert "curl" not in smoke_text(report(GOOD, BAD))


@pytest.mark.parametrize(("checks", "ok"), [((GOOD,), True), ((GOOD, BAD), False), ((), False)])
def test_a_report_is_good_when_every_check_is_and_there_is_one(checks: tuple[Check, ...], ok: bool) -> None:
    assert report(*checks).ok is ok


def test_junit_is_xml_whatever_an_engine_answers() -> None:
    text = smoke_junit(report(GOOD, BAD))
    root = ElementTree.fromstring(text.encode())  # noqa: S314  our own text
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    names = [case.get("name") for case in root]
    assert names == ["chat", "stream"]
    failure = root[1].find("failure")
    assert failure is not None
    assert '<wrong> & "quoted"' in (failure.get("message") or "")
    assert root[0].find("failure") is None


# --- listings ------------------------------------------------------------------------------------------


def memory_of(reported: float) -> Reconciliation:
    line = Line(name="KV cache tokens", low=1000, high=1200, reported=reported)
    return Reconciliation(lines=(line,), missing_share=line.short)


@pytest.mark.parametrize(
    ("reported", "tolerated", "failures", "words"),
    [
        (1100.0, 0.05, "0", "1,000 promised, 1100.00 reported: kept"),
        (900.0, None, "0", "short by 10.0%"),
        (900.0, 0.05, "1", "short by 10.0%"),
    ],
)
def test_the_memory_is_in_the_junit_report(reported: float, tolerated: float | None, failures: str, words: str) -> None:
    made = msgspec.structs.replace(report(GOOD), memory=memory_of(reported))
    suite = ElementTree.fromstring(smoke_junit(made, tolerated=tolerated))  # noqa: S314  our own text
    assert (suite.get("tests"), suite.get("failures")) == ("2", failures)
    values = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert values["KV cache tokens: reported"] == f"{reported:g}"
    assert words.split(",")[0] in short_words(made.memory)
    assert short_words(made.memory).endswith(words.split(": ")[-1])
    assert short_words(None) == "-"


def test_listings_hold_every_name(catalog: Catalog) -> None:
    assert all(c in profiles_text(catalog) for c in catalog.card_ids())
    assert all(m in models_text(catalog) for m in catalog.model_ids())
    assert all(e in engines_text(catalog) for e in catalog.engine_ids())
    assert [p["id"] for p in profiles_json(catalog)] == catalog.card_ids()
    assert set(catalog.model_ids()) < {m["id"] for m in models_json(catalog)}, "and the variants of some"


def test_every_profile_that_is_listed_can_be_planned_for(catalog: Catalog) -> None:
    for card in profiles_json(catalog):
        for name in card["profiles"]:
            unknown = {"visible_gib": 90.0} if card["visible_gib"] is None else {}
            assert plan_for(catalog, name, "qwen3-0.6b", **unknown).profile == name
