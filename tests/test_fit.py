"""What fits: every profile for a model, every model for a profile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from support import ROOT, plan_for

from weighbridge.catalog import Catalog
from weighbridge.errors import BadValue, Refused, UnknownName
from weighbridge.facts import Model
from weighbridge.fit import FITS, NARROW, NOT, UNKNOWN, fit_markdown, fit_text, models_for, profiles_for, several_for
from weighbridge.road import make_plan
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


def test_narrow_is_explained_where_it_is_said(catalog: Catalog) -> None:
    found = profiles_for(Order(model=R1), catalog)
    assert len([line for line in fit_text(found).splitlines() if line.startswith("narrow: ")]) == 1
    assert "narrow: " not in fit_text([f for f in found if f.verdict != NARROW])


def _r1(catalog: Catalog, **changed: Any) -> Model:
    """The shape of R1 with the weights unquantized."""
    model = catalog.model(R1)
    shape = msgspec.structs.replace(model.shape, quantization=None, **changed)
    return msgspec.structs.replace(model, id="mine", shape=shape)


def test_several_machines_are_named_for_a_card_of_which_no_one_holds_it(catalog: Catalog) -> None:
    order, model = Order(model="mine"), _r1(catalog)
    found = profiles_for(order, catalog, model)
    line = several_for(order, catalog, model, found)
    assert line.startswith("where no one machine of a card holds it, several do, planned and not started from here: ")
    named = line.rpartition(": ")[2].split(", ")
    assert {"h20-96g-x8-n2", "h100-80g-x8-n4"} <= {*named}
    single = {catalog.profile(f.profile).card_id for f in found if f.verdict in (FITS, NARROW)}
    for name in named:
        assert make_plan(Order(profile=name, model="mine"), catalog, model).nodes > 1
        assert catalog.profile(name).card_id not in single
    assert f"\n{line}\n" in fit_text(found, line)


def test_a_model_that_no_one_machine_holds_is_said_to_be_one(catalog: Catalog) -> None:
    only = Order(model="qwen3-235b-a22b", engine="mindie")
    said = several_for(only, catalog, None, profiles_for(only, catalog))
    assert said == "no one machine holds it, several do, planned and not started from here: 910b-64g-x8-n2"
    order, huge = Order(model="mine"), _r1(catalog, layers=61 * 40)
    assert several_for(order, catalog, huge, profiles_for(order, catalog, huge)).startswith(
        "no one machine holds it, nor"
    )


def test_a_model_that_every_card_holds_needs_no_several(catalog: Catalog) -> None:
    order = Order(model="qwen3-0.6b")
    assert several_for(order, catalog, None, profiles_for(order, catalog)) == ""


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
