"""The band that is committed against every row that is: promises are kept, and are not timid."""

from __future__ import annotations

import re

import pytest
from calibration.fit import ROWS as FILES
from calibration.fit import Row, cards_rows, fitted, page, promised, read_rows, term_of
from support import ROOT

from weighbridge.catalog import Catalog, read_yaml

ROWS = read_rows(Catalog())


@pytest.fixture(scope="module")
def ratios() -> dict[str, float]:
    bands = Catalog().engine("vllm").families["cuda"].overheads
    return {row.id: promised(row, term_of(row, bands)) / row.tokens for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.id)
def test_the_engine_reported_no_fewer_tokens_than_a_plan_promises(row: Row, ratios: dict[str, float]) -> None:
    assert ratios[row.id] <= 1.0


@pytest.mark.parametrize("held_out", [False, True])
def test_nine_in_ten_promises_are_within_twelve_per_cent(held_out: bool, ratios: dict[str, float]) -> None:
    found = [ratios[row.id] for row in ROWS if row.held_out is held_out]
    assert sum(x >= 0.88 for x in found) >= 0.9 * len(found)


def test_a_quarter_of_our_own_rows_took_no_part_in_the_fit() -> None:
    ours = [row for row in ROWS if row.source.startswith("measured")]
    assert len(ours) >= 20
    assert sum(row.held_out for row in ours) >= 0.2 * len(ours)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.id)
def test_weights_are_within_one_per_cent_or_the_loaders_slack(row: Row) -> None:
    """The engine's figure holds the allocator's segments too, some 0.1 GiB whatever the size."""
    assert row.weights_gib == pytest.approx(row.reported["weights_gib"], rel=0.01, abs=0.25)


PAGE = (ROOT / "docs" / "planner.md").read_text(encoding="utf-8")


def test_the_page_and_the_constants_that_are_committed_are_todays() -> None:
    rows = cards_rows(Catalog())
    found, left = fitted(rows)
    assert page(rows, found, left) in PAGE, "make calibrate"
    committed = Catalog().engine("vllm").families["cuda"].overheads
    assert {v: o.because for v, o in found.items()} == {v: committed[v].because for v in found}, "make calibrate"


def test_every_count_of_rows_is_the_same_number() -> None:
    rows = cards_rows(Catalog())
    fit, kept = (int(n) for n in re.findall(r"^(\d+) rows: promised", PAGE, re.MULTILINE))
    assert (fit, kept) == (sum(not r.held_out for r in rows), sum(r.held_out for r in rows))
    counts = re.findall(r"^\| 0\.\d+ \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)
    assert sum(int(n) for n, _ in counts) == fit
    assert sum(int(dense) for _, dense in counts) == sum(not r.held_out and not r.shape.experts for r in rows)
    bands = Catalog().engine("vllm").families["cuda"].overheads
    assert [int(band.because.split()[0]) for band in bands.values()] == [int(n) for n, _ in counts]
    (readme,) = re.findall(r"^(\d+) rows of engines", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert int(readme) == fit + kept


def test_the_runs_that_the_page_counts_by_card_are_in_their_files() -> None:
    ours = {path.name.split("-")[0]: len(read_yaml(path)["rows"]) for path in FILES.glob("h*.yaml")}
    said = f"hold {sum(ours.values())} runs, {ours['h100']} on one H100 and {ours['h200']} on one, two"
    assert said in PAGE
