"""Which ways of cutting are possible, and which is taken for the way the cards are linked."""

from __future__ import annotations

import pytest
from support import plan_for

from weighbridge.catalog import Catalog
from weighbridge.errors import BadValue, Unsupported
from weighbridge.parallel import cannot_split, splits
from weighbridge.types import Order

R1D = "deepseek-r1-distill-"


@pytest.mark.parametrize(
    ("model", "tp", "pp", "why"),
    [
        (R1D + "qwen-7b", 8, 1, "28 attention heads do not divide by tensor parallel 8"),
        (R1D + "qwen-1.5b", 8, 1, "12 attention heads do not divide by tensor parallel 8"),
        (R1D + "qwen-32b", 16, 1, "40 attention heads do not divide by tensor parallel 16"),
        ("qwen3-8b", 3, 1, "32 attention heads do not divide by tensor parallel 3"),
        ("qwen3-8b", 1, 37, "36 layers are fewer than 37 pipeline stages"),
        ("deepseek-r1", 32, 1, "a size of 2048 over tensor parallel 32 cuts through the checkpoint's blocks of 128"),
    ],
)
def test_what_cannot_be_cut_says_why_with_the_numbers(model: str, tp: int, pp: int, why: str, catalog: Catalog) -> None:
    assert cannot_split(catalog.model(model).shape, tp, pp) == why


@pytest.mark.parametrize(
    ("model", "tp", "pp"),
    [(R1D + "qwen-7b", 4, 1), (R1D + "qwen-1.5b", 4, 1), (R1D + "llama-70b", 8, 1), ("deepseek-r1", 8, 2)],
)
def test_what_can_be_cut_gives_no_reason_against_it(model: str, tp: int, pp: int, catalog: Catalog) -> None:
    assert cannot_split(catalog.model(model).shape, tp, pp) is None


@pytest.mark.parametrize(
    ("profile", "model", "tp", "pp", "dp"),
    [
        ("l40s-48g-x4", R1D + "llama-70b", 2, 2, 1),  # no peer-to-peer: tensor parallel over two, stages beyond
        ("l40s-48g-x8", R1D + "llama-70b", 2, 4, 1),
        ("rtx4090-24g-x8", R1D + "qwen-32b", 2, 4, 1),
        ("a100-80g-x4", R1D + "llama-70b", 4, 1, 1),  # NVLink
        ("a100-80g-x8", R1D + "qwen-7b", 1, 1, 8),  # small: a replica a card, and never TP8 with 28 heads
        ("h100-80g-x8", R1D + "qwen-1.5b", 1, 1, 8),
        ("h20-96g-x8", "deepseek-r1", 8, 1, 1),
        ("h20-96g-x8-n2", "deepseek-r1", 8, 2, 1),  # tensor parallel inside a machine, stages between them
        ("910b-64g-x8", R1D + "llama-70b", 8, 1, 1),
        ("h100-80g-x1", R1D + "qwen-7b", 1, 1, 1),
    ],
)
def test_what_is_taken(profile: str, model: str, tp: int, pp: int, dp: int, catalog: Catalog) -> None:
    found = plan_for(catalog, profile, model)
    assert (found.tensor_parallel, found.pipeline_parallel, found.data_parallel) == (tp, pp, dp)
    assert any(line.startswith(("tensor parallel", "pipeline", "data parallel", "one card")) for line in found.because)


def test_fewer_cards_are_tried_first_and_better_links_before_worse(catalog: Catalog) -> None:
    shape = catalog.model(R1D + "llama-70b").shape
    found = list(splits(Order(), catalog.profile("l40s-48g-x4"), shape))
    assert found == [(1, 1), (2, 1), (1, 2), (2, 2), (1, 4), (4, 1)]


def test_tensor_parallel_never_reaches_past_a_machine(catalog: Catalog) -> None:
    shape = catalog.model(R1D + "llama-70b").shape
    found = list(splits(Order(), catalog.profile("a100-80g-x4-n2"), shape))
    assert max(s.tensor_parallel for s in found) == 4
    assert (4, 2) in found


@pytest.mark.parametrize(
    ("profile", "asked", "message", "hint"),
    [
        ("a100-80g-x8", {"tensor_parallel": 8}, "28 attention heads do not divide by tensor parallel 8",
         "--tensor-parallel 4"),
        ("a100-80g-x4", {"tensor_parallel": 4, "pipeline_parallel": 2}, "4 x 2 x 1 = 8 cards; a100-80g-x4 has 4",
         "--tensor-parallel 4 --pipeline-parallel 1"),
        ("a100-80g-x4-n2", {"tensor_parallel": 7}, "tensor parallel 7 reaches past one machine of 4 cards",
         "--tensor-parallel 4"),
        ("a100-80g-x4", {"data_parallel": 5}, "1 x 1 x 5 = 5 cards; a100-80g-x4 has 4",
         "--data-parallel 4"),
    ],
)  # fmt: skip
def test_what_is_asked_and_cannot_be(
    profile: str, asked: dict[str, int], message: str, hint: str, catalog: Catalog
) -> None:
    with pytest.raises(Unsupported) as caught:
        plan_for(catalog, profile, R1D + "qwen-7b", **asked)
    assert caught.value.message.endswith(message)
    assert caught.value.hint == f"try invoke plan --profile {profile} --model {R1D}qwen-7b {hint}"


