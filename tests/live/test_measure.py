"""The benchmark on the real engine: its key is nowhere to be read, its end leaves nothing, its gate is an exit code."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import docker
import httpx
import pytest
from docker.models.containers import Container
from support import ended

pytestmark = pytest.mark.live
ROOT = Path(__file__).resolve().parents[2]
NAME = "weighbridge-live-bench"
SCRIPT = "The engine's own benchmark, driven inside its container"  # its first line, so its process
SCENARIOS = """
default: [tiny]
scenarios:
  tiny: {title: short, input_tokens: 16, output_tokens: 16, prompts: 8, repeats: 2, because: a test}
  endless: {title: long, input_tokens: 64, output_tokens: 128, prompts: 2000, repeats: 5, because: a test}
"""


class Served(NamedTuple):
    """An appliance, the folder that its verbs run in, and their environment."""

    container: Container
    folder: Path
    environment: dict[str, str]
    url: str

    @property
    def key(self) -> str:
        path = Path(self.environment["XDG_CONFIG_HOME"]) / "weighbridge" / NAME / "key"
        return path.read_text(encoding="utf-8").strip()

    def begin(self, *words: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("invoke")), "-r", str(ROOT), *words]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def invoke(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.begin(*words)
        out, err = ended(process, 900)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def bench(self, *words: str, code: int = 0) -> Any:
        done = self.invoke("bench", "--name", NAME, "--json", *words)
        assert done.returncode == code, done.stderr + done.stdout
        return json.loads(done.stdout)

    def running(self) -> list[str]:
        """Processes of the benchmark in the container."""
        rows = self.container.top()["Processes"]
        return [" ".join(row) for row in rows if SCRIPT in " ".join(row)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("bench")
    shared = folder / "catalog" / "images" / "_shared" / "bench"
    shared.mkdir(parents=True)
    (shared / "scenarios.yaml").write_text(SCENARIOS, encoding="utf-8")
    environment = {
        **os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "WEIGHBRIDGE_CATALOG": str(folder / "catalog"),
    }  # fmt: skip
    subprocess.run(["docker", "rm", "-f", NAME], capture_output=True, check=False)
    engine = docker.from_env()
    empty = Served(None, folder, environment, "")  # type: ignore[arg-type]
    done = empty.invoke("run", "--port", "0", "--name", NAME, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    url = json.loads(done.stdout)["url"].removesuffix("/v1")
    yield Served(engine.containers.get(NAME), folder, environment, url)
    assert empty.invoke("stop", "--name", NAME).returncode == 0


class Watch(threading.Thread):
    """Arguments of every process of this machine, and what Docker says of every exec, while a benchmark runs."""

    def __init__(self, key: str) -> None:
        super().__init__(daemon=True)
        self.key, self.found, self.seen, self.over = key.encode(), [], 0, threading.Event()

    found: list[str]

    def run(self) -> None:
        engine = docker.from_env()
        while not self.over.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    text = path.read_bytes()
                except OSError:
                    continue
                self.seen += SCRIPT.encode() in text
                if self.key in text:
                    self.found.append(f"{path}: {text[:200]!r}")
            for exec_id in engine.containers.get(NAME).attrs.get("ExecIDs") or []:
                if self.key in json.dumps(engine.api.exec_inspect(exec_id)).encode():
                    self.found.append(f"exec {exec_id}")
            time.sleep(0.2)


class Once(NamedTuple):
    """One benchmark for several tests: what it found, the files that it wrote, what was watched meanwhile."""

    found: Any
    html: Path
    svg: Path
    result: Path
    watch: Watch


@pytest.fixture(scope="module")
def once(served: Served) -> Once:
    watch = Watch(served.key)
    watch.start()
    html, svg, result = (served.folder / name for name in ("b.html", "b.svg", "b.json"))
    found = served.bench("--scenario", "tiny", "--html", str(html), "--svg", str(svg), "--output", str(result))
    watch.over.set()
    watch.join()
    return Once(found, html, svg, result, watch)


def test_the_key_stands_in_no_argument_log_or_result(served: Served, once: Once) -> None:
    found, html, svg, result, watch = once
    assert watch.seen, "the benchmark's process was looked at"
    assert watch.found == []
    assert [r["completed"] for r in found["report"]["measured"][0]["repeats"]] == [8, 8]
    assert found["report"]["measured"][0]["repeats"][0]["output_tokens"] == 128, "the end of text is ignored"
    written = [
        p for p in served.folder.rglob("*") if p.is_file() and "config" not in p.relative_to(served.folder).parts
    ]
    assert {html, svg, result} <= set(written)
    assert list((served.folder / "build").glob("*.log")) == [], "there is where failed starts leave theirs"
    assert [p for p in written if served.key.encode() in p.read_bytes()] == []
    assert served.key.encode() not in served.container.logs()
    served.container.reload()
    assert served.key not in json.dumps(served.container.attrs)
    pictures = ElementTree.parse(svg).getroot()  # noqa: S314  our own file
    assert any("tiny" in (e.text or "") for e in pictures.iter())
    assert served.bench("--result", str(result))["report"] == found["report"]


def test_the_last_result_is_shown_by_status_and_by_the_console(served: Served, once: Once) -> None:
    date = once.found["report"]["date"]
    done = served.invoke("status", "--json")
    mine = next(a for a in json.loads(done.stdout) if a["name"] == NAME)
    assert mine["bench"]["date"] == date
    assert mine["bench"]["points"][0]["label"] == "tiny"
    assert "last benchmark" in served.invoke("status").stdout
    with httpx.Client(base_url=served.url, trust_env=False) as client:
        assert client.get("/console/bench.json").status_code == 401
        shown = client.get("/console/bench.json", headers={"Authorization": f"Bearer {served.key}"})
    assert shown.json() == mine["bench"]


def test_a_sweep_asks_every_rate_at_every_concurrency(served: Served) -> None:
    found = served.bench("--scenario", "tiny", "--rates", "20,inf", "--concurrency", "1,4", "--repeats", "3")
    points = [(m["point"]["rate"], m["point"]["concurrency"]) for m in found["report"]["measured"]]
    assert points == [(20.0, 1), (20.0, 4), (None, 1), (None, 4)]
    assert all(r["completed"] == 8 for m in found["report"]["measured"] for r in m["repeats"])
    runs = [[r["output_tokens_per_second"] for r in m["repeats"]] for m in found["report"]["measured"][2:]]
    alone, together = map(statistics.median, runs)
    assert together > alone, f"four at a time are more tokens a second than one: {runs}"


def test_a_broken_limit_is_exit_code_1(served: Served, once: Once) -> None:
    """Of a benchmark that runs, and of a recorded one, which takes no time."""
    asked = ("--scenario", "tiny", "--repeats", "1")
    recorded = ("--result", str(once.result))
    for words, bound, code in ((asked, 0.001, 1), (recorded, 0.001, 1), (recorded, 100000, 0)):
        slo = f"limits: [{{metric: ttft_ms.p50, at_most: {bound}}}]\n"
        (served.folder / "slo.yaml").write_text(slo, encoding="utf-8")
        found = served.bench(*words, "--gate", "slo.yaml", code=code)
        assert [limit["ok"] for limit in found["limits"]] == [code == 0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_benchmark_that_is_ended_leaves_nothing(served: Served, number: int, code: int) -> None:
    output = served.folder / f"ended-{number}.json"
    before = {p: p.read_bytes() for p in (served.folder / "build" / "bench").glob("*.json")}
    with served.begin("bench", "--name", NAME, "--scenario", "endless", "--output", str(output)) as process:
        _until(lambda: bool(served.running()), 120)
        time.sleep(2)
        process.send_signal(number)
        ended(process, 60)
    assert process.returncode == code
    _until(lambda: not served.running(), 60)
    assert not output.exists()
    assert {p: p.read_bytes() for p in (served.folder / "build" / "bench").glob("*.json")} == before
    assert httpx.get(f"{served.url}/health", trust_env=False).status_code == 200


def _until(true: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "in time"
        time.sleep(0.2)
