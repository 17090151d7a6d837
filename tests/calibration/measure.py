"""Starts prepared runs on the cards of this machine, several at a time, and notes what the engine says of its memory.

    python tests/calibration/measure.py PREPARED RESULTS [--deadline SECONDS] [id …]

Needs only Python's library. Each run is its rendered entrypoint with --load-format dummy and a port of its own; one
real request is answered before it counts as started. RESULTS gets <id>.log and <id>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PATTERNS = {
    "weights_gib": r"Model loading took ([\d.]+) GiB",
    "kv_gib": r"Available KV cache memory: (-?[\d.]+) GiB",
    "kv_tokens": r"GPU KV cache size: ([\d,]+) tokens",
    "concurrency": r"Maximum concurrency for [\d,]+ tokens per request: ([\d.]+)x",
    "graph_gib": r"Graph capturing finished in [\d.]+ secs, took (-?[\d.]+) GiB",
    "graph_estimate_gib": r"Estimated CUDA graph memory: ([\d.]+) GiB",
    "activation_gib": r"(?:torch peak memory increase|peak activation memory)[^\d-]*([\d.]+)\s?GiB",
    "non_torch_gib": r"non-torch forward increase memory[^\d-]*([\d.]+)\s?GiB",
    "total_consumed": r"Memory profiling takes (.*)",
    "free_gib": r"Initial free memory: ([\d.]+) GiB",
    "refused": r"(To serve at least one request.*|No available memory for the cache blocks.*)",
}
SHIM = """#!/bin/sh
# Stands before the driver's tool, which shows every card whatever CUDA_VISIBLE_DEVICES says; a container sees its own.
n=$(echo "$CUDA_VISIBLE_DEVICES" | tr , '\\n' | grep -c .)
for i in $(seq "$n"); do echo card; done
"""


class Cards:
    """Which cards are free; a run waits until it has its own."""

    def __init__(self, count: int) -> None:
        self.free = list(range(count))
        self.changed = threading.Condition()

    def take(self, count: int) -> list[int]:
        with self.changed:
            self.changed.wait_for(lambda: len(self.free) >= count)
            taken, self.free = self.free[:count], self.free[count:]
            return taken

    def give(self, cards: list[int]) -> None:
        with self.changed:
            self.free = sorted(self.free + cards)
            self.changed.notify_all()


def bin_folder(results: Path) -> Path:
    """A `vllm` command for an engine that is only on PYTHONPATH, and the nvidia-smi shim."""
    folder = results / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    engine = '#!/bin/sh\nexec python3 -m vllm.entrypoints.cli.main "$@"\n'
    for name, text in (("nvidia-smi", SHIM), ("vllm", engine)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def post(port: int, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return str(json.load(answer)["usage"])


def cache_config(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return next((line for line in text.splitlines() if line.startswith("vllm:cache_config_info")), "")


def wait(process: subprocess.Popen[bytes], port: int, deadline: float) -> bool:
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return True
        except OSError:
            time.sleep(0.5)
    return False


def measure(folder: Path, results: Path, cards: list[int], port: int, deadline: float) -> dict[str, Any]:
    run = json.loads((folder / "run.json").read_text())
    plan = json.loads((folder / "plan.json").read_text())
    place = Path(run["path"])
    place.parent.mkdir(exist_ok=True)
    if not place.exists():
        place.symlink_to((folder / "model").resolve())
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(map(str, cards)), "VLLM_LOGGING_LEVEL": "DEBUG"}
    environment["PATH"] = f"{bin_folder(results)}:{environment['PATH']}"
    words = ["bash", str(folder / "entrypoint.sh"), "--load-format", "dummy", "--port", str(port), *run["extra"]]
    log = results / f"{run['id']}.log"
    started = time.monotonic()
    found: dict[str, Any] = {"id": run["id"], "extra": run["extra"], "card_indexes": cards, "command": words[2:]}
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        try:
            found["ready"] = wait(process, port, deadline)
            found["ready_seconds"] = round(time.monotonic() - started, 1)
            if found["ready"]:
                found["answered"] = post(port, plan["model"])
                found["cache_config_info"] = cache_config(port)
        except (OSError, KeyError, ValueError) as e:
            found["error"] = repr(e)
        finally:
            found["exit_code"] = process.poll()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found.update(read_log(log.read_text(errors="replace")))
    return found


def read_log(text: str) -> dict[str, Any]:
    """Of each pattern the smallest number (ranks print in turn), or the text."""
    found: dict[str, Any] = {}
    for name, pattern in PATTERNS.items():
        seen = re.findall(pattern, text)
        if not seen:
            continue
        try:
            values = [float(s.replace(",", "")) for s in seen]
            found[name] = min(values) if name.startswith("kv") else max(values)
            if len(set(values)) > 1:
                found[f"{name}_all"] = sorted(set(values))
        except ValueError:
            found[name] = seen[0][:300]
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--deadline", type=float, default=540)
    parser.add_argument("ids", nargs="*")
    asked = parser.parse_args()
    deadline = time.monotonic() + asked.deadline
    asked.results.mkdir(parents=True, exist_ok=True)
    names = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout.splitlines()
    cards = Cards(len(names))
    wanted = asked.ids or sorted(p.name for p in (asked.prepared / "runs").iterdir())

    def one(name: str, port: int) -> None:
        folder = asked.prepared / "runs" / name
        count = json.loads((folder / "run.json").read_text())["cards"]
        mine = cards.take(count)
        try:
            left = deadline - time.monotonic()
            if left < 30:
                print(f"{name}: no time left", flush=True)
                return
            row = measure(folder, asked.results, mine, port, deadline)
            (asked.results / f"{name}.json").write_text(json.dumps(row, indent=1))
            short = {k: v for k, v in row.items() if k not in ("command", "cache_config_info", "total_consumed")}
            print(json.dumps(short), flush=True)
        finally:
            time.sleep(2)  # the driver gives memory back a moment after the process ends
            cards.give(mine)

    threads = []
    for i, name in enumerate(wanted):
        thread = threading.Thread(target=one, args=(name, 8100 + i))
        thread.start()
        threads.append(thread)
        time.sleep(0.2)  # in order
    for thread in threads:
        thread.join()
    print("\n".join(names), file=sys.stderr)


if __name__ == "__main__":
    main()
