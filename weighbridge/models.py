"""config.json -> Shape: what bears on memory and parallelism, by the file's own keys."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from weighbridge.errors import BadFile
from weighbridge.facts import Experts, Mla, Quantization, Shape
from weighbridge.words import many

_MOST_LAYERS = 10_000
_LARGEST = 2**40  # no size in a config.json is near this; beyond it is damage or malice
_WIDEST_BITS = 64
_DTYPES = {"half": "float16", "float": "float32"}
_FULL_ATTENTION = {"full_attention", "attention"}
# What a checkpoint's method stores a weight in, bits; the file may say otherwise under `bits`.
_BITS = {"fp8": 8, "compressed-tensors": 8, "awq": 4, "gptq": 4, "bitsandbytes": 4, "mxfp4": 4.25}
# What a group of weights carries beside them where the file does not say: weights a group, bits a group. Double
# quantized scales are unpacked to float32 by the engine when it loads them.
_GROUPS: dict[tuple[str, float], tuple[int, int]] = {("bitsandbytes", 4): (64, 32)}
_WORD = re.compile(r"[\w.:/+ -]{1,100}")  # a name that can stand in one line of an error
_FLOATING = {"fp8", "compressed-tensors"}  # methods whose weights are floating point unless the file says int

Unsaid = Mapping[str, Mapping[str, bool]]


class _Config:
    """A config.json's keys with the checks that turn damage into a BadFile."""

    def __init__(self, found: Mapping[str, Any], where: str) -> None:
        self.found = found
        self.where = where

    def size(self, key: str, *others: str, default: int | None = None) -> int:
        """A whole number above zero, under the first of the keys that is there."""
        for name in (key, *others):
            value = self.found.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _LARGEST:
                raise BadFile(f"{self.where}: {name} is {value!r:.60}", f"{name} must be a whole number above 0")
            return value
        if default is None:
            raise BadFile(f"{self.where}: no {key}", "is it the config.json of a language model, and whole?")
        return default

    def count(self, key: str) -> int:
        """Like size(), but absent, null and 0 all mean none."""
        return self.size(key) if self.found.get(key) else 0

    def text(self, key: str) -> str | None:
        value = self.found.get(key)
        if value is not None and not (isinstance(value, str) and (_WORD.fullmatch(value) or not value)):
            raise BadFile(f"{self.where}: {key} is {value!r:.60}", f"{key} must be a short text")
        return value

    def bits(self, key: str) -> float:
        """A width in bits, which some formats give with a fraction; 0 when absent."""
        value = self.found.get(key)
        if value is None or value is False:
            return 0
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not 0 < value <= _WIDEST_BITS:
            raise BadFile(f"{self.where}: {key} is {value!r:.60}", f"{key} must be a number of bits above 0")
        return float(value) if value % 1 else int(value)

    def items(self, key: str) -> list[Any] | None:
        value = self.found.get(key)
        if value is not None and not isinstance(value, list):
            raise BadFile(f"{self.where}: {key} is {value!r:.60}", f"{key} must be a list")
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.found.get(key) or {}
        if not isinstance(value, Mapping):
            raise BadFile(f"{self.where}: {key} is {value!r:.60}", f"{key} must be an object")
        return value


