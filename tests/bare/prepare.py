"""Appliances to prove on a machine that has cards and no Docker: all that their images hold beside the vendor's base.

    PYTHONPATH=.:tests python tests/bare/prepare.py RUNS.yaml OUT

RUNS.yaml: a list of {id, order, answers_as, level, cache, forget, extra}, read by prove.py.
OUT/runs/<id>/ gets the files of the image, run.json and shape.json; OUT/gateway is the bundle of nginx
and tini, taken from the Docker engine here; OUT/demo is the demo model.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import yaml
from calibration.prepare import TYPES

from weighbridge.catalog import DATA, Catalog, read_yaml
from weighbridge.order import read_order
from weighbridge.plan import base_reference
from weighbridge.render import render_image
from weighbridge.road import make_plan
from weighbridge.types import Plan, Recipe

DEMO = DATA / "models" / "weighbridge-demo"
BUNDLE = "/opt/gateway"


def bundle(recipe: Recipe, out: Path) -> None:
    """nginx and tini as the image's Dockerfile gathers them, from the same base."""
    import docker  # where appliances are only started, there is none

    from weighbridge.effects.base import ensure_base

    assert recipe.gateway_base is not None
    ensure_base(recipe.gateway_base, mirror=None, say=print)
    tag = base_reference(recipe.gateway_base)
    client = docker.from_env()
    script = recipe.files["bundle.sh"].text
    command = ["sh", "-c", f"mkdir -p {BUNDLE} && sh -s {BUNDLE} <<'END'\n{script}\nEND"]
    container = client.containers.create(tag, command, entrypoint=[])
    try:
        container.start()
        assert container.wait()["StatusCode"] == 0, container.logs().decode()
        chunks, _ = container.get_archive(BUNDLE)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            tar.extractall(out, filter="data")
    finally:
        container.remove(force=True)


def prepare(row: dict[str, Any], catalog: Catalog, out: Path, planned: Plan | None = None) -> Recipe:
    """The files of one run: of a plan that was made, or of the row's order."""
    plan = planned or make_plan(read_order(row["order"]), catalog)
    folder = out / "runs" / row["id"]
    recipe = render_image(plan, catalog)
    for name, file in recipe.files.items():
        path = folder / "image" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
    shape = read_yaml(DATA / "models" / f"{plan.model}.yaml")["config"]
    (folder / "shape.json").write_text(json.dumps({**TYPES[shape["architectures"][0]], **shape}), encoding="utf-8")
    run = {"cache": row["id"], "forget": False, "level": "full", "extra": [], "recipe": recipe.digest, **row}
    del run["order"]
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return recipe


def main() -> None:
    orders, out = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(out, ignore_errors=True)
    catalog = Catalog()
    for row in yaml.safe_load(orders.read_text(encoding="utf-8")):
        recipe = prepare(row, catalog, out)
        if not (out / "gateway").exists():
            bundle(recipe, out)
        print(row["id"])
    shutil.copytree(DEMO, out / "demo")


if __name__ == "__main__":
    main()
