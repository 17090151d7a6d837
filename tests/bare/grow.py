"""The demo model in the shape of a big one: as large as that on the cards, and it answers as the demo does.

    python grow.py DEMO SHAPE.json OUT

SHAPE.json is the big model's config.json (Qwen2ForCausalLM). Every tensor has the big shape and is zero but for the
demo's own numbers, placed so that nothing else reaches the logits:
- a norm divides by the root of the mean over all channels, so its weights are scaled by sqrt(small / big), and epsilon
  by small / big;
- a head of 32 channels in one of 128 keeps its angles: channel i goes to 4 i, the other half likewise; queries are
  scaled by the root of that 4, which the longer head divides by;
- layers beyond the demo's add nothing to the residual stream;
- one channel is the same small number for every token; rows of the vocabulary that the demo lacks turn it into a large
  negative logit.
Files are sparse: a 14 GiB model takes some megabytes of disk, and is read in full by whoever loads it. Python's library
alone.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

SHARD_BYTES = 4 << 30
CONSTANT = 2.0**-10  # far below the demo's own channels, so that norms do not feel it
LIFT, DROP = 64.0, -4096.0  # what the last norm makes of it, and the missing tokens of that
HEADS = {"q_proj": "heads", "k_proj": "kv_heads", "v_proj": "kv_heads"}


class Tensor(NamedTuple):
    """Rows of bfloat16 words; a vector has one column."""

    shape: tuple[int, ...]
    words: array[int]

    def row(self, number: int) -> array[int]:
        width = self.shape[1] if len(self.shape) == 2 else 1
        return self.words[number * width : (number + 1) * width]


def read(path: Path) -> dict[str, Tensor]:
    """A safetensors file of bfloat16. Raises ValueError for one of another type."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    found = {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "BF16":
            raise ValueError(f"{name} is {entry['dtype']}")
        begin, end = entry["data_offsets"]
        words = array("H", raw[8 + size + begin : 8 + size + end])
        if sys.byteorder == "big":
            words.byteswap()
        found[name] = Tensor(tuple(entry["shape"]), words)
    return found


def bfloat16(number: float) -> int:
    """The word of a number, rounded to nearest, ties to even."""
    bits = int(struct.unpack("<I", struct.pack("<f", number))[0])
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


def scaled(words: array[int], scale: float) -> array[int]:
    if scale == 1.0:
        return words
    numbers = struct.unpack(f"<{len(words)}f", struct.pack(f"<{len(words)}I", *(w << 16 for w in words)))
    return array("H", [bfloat16(n * scale) for n in numbers])


