"""Results of drive.py as compact rows: of every run and scenario the figures of each repeat, and when it was ready.

python tests/bench/serving/collect.py ROWS.yaml NAME=RESULTS …     NAME: of the call, in their order
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

FIGURES = {
    "requests_per_second": "request_throughput", "output_tokens_per_second": "output_throughput",
    "ttft_p50_ms": "p50_ttft_ms", "ttft_p99_ms": "p99_ttft_ms", "tpot_p50_ms": "p50_tpot_ms",
    "e2e_p50_ms": "p50_e2el_ms", "failed": "failed",
}  # fmt: skip


def row(path: Path, call: str) -> dict[str, Any]:
    run = json.loads(path.read_text())
    found: dict[str, Any] = {"id": run["id"], "call": call, "words": run["words"], "environment": run["environment"]}
    if run["ready"]:
        found |= {"ready_seconds": run["ready_seconds"], "first_token_seconds": run["first_token_seconds"]}
    else:
        found["died"] = True
    scenarios: dict[str, dict[str, list[float]]] = {}
    for file in sorted(path.parent.glob(f"{run['id']}-*-[0-9].json")):
        match = re.fullmatch(rf"{re.escape(run['id'])}-(\w+)-\d", file.stem)
        if match:
            result = json.loads(file.read_text())
            figures = scenarios.setdefault(match[1], {name: [] for name in FIGURES})
            for name, key in FIGURES.items():
                figures[name].append(round(result[key], 2))
    return found | ({"scenarios": scenarios} if scenarios else {})


def main() -> None:
    out = Path(sys.argv[1])
    rows = []
    for call, _, folder in (word.partition("=") for word in sys.argv[2:]):
        runs = [p for p in sorted(Path(folder).glob("*.json")) if not re.search(r"-\w+-\d\.json$", p.name)]
        rows += [row(p, call) for p in runs]
    head = out.read_text().partition("rows:\n")[0] if out.is_file() else ""
    text = yaml.safe_dump(rows, sort_keys=False, default_flow_style=None, width=118)
    out.write_text(f"{head}rows:\n{text}")


if __name__ == "__main__":
    main()
