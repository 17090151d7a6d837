"""Weights, KV cache and overhead: the formula against figures from outside, and against sums worked by hand."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT

from weighbridge import listing, memory
from weighbridge.catalog import Catalog, read_yaml
from weighbridge.engines import Overhead
from weighbridge.facts import Model, Shape
from weighbridge.memory import GIB, Load, Split, kv_bytes_per_token, overhead_gib, stage_layers, weights_bytes
from weighbridge.models import read_config

MODELS = Catalog().model_ids()
L70B, Q7B, Q15B, R1, Q06B = (
    "deepseek-r1-distill-llama-70b", "deepseek-r1-distill-qwen-7b", "deepseek-r1-distill-qwen-1.5b", "deepseek-r1",
    "qwen3-0.6b",
)  # fmt: skip


def checked(model_id: str) -> dict[str, float]:
    found = read_yaml(ROOT / "models" / f"{model_id}.yaml").get("checked", {})
    assert isinstance(found, dict)
    return found


# --- against figures from outside ----------------------------------------------------------------------


@pytest.mark.parametrize("model_id", [m for m in MODELS if "parameters" in checked(m)])
def test_parameters_are_those_that_the_publishers_count(model_id: str, catalog: Catalog) -> None:
    published = checked(model_id)["parameters"]
    assert memory.parameters(catalog.model(model_id).shape) == pytest.approx(published, rel=1e-4)


@pytest.mark.parametrize("model_id", [m for m in MODELS if "weights_gib" in checked(m)])
def test_weights_are_as_large_as_the_files(model_id: str, catalog: Catalog) -> None:
    shape = catalog.model(model_id).shape
    ours = weights_bytes(shape, Split(1, 1), 0, shape.dtype, None) / GIB
    rounding = 0.005  # the figures have two decimals
    assert ours == pytest.approx(checked(model_id)["weights_gib"], rel=1e-3, abs=rounding)


def test_every_model_has_a_figure_to_check() -> None:
    assert [m for m in MODELS if not checked(m).keys() & {"parameters", "weights_gib"}] == []


QUANTIZED = yaml.safe_load((ROOT / "tests" / "calibration" / "quantized.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", QUANTIZED, ids=lambda r: r["id"])
def test_weights_in_four_bits_are_what_engines_reported(row: dict[str, Any], catalog: Catalog) -> None:
    """Within 1 % of the engine's line, or of the files where the engine holds more of this shape in any precision."""
    config = read_yaml(ROOT / "models" / f"{row['model']}.yaml")["config"]
    shape = read_config({**config, "quantization_config": row["quantization_config"]}, row["id"], catalog.unsaid)
    ours = weights_bytes(shape, Split(1, 1), 0, "float16", None) / GIB
    assert ours == pytest.approx(row.get("files_gib", row["weights_gib"]), rel=0.01)
    assert ours == pytest.approx(row["weights_gib"], rel=0.02)


def test_a_variant_is_the_model_in_another_precision(catalog: Catalog) -> None:
    for model_id in catalog.model_ids():
        base = catalog.model(model_id)
        for name in catalog.variants_of(model_id):
            found = catalog.model(name)
            assert found.repositories["huggingface"].lower() in {r.lower() for r in found.repositories.values()}
            assert catalog.model(found.repositories["huggingface"]).id == name, "found by its repository's name"
            assert found.shape.quantization is not None
            same = {f: getattr(base.shape, f) for f in ("layers", "hidden_size", "heads", "kv_heads", "vocab_size")}
            assert {f: getattr(found.shape, f) for f in same} == same
            more = memory.parameters(found.shape) / memory.parameters(base.shape)
            padded = found.shape.intermediate_size > base.shape.intermediate_size  # so that groups divide over cards
            assert 1 < more < 1.005 if padded else more == 1
            assert listing.weights_gib(found) < 0.6 * listing.weights_gib(base)


FACTS = Path(os.environ.get("WEIGHBRIDGE_FACTS") or ROOT.parent / "shared" / "facts") / "kv_ground_truth.yaml"