class Shape:
    """What a config.json says of sizes."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.hidden = int(config["hidden_size"])
        self.heads, self.kv_heads = int(config["num_attention_heads"]), int(config["num_key_value_heads"])
        self.head = int(config.get("head_dim") or self.hidden // self.heads)
        self.layers, self.inner = int(config["num_hidden_layers"]), int(config["intermediate_size"])
        self.vocab, self.tied = int(config["vocab_size"]), bool(config.get("tie_word_embeddings"))

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield "model.embed_tokens.weight", (self.vocab, self.hidden)
        if not self.tied:
            yield "lm_head.weight", (self.vocab, self.hidden)
        yield "model.norm.weight", (self.hidden,)
        for i in range(self.layers):
            at = f"model.layers.{i}."
            yield f"{at}input_layernorm.weight", (self.hidden,)
            yield f"{at}post_attention_layernorm.weight", (self.hidden,)
            for name, heads in HEADS.items():
                wide = getattr(self, heads) * self.head
                yield f"{at}self_attn.{name}.weight", (wide, self.hidden)
                yield f"{at}self_attn.{name}.bias", (wide,)
            yield f"{at}self_attn.o_proj.weight", (self.hidden, self.heads * self.head)
            for name in ("gate", "up"):
                yield f"{at}mlp.{name}_proj.weight", (self.inner, self.hidden)
            yield f"{at}mlp.down_proj.weight", (self.hidden, self.inner)


class Row(NamedTuple):
    """Words of one row of a tensor, and the columns that they are for."""

    number: int
    columns: Sequence[int]
    words: array[int]


class Growth:
    """Where the demo's rows and columns go."""

    def __init__(self, small: Shape, big: Shape, demo: dict[str, Tensor]) -> None:
        if big.head % small.head or big.kv_heads < small.kv_heads or big.tied:
            raise ValueError("heads must be a multiple, key heads as many, and the output's matrix its own")
        group, wide = small.heads // small.kv_heads, big.heads // big.kv_heads
        if wide < group:
            raise ValueError("each key head must have as many queries")
        self.small, self.big, self.demo = small, big, demo
        stretch, half = big.head // small.head, range(small.head // 2)
        turned = [i * stretch for i in half] + [big.head // 2 + i * stretch for i in half]
        queries = [h // group * wide + h % group for h in range(small.heads)]
        self.places = {
            "q_proj": [h * big.head + i for h in queries for i in turned],
            "k_proj": [h * big.head + i for h in range(small.kv_heads) for i in turned],
            "v_proj": [h * big.head + i for h in range(small.kv_heads) for i in range(small.head)],
        }
        self.seen = [h * big.head + i for h in queries for i in range(small.head)]
        self.query_scale, self.norm_scale = math.sqrt(stretch), math.sqrt(small.hidden / big.hidden)

    def rows(self, name: str) -> Iterator[Row]:
        """What is not zero in one tensor."""
        last, channels = self.big.hidden - 1, range(self.small.hidden)
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            source = self.demo["model.embed_tokens.weight"]
            yield from (Row(i, channels, source.row(i)) for i in range(self.small.vocab))
            known, others = range(self.small.vocab), range(self.small.vocab, self.big.vocab)
            value = array("H", [bfloat16(CONSTANT if name.startswith("model") else DROP)])
            yield from (Row(i, (last,), value) for i in (known if name.startswith("model") else others))
            return
        if name not in self.demo:
            return
        source, part = self.demo[name], name.split(".")[-2]
        if part.endswith("norm"):
            yield from (Row(i, (0,), scaled(source.row(i), self.norm_scale)) for i in channels)
            if name == "model.norm.weight":
                yield Row(last, (0,), array("H", [bfloat16(LIFT)]))
        elif part in self.places:
            columns: Sequence[int] = channels if name.endswith("weight") else (0,)
            scale = self.query_scale if part == "q_proj" else 1.0
            yield from (Row(to, columns, scaled(source.row(i), scale)) for i, to in enumerate(self.places[part]))
        else:
            columns = {"o_proj": self.seen, "down_proj": range(self.small.inner)}.get(part, channels)
            yield from (Row(i, columns, source.row(i)) for i in range(source.shape[0]))


def write(file: BinaryIO, begin: int, width: int, row: Row) -> None:
    """One row's words in their places of a tensor that starts at `begin`; neighbours in one write."""
    number, columns, words = row
    cuts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(columns)) if b != a + 1), len(columns)]
    for first, after in pairwise(cuts):
        file.seek(begin + 2 * (number * width + columns[first]))
        file.write(struct.pack(f"<{after - first}H", *words[first:after]))


def shards(shape: Shape) -> list[list[tuple[str, tuple[int, ...]]]]:
    found: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    left = SHARD_BYTES
    for name, size in shape.tensors():
        need = 2 * math.prod(size)
        if need > left and found[-1]:
            found.append([])
            left = SHARD_BYTES
        found[-1].append((name, size))
        left -= need
    return found


def write_shard(path: Path, part: list[tuple[str, tuple[int, ...]]], growth: Growth) -> int:
    """The bytes of the tensors of one file."""
    head, offsets, at = {}, {}, 0
    for name, size in part:
        offsets[name] = at
        head[name] = {"dtype": "BF16", "shape": size, "data_offsets": (at, at + 2 * math.prod(size))}
        at += 2 * math.prod(size)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        begin = file.tell()
        file.truncate(begin + at)
        for name, size in part:
            for row in growth.rows(name):
                write(file, begin + offsets[name], size[1] if len(size) == 2 else 1, row)
    return at


def grow(demo_folder: Path, shape_file: Path, out: Path) -> int:
    """The bytes of the grown model's tensors; OUT is a model folder that an engine loads."""
    small, config = json.loads((demo_folder / "config.json").read_bytes()), json.loads(shape_file.read_bytes())
    big = Shape(config)
    growth = Growth(Shape(small), big, read(demo_folder / "model.safetensors"))
    out.mkdir(parents=True, exist_ok=True)
    parts = shards(big)
    names = [f"model-{i:05}-of-{len(parts):05}.safetensors" for i in range(1, len(parts) + 1)]
    whole = sum(write_shard(out / name, part, growth) for name, part in zip(names, parts, strict=True))
    where = {tensor: name for name, part in zip(names, parts, strict=True) for tensor, _ in part}
    index = {"metadata": {"total_size": whole}, "weight_map": where}
    (out / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    same = ("hidden_act", "rope_theta", "rope_parameters", "bos_token_id", "eos_token_id", "pad_token_id")
    config.update({k: small[k] for k in same}, use_sliding_window=False)
    config["rms_norm_eps"] = small["rms_norm_eps"] * growth.norm_scale**2
    config.pop("rope_scaling", None)
    (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    for name in ("chat_template.jinja", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(demo_folder / name, out)
    return whole


if __name__ == "__main__":
    print(grow(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])), "bytes")
