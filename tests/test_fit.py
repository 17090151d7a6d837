"""What fits: every profile for a model, every model for a profile."""

from __future__ import annotations

from typing import Any

import pytest
from support import ROOT, plan_for

from weighbridge.catalog import Catalog
from weighbridge.errors import BadValue, Refused, UnknownName
from weighbridge.fit import FITS, NARROW, NOT, UNKNOWN, fit_markdown, fit_text, models_for, profiles_for
from weighbridge.types import Order

R1 = "deepseek-r1"


@pytest.mark.parametrize(
    ("profile", "model", "verdict"),
    [
        ("l40s-48g-x4", "deepseek-r1-distill-llama-70b", NARROW),
        ("a100-80g-x4", "deepseek-r1-distill-llama-70b", FITS),
        ("a100-80g-x8", R1, NOT),
        ("h20-96g-x8", R1, NARROW),
        ("h200-141g-x8", R1, FITS),
        ("rtx4090-24g-x1", "deepseek-r1-distill-qwen-14b", NOT),
        ("rtx4090-24g-x1", "deepseek-r1-distill-qwen-7b", NARROW),
    ],
)
def test_verdicts(profile: str, model: str, verdict: str, catalog: Catalog) -> None:
    down = {f.profile: f.verdict for f in profiles_for(Order(model=model), catalog)}
    across = {f.model: f.verdict for f in models_for(Order(profile=profile), catalog)}
    assert down[profile] == across[model] == verdict


def test_every_pair_says_what_its_plan_says(catalog: Catalog) -> None:
    for found in profiles_for(Order(model="qwen3-32b"), catalog):
        if found.verdict in (NOT, UNKNOWN):
            with pytest.raises(Refused):
                plan_for(catalog, found.profile, found.model)
        else:
            assert found.max_model_len == plan_for(catalog, found.profile, found.model).max_model_len


def test_what_is_asked_of_all_is_asked_of_each(catalog: Catalog) -> None:
    found = {f.profile: f for f in profiles_for(Order(model="qwen3-32b", context=4096), catalog)}
    assert {f.max_model_len for f in found.values() if f.verdict not in (NOT, UNKNOWN)} == {4096}


def test_the_text_has_a_table_and_the_reasons(catalog: Catalog) -> None:
    text = fit_text(profiles_for(Order(model=R1), catalog))
    assert "h200-141g-x8" in text
    assert "a100-80g-x8  deepseek-r1: DeepSeek R1 needs 79.29 GiB of weights" in text


def test_the_page_has_a_row_for_each_profile(catalog: Catalog) -> None:
    lines = fit_markdown(catalog).splitlines()
    assert len(lines) == 2 + len(catalog.profiles())
    assert len({line.count("|") for line in lines}) == 1


def test_a_name_that_is_none_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UnknownName):
        models_for(Order(profile="nothing"), catalog)


def test_a_value_that_is_wrong_everywhere_is_refused(catalog: Catalog) -> None:
    wrong: dict[str, Any] = {
        "utilization": 7.0, "context": 10**8, "quantization": "x", "kv_dtype": "x", "dtype": "x", "sequences": 0,
        "batching": "x",
    }  # fmt: skip
    for name, value in wrong.items():
        with pytest.raises(BadValue):
            profiles_for(Order(model="qwen3-8b", **{name: value}), catalog)
        if name != "context":
            with pytest.raises(BadValue):
                models_for(Order(profile="cpu", **{name: value}), catalog)


def test_what_some_cards_cannot_is_a_line_of_the_table(catalog: Catalog) -> None:
    found = {f.profile: f for f in profiles_for(Order(model="qwen3-8b", kv_dtype="fp8"), catalog)}
    assert found["h100-80g-x1"].verdict != NOT
    assert "takes no --kv-dtype fp8" in found["cpu"].why
    across = {f.model: f for f in models_for(Order(profile="h100-80g-x1", context=65536), catalog)}
    assert "more than the 40960 tokens" in across["qwen3-8b"].why
    assert across["deepseek-r1-distill-qwen-7b"].verdict != NOT


def test_quantized_variants_are_weighed_too(catalog: Catalog) -> None:
    found = {f.model: f.verdict for f in models_for(Order(profile="t4-16g-x1"), catalog)}
    assert (found["deepseek-r1-distill-qwen-14b"], found["deepseek-r1-distill-qwen-14b-awq"]) == (NOT, NARROW)


def test_the_page_that_is_committed_is_todays(catalog: Catalog) -> None:
    assert fit_markdown(catalog) in (ROOT / "docs" / "fit.md").read_text(encoding="utf-8"), "make docs"
