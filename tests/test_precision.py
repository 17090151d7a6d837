"""In what precision: the checkpoint's, what was asked, and what the card can do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from weighbridge.catalog import Catalog
from weighbridge.errors import Refused
from weighbridge.facts import Quantization, Shape
from weighbridge.precision import Precision, choose_precision
from weighbridge.types import Order


def chosen(catalog: Catalog, card_id: str, shape: Shape, **order: Any) -> Precision:
    card = catalog.card(card_id)
    engine = catalog.engine(catalog.family(card.family).default_engine)
    return choose_precision(Order(**order), card, engine.families[card.family], shape)


def stored(catalog: Catalog, model: str = "qwen3-8b", **quantization: Any) -> Shape:
    """The shape of a model, stored otherwise."""
    shape = catalog.model(model).shape
    return msgspec.convert({**msgspec.to_builtins(shape), "quantization": quantization or None}, Shape)


@pytest.mark.parametrize(
    ("card", "model", "order", "label", "dtype", "kv_bytes"),
    [
        ("a100-80g", "qwen3-8b", {}, "bfloat16", "bfloat16", 2.0),
        ("a100-80g", "qwen3-8b", {"dtype": "float16"}, "float16", "float16", 2.0),
        ("cpu", "qwen3-8b", {"dtype": "float32"}, "float32", "float32", 4.0),
        ("h100-80g", "deepseek-r1", {}, "fp8", "bfloat16", 2.0),
        ("a100-80g", "deepseek-r1", {}, "fp8-weight-only", "bfloat16", 2.0),  # no FP8 units before Ada and Hopper
        ("h100-80g", "qwen3-8b", {"kv_dtype": "fp8"}, "bfloat16", "bfloat16", 1.0),
        ("h100-80g", "qwen3-8b", {"kv_dtype": "fp8_e5m2"}, "bfloat16", "bfloat16", 1.0),
        ("l40s-48g", "qwen3-8b", {"quantization": "fp8"}, "fp8", "bfloat16", 2.0),
    ],
)
def test_what_is_served(
    card: str, model: str, order: dict[str, Any], label: str, dtype: str, kv_bytes: float, catalog: Catalog
) -> None:
    found = chosen(catalog, card, catalog.model(model).shape, **order)
    assert (found.label, found.dtype, found.kv_bytes) == (label, dtype, kv_bytes)
    assert found.because


@pytest.mark.parametrize(
    ("card", "order", "message", "hint"),
    [
        ("a100-80g", {"dtype": "bfloat"}, "--dtype 'bfloat' is none of bfloat16, float16, float32",
         "did you mean --dtype bfloat16?"),
        ("910b-64g", {"dtype": "float32"}, "--dtype 'float32' is none of bfloat16, float16",
         "did you mean --dtype float16?"),
        ("a100-80g", {"kv_dtype": "fp8"}, "NVIDIA A100 SXM4 80 GB keeps no KV cache in fp8", "try --kv-dtype fp8_e5m2"),
        ("a100-80g", {"kv_dtype": "int4"}, "--kv-dtype 'int4' is none of auto, fp8, fp8_e4m3, fp8_e5m2",
         "--kv-dtype takes: auto, fp8, fp8_e4m3, fp8_e5m2"),
        ("910b-64g", {"kv_dtype": "fp8"}, "--kv-dtype 'fp8' is none of auto", "--kv-dtype takes: auto"),
        ("910b-64g", {"quantization": "fp8"}, "this engine quantizes nothing on this family of cards",
         "leave --quantization out"),
        ("h100-80g", {"quantization": "awq"}, "--quantization 'awq' is none of fp8", "--quantization takes: fp8"),
    ],
)  # fmt: skip
def test_what_is_asked_and_cannot_be(
    card: str, order: dict[str, Any], message: str, hint: str, catalog: Catalog
) -> None:
    with pytest.raises(Refused) as caught:
        chosen(catalog, card, catalog.model("qwen3-8b").shape, **order)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(("card", "told"), [("a100-80g", True), ("h100-80g", False)])
def test_fp8_without_its_units_saves_memory_alone(card: str, told: bool, catalog: Catalog) -> None:
    """Whoever asks for it is told what the order of an FP8 checkpoint is told too."""
    found = chosen(catalog, card, catalog.model("qwen2.5-7b-instruct").shape, quantization="fp8")
    assert ("memory is saved, time is not" in " ".join(found.because)) is told


def test_a_quantized_checkpoint_is_not_quantized_again(catalog: Catalog) -> None:
    with pytest.raises(Refused, match=r"quantized already \(fp8\)"):
        chosen(catalog, "h100-80g", catalog.model("deepseek-r1").shape, quantization="fp8")


@pytest.mark.parametrize("card", ["910b-64g", "cpu"])
def test_fp8_weights_do_not_load_everywhere(card: str, catalog: Catalog) -> None:
    with pytest.raises(Refused, match="a checkpoint in fp8 does not load on"):
        chosen(catalog, card, catalog.model("deepseek-r1").shape)


@pytest.mark.parametrize(
    ("quantization", "label"),
    [
        ({"method": "awq", "bits": 4, "group_size": 128}, "awq-4bit"),
        ({"method": "gptq", "bits": 8}, "gptq-8bit"),  # integers, whatever the card does with FP8
        ({"method": "compressed-tensors", "bits": 8, "floating": True}, "fp8"),
        ({"method": "compressed-tensors", "bits": 8}, "compressed-tensors-8bit"),
        ({"method": "fp8", "bits": 16}, "bfloat16"),
    ],
)
def test_stored_formats(quantization: dict[str, Any], label: str, catalog: Catalog) -> None:
    found = chosen(catalog, "h100-80g", stored(catalog, **quantization))
    assert found.label == label


def test_a_checkpoint_in_float32_is_served_in_sixteen_bits(catalog: Catalog) -> None:
    shape = msgspec.structs.replace(catalog.model("qwen3-8b").shape, dtype="float32")
    found = chosen(catalog, "a100-80g", shape)
    assert found.dtype == "bfloat16"
    assert "the checkpoint's float32 is not what this card computes in" in found.because[0]


def test_an_fp8_checkpoint_leaves_less_choice_for_the_cache(catalog: Catalog) -> None:
    with pytest.raises(Refused, match="an FP8 checkpoint takes no KV cache in fp8_e5m2"):
        chosen(catalog, "h100-80g", catalog.model("deepseek-r1").shape, kv_dtype="fp8_e5m2")


def test_a_method_nobody_listed_is_refused(catalog: Catalog) -> None:
    shape = catalog.model("qwen3-8b").shape
    odd = msgspec.structs.replace(shape, quantization=Quantization(method="some-new-method", bits=16))
    with pytest.raises(Refused, match="a checkpoint in some-new-method does not load on"):
        chosen(catalog, "h100-80g", odd)
