"""Runs to measure, as files to carry to a machine with cards: the rendered entrypoint, the plan, the model's shape.

    PYTHONPATH=. python tests/calibration/prepare.py ORDERS.yaml OUT

ORDERS.yaml: a list of {id, order, extra (arguments after the rendered ones)}. OUT/runs/<id>/ gets entrypoint.sh,
plan.json, run.json and model/config.json; the tokenizer is the demo model's. Weights are not needed: the engine is
started with --load-format dummy, and memory does not depend on their values.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from weighbridge.catalog import DATA, Catalog, read_yaml
from weighbridge.order import read_order
from weighbridge.render import render_image
from weighbridge.road import make_plan

# What a model's class wants in config.json and memory does not depend on.
SILENT = {
    "hidden_act": "silu", "initializer_range": 0.02, "rms_norm_eps": 1e-6, "use_cache": True, "bos_token_id": 1,
    "eos_token_id": 2, "attention_dropout": 0.0, "rope_theta": 1000000.0,
}  # fmt: skip
PYTHON_TAG = 800  # beyond the demo tokenizer; a tool parser of the Llama models looks for this token
EMPTY = b"\x02\0\0\0\0\0\0\0{}"  # a safetensors file of no tensors
TYPES: dict[str, dict[str, Any]] = {
    "Qwen2ForCausalLM": {"model_type": "qwen2", "use_sliding_window": False},
    "LlamaForCausalLM": {"model_type": "llama"},
    "Qwen3ForCausalLM": {"model_type": "qwen3", "use_sliding_window": False, "attention_bias": False},
    "Qwen3MoeForCausalLM": {
        "model_type": "qwen3_moe", "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
        "attention_bias": False,
    },
}  # fmt: skip


def prepare(row: dict[str, Any], catalog: Catalog, out: Path) -> None:
    plan = make_plan(read_order(row["order"]), catalog)
    folder = out / "runs" / row["id"]
    model = folder / "model"
    shutil.rmtree(folder, ignore_errors=True)
    model.mkdir(parents=True)
    for name, file in render_image(plan, catalog).files.items():
        (folder / name).write_text(file.text, encoding="utf-8")
    config = read_yaml(DATA / "models" / f"{plan.model}.yaml")["config"]
    kind = TYPES[config["architectures"][0]]
    (model / "config.json").write_text(json.dumps({**SILENT, **config, **kind}, indent=1), encoding="utf-8")
    demo = DATA / "models" / "weighbridge-demo"
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(demo / name, model)
    tokenizer = json.loads((demo / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][-1], "id": PYTHON_TAG, "content": "<|python_tag|>"})
    (model / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (model / "model.safetensors").write_bytes(EMPTY)  # the entrypoint asks for weights; the dummy loader reads none
    run = {"id": row["id"], "cards": plan.cards, "path": plan.model_path, "extra": row.get("extra", [])}
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")


def main() -> None:
    orders, out = Path(sys.argv[1]), Path(sys.argv[2])
    catalog = Catalog()
    for row in yaml.safe_load(orders.read_text(encoding="utf-8")):
        prepare(row, catalog, out)
        print(row["id"])


if __name__ == "__main__":
    main()
