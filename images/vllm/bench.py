"""The engine's own benchmark, driven inside its container: one order on standard input, events on standard output.

python3 -c "$(cat bench.py)"     every scenario in one process, since importing the engine costs more than most

The first line of input is a JSON object: url, model, path, key, percentiles, goodput, jobs. The key goes from there
into this process's memory, never into an argument. When the input ends, whoever asked has gone, and so does this
process.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time

NAMES = {"ttft_ms": "ttft", "tpot_ms": "tpot", "itl_ms": "itl", "e2e_ms": "e2el"}
FIGURES = {
    "seconds": "duration",
    "completed": "completed",
    "failed": "failed",
    "input_tokens": "total_input_tokens",
    "output_tokens": "total_output_tokens",
    "requests_per_second": "request_throughput",
    "output_tokens_per_second": "output_throughput",
    "total_tokens_per_second": "total_token_throughput",
    "goodput_per_second": "request_goodput",
}
WARM = {"input_tokens": 32, "output_tokens": 16, "prefix_tokens": 0, "prompts": 16, "rate": None, "concurrency": None}
POWER = ("nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits")
events = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the engine prints is a log, not an event


def tell(event, **more):
    events.write(json.dumps({"event": event, **more}) + "\n")
    events.flush()


def end_with_the_input():
    while sys.stdin.read(4096):
        pass
    os._exit(3)


class Power(threading.Thread):
    """The draw of all visible cards, W, each second; nothing where the driver's tool is not there."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self.tool = [], shutil.which(POWER[0])

    def run(self):
        while self.tool:
            try:
                text = subprocess.run(POWER, capture_output=True, text=True, timeout=10, check=True).stdout
                self.seen.append((time.monotonic(), sum(float(line) for line in text.split())))
            except (OSError, ValueError, subprocess.SubprocessError):
                return
            time.sleep(1)

    def mean(self, begin, end):
        found = [watts for at, watts in self.seen if begin <= at <= end]
        return sum(found) / len(found) if found else None


def words(order, job):
    found = [
        "--backend", "openai", "--base-url", order["url"], "--endpoint", "/v1/completions", "--model", order["path"],
        "--served-model-name", order["model"], "--dataset-name", "random", "--seed", str(job["seed"]),
        "--random-input-len", str(job["input_tokens"]), "--random-output-len", str(job["output_tokens"]),
        "--random-prefix-len", str(job["prefix_tokens"]), "--num-prompts", str(job["prompts"]), "--ignore-eos",
        "--request-rate", str(job["rate"] or "inf"), "--temperature", "0", "--disable-tqdm",
        "--percentile-metrics", ",".join(NAMES.values()),
        "--metric-percentiles", ",".join(str(p) for p in order["percentiles"]),
    ]  # fmt: skip
    if job["concurrency"]:
        found += ["--max-concurrency", str(job["concurrency"])]
    if order["url"].startswith("https:"):
        found.append("--insecure")  # the container asks itself
    if order["goodput"]:
        found += ["--goodput", *(f"{NAMES[name]}:{limit}" for name, limit in order["goodput"].items())]
    return found


def figures(result, order):
    found = {name: result.get(key) for name, key in FIGURES.items()}
    for name, key in NAMES.items():
        found[name] = {"mean": result[f"mean_{key}_ms"]}
        for percentile in order["percentiles"]:
            found[name][f"p{percentile}"] = result[f"p{percentile}_{key}_ms"]
    return found


def run(serve, parse, order, job):
    parser = parse()
    serve.add_cli_args(parser)
    return serve.main(parser.parse_args(words(order, job)))


def main():
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_the_input, daemon=True).start()
    if order["key"]:
        os.environ["OPENAI_API_KEY"] = order["key"]
    serve = importlib.import_module("vllm.benchmarks.serve")
    parse = importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser
    power = Power()
    power.start()
    tell("imported")
    run(serve, parse, order, {**WARM, "seed": 1})  # the first requests of an engine's life are slower; not counted
    for number, job in enumerate(order["jobs"]):
        tell("begun", job=number)
        begin = time.monotonic()
        try:
            result = run(serve, parse, order, job)
        except (Exception, SystemExit) as e:  # the next scenario may do better
            tell("broken", job=number, error=f"{type(e).__name__}: {e}"[:500])
            continue
        end = time.monotonic()
        found = {**figures(result, order), "power_watts": power.mean(end - result["duration"], end)}
        tell("measured", job=number, figures=found, whole_seconds=end - begin)
    events.close()
    os._exit(0)


main()
