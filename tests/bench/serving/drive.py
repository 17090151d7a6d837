"""On a machine with cards: starts prepared servers in turn, times each start, asks the engine's own benchmark.

    python drive.py PREPARED RESULTS [--deadline SECONDS] [id …]

PREPARED/runs/<id>/run.json: {words, environment, path, start_only}; PREPARED/scenarios.json: name -> arguments of the
engine's `bench serve`, with `repeats`. RESULTS gets <id>.log (every line stamped with seconds since the start),
<id>.json (seconds until /health and until the first token) and <id>-<scenario>-<n>.json (the benchmark's own file).
Needs the engine's package and Python's library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

PORT = 8300
BENCH = """
import json, sys
from vllm.benchmarks import serve
from vllm.utils.argparse_utils import FlexibleArgumentParser
for words in json.load(sys.stdin):
    parser = FlexibleArgumentParser()
    serve.add_cli_args(parser)
    try:
        serve.main(parser.parse_args(words))
    except Exception as e:
        print("bench failed:", words, repr(e), flush=True)
"""


def stamped(process: subprocess.Popen[str], log: Path, started: float) -> threading.Thread:
    """Copies what the process prints, each line with the seconds since its start."""

    def copy() -> None:
        assert process.stdout is not None
        with log.open("w", encoding="utf-8", errors="replace") as out:
            for line in process.stdout:
                out.write(f"[{time.monotonic() - started:8.2f}] {line}")

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def healthy(process: subprocess.Popen[str], deadline: float) -> bool:
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=2):
                return True
        except OSError:
            time.sleep(0.2)
    return False


def first_token(model: str) -> None:
    body = {"model": model, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        json.load(answer)


def bench_words(run: dict[str, Any], scenarios: dict[str, Any], results: Path) -> list[list[str]]:
    found = []
    for name, scenario in scenarios.items():
        if name in run.get("leave_out", []):
            continue
        for i in range(scenario["repeats"]):
            found.append([
                "--backend", "openai", "--base-url", f"http://127.0.0.1:{PORT}", "--model", run["path"],
                "--served-model-name", run["model"], "--dataset-name", "random", "--seed", str(2025 + i),
                "--temperature", "0", "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,95,99",
                "--disable-tqdm", "--save-result", "--result-dir", str(results),
                "--result-filename", f"{run['id']}-{name}-{i}.json", *map(str, scenario["arguments"]),
            ])  # fmt: skip
    return found


def serve(folder: Path, results: Path, scenarios: dict[str, Any], deadline: float) -> dict[str, Any]:
    run = json.loads((folder / "run.json").read_text())
    place = Path(run["path"])
    place.parent.mkdir(exist_ok=True)
    if not place.exists():
        shutil.copytree(folder / "model", place)
    tools = results / "bin"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "vllm").write_text('#!/bin/sh\nexec python3 -m vllm.entrypoints.cli.main "$@"\n')
    (tools / "vllm").chmod(0o755)
    for cache in run.get("forget", []):
        shutil.rmtree(os.path.expandvars(cache), ignore_errors=True)
    environment = {**os.environ, **run["environment"], "PATH": f"{tools}:{os.environ['PATH']}"}
    words = [w.replace("{folder}", str(folder)) for w in run["words"]] + ["--port", str(PORT)]
    started = time.monotonic()
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, start_new_session=True, text=True,
        errors="replace",
    )  # fmt: skip
    thread = stamped(process, results / f"{run['id']}.log", started)
    found: dict[str, Any] = {"id": run["id"], "words": words, "environment": run["environment"]}
    try:
        found["ready"] = healthy(process, deadline)
        found["ready_seconds"] = round(time.monotonic() - started, 2)
        if found["ready"]:
            first_token(run["model"])
            found["first_token_seconds"] = round(time.monotonic() - started, 2)
        if found["ready"] and not run.get("start_only"):
            bench(bench_words(run, scenarios, results), results / f"{run['id']}.bench", deadline)
    except (OSError, ValueError) as e:
        found["error"] = repr(e)
    finally:
        found["exit_code"] = process.poll()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        thread.join(10)
        time.sleep(3)  # the driver gives memory back a moment after the process ends
    return found


def bench(words: list[list[str]], log: Path, deadline: float) -> None:
    """Every scenario in one process, since importing the engine costs more than most of them."""
    with log.open("w") as out:
        try:
            subprocess.run(
                [sys.executable, "-c", BENCH], input=json.dumps(words), text=True, stdout=out, stderr=subprocess.STDOUT,
                timeout=max(10.0, deadline - time.monotonic()), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            print("the benchmark was cut by the deadline", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--deadline", type=float, default=540)
    parser.add_argument("ids", nargs="*")
    asked = parser.parse_args()
    deadline = time.monotonic() + asked.deadline
    asked.results.mkdir(parents=True, exist_ok=True)
    scenarios = json.loads((asked.prepared / "scenarios.json").read_text())
    for name in asked.ids or sorted(p.name for p in (asked.prepared / "runs").iterdir()):
        if deadline - time.monotonic() < 60:
            print(f"{name}: no time left", flush=True)
            continue
        found = serve(asked.prepared / "runs" / name, asked.results, scenarios, deadline)
        (asked.results / f"{name}.json").write_text(json.dumps(found, indent=1))
        print(json.dumps({k: v for k, v in found.items() if k not in ("words", "environment")}), flush=True)


if __name__ == "__main__":
    main()
