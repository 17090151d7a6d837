"""The demo grown to another model's shape: every number of the demo in its place, and nothing else."""

from __future__ import annotations

import json
import math
import struct
from array import array
from pathlib import Path

import pytest
from bare.grow import DROP, LIFT, Growth, Shape, Tensor, bfloat16, grow, read, scaled

from weighbridge.catalog import DATA

DEMO = DATA / "models" / "weighbridge-demo"
SHAPE = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "num_hidden_layers": 5, "hidden_size": 256,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 200, "vocab_size": 800,
    "tie_word_embeddings": False, "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
}  # fmt: skip


def number(word: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", word << 16))[0])


def at(tensor: Tensor, row: int, column: int = 0) -> float:
    return number(tensor.row(row)[column])


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grown")
    (folder / "shape.json").write_text(json.dumps(SHAPE))
    size = grow(DEMO, folder / "shape.json", folder / "model")
    assert size == 2 * sum(math.prod(shape) for _, shape in Shape(SHAPE).tensors())
    return folder / "model"


def test_the_numbers_are_the_demos_and_the_rest_is_nothing(grown: Path) -> None:
    small, big = read(DEMO / "model.safetensors"), read(next(grown.glob("*.safetensors")))
    assert {name: t.shape for name, t in big.items()} == dict(Shape(SHAPE).tensors())
    for name in ("self_attn.v_proj.weight", "mlp.down_proj.weight", "self_attn.o_proj.weight"):
        demo, here = (t[f"model.layers.1.{name}"] for t in (small, big))
        assert sorted(w for w in here.words if w & 0x7FFF) == sorted(w for w in demo.words if w & 0x7FFF), name
    assert not any(big["model.layers.4.mlp.down_proj.weight"].words), "a layer that the demo lacks adds nothing"
    assert not any(big["model.layers.4.self_attn.o_proj.weight"].words)


def test_heads_keep_their_angles_and_their_scale(grown: Path) -> None:
    """Channel i of 32 turns by theta**(-2i/32); that is channel 2i of 64. Two queries share a key, here three."""
    small, big = read(DEMO / "model.safetensors"), read(next(grown.glob("*.safetensors")))
    queries, here = small["model.layers.0.self_attn.q_proj.weight"], big["model.layers.0.self_attn.q_proj.weight"]
    for head, to in enumerate((0, 1, 3, 4)):  # the first two of each three
        for channel, place in ((0, 0), (5, 10), (16, 32), (31, 62)):
            wanted = at(queries, head * 32 + channel, 7) * math.sqrt(2)
            assert at(here, to * 64 + place, 7) == pytest.approx(wanted, rel=2**-8)
    assert not any(here.row(2 * 64)), "the third query is nothing"


def test_norms_and_the_vocabulary(grown: Path) -> None:
    small, big = read(DEMO / "model.safetensors"), read(next(grown.glob("*.safetensors")))
    scale = math.sqrt(128 / 256)
    assert at(big["model.norm.weight"], 3) == pytest.approx(at(small["model.norm.weight"], 3) * scale, rel=2**-8)
    assert at(big["model.norm.weight"], 255) == LIFT
    assert {at(big["lm_head.weight"], row, 255) for row in (768, 799)} == {DROP}
    assert at(big["lm_head.weight"], 5, 255) == 0.0
    config = json.loads((grown / "config.json").read_text())
    assert config["rms_norm_eps"] == pytest.approx(1e-6 * 128 / 256)
    index = json.loads((grown / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(big)


@pytest.mark.parametrize("number", [0.0, 1.0, -1.0, 1.00390625, 0.3333, -70000.0, 2.0**-20])
def test_rounding_is_to_the_nearest_even(number: float) -> None:
    word = bfloat16(number)
    back = at(Tensor((1,), array("H", [word])), 0)
    assert abs(back - number) <= abs(number) * 2**-8
    assert scaled(array("H", [word]), 2.0)[0] == bfloat16(back * 2)


def test_a_shape_that_cannot_hold_the_demo_is_refused() -> None:
    demo = read(DEMO / "model.safetensors")
    small = Shape(json.loads((DEMO / "config.json").read_bytes()))
    for wrong in ({"head_dim": 48}, {"num_key_value_heads": 1}, {"tie_word_embeddings": True}):
        with pytest.raises(ValueError, match="heads must be"):
            Growth(small, Shape({**SHAPE, **wrong}), demo)
    with pytest.raises(ValueError, match="as many queries"):
        Growth(small, Shape({**SHAPE, "num_attention_heads": 2}), demo)
