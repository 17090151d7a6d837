"""Does any profile claim more than its record?"""

from __future__ import annotations

import importlib
import sys

import pytest
from support import ROOT, plan_for

from weighbridge.catalog import Catalog, profile_name, read_yaml

RECORD = ROOT / "tests" / "simulated" / "evidence.yaml"
sys.path.append(str(ROOT / "scripts"))


def claims() -> list[tuple[str, str]]:
    found = Catalog()
    return [(c, e) for c in found.card_ids() for e in found.card(c).evidence]


@pytest.mark.parametrize(("card_id", "engine"), claims())
def test_a_profile_claims_no_more_than_its_record(card_id: str, engine: str, catalog: Catalog) -> None:
    card = catalog.card(card_id)
    assert card.family in catalog.engine(engine).families
    claim = card.evidence[engine]
    if claim.level == "ran":
        assert claim.command
        assert claim.date
    if claim.level == "simulated":
        record = read_yaml(RECORD)
        names = {profile_name(card_id, card, count) for count in card.counts}
        assert names <= set(record["arrived"][engine]), "each of its profiles arrived in a container"
        served = {catalog.profile(p).card.family for p in record["answered"][engine]}
        assert card.family in served, "one profile of the family answered"


def test_every_pair_that_can_run_has_evidence(catalog: Catalog) -> None:
    able = {
        (c, e) for c in catalog.card_ids() for e in catalog.engine_ids()
        if catalog.card(c).family in catalog.engine(e).families
    }  # fmt: skip
    assert able == set(claims())


def test_the_page_that_is_committed_is_todays(catalog: Catalog) -> None:
    page = importlib.import_module("hardware_page").page
    assert (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8") == page(catalog, RECORD), "make docs"


def test_what_ran_on_one_machine_is_no_evidence_for_two(catalog: Catalog) -> None:
    for profile, engine in (("910b-64g-x8", "mindie"), ("h20-96g-x8", "vllm")):
        levels = [plan_for(catalog, f"{profile}{n}", "qwen3-32b", engine=engine).evidence.level for n in ("", "-n2")]
        assert levels == ["simulated", "rendered"]
