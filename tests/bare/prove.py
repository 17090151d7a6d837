"""On a machine with cards and no Docker: prepared appliances, each started whole, asked the smoke contract, stopped.

    PYTHONPATH=.:ENGINE python tests/bare/prove.py PREPARED RESULTS [--deadline SECONDS] [id …]

What a container would hold lies below /tmp/weighbridge instead of at the places in the image; files that name those
places are changed to say so. The process runs as uid 10001 without capabilities where the machine lets it; else as
root, and nginx.conf is told so, which the image's is not. The model is the demo, grown to the shape that the plan is
for (grow.py). run.json: `answers_as`, the model of the catalogue whose questions are asked; `level`; `cache`, the name
of a cache folder that runs may share; `forget`, to empty it first; `pack`, to make a warm layer of it afterwards;
`layer`, the run whose warm layer this image has; `extra`, words after the image's name; `recipe`, the digest of the
image's files.

RESULTS gets record.json, which is what tests/bare keeps; <id>.log, each line with the seconds since the start; and
<id>.json: the report, what the engine says of its memory, and the phases of its start.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bare.grow import grow
from weighbridge.catalog import Catalog
from weighbridge.effects.chat import Target, open_client
from weighbridge.effects.keyring import Keyring, read_secret
from weighbridge.effects.smoke import smoke
from weighbridge.reconcile import read_metrics, read_reported, reconcile
from weighbridge.smoke import read_contract
from weighbridge.startup import phases
from weighbridge.types import Plan

ROOT = Path("/tmp/weighbridge")
UID = 10001
AS_USER = [
    "setpriv", f"--reuid={UID}", "--regid=0", "--clear-groups", "--no-new-privs", "--bounding-set=-all",
    "--inh-caps=-all",
]  # fmt: skip
ENGINE = '#!/bin/sh\nexec python3 -m vllm.entrypoints.cli.main "$@"\n'
CARDS = '#!/bin/sh\nexec {tool} -i {cards} "$@"\n'


class Log:
    """Lines of a process with the seconds since its start, kept and written."""

    def __init__(self, heard: int, path: Path) -> None:
        self.lines: list[tuple[float, str]] = []
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self._copy, args=(heard, path), daemon=True)
        self.thread.start()

    def _copy(self, heard: int, path: Path) -> None:
        words = {"encoding": "utf-8", "errors": "replace"}
        with os.fdopen(heard, **words) as said, path.open("w", **words) as out:  # type: ignore[call-overload]
            for line in said:
                passed = time.monotonic() - self.began
                if '"path":"/health"' in line:
                    continue  # our own asking
                self.lines.append((passed, line))
                out.write(f"[{passed:8.2f}] {line}")


def place(folder: Path, run: dict[str, Any]) -> dict[str, str]:
    """Where the image's places are here."""
    here = ROOT / folder.name
    return {
        "/opt/weighbridge": str(here / "opt"),
        "/run/weighbridge": str(here / "run"),
        "/run/bodies": str(here / "bodies"),
        "/opt/gateway": str(ROOT / "gateway"),
        "/var/cache/weighbridge": str(ROOT / "cache" / run["cache"]),
        "/tmp/home": str(here / "home"),
        "/models/": str(ROOT / "models") + "/",
    }


def put(source: Path, to: Path, places: dict[str, str]) -> None:
    """A copy of files, in which the places of the image are those of this machine."""
    shutil.copytree(source, to, symlinks=True, dirs_exist_ok=True)
    for path in to.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for before, after in places.items():
            text = text.replace(before, after)
        path.write_text(text, encoding="utf-8")


def as_user() -> list[str]:
    """Words before a command that make it an ordinary user; none where the engine cannot be imported so."""
    try:
        words = [*AS_USER, "env", sys.executable, "-c", "import torch, vllm"]
        home = {**os.environ, "USER": "engine", "LOGNAME": "engine", "TORCHINDUCTOR_CACHE_DIR": "/tmp/look"}
        subprocess.run(words, check=True, capture_output=True, timeout=60, env=home)
    except (OSError, subprocess.SubprocessError) as e:
        print("runs as this user:", e, getattr(e, "stderr", b""), flush=True)
        return []
    return AS_USER


