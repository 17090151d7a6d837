"""config.json -> Shape: the keys as the engines read them, and every kind of damage as two lines."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import ROOT

from weighbridge.catalog import Catalog, read_yaml
from weighbridge.errors import BadFile, Refused
from weighbridge.facts import Model, Shape
from weighbridge.models import read_config
from weighbridge.road import make_plan
from weighbridge.types import Order

DENSE: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 28, "hidden_size": 3584, "num_attention_heads": 28,
    "num_key_value_heads": 4, "intermediate_size": 18944, "vocab_size": 152064, "max_position_embeddings": 131072,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
R1: dict[str, Any] = read_yaml(ROOT / "models" / "deepseek-r1.yaml")["config"]
MOE: dict[str, Any] = read_yaml(ROOT / "models" / "qwen3-235b-a22b.yaml")["config"]
GONE = object()
UNSAID = Catalog().unsaid


def shape(config: dict[str, Any], **changes: Any) -> Shape:
    found = {k: v for k, v in {**config, **changes}.items() if v is not GONE}
    return read_config(found, "config.json", UNSAID)


# --- what is read --------------------------------------------------------------------------------------


def test_a_dense_model() -> None:
    found = shape(DENSE)
    assert (found.layers, found.heads, found.kv_heads, found.head_dim) == (28, 28, 4, 128)
    assert found.attention_bias, "Qwen2 has biases that its config.json does not mention"
    assert found.experts is None
    assert found.no_kv_rate_because is None


def test_latent_attention_experts_and_block_scales() -> None:
    found = shape(R1)
    assert found.mla is not None
    assert (found.mla.kv_lora_rank, found.mla.qk_rope_head_dim) == (512, 64)
    assert found.experts is not None
    assert (found.experts.count, found.experts.first_dense_layers) == (256, 3)
    assert found.experts.shared_intermediate_size == found.experts.intermediate_size, "one expert for every token"
    assert found.quantization is not None
    assert (found.quantization.bits, found.quantization.block) == (8, (128, 128))


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"num_key_value_heads": GONE}, "kv_heads", 28),  # every head its own
        ({"head_dim": 64}, "head_dim", 64),
        ({"head_dim": None}, "head_dim", 128),
        ({"torch_dtype": GONE, "dtype": "float16"}, "dtype", "float16"),  # the newer key
        ({"torch_dtype": "half"}, "dtype", "float16"),
        ({"torch_dtype": GONE}, "dtype", "bfloat16"),
        ({"tie_word_embeddings": GONE}, "tied_embeddings", False),
        ({"attention_bias": False}, "attention_bias", False),
        ({"max_position_embeddings": GONE, "max_seq_len": 2048}, "max_context_tokens", 2048),
        ({"architectures": ["Qwen3ForCausalLM"]}, "attention_norms", True),
    ],
)
def test_keys_have_defaults_and_other_names(changes: dict[str, Any], field: str, value: object) -> None:
    assert getattr(shape(DENSE, **changes), field) == value


@pytest.mark.parametrize(
    ("quantization", "method", "bits"),
    [
        ({"quant_method": "fp8"}, "fp8", 8),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq", 4),
        ({"quant_method": "gptq", "bits": 8}, "gptq", 8),
        ({"quant_method": "mxfp4"}, "mxfp4", 4.25),
        ({"quant_method": "mxfp4", "bits": 4.25}, "mxfp4", 4.25),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, "gptq", 4),  # one group: the whole row
    ],
)
def test_how_a_checkpoint_is_stored(quantization: dict[str, Any], method: str, bits: float) -> None:
    found = shape(DENSE, quantization_config=quantization).quantization
    assert found is not None
    assert (found.method, found.bits) == (method, bits)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sliding_window": 4096}, "sliding window of 4096"),
        ({"sliding_window": 4096, "use_sliding_window": False}, None),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "several kinds"),
        ({"layer_types": ["full_attention"] * 28}, None),
        ({"mamba_d_state": 128}, "hybrid (mamba_d_state"),
        ({"index_topk": 2048}, "hybrid (index_topk"),
        ({"vision_config": {"depth": 32}}, "multimodal"),
        ({"architectures": ["NobodyKnowsForCausalLM"]}, "not among models/_architectures.yaml"),
    ],
)
def test_a_rate_is_promised_only_where_it_is_known(changes: dict[str, Any], why: str | None) -> None:
    found = shape(DENSE, **changes).no_kv_rate_because
    assert (found is None) if why is None else (found is not None and why in found)


def test_the_language_part_of_a_multimodal_model() -> None:
    outer = {"architectures": ["SomethingForConditionalGeneration"], "text_config": DENSE, "vision_config": {"d": 1}}
    found = read_config(outer, "config.json", {})
    assert (found.architecture, found.layers) == ("SomethingForConditionalGeneration", 28)


# --- damage --------------------------------------------------------------------------------------------

SIZES = ["num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size"]


@pytest.mark.parametrize("key", [*SIZES, "max_position_embeddings", "architectures"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(BadFile) as caught:
        shape(DENSE, **{key: GONE})
    assert caught.value.message == f"config.json: no {key}"
    assert caught.value.hint == "is it the config.json of a language model, and whole?"


@pytest.mark.parametrize("key", SIZES)
@pytest.mark.parametrize("value", [0, -1, 1.5, "28", [28], {"a": 1}, True, 2**60, float("nan"), float("inf")])
def test_a_size_that_cannot_be_is_named(key: str, value: object) -> None:
    with pytest.raises(BadFile) as caught:
        shape(DENSE, **{key: value})
    assert caught.value.message.startswith(f"config.json: {key} is ")
    assert caught.value.hint == f"{key} must be a whole number above 0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_key_value_heads": 5}, "28 heads over 5 KV heads"),
        ({"num_key_value_heads": 0}, "num_key_value_heads is 0"),
        ({"architectures": []}, "no architectures"),
        ({"architectures": "Qwen2ForCausalLM"}, "no architectures"),
        ({"architectures": [7]}, "no architectures"),
        ({"torch_dtype": 16}, "torch_dtype is 16"),
        ({"text_config": 7}, "text_config is 7"),
        ({"quantization_config": "fp8"}, "quantization_config is 'fp8'"),
        ({"quantization_config": {"quant_method": 8}}, "quant_method is 8"),
        ({"quantization_config": {"quant_method": "awq", "bits": "four"}}, "bits is 'four'"),
        ({"quantization_config": {"quant_method": "awq", "bits": float("nan")}}, "bits is nan"),
        ({"quantization_config": {"quant_method": "awq", "bits": -4}}, "bits is -4"),
        ({"quantization_config": {"quant_method": "a\nb"}}, "quant_method is 'a\\nb'"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [0, 0]}}, "weight_block_size is [0, 0]"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128]}}, "weight_block_size is [128]"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": "128"}}, "weight_block_size is '128'"),
        ({"layer_types": "full_attention"}, "layer_types is 'full_attention'"),
        ({"architectures": ["a\nb"]}, "no architectures"),
        ({"quantization_config": {"quant_method": "awq", "group_size": "many"}}, "group_size is 'many'"),
        ({"kv_lora_rank": 512}, "no qk_nope_head_dim"),
        ({"kv_lora_rank": "many"}, "kv_lora_rank is 'many'"),
        ({"num_experts": "many"}, "num_experts is 'many'"),
        ({"num_experts": 8, "num_experts_per_tok": -1}, "num_experts_per_tok is -1"),
    ],
)
def test_damage_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadFile) as caught:
        shape(DENSE, **changes)
    assert caught.value.message.startswith(f"config.json: {message}")
    assert "\n" not in caught.value.message + caught.value.hint
    assert caught.value.hint


def test_a_long_wrong_value_is_cut() -> None:
    with pytest.raises(BadFile) as caught:
        shape(DENSE, hidden_size="9" * 100_000)
    assert len(caught.value.message) < 200


# --- anything at all -----------------------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
likely: st.SearchStrategy[Any] = st.sampled_from(
    [0, 1, 2, 3, 7, 64, 128, -1, 2**31, 2**39, 2**41, 1e308, "", "fp8", "x", [], {}, None, True, [128, 128]]
)
KEYS = sorted(
    {*DENSE, *R1, *MOE, "text_config", "layer_types", "sliding_window", "dtype", "shared_expert_intermediate_size",
     "decoder_sparse_step", "vision_config"}
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    base=st.sampled_from([DENSE, R1, MOE]),
    changes=st.dictionaries(st.sampled_from(KEYS), likely | anything, min_size=1, max_size=3),
    inner=st.dictionaries(
        st.sampled_from(["quant_method", "bits", "group_size", "weight_block_size"]), likely | anything, max_size=2
    ),
)
def test_no_damage_raises_anything_but_a_refusal(
    base: dict[str, Any], changes: dict[str, Any], inner: dict[str, Any], catalog: Catalog
) -> None:
    config = copy.deepcopy({**base, **changes})
    if isinstance(config.get("quantization_config"), dict):
        config["quantization_config"].update(inner)
    try:
        found = read_config(config, "config.json", catalog.unsaid)
        if found.layers <= 1000:  # a stage is summed layer by layer
            model = Model(id="damaged", title="damaged", shape=found)
            make_plan(Order(profile="h100-80g-x1", model="damaged"), catalog, model)
    except Refused as e:
        refusals = [e.message, e.hint]
    else:
        refusals = []
    assert not any("\n" in line for line in refusals)


@pytest.mark.parametrize(
    ("stored", "bits", "floating", "group_size"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8, True, None),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 4, False, 128),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8, False, None),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4, False, 64),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 128}}}}, 4, False, 128),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "group_0": {"weights": {"num_bits": 8, "type": "float"}}}}, 8, True, None),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "group_0": {"weights": {"num_bits": 8, "type": "int"}}}}, 8, False, None),
    ],
)  # fmt: skip
def test_how_a_checkpoint_stores_its_weights(
    stored: dict[str, Any], bits: float, floating: bool, group_size: int | None
) -> None:
    found = shape(DENSE, quantization_config=stored).quantization
    assert found is not None
    assert (found.bits, found.floating, found.group_size) == (bits, floating, group_size)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    base=st.sampled_from([DENSE, R1, MOE]),
    cut=st.floats(0, 1),
    put=st.sampled_from(
        [b"", b"NaN", b"-Infinity", b"9" * 5000, b"[" * 5000, b"\xff\xfe", b"1e999", b'"\\ud800"', b"null", b"{}", b"0"]
    ),
    keep=st.booleans(),
    context=st.sampled_from([None, 4096]),
)
def test_no_damaged_file_raises_anything_but_a_refusal(
    base: dict[str, Any], cut: float, put: bytes, keep: bool, context: int | None, catalog: Catalog, tmp_path: Path
) -> None:
    """Cut anywhere, or with something else put in there: a plan, or two lines."""
    whole = json.dumps(base).encode()
    at = round(cut * len(whole))
    (tmp_path / "config.json").write_bytes(whole[:at] + put + (whole[at:] if keep else b""))
    try:
        model = catalog.model_from_config("damaged", tmp_path)
        make_plan(Order(profile="h100-80g-x8", model="damaged", context=context), catalog, model)
    except Refused as e:
        lines = [e.message, e.hint]
    else:
        lines = ["planned"]
    assert all(line and "\n" not in line for line in lines)


def test_more_layers_than_any_model_has_are_damage() -> None:
    """They would be walked one by one."""
    with pytest.raises(BadFile, match="num_hidden_layers is 549755813888"):
        shape(DENSE, num_hidden_layers=2**39)