@cache
def measured() -> list[dict[str, Any]]:
    """Rows of public engine logs and of our own runs that are about bfloat16 and say what a rank's weights took."""
    if not FACTS.is_file():
        return []
    rows = yaml.safe_load(FACTS.read_text(encoding="utf-8"))["rows"]
    wanted = ("weights_gib_per_rank", "tp", "pp")
    return [r for r in rows if all(r.get(k) for k in wanted) and _plain(r) and r.get("planner_use") and _known(r)]


def _plain(row: dict[str, Any]) -> bool:
    return row.get("dtype") == "bfloat16" and not row.get("quantization") and "kv_cache_dtype" not in row


@cache
def known_models() -> dict[str, Model]:
    return {m.repositories["huggingface"].split("/")[-1].lower(): m for m in Catalog().models() if m.repositories}


def _known(row: dict[str, Any]) -> Model | None:
    """The catalogue's model of a row, when it has one, and it is dense."""
    names = known_models()
    same_shape = {
        "llama-3.1-8b-instruct": "deepseek-r1-distill-llama-8b",
        "meta-llama-3-8b": "deepseek-r1-distill-llama-8b",
    }
    wanted = str(row["model"]).lower()
    found = names.get(same_shape.get(wanted, wanted))
    return found if found and not found.shape.experts else None


@pytest.mark.skipif(not FACTS.is_file(), reason=f"no measurements at {FACTS}")
def test_there_are_measurements_to_compare_with() -> None:
    assert len(measured()) >= 5


@pytest.mark.parametrize("row", measured(), ids=lambda r: r["id"])
def test_a_rank_holds_what_the_engine_reported(row: dict[str, Any]) -> None:
    model = _known(row)
    assert model is not None
    split = Split(row["tp"], row["pp"])
    ours = max(weights_bytes(model.shape, split, s, "bfloat16", None) for s in range(split.pipeline_parallel)) / GIB
    assert ours == pytest.approx(row["weights_gib_per_rank"], rel=0.01)


@pytest.mark.parametrize("row", [r for r in measured() if r.get("kv_bytes_per_token_per_rank")], ids=lambda r: r["id"])
def test_a_token_takes_what_the_engine_reported(row: dict[str, Any]) -> None:
    model = _known(row)
    assert model is not None
    split = Split(row["tp"], row["pp"])
    rates = [kv_bytes_per_token(model.shape, split, s, 2.0) for s in range(split.pipeline_parallel)]
    assert max(rates) == row["kv_bytes_per_token_per_rank"]


# --- layers on stages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "stages", "expected"),
    [
        (80, 1, [80]),
        (80, 2, [40, 40]),
        (61, 2, [31, 30]),  # the remainder goes before the last stage, which has the head
        (61, 4, [15, 15, 16, 15]),
        (30, 4, [7, 8, 8, 7]),
        (28, 8, [3, 3, 3, 4, 4, 4, 4, 3]),
        (3, 3, [1, 1, 1]),
    ],
)
def test_layers_are_dealt_to_stages_as_the_engine_does_it(layers: int, stages: int, expected: list[int]) -> None:
    assert stage_layers(layers, stages) == expected
    assert sum(expected) == layers


# --- KV cache ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "split", "kv_bytes", "rate"),
    [
        (L70B, (1, 1), 2.0, 80 * 2 * 8 * 128 * 2),
        (L70B, (2, 2), 2.0, 81920),  # 40 layers x 2 x 4 heads x 128 x 2
        (L70B, (4, 1), 2.0, 81920),
        (L70B, (2, 2), 1.0, 40960),  # FP8 halves it
        (R1, (1, 1), 2.0, 70272),  # 61 layers x (512 + 64) x 2
        (R1, (8, 1), 2.0, 70272),  # latent attention is not divided by tensor parallel
        (R1, (8, 2), 2.0, 35712),  # the stage with 31 layers
        (Q15B, (1, 1), 2.0, 28672),
        (Q15B, (2, 1), 2.0, 14336),
        (Q15B, (4, 1), 2.0, 14336),  # two KV heads over four ranks: repeated, so no smaller
        (Q06B, (1, 1), 2.0, 28 * 2 * 8 * 128 * 2),  # head_dim 128 is explicit, not 1024 / 16
    ],
)
def test_bytes_of_a_token_on_a_rank(
    model_id: str, split: tuple[int, int], kv_bytes: float, rate: int, catalog: Catalog
) -> None:
    shape = catalog.model(model_id).shape
    assert max(kv_bytes_per_token(shape, Split(*split), s, kv_bytes) for s in range(split[1])) == rate