def laid_out(prepared: Path, folder: Path, run: dict[str, Any], plan: Plan, user: list[str]) -> Keyring:
    """Everything that the image, its mounts and its tmpfs would be."""
    places = place(folder, run)
    here, cache = ROOT / folder.name, ROOT / "cache" / run["cache"]
    shutil.rmtree(here, ignore_errors=True)
    if run["forget"]:
        shutil.rmtree(cache, ignore_errors=True)
    put(folder / "image", here / "opt", places)
    (here / "opt" / "entrypoint.sh").chmod(0o755)
    if run.get("layer"):
        subprocess.run(["tar", "-x", "-f", str(ROOT / f"{run['layer']}.tar"), "-C", str(here / "opt")], check=True)
    if not user:  # started by root, nginx would work as nobody, who may not open the engine's socket
        conf = here / "opt" / "nginx.conf"
        conf.write_text("user root;\n" + conf.read_text())
    if not (ROOT / "gateway").exists():
        put(prepared / "gateway", ROOT / "gateway", {"/opt/gateway": str(ROOT / "gateway")})
    model = ROOT / "models" / plan.model
    if not model.exists():
        if run.get("grown", True):
            grow(prepared / "demo", folder / "shape.json", model)
        else:
            shutil.copytree(prepared / "demo", model)
    tools = here / "bin"
    tools.mkdir(parents=True)
    (tools / "vllm").write_text(ENGINE)
    (tools / "vllm").chmod(0o755)
    ring = Keyring(here / "secret")
    ring.ensure()
    shutil.copytree(ring.file.parent, here / "keys")
    for path in (here / "run", here / "bodies", here / "home", cache):
        path.mkdir(parents=True, exist_ok=True)
        if user:
            subprocess.run(["chown", "-R", f"{UID}:0", str(path)], check=True)
    return ring


def given_cards(tools: Path, plan: Plan) -> dict[str, str]:
    """What a container would be given of a machine with more cards than the plan has: the first ones and no other."""
    tool = shutil.which("nvidia-smi")
    have = subprocess.run(["nvidia-smi", "-L"], check=True, capture_output=True, text=True).stdout.count("GPU ")
    if tool is None or have <= plan.cards_per_node:
        return {}
    cards = ",".join(str(i) for i in range(plan.cards_per_node))
    (tools / "nvidia-smi").write_text(CARDS.format(tool=tool, cards=cards))
    (tools / "nvidia-smi").chmod(0o755)
    return {"CUDA_VISIBLE_DEVICES": cards}


def ready(process: subprocess.Popen[bytes], port: int, deadline: float) -> bool:
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return True
        except OSError:
            time.sleep(0.1)
    return False