def test_a_cut_that_would_not_fit_is_no_hint(catalog: Catalog) -> None:
    """Half the cards would divide the model, and not hold it."""
    with pytest.raises(Unsupported) as caught:
        plan_for(catalog, "a100-80g-x8", R1D + "llama-70b", tensor_parallel=8, pipeline_parallel=2)
    assert caught.value.alternatives[0]["change"] == "--pipeline-parallel 1"
    with pytest.raises(Unsupported) as caught:
        plan_for(catalog, "l40s-48g-x4", R1D + "llama-70b", tensor_parallel=3)
    assert caught.value.alternatives[0]["change"] == "--tensor-parallel 2", "one card does not hold it, 2 x 2 do"


def test_replicas_of_experts_are_refused_with_what_can_be(catalog: Catalog) -> None:
    with pytest.raises(Unsupported) as caught:
        plan_for(catalog, "h200-141g-x8", "qwen3-30b-a3b", data_parallel=2)
    assert caught.value.hint.endswith("--data-parallel 1")


def test_what_is_asked_and_can_be_is_done(catalog: Catalog) -> None:
    found = plan_for(catalog, "l40s-48g-x4", R1D + "llama-70b", tensor_parallel=4)
    assert (found.tensor_parallel, found.pipeline_parallel) == (4, 1)
    found = plan_for(catalog, "a100-80g-x8", R1D + "llama-70b", data_parallel=2, tensor_parallel=4)
    assert (found.tensor_parallel, found.data_parallel, found.cards) == (4, 2, 8)


def test_cards_that_stay_idle_are_said(catalog: Catalog) -> None:
    found = plan_for(catalog, "a100-80g-x8", R1D + "qwen-7b", tensor_parallel=1, pipeline_parallel=1, data_parallel=2)
    assert found.cards == 2
    assert "6 cards stay idle" in found.because


def test_fewer_replicas_are_wider_rather_than_idle(catalog: Catalog) -> None:
    found = plan_for(catalog, "a100-80g-x8", R1D + "qwen-7b", data_parallel=2)
    assert (found.tensor_parallel, found.data_parallel, found.cards) == (4, 2, 8)


@pytest.mark.parametrize(("profile", "cut"), [("a100-80g-x4", (4, 1, 1)), ("h100-80g-x8", (4, 1, 2))])
def test_less_context_asked_does_not_throw_the_cache_away(profile: str, cut: tuple[int, ...], catalog: Catalog) -> None:
    """Smaller replicas would hold the 8192 tokens too, and together a fraction of what these hold."""
    found = plan_for(catalog, profile, R1D + "llama-70b", context=8192)
    assert (found.tensor_parallel, found.pipeline_parallel, found.data_parallel) == cut


@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "qwen3-235b-a22b"])
def test_experts_are_divided_and_not_repeated(model: str, catalog: Catalog) -> None:
    found = plan_for(catalog, "h200-141g-x8", model)
    assert (found.tensor_parallel, found.data_parallel) == (8, 1)
    with pytest.raises(Unsupported, match="data parallel 2: replicas of a mixture of experts work in step"):
        plan_for(catalog, "h200-141g-x8", model, data_parallel=2)


def test_every_machine_gets_the_same_number_of_ranks(catalog: Catalog) -> None:
    with pytest.raises(Unsupported):
        plan_for(catalog, "a100-80g-x8-n2", R1D + "qwen-7b", tensor_parallel=1, pipeline_parallel=1, data_parallel=3)


def test_a_split_that_was_asked_for_is_called_so(catalog: Catalog) -> None:
    found = plan_for(catalog, "l40s-48g-x4", R1D + "llama-70b", tensor_parallel=4)
    assert "tensor parallel 4: asked" in found.because
    assert any("tensor parallel 4 is wider than pcie carries well" in w for w in found.warnings)


@pytest.mark.parametrize("flag", ["tensor_parallel", "pipeline_parallel", "data_parallel"])
def test_none_of_something_is_refused(flag: str, catalog: Catalog) -> None:
    with pytest.raises(BadValue, match=f"--{flag.replace('_', '-')} 0 is less than 1"):
        plan_for(catalog, "a100-80g-x4", R1D + "qwen-7b", **{flag: 0})
