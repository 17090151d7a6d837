"""Weights, KV cache and overhead of one rank: arithmetic in bytes and GiB, nothing else.

The formulas are those of the engine's own loader and KV cache manager: matrices are split over tensor
parallel ranks, norms and routers are repeated, the vocabulary is padded to 64 and split, the embedding lies
on the first pipeline stage and the head on the last.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from weighbridge.engines import Overhead
from weighbridge.facts import Quantization, Shape

GIB = 1024**3
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "fp8": 1.0, "fp8_e4m3": 1.0, "fp8_e5m2": 1.0}
_VOCAB_PADDING = 64
_SCALE_BYTES = 4  # a block's scale is float32
_ACTIVATION_BYTES = 2.0  # of 16-bit activations
_BYTE = 1.0


class Split(NamedTuple):
    """How one replica is cut: tensor parallel ranks by pipeline stages."""

    tensor_parallel: int
    pipeline_parallel: int

    @property
    def ranks(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel


def stage_layers(layers: int, stages: int) -> list[int]:
    """Layers on each pipeline stage. A remainder goes to the stages before the last, from the end."""
    found = [layers // stages] * stages
    for i in range(2, layers % stages + 2):
        found[-i] += 1
    return found


def padded_vocabulary(shape: Shape) -> int:
    return math.ceil(shape.vocab_size / _VOCAB_PADDING) * _VOCAB_PADDING


def matrix_bytes(shape: Shape, dtype: str, online: str | None) -> float:
    """Bytes a weight of the large matrices: the checkpoint's own format, or an online quantization."""
    if shape.quantization:
        return _stored_bytes(shape.quantization, dtype)
    return BYTES[online] if online else BYTES[dtype]


def _stored_bytes(quantization: Quantization, dtype: str) -> float:
    if quantization.bits >= 16:
        return BYTES[dtype]
    plain = quantization.bits / 8 * _BYTE
    if quantization.block:
        return plain + _SCALE_BYTES / (quantization.block[0] * quantization.block[1])
    if quantization.group_size:  # a 16-bit scale and a zero point of the weights' own width, unless it says otherwise
        beside = 16 + quantization.bits if quantization.group_bits is None else quantization.group_bits
        return plain + beside / 8 / quantization.group_size * _BYTE
    return plain


def weights_bytes(shape: Shape, split: Split, stage: int, dtype: str, online: str | None) -> float:
    """Bytes of weights on one rank of a pipeline stage (0 is the first)."""
    layers = stage_layers(shape.layers, split.pipeline_parallel)
    first = sum(layers[:stage])
    matrix, other = matrix_bytes(shape, dtype, online), BYTES[dtype]
    total = 0.0
    for layer in range(first, first + layers[stage]):
        matrices, rest = _layer(shape, split.tensor_parallel, layer)
        total += matrices * matrix + rest * other
    return total + _ends(shape, split, stage) * other


def _ends(shape: Shape, split: Split, stage: int) -> float:
    """Parameters of embedding, head and last norm on a stage."""
    table = padded_vocabulary(shape) / split.tensor_parallel * shape.hidden_size
    last = stage == split.pipeline_parallel - 1
    count = table if stage == 0 else 0.0
    if last:
        count += shape.hidden_size
        if stage > 0 or not shape.tied_embeddings:  # a tied head shares the embedding only on the same rank
            count += table
    return count


def _layer(shape: Shape, tp: int, layer: int) -> tuple[float, float]:
    """Parameters of one layer on one rank: (in matrices that may be quantized, in what never is)."""
    matrices, rest = _latent_attention(shape, tp) if shape.mla else _attention(shape, tp)
    experts = shape.experts
    rest += 2 * shape.hidden_size
    if experts and layer >= experts.first_dense_layers and (layer + 1) % experts.every == 0:
        sizes = experts.count * experts.intermediate_size + experts.shared_intermediate_size
        return matrices + 3 * shape.hidden_size * sizes / tp, rest + shape.hidden_size * experts.count
    return matrices + 3 * shape.hidden_size * shape.intermediate_size / tp, rest


def kv_heads_on_rank(shape: Shape, tp: int) -> int:
    """KV heads are split, and repeated once there are fewer than ranks."""
    return max(1, shape.kv_heads // tp)


def _attention(shape: Shape, tp: int) -> tuple[float, float]:
    query = shape.heads * shape.head_dim / tp
    key_value = 2 * kv_heads_on_rank(shape, tp) * shape.head_dim
    matrices = shape.hidden_size * (2 * query + key_value)
    bias = query + key_value if shape.attention_bias else 0.0
    return matrices, bias + (2 * shape.head_dim if shape.attention_norms else 0)


def _latent_attention(shape: Shape, tp: int) -> tuple[float, float]:
    mla = shape.mla
    assert mla is not None
    heads = shape.heads / tp
    query_dim = heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim)
    down = shape.hidden_size * (mla.kv_lora_rank + mla.qk_rope_head_dim)  # repeated on every rank
    up = mla.kv_lora_rank * heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    out = heads * mla.v_head_dim * shape.hidden_size
    if mla.q_lora_rank is None:
        return shape.hidden_size * query_dim + down + up + out, mla.kv_lora_rank
    query = shape.hidden_size * mla.q_lora_rank + mla.q_lora_rank * query_dim
    return query + down + up + out, mla.kv_lora_rank + mla.q_lora_rank