# --- weights, worked by hand ---------------------------------------------------------------------------


def test_7b_on_one_card(catalog: Catalog) -> None:
    """28 layers of 233 057 792, two tables of 544 997 376, a norm of 3584: 7 615 616 512 parameters."""
    layer = 2 * 3584 * 3584 + 2 * 3584 * 512 + (3584 + 2 * 512) + 3 * 3584 * 18944 + 2 * 3584
    assert layer == 233_057_792
    parameters = 28 * layer + 2 * 152_064 * 3584 + 3584
    assert weights_bytes(catalog.model(Q7B).shape, Split(1, 1), 0, "bfloat16", None) == 2 * parameters == 15_231_233_024


def test_70b_as_tp2_pp2(catalog: Catalog) -> None:
    """40 layers of 427 835 392 a stage; the embedding on the first, head and norm on the last."""
    layer = 2 * 8192 * 4096 + 8192 * 1024 + 3 * 8192 * 14336 + 2 * 8192
    assert layer == 427_835_392
    shape, split = catalog.model(L70B).shape, Split(2, 2)
    table = 128_256 * 8192 // 2
    assert weights_bytes(shape, split, 0, "bfloat16", None) == 2 * (40 * layer + table)
    assert weights_bytes(shape, split, 1, "bfloat16", None) == 2 * (40 * layer + table + 8192)


def test_a_tied_head_is_held_again_on_the_last_stage(catalog: Catalog) -> None:
    shape = catalog.model(Q06B).shape
    one = weights_bytes(shape, Split(1, 1), 0, "bfloat16", None)
    two = [weights_bytes(shape, Split(1, 2), s, "bfloat16", None) for s in range(2)]
    assert sum(two) - one == 2 * 151_936 * 1024


def test_norms_and_repeated_kv_heads_are_not_divided(catalog: Catalog) -> None:
    """1.5B over four: a query head group a rank, one of two KV heads repeated, norms whole."""
    layer = 2 * 1536 * 384 + 2 * 1536 * 128 + (384 + 2 * 128) + 3 * 1536 * 2240 + 2 * 1536
    table = 151_936 // 4 * 1536
    ours = weights_bytes(catalog.model(Q15B).shape, Split(4, 1), 0, "bfloat16", None)
    assert ours == 2 * (28 * layer + 2 * table + 1536)


def test_the_vocabulary_is_padded_to_64(catalog: Catalog) -> None:
    small = Shape(
        architecture="LlamaForCausalLM", layers=1, hidden_size=8, heads=2, kv_heads=2, head_dim=4, intermediate_size=16,
        vocab_size=65, tied_embeddings=True, attention_bias=False, attention_norms=False, max_context_tokens=128,
        dtype="bfloat16",
    )  # fmt: skip
    assert memory.padded_vocabulary(small) == 128
    layer = 4 * 8 * 8 + 3 * 8 * 16 + 2 * 8
    assert weights_bytes(small, Split(1, 1), 0, "bfloat16", None) == 2 * (layer + 128 * 8 + 8)
    assert weights_bytes(small, Split(1, 1), 0, "float32", None) == 4 * (layer + 128 * 8 + 8)


def test_fp8_blocks_carry_their_scales(catalog: Catalog) -> None:
    """A byte a weight, and a float32 for each block of 128 x 128."""
    assert memory.matrix_bytes(catalog.model(R1).shape, "bfloat16", None) == 1 + 4 / (128 * 128)


