"""Does any profile claim more than its record?"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import pytest
from support import ROOT

from weighbridge.catalog import Catalog, profile_name, read_yaml
from weighbridge.facts import Claim

RAN = ROOT / "tests" / "bare"
RECORD = ROOT / "tests" / "simulated" / "evidence.yaml"
sys.path.append(str(ROOT / "scripts"))


def claims() -> list[tuple[str, str]]:
    found = Catalog()
    return [(c, e) for c in found.card_ids() for e in found.card(c).evidence]


def served(run: dict[str, Any]) -> bool:
    """Whether every question that applies was answered rightly, with the promise kept and no key in the log."""
    answers = [said.partition(":")[0] for said in run["smoke"].values()]
    low, _ = run["promised"]["KV cache tokens"]
    kept = run["reported"]["kv_tokens"] >= low and run["keys_in_log"] == 0 and run["exit_code"] == 0
    return kept and answers.count("ok") >= 20 and set(answers) <= {"ok", "skipped"}


def test_a_run_that_failed_proves_nothing() -> None:
    run = json.loads((RAN / "h100.json").read_text(encoding="utf-8"))["runs"][0]
    assert served(run)
    broken: tuple[dict[str, Any], ...] = (
        {"smoke": {}}, {"smoke": {**run["smoke"], "chat": "failed: said Rome"}}, {"keys_in_log": 1}, {"exit_code": 137},
        {"reported": {"kv_tokens": 1.0}},
    )  # fmt: skip
    for wrong in broken:
        assert not served({**run, **wrong})


@pytest.mark.parametrize(("card_id", "engine"), claims())
def test_a_profile_claims_no_more_than_its_record(card_id: str, engine: str, catalog: Catalog) -> None:
    card = catalog.card(card_id)
    assert card.family in catalog.engine(engine).families
    claim = card.evidence[engine]
    if claim.level == "ran":
        assert claim.command
        assert claim.date
    if card.family != "cpu" and claim.level == "ran":
        runs = [r for path in RAN.glob("*.json") for r in json.loads(path.read_text(encoding="utf-8"))["runs"]]
        proven = {r["profile"] for r in runs if r["engine"] == engine and served(r)}
        assert {profile_name(card_id, card, count) for count in claim.counts or card.counts} <= proven
    if "simulated" in (claim.level, claim.others):
        record = read_yaml(RECORD)
        names = {profile_name(card_id, card, count) for count in card.counts if count not in claim.counts}
        assert names <= set(record["arrived"][engine]), "each of its profiles arrived in a container"
        families = {catalog.profile(p).card.family for p in record["answered"][engine]}
        assert card.family in families, "one profile of the family answered"


def test_every_pair_that_can_run_has_evidence(catalog: Catalog) -> None:
    able = {
        (c, e) for c in catalog.card_ids() for e in catalog.engine_ids()
        if catalog.card(c).family in catalog.engine(e).families
    }  # fmt: skip
    assert able == set(claims())


def test_the_page_that_is_committed_is_todays(catalog: Catalog) -> None:
    page = importlib.import_module("hardware_page").page
    assert (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8") == page(catalog, RECORD), "make docs"


def test_what_is_proven_of_one_card_is_not_claimed_of_eight(catalog: Catalog) -> None:
    claim = Claim(level="ran", note="one", counts=(1,), others="simulated")
    assert [claim.of(count, 1).level for count in (1, 8)] == ["ran", "simulated"]
    assert claim.of(8, 1).note is None
    assert claim.of(1, 2).level == "rendered"
    assert Claim(level="simulated").of(8, 2).level == "rendered"
    assert Claim(level="simulated").of(8, 1).level == "simulated"