def parameters(shape: Shape) -> int:
    """Parameters of the whole model, without padding of the vocabulary and without prediction layers."""
    matrices, rest = 0.0, float(shape.hidden_size)
    for layer in range(shape.layers):
        m, r = _layer(shape, 1, layer)
        matrices, rest = matrices + m, rest + r
    tables = 1 if shape.tied_embeddings else 2
    return round(matrices + rest + tables * shape.vocab_size * shape.hidden_size)


def kv_bytes_per_token(shape: Shape, split: Split, stage: int, kv_bytes: float) -> float:
    """Bytes of KV cache for one token on one rank. Latent attention is not divided by tensor parallel."""
    layers = stage_layers(shape.layers, split.pipeline_parallel)[stage]
    if shape.mla:
        return layers * (shape.mla.kv_lora_rank + shape.mla.qk_rope_head_dim) * kv_bytes
    return layers * 2 * kv_heads_on_rank(shape, split.tensor_parallel) * shape.head_dim * kv_bytes


class Load(NamedTuple):
    """What bears on the overhead beside the model: batch limits, captured graphs, what cards can and links carry."""

    batched_tokens: int
    sequences: int
    eager: bool
    compute_capability: float = 0.0
    multicast: bool = True


class Band(NamedTuple):
    """low and high, GiB."""

    low: float
    high: float


def overhead_gib(shape: Shape, split: Split, stage: int, load: Load, term: Overhead) -> Band:
    """What one rank needs beside weights and KV cache: fixed + communication + activation peak + graphs.

    fixed is the context outside the allocator and the slack of the loader. The activation peak is the largest of
    a full batch through the widest layer, the logits of every sequence (last stage), and, where the engine
    compiles without a cache from an earlier start, a copy of the vocabulary's table while it does.
    """
    batch, several = _batch_gib(shape, split, load, term), split.tensor_parallel > 1
    logits = _logits_gib(shape, split, stage, load, term)
    low = term.fixed_low_gib + several * term.tensor_parallel_low_gib + max(batch.low, logits.low)
    high = term.fixed_high_gib + several * term.tensor_parallel_high_gib
    if load.eager:
        return Band(low, high + max(batch.high, logits.high))
    fuses = several and load.multicast
    if fuses and load.compute_capability >= term.fused_all_reduce_from_capability:  # a pass of the compiler
        high += term.fused_all_reduce_high_gib
    high += term.graphs_experts_high_gib if shape.experts else term.graphs_high_gib
    return Band(low, high + max(batch.high, logits.high, _compile_gib(shape, split, load, term)))


def _batch_gib(shape: Shape, split: Split, load: Load, term: Overhead) -> Band:
    """A full batch at the widest place of a layer: rows of hidden states, and gate, up and their product."""
    rows = [k * shape.hidden_size for k in (term.hidden_rows_low, term.hidden_rows_high)]
    dense = 3 * shape.intermediate_size / split.tensor_parallel
    wide = [dense, dense]
    if shape.experts:
        inner = 3 * shape.experts.intermediate_size / split.tensor_parallel + shape.hidden_size
        routed = shape.experts.per_token * inner
        dense = dense if shape.experts.first_dense_layers else 0.0
        wide = [max(dense, routed * f) for f in (term.experts_low, term.experts_high)]
    low, high = (load.batched_tokens * _ACTIVATION_BYTES * (r + w) / GIB for r, w in zip(rows, wide, strict=True))
    return Band(low, high)


def _logits_gib(shape: Shape, split: Split, stage: int, load: Load, term: Overhead) -> Band:
    if stage < split.pipeline_parallel - 1:
        return Band(0.0, 0.0)
    count = load.sequences * padded_vocabulary(shape) / GIB
    return Band(count * term.logits_bytes_low, count * term.logits_bytes_high)


def _compile_gib(shape: Shape, split: Split, load: Load, term: Overhead) -> float:
    table = padded_vocabulary(shape) / split.tensor_parallel * shape.hidden_size
    rows = load.batched_tokens * shape.hidden_size
    return _ACTIVATION_BYTES * (term.compile_tables_high * table + term.compile_hidden_rows_high * rows) / GIB
