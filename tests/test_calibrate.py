"""Runs of one's own: kept, listed and set against a plan; the schema that they share with the repository's rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from calibration.fit import ROWS, read_row
from support import plan_for

from weighbridge.calibration import CalibrationFile, broken_before, file_of
from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.effects.calibration import folder_of, keep, kept_or_none, read_files
from weighbridge.errors import BadFile, BadValue, HostError
from weighbridge.report import calibration_text
from weighbridge.types import Plan

CARD, MODEL = "h100-80g", "deepseek-r1-distill-qwen-32b"
ARCHITECTURE = "Qwen2ForCausalLM"


@pytest.fixture
def plan(catalog: Catalog) -> Plan:
    return plan_for(catalog, f"{CARD}-x1", MODEL)


def run_of(plan: Plan, tokens: float) -> CalibrationFile:
    reported = {"weights_gib": 61.07, "kv_gib": 9.94, "kv_tokens": tokens}
    return file_of(plan, reported, card=CARD, architecture=ARCHITECTURE, date="2026-11-21")


@pytest.mark.parametrize("path", sorted(ROWS.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_repositorys_rows_have_the_same_schema(path: Path) -> None:
    assert convert(read_yaml(path), CalibrationFile, path).rows


def test_a_run_is_kept_and_read_again_and_fits_the_calibration(plan: Plan, tmp_path: Path, catalog: Catalog) -> None:
    path = keep(run_of(plan, 40704), tmp_path / "rows")
    (found,) = read_files(tmp_path / "rows")
    assert found == run_of(plan, 40704)
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing is left beside it"
    assert plan.kv_cache_tokens is not None
    assert found.rows[0].promised == plan.kv_cache_tokens.low
    raw = read_yaml(path)
    row = read_row({**raw["about"], **raw["rows"][0]}, catalog)
    assert (row.split, row.load.sequences, row.reported["kv_tokens"]) == ((1, 1), plan.max_num_seqs, 40704)


def test_the_last_run_of_a_plan_counts(plan: Plan, tmp_path: Path) -> None:
    for tokens in (40704, 35000):
        keep(run_of(plan, tokens), tmp_path)
    (found,) = read_files(tmp_path)
    assert found.rows[0].reported["kv_tokens"] == 35000
    text = calibration_text([(found.about, found.rows[0])])
    assert "short by 11." in text
    assert text.endswith("warning: 1 of 1 promise was broken")


def test_a_broken_promise_warns_its_like_and_no_other(plan: Plan, catalog: Catalog) -> None:
    short, kept = run_of(plan, 35000), run_of(plan, 40704)
    (line,) = broken_before(plan, CARD, ARCHITECTURE, [short])
    assert "35,000 of " in line
    assert broken_before(plan, CARD, ARCHITECTURE, [kept]) == ()
    sibling = plan_for(catalog, f"{CARD}-x2", "deepseek-r1-distill-qwen-14b")
    assert len(broken_before(sibling, CARD, ARCHITECTURE, [short])) == 1, "the same family of models"
    assert broken_before(plan_for(catalog, f"{CARD}-x1", "qwen3-8b"), CARD, "Qwen3ForCausalLM", [short]) == ()
    assert broken_before(plan, "h200-141g", ARCHITECTURE, [short]) == (), "another card"


def test_runs_of_ones_own_change_no_plan(plan: Plan, tmp_path: Path, inv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("plan", "--profile", f"{CARD}-x1", "--model", MODEL, "--json")
    before = inv(*words)
    keep(run_of(plan, 35000), tmp_path / "rows")
    monkeypatch.setenv("WEIGHBRIDGE_CALIBRATION", str(tmp_path / "rows"))
    after = inv(*words)
    assert (after.code, after.out) == (0, before.out)
    assert "warning: " in after.err
    assert "fewer tokens here than its plan promised" in after.err
    found = inv("calibrate", "--json").data
    assert [r["missing_share"] > 0.1 for r in found["rows"]] == [True]
    (tmp_path / "rows" / "z.yaml").write_text("rows: [", encoding="utf-8")
    assert inv(*words).code == 0, "a damaged row stops no plan"
    assert inv("calibrate").code == 2


def test_nothing_kept_says_how(inv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_CALIBRATION", str(tmp_path / "none"))
    assert "invoke calibrate --add" in inv("calibrate").out


def test_the_folder_is_the_users_or_the_one_that_is_named(tmp_path: Path) -> None:
    assert folder_of({"WEIGHBRIDGE_CALIBRATION": "/x"}) == Path("/x")
    assert folder_of({"XDG_CONFIG_HOME": "/c"}) == Path("/c/weighbridge/calibration")


@pytest.mark.parametrize("text", ["rows: []", "about: {engine: x}", "7", "about: {engnie: x}\nrows: []"])
def test_a_file_that_is_no_row_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match=r"mine\.yaml"):
        list(read_files(tmp_path))
    assert kept_or_none(tmp_path)[1] is not None


def test_a_folder_that_cannot_be_written_is_two_lines(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises((HostError, BadValue)) as caught:
        keep(run_of(plan, 1), tmp_path / "file")
    assert "\n" not in caught.value.message


def test_a_name_is_for_adding(inv: Any) -> None:
    assert inv("calibrate", "--name", "x").code == 2
    assert inv("calibrate", "--dry-run").code == 2