def test_quantized_while_loading_only_the_matrices_shrink(catalog: Catalog) -> None:
    shape = catalog.model(Q7B).shape
    matrices = 28 * (2 * 3584 * 3584 + 2 * 3584 * 512 + 3 * 3584 * 18944)
    plain = weights_bytes(shape, Split(1, 1), 0, "bfloat16", None)
    assert plain - weights_bytes(shape, Split(1, 1), 0, "bfloat16", "fp8") == matrices


# --- overhead, worked by hand --------------------------------------------------------------------------

TERM = Overhead(
    fixed_low_gib=0.25, fixed_high_gib=1.0, tensor_parallel_low_gib=0.5, tensor_parallel_high_gib=2.0,
    fused_all_reduce_high_gib=3.0, fused_all_reduce_from_capability=9.0, hidden_rows_low=2, hidden_rows_high=4,
    logits_bytes_low=0, logits_bytes_high=8, compile_tables_high=1, compile_hidden_rows_high=2, graphs_high_gib=0.5,
    because="made up",
)  # fmt: skip
LOW = 2 * (2 * 3584 + 3 * 18944)  # bytes of a token at the widest place of 7B
HIGH = 2 * (4 * 3584 + 3 * 18944)
LOW_HALF = 2 * (2 * 3584 + 3 * 9472)  # the same over two ranks
HIGH_HALF = 2 * (4 * 3584 + 3 * 9472)
TABLE = 2 * 152_064 * 3584


@pytest.mark.parametrize(
    ("split", "load", "low", "high"),
    [
        # one card, eager: fixed + a batch
        ((1, 1), Load(8192, 64, True), 0.25 + 8192 * LOW / GIB, 1.0 + 8192 * HIGH / GIB),
        # compiled, a large batch: graphs only in the high end
        ((1, 1), Load(16384, 64, False), 0.25 + 16384 * LOW / GIB, 1.5 + 16384 * HIGH / GIB),
        # compiled, a small batch: the copy of the vocabulary's table is the larger peak
        ((1, 1), Load(512, 64, False), 0.25 + 512 * LOW / GIB, 1.5 + (TABLE + 2 * 2 * 512 * 3584) / GIB),
        # small batches of many sequences: the logits are the larger peak
        ((1, 1), Load(64, 1024, True), 0.25 + 64 * LOW / GIB, 1.0 + 8 * 1024 * 152_064 / GIB),
        # two ranks: communication, and the wide part halves
        ((2, 1), Load(8192, 64, True), 0.75 + 8192 * LOW_HALF / GIB, 3.0 + 8192 * HIGH_HALF / GIB),
        # two ranks of a card that fuses the all-reduce, which it does when it compiles
        ((2, 1), Load(8192, 64, True, 9.0), 0.75 + 8192 * LOW_HALF / GIB, 3.0 + 8192 * HIGH_HALF / GIB),
        ((2, 1), Load(16384, 64, False, 9.0), 0.75 + 16384 * LOW_HALF / GIB, 6.5 + 16384 * HIGH_HALF / GIB),
        # ... unless the host has no multicast, and it is told not to
        ((2, 1), Load(16384, 64, False, 9.0, False), 0.75 + 16384 * LOW_HALF / GIB, 3.5 + 16384 * HIGH_HALF / GIB),
    ],
)  # fmt: skip
def test_the_band_beside_weights_and_cache(
    split: tuple[int, int], load: Load, low: float, high: float, catalog: Catalog
) -> None:
    assert overhead_gib(catalog.model(Q7B).shape, Split(*split), 0, load, TERM) == pytest.approx((low, high))


def test_logits_are_on_the_last_stage_only(catalog: Catalog) -> None:
    shape, load = catalog.model(Q7B).shape, Load(64, 1024, True)
    first, last = (overhead_gib(shape, Split(1, 2), stage, load, TERM)[1] for stage in range(2))
    assert last > first