def read_config(found: Mapping[str, Any], where: str, unsaid: Unsaid) -> Shape:
    """The Shape that a config.json describes.

    `unsaid` is models/_architectures.yaml. Raises BadFile for a key that is missing or cannot be.
    """
    outer = _Config(found, where)
    text = outer.mapping("text_config")
    config = _Config({**found, **text}, where) if text else outer
    architecture = _architecture(outer)
    facts = unsaid.get(architecture, {})
    heads = config.size("num_attention_heads")
    kv_heads = config.size("num_key_value_heads", default=heads)
    if heads % kv_heads:
        raise BadFile(
            f"{where}: {many(heads, 'head')} over {many(kv_heads, 'KV head')}",
            "num_key_value_heads must divide the heads",
        )
    mla = _mla(config)
    hidden = config.size("hidden_size")
    return Shape(
        architecture=architecture,
        layers=_layers(config),
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=config.size("head_dim", default=max(1, hidden // heads)),
        intermediate_size=config.size("intermediate_size", "moe_intermediate_size"),
        vocab_size=config.size("vocab_size"),
        tied_embeddings=bool(config.found.get("tie_word_embeddings", False)),
        attention_bias=bool(config.found.get("attention_bias", facts.get("attention_bias", False))),
        attention_norms=facts.get("attention_norms", False),
        max_context_tokens=config.size("max_position_embeddings", "max_seq_len", "n_positions"),
        dtype=_dtype(config),
        mla=mla,
        experts=_experts(config),
        quantization=_quantization(config),
        no_kv_rate_because=_no_rate(outer, config, architecture in unsaid),
    )


def _layers(config: _Config) -> int:
    found = config.size("num_hidden_layers")
    if found > _MOST_LAYERS:
        raise BadFile(f"{config.where}: num_hidden_layers is {found}", f"no model has more than {_MOST_LAYERS} layers")
    return found


def _architecture(config: _Config) -> str:
    names = config.found.get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str) and _WORD.fullmatch(names[0]):
        return names[0]
    raise BadFile(f"{config.where}: no architectures", "is it the config.json of a language model, and whole?")


def _dtype(config: _Config) -> str:
    name = config.text("torch_dtype") or config.text("dtype") or "bfloat16"
    return _DTYPES.get(name, name).removeprefix("torch.")


def _mla(config: _Config) -> Mla | None:
    if not config.count("kv_lora_rank"):
        return None
    return Mla(
        q_lora_rank=config.count("q_lora_rank") or None,
        kv_lora_rank=config.size("kv_lora_rank"),
        qk_nope_head_dim=config.size("qk_nope_head_dim"),
        qk_rope_head_dim=config.size("qk_rope_head_dim"),
        v_head_dim=config.size("v_head_dim"),
    )


def _experts(config: _Config) -> Experts | None:
    count = config.size("n_routed_experts", "num_experts", "num_local_experts", default=1)
    if count == 1:
        return None
    size = config.size("moe_intermediate_size", "intermediate_size")
    shared_size = config.count("shared_expert_intermediate_size") or config.count("n_shared_experts") * size
    return Experts(
        count=count,
        per_token=config.size("num_experts_per_tok", default=1),
        intermediate_size=size,
        shared_intermediate_size=shared_size,
        first_dense_layers=config.count("first_k_dense_replace"),
        every=config.size("decoder_sparse_step", "moe_layer_freq", default=1),
    )


def _quantization(config: _Config) -> Quantization | None:
    found = _Config(config.mapping("quantization_config"), config.where)
    method = found.text("quant_method")
    if not method:
        return None
    weights = _group_weights(found)
    default = 8 if found.found.get("load_in_8bit") else _BITS.get(method, 16)
    bits = found.bits("bits") or weights.bits("num_bits") or default
    group, scale = _GROUPS.get((method, bits)) or (None, None)
    return Quantization(
        method=method,
        bits=bits,
        floating=method in _FLOATING and weights.text("type") != "int",
        block=_block(found),
        group_size=_group_size(found) or _group_size(weights) or group,
        group_bits=scale,
    )


def _block(found: _Config) -> tuple[int, int] | None:
    """Rows and columns of the weights that share a scale."""
    block = found.items("weight_block_size")
    if block is None:
        return None
    whole = [b for b in block if isinstance(b, int) and not isinstance(b, bool) and 0 < b < _LARGEST]
    if len(block) != 2 or len(whole) != 2:
        hint = "weight_block_size must be two whole numbers above 0"
        raise BadFile(f"{found.where}: weight_block_size is {block!r:.60}", hint)
    return whole[0], whole[1]


def _group_weights(found: _Config) -> _Config:
    """How the first group of a checkpoint stores its weights; most have one group."""
    groups = [g for g in found.mapping("config_groups").values() if isinstance(g, Mapping)]
    weights = groups[0].get("weights") if groups else None
    return _Config(weights if isinstance(weights, Mapping) else {}, found.where)


def _group_size(found: _Config) -> int | None:
    return None if found.found.get("group_size") in (None, 0, -1) else found.size("group_size")


def _no_rate(outer: _Config, config: _Config, known: bool) -> str | None:
    """Why no number of bytes a token can be promised, or None when one can."""
    found = config.found
    kinds = config.items("layer_types")
    if kinds is not None and not {str(k) for k in kinds} <= _FULL_ATTENTION:
        return "its layers are of several kinds (sliding window, linear or state space)"
    if found.get("sliding_window") and found.get("use_sliding_window", True):
        return f"it attends through a sliding window of {found['sliding_window']!r:.20} tokens"
    for key in ("mamba_d_state", "ssm_cfg", "linear_num_key_heads", "attn_type_list", "index_topk"):
        if found.get(key):
            return f"it is a hybrid ({key} in its config.json)"
    if outer.found.get("vision_config") or outer.found.get("audio_config"):
        return "it is multimodal, and what its encoders need is not planned yet"
    return None if known else "its architecture is not among models/_architectures.yaml"