def asked(plan: Plan, ring: Keyring, run: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """The smoke report of a running one, and its memory beside the plan."""
    facts = catalog.model(run["answers_as"] if run.get("answers_as") else plan.model).smoke
    target = Target(
        url=f"http://127.0.0.1:{plan.port}", model=plan.model, max_model_len=plan.max_model_len,
        reasoning=bool(plan.reasoning_parser), tools=bool(plan.tool_call_parser), facts=facts, key_file=ring.own,
        gateway=True, max_num_seqs=plan.max_num_seqs * plan.data_parallel, replicas=plan.data_parallel,
        metrics_key=ring.own_metrics,
        metrics_path=plan.gateway.metrics_path, body_mib=plan.gateway.body_mib,
        about=(("engine", plan.engine), ("engine_version", plan.engine_version), ("profile", plan.profile)),
    )  # fmt: skip
    report = smoke(target, read_contract(catalog, plan.engine), level=run["level"], say=lambda s: print(s, flush=True))
    return msgspec.to_builtins(report)  # type: ignore[no-any-return]


def memory(plan: Plan, log: Log, ring: Keyring, catalog: Catalog) -> dict[str, Any]:
    engine = catalog.engine(plan.engine)
    from_log = read_reported((line for _, line in list(log.lines)), engine.reported)
    assert ring.own_metrics is not None
    with open_client(f"http://127.0.0.1:{plan.port}", 10, read_secret(ring.own_metrics)) as client:
        text = client.get(plan.gateway.metrics_path).raise_for_status().text
    reported = {**read_metrics(text, engine.metrics), **from_log}
    return {"reported": reported, "reconciliation": msgspec.to_builtins(reconcile(plan, reported))}


class Started(NamedTuple):
    """An appliance that was begun: its process, what it says, its keys, its folder."""

    process: subprocess.Popen[bytes]
    log: Log
    ring: Keyring
    here: Path

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@contextmanager
def started(
    prepared: Path, folder: Path, run: dict[str, Any], plan: Plan, user: list[str], log: Path
) -> Iterator[Started]:
    """The prepared appliance begun, and nothing of it left afterwards."""
    ring = laid_out(prepared, folder, run, plan, user)
    here = ROOT / folder.name
    environment = {**os.environ, "PATH": f"{here / 'bin'}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    environment |= given_cards(here / "bin", plan)
    environment["WEIGHBRIDGE_KEYS"] = str(here / "keys" / "keys")
    environment.update(run.get("environment", {}))
    words = [*user, str(ROOT / "gateway" / "tini"), "-s", "--"]
    words += [sys.executable, str(here / "opt" / "supervise.py"), "run", *run["extra"]]
    heard, said = os.pipe()
    if user:
        os.fchown(said, UID, 0)  # as a container's runtime does; nginx opens /dev/stdout anew
    process = subprocess.Popen(words, stdout=said, stderr=said, env=environment, start_new_session=True, cwd="/")
    os.close(said)
    found = Started(process, Log(heard, log), ring, here)
    try:
        yield found
    finally:
        end(process)
        found.log.thread.join(5)


def prove(prepared: Path, folder: Path, results: Path, catalog: Catalog, user: list[str], deadline: float) -> bool:
    run = json.loads((folder / "run.json").read_text())
    plan = msgspec.json.decode((folder / "image" / "plan.json").read_bytes(), type=Plan)
    found: dict[str, Any] = {
        "id": folder.name, "plan": plan.profile, "model": plan.model, "date": datetime.now(UTC).isoformat(),
        "recipe": run["recipe"], "user": UID if user else os.getuid(), "extra": run["extra"],
        "cache": run["cache"], "forget": run["forget"],
        "engine": plan.engine, "arguments": list(plan.engine_args), "load": os.getloadavg()[0], "ready": False,
    }  # fmt: skip
    with started(prepared, folder, run, plan, user, results / f"{folder.name}.log") as it:
        try:
            found.update(proven(it, plan, run, catalog, deadline))
        except Exception as e:
            found["error"] = repr(e)
    told = log_text(it.log)
    found["keys_in_log"] = sum(k.read_text().strip() in told for k in (it.ring.own, it.ring.own_metrics) if k)
    (results / f"{folder.name}.json").write_text(json.dumps(found, indent=1))
    record(results)
    return bool(found["ready"])


def proven(it: Started, plan: Plan, run: dict[str, Any], catalog: Catalog, deadline: float) -> dict[str, Any]:
    """How its start, its answers and its end went."""
    name, found = it.here.name, dict[str, Any]()
    found["ready"] = ready(it.process, plan.port, deadline)
    found["ready_seconds"] = round(time.monotonic() - it.log.began, 2)
    print(name, "ready", found["ready"], found["ready_seconds"], flush=True)
    if found["ready"]:
        found["phases"] = msgspec.to_builtins(phases(list(it.log.lines), catalog.engine(plan.engine).startup))
        found["memory"] = memory(plan, it.log, it.ring, catalog)
        found["smoke"] = asked(plan, it.ring, run, catalog)
    stopped = time.monotonic()
    found["exit_code"] = it.stop()
    found["stop_seconds"] = round(time.monotonic() - stopped, 2)
    if run.get("pack"):
        found["layer_bytes"] = pack(it.here, ROOT / f"{name}.tar")
    return found


def pack(here: Path, to: Path) -> int:
    """The warm layer of what the run compiled, by the image's own program; its size."""
    ask = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    cards = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.splitlines()
    words = [sys.executable, str(here / "opt" / "warm.py"), "pack", "--card", ";".join(sorted(set(cards)))]
    with to.open("wb") as out:
        subprocess.run(words, check=True, stdout=out)
    return to.stat().st_size


def record(results: Path) -> None:
    """RESULTS/record.json: what the repository keeps of every run so far, and tests hold evidence against."""
    kept = []
    for path in sorted(results.glob("*.json"), key=lambda p: p.stat().st_mtime):
        run = json.loads(path.read_text())
        if path.name != "record.json" and "phases" in run and "smoke" in run:
            kept.append(row(run))
    (results / "record.json").write_text(json.dumps(kept, indent=1))


def row(run: dict[str, Any]) -> dict[str, Any]:
    """One run, without what every run repeats."""
    same = (
        "id",
        "recipe",
        "engine",
        "model",
        "user",
        "ready_seconds",
        "exit_code",
        "stop_seconds",
        "keys_in_log",
        "layer_bytes",
    )
    said = {True: "ok", False: "failed", None: "skipped"}
    return {
        **{k: run[k] for k in same if k in run},
        **({"extra": run["extra"]} if run["extra"] else {}),
        "profile": run["plan"],
        "date": run["date"][:10],
        "phases": {p["phase"]: p["seconds"] for p in run["phases"]},
        "reported": run["memory"]["reported"],
        "promised": {line["name"]: [line["low"], line["high"]] for line in run["memory"]["reconciliation"]["lines"]},
        "smoke": {c["id"]: f"{said[c['ok']]}: {c['detail']}" for c in run["smoke"]["checks"]},
        "smoke_seconds": run["smoke"]["seconds"],
    }


def log_text(log: Log) -> str:
    return "".join(line for _, line in log.lines)


def end(process: subprocess.Popen[bytes]) -> None:
    """Whatever is left of it, and a moment for the driver to give the memory back."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(["pkill", "-KILL", "-U", str(UID)], check=False)
    time.sleep(2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--deadline", type=float, default=540)
    parser.add_argument("ids", nargs="*")
    given = parser.parse_args()
    deadline = time.monotonic() + given.deadline
    given.results.mkdir(parents=True, exist_ok=True)
    catalog, user = Catalog(), as_user()
    for name in given.ids or sorted(p.name for p in (given.prepared / "runs").iterdir()):
        if time.monotonic() > deadline - 20:
            break
        prove(given.prepared, given.prepared / "runs" / name, given.results, catalog, user, deadline)


if __name__ == "__main__":
    main()
