"""What drive.py needs, from runs.yaml: our plan's rendered entrypoint, or a pasted command translated to the engine.

PYTHONPATH=.:tests python tests/bench/serving/prepare_servers.py RUNS.yaml OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from calibration.prepare import prepare as prepare_plan

from weighbridge.catalog import Catalog

HERE = Path(__file__).resolve().parent


def prepare(row: dict[str, Any], catalog: Catalog, out: Path) -> None:
    prepare_plan({"id": row["id"], "order": row["order"]}, catalog, out)
    folder = out / "runs" / row["id"]
    run = json.loads((folder / "run.json").read_text())
    if "pasted" in row:
        words = [w.replace("{model}", run["path"]) for w in row["pasted"].split()]
        words += ["--served-model-name", row["order"]["model"]]
    else:
        words = ["bash", "{folder}/entrypoint.sh"]
    run = {
        "id": row["id"],
        "path": run["path"],
        "model": row["order"]["model"],
        "words": [*words, "--load-format", "dummy", *row.get("extra", [])],
        "environment": row.get("environment", {}),
        "start_only": row.get("start_only", False),
        "forget": row.get("forget", []),
        "leave_out": row.get("leave_out", []),
    }
    (folder / "run.json").write_text(json.dumps(run, indent=1))


def main() -> None:
    asked, out = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    catalog = Catalog()
    for row in asked["runs"]:
        prepare(row, catalog, out)
        print(row["id"])
    (out / "scenarios.json").write_text(json.dumps(asked["scenarios"], indent=1))


if __name__ == "__main__":
    main()
