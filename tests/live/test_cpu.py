"""The road on this machine for real: a Docker engine, the CPU engine, the demo model, real answers."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import docker
import httpx
import openai
import pytest
import requests
import schemathesis
from docker.models.containers import Container
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from weighbridge.catalog import Catalog
from weighbridge.effects.docker import Host
from weighbridge.effects.figures import metrics_text
from weighbridge.effects.keyring import read_secret
from weighbridge.reconcile import read_metrics

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "weighbridge-demo"
HOSTILE = 'it\'s a "model"; $(touch /tmp/injected) `id`'
NAME = "weighbridge-live"
CONFIG = Path(tempfile.mkdtemp(prefix="weighbridge-live-"))


def invoke(*words: str, timeout: float = 1500) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("invoke")), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False, env=around())


def around() -> dict[str, str]:
    return {**os.environ, "XDG_CONFIG_HOME": str(CONFIG)}


def key_file(name: str = NAME) -> Path:
    return CONFIG / "weighbridge" / name / "key"


def answer(*words: str) -> dict[str, Any]:
    done = invoke(*words, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="session")
def engine() -> docker.DockerClient:
    return docker.from_env()


def remaining(engine: docker.DockerClient, name: str) -> list[Container]:
    return engine.containers.list(all=True, filters={"name": f"^{name}$"})


@pytest.fixture(scope="module")
def appliance(engine: docker.DockerClient) -> Iterator[dict[str, Any]]:
    for old in remaining(engine, NAME):
        old.remove(force=True)
    started = answer("run", "--port", "0", "--name", NAME)
    yield started
    assert answer("stop", "--name", NAME)["stopped"] == [NAME]
    assert remaining(engine, NAME) == []


@pytest.fixture
def client(appliance: dict[str, Any]) -> Iterator[openai.OpenAI]:
    direct = openai.DefaultHttpxClient(trust_env=False)  # a proxy of the environment cannot reach this machine for us
    with openai.OpenAI(base_url=appliance["url"], api_key=key_file().read_text().strip(), http_client=direct) as found:
        yield found


def container(engine: docker.DockerClient) -> Container:
    found: Container = engine.containers.get(NAME)
    return found


def inside(engine: docker.DockerClient, name: str, *words: str) -> str:
    """What a command printed in a container."""
    output = engine.containers.get(name).exec_run(list(words)).output
    assert isinstance(output, bytes)
    return output.decode()


# --- it serves


def test_every_smoke_check_is_green(appliance: dict[str, Any], tmp_path: Path) -> None:
    report = answer("smoke", "--name", NAME, "--junit", str(tmp_path / "smoke.xml"))
    assert {c["id"]: c["detail"] for c in report["checks"] if not c["ok"]} == {}
    wanted = {"health", "models", "chat", "stream", "reasoning", "tool-call", "unknown-model", "too-long", "closed"}
    assert {c["id"] for c in report["checks"]} == wanted
    tokens = next(x for x in report["memory"]["lines"] if x["name"] == "KV cache tokens")
    assert tokens["reported"] >= tokens["low"], "the engine holds what the plan promised"
    suite = ElementTree.parse(tmp_path / "smoke.xml").getroot()  # noqa: S314  our own file
    assert suite.get("failures") == "0"


def test_smoke_by_address_needs_no_container(appliance: dict[str, Any]) -> None:
    found = answer("smoke", "--url", appliance["url"], "--key-file", str(key_file()))["checks"]
    assert {c["id"] for c in found if c["ok"] is None} == {"reasoning", "tool-call", "closed"}
    assert all(c["ok"] for c in found if c["ok"] is not None)


def test_the_openai_client_chats_streams_and_calls_tools(client: openai.OpenAI) -> None:
    ask: Any = [{"role": "user", "content": "What is the capital of France?"}]
    whole = client.chat.completions.create(model="weighbridge-demo", messages=ask, temperature=0)
    assert "Paris" in (whole.choices[0].message.content or "")
    stream = client.chat.completions.create(model="weighbridge-demo", messages=ask, temperature=0, stream=True)
    text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    assert text == whole.choices[0].message.content


def test_unicode_both_ways(client: openai.OpenAI) -> None:
    ask: Any = [{"role": "user", "content": "法国的首都是哪里?"}]
    found = client.chat.completions.create(model="weighbridge-demo", messages=ask, temperature=0)
    assert "巴黎" in (found.choices[0].message.content or "")


def test_logprobs_are_told_and_end_no_engine(client: openai.OpenAI, engine: docker.DockerClient) -> None:
    """The engine compiles what counts them when it is first asked, eager or not, and the image has no compiler."""
    before = container(engine).attrs["State"]["StartedAt"]
    ask: Any = [{"role": "user", "content": "What is the capital of France?"}]
    chat = client.chat.completions.create(
        model="weighbridge-demo", messages=ask, max_tokens=4, temperature=0, logprobs=True, top_logprobs=3,
        extra_body={"prompt_logprobs": 2},
    )  # fmt: skip
    told = chat.choices[0].logprobs
    assert told is not None
    assert [len(t.top_logprobs) for t in told.content or []] == [3] * 4
    assert len(chat.model_dump()["prompt_logprobs"]) == (chat.usage.prompt_tokens if chat.usage else 0)
    drawn = client.completions.create(
        model="weighbridge-demo", prompt="Paris is", max_tokens=4, logprobs=2, temperature=1.5, top_p=0.9, seed=7, n=2,
        frequency_penalty=0.5, extra_body={"top_k": 5, "min_p": 0.01, "repetition_penalty": 1.2},
    )  # fmt: skip
    assert all(len(c.logprobs.tokens or []) for c in drawn.choices if c.logprobs)
    assert container(engine).attrs["State"]["StartedAt"] == before


def test_status_and_logs_find_it(appliance: dict[str, Any]) -> None:
    done = invoke("status", "--json")
    row = next(r for r in json.loads(done.stdout) if r["name"] == NAME)
    assert row["state"] == "running"
    assert row["url"] + "/v1" == appliance["url"]
    assert row["memory"]["missing_share"] == 0
    tokens = next(x for x in row["memory"]["lines"] if x["name"] == "KV cache tokens")
    assert tokens["reported"] >= tokens["low"] > 0
    assert "weighbridge: starting" in invoke("logs", "--name", NAME).stdout


def test_an_appliance_that_serves_has_nothing_to_diagnose(appliance: dict[str, Any]) -> None:
    found = answer("diagnose", "--name", NAME)
    assert (found["failure"], found["line"]) == (None, None), found


def test_the_metrics_say_what_the_log_says(appliance: dict[str, Any]) -> None:
    engine, host, url = Catalog().engine("vllm"), Host(), appliance["url"].removesuffix("/v1")
    key = read_secret(host.key_file(host.container(NAME)).parent.parent / "metrics-key")
    assert metrics_text(url, engine) is None  # the gateway keeps them
    found = read_metrics(metrics_text(url, engine, key) or "", engine.metrics)
    said = {x["name"]: x["reported"] for x in appliance["memory"]["lines"]}
    assert found["kv_tokens"] == said["KV cache tokens"]


def test_the_consoles_figures_are_the_engines_and_no_more(appliance: dict[str, Any]) -> None:
    root, key = appliance["url"].removesuffix("/v1"), key_file().read_text().strip()
    with httpx.Client(base_url=root, trust_env=False, headers={"Authorization": f"Bearer {key}"}) as client:
        rows = client.get("/console/metrics").text.splitlines()
        head = client.head("/health")
    console = Catalog().engine("vllm").console
    assert console is not None
    assert console.kv_tokens is not None
    plain = {console.running, console.waiting, console.kv_usage, console.generated}
    assert {row.split("{")[0] for row in rows} == {*plain, console.kv_tokens.metric}
    assert [r for r in rows if not r.startswith(console.kv_tokens.metric) and "{} " not in r] == []
    labels = [re.findall(r'(\w+)="', r) for r in rows if r.startswith(console.kv_tokens.metric)]
    assert [sorted(names) for names in labels] == [sorted(console.kv_tokens.labels)]
    assert (head.status_code, head.content) == (200, b"")


def test_a_run_is_kept_as_a_row(appliance: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_CALIBRATION", str(tmp_path))
    assert answer("calibrate", "--add", "--name", NAME, "--dry-run")["rows"] != []
    assert list(tmp_path.iterdir()) == []
    (row,) = answer("calibrate", "--add", "--name", NAME)["rows"]
    assert row["missing_share"] == 0
    assert [p.stem for p in tmp_path.iterdir()] == [row["row"]["id"]]


def test_running_the_same_plan_again_starts_nothing(appliance: dict[str, Any]) -> None:
    again = answer("run", "--port", "0", "--name", NAME)
    assert again["ready_seconds"] is None
    assert again["url"] == appliance["url"]


# --- it may do little


def test_least_privilege_arrives_in_the_container(appliance: dict[str, Any], engine: docker.DockerClient) -> None:
    attrs = container(engine).attrs
    host = attrs["HostConfig"]
    assert attrs["Config"]["StopTimeout"] == 30
    assert attrs["Config"]["User"] == "10001:0"
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["NetworkMode"] in ("default", "bridge")
    assert host["PidMode"] == ""
    assert host["IpcMode"] == "private"
    assert {b["HostIp"] for b in next(iter(host["PortBindings"].values()))} == {"127.0.0.1"}
    status = inside(engine, NAME, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert container(engine).diff() in (None, [])


def openapi(engine: docker.DockerClient) -> dict[str, Any]:
    """The engine's own description of its paths, past the gateway."""
    script = (
        "import http.client, json, socket; plan = json.load(open('/opt/weighbridge/plan.json'));"
        "c = http.client.HTTPConnection('x'); c.sock = socket.socket(socket.AF_UNIX);"
        "c.sock.connect(plan['gateway']['socket']); c.request('GET', '/openapi.json');"
        "print(c.getresponse().read().decode())"
    )
    found = json.loads(inside(engine, NAME, "python3", "-c", script))
    assert isinstance(found, dict)
    return found


def test_no_path_of_the_engine_is_open_that_is_not_on_the_list(
    appliance: dict[str, Any], engine: docker.DockerClient
) -> None:
    root, key = appliance["url"].removesuffix("/v1"), key_file().read_text().strip()
    listed = {p["path"] for p in answer("plan")["gateway"]["paths"]} | {"/health"}
    routes = {(m.upper(), p) for p, methods in openapi(engine)["paths"].items() for m in methods}
    said = re.findall(r"Route: (/\S*), Methods: ([A-Z, ]+)", engine.containers.get(NAME).logs().decode())
    routes |= {(m, p) for p, methods in said for m in methods.split(", ")}
    closed = {(m, p.replace("{", "").replace("}", "")) for m, p in routes if p not in listed}
    with httpx.Client(base_url=root, trust_env=False, headers={"Authorization": f"Bearer {key}"}) as client:
        answers = {(m, p): client.request(m, p).status_code for m, p in closed}
    assert {row: code for row, code in answers.items() if code != 404} == {}
    assert len(answers) > 30, "the engine has many more paths than are let through"


def test_nothing_but_the_gateway_listens_to_the_network(appliance: dict[str, Any], engine: docker.DockerClient) -> None:
    rows = [row.split() for row in inside(engine, NAME, "cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()]
    listening = {tuple(r[1].split(":")) for r in rows if len(r) > 3 and r[3] == "0A"}
    outside = {int(port, 16) for address, port in listening if not address.endswith("7F")}
    assert len(listening) > 1, "the engine's own ports were seen"
    assert outside == {8000}


CANARY_PLACES = (
    "for p in /proc/[0-9]*; do cat $p/cmdline $p/environ 2>/dev/null; done; find /run/weighbridge -type f | xargs cat"
)


def test_a_key_stands_nowhere_but_in_its_file(appliance: dict[str, Any], engine: docker.DockerClient) -> None:
    """Looked for while the key is in use: in Docker's records, processes, files, logs and every layer."""
    key = key_file().read_text().strip()
    body = {"model": "weighbridge-demo", "prompt": "Hello", "max_tokens": 1}
    for header in ({"Authorization": f"Bearer {key}"}, {"Authorization": f"Bearer {key}x"}):
        httpx.post(f"{appliance['url']}/completions?key={key}", json=body, headers=header, trust_env=False)
    found = engine.containers.get(NAME)
    image = engine.images.get(appliance["image"])
    places = {
        "inspect": json.dumps(found.attrs) + json.dumps(image.attrs),
        "history": json.dumps(image.history()),
        "inside": inside(engine, NAME, "sh", "-c", CANARY_PLACES),
        "log": found.logs().decode(),
        "host": "".join(
            p.read_bytes().decode(errors="replace") for p in Path("/proc").glob("[0-9]*/cmdline") if p.is_file()
        ),
    }
    assert "entrypoint" in places["history"]
    assert "VLLM" in places["inside"], "other processes' environment was read"
    assert '"key":"owner"' in places["log"]
    assert [name for name, text in places.items() if key in text] == []
    layers = subprocess.run(["docker", "save", appliance["image"]], capture_output=True, check=True).stdout
    assert b"weighbridge" in layers
    assert key.encode() not in layers


class Sent:
    """What came back of requests that were made up, and what broke off."""

    def __init__(self) -> None:
        self.codes: Counter[int] = Counter()
        self.broken: list[str] = []

    def send(self, case: Any, url: str, key: str) -> None:
        """On a connection of its own: a case without a session has none that was idle, so none may be closed on it."""
        began = time.time()
        try:
            got = case.call(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120)
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError):
            return  # the client itself cannot send it
        except requests.exceptions.RequestException as e:  # told with all others, and beside the gateway's log
            when = time.strftime("%T", time.gmtime(began))
            self.broken.append(f"{when} {case.method} {case.path}: {e} after {time.time() - began:.3f} s")
            return
        self.codes[got.status_code] += 1


def made_up(schema: dict[str, Any], examples: int, use: Callable[[Any], None]) -> None:
    """Requests as the engine describes them, and as it does not; thrice as many to what the gateway lets through."""
    listed = {p["path"] for p in answer("plan")["gateway"]["paths"]}
    for found in schemathesis.openapi.from_dict(schema).get_all_operations():
        if not isinstance(found, Ok):
            continue
        quiet = settings(
            max_examples=examples * (3 if found.ok().path in listed else 1), deadline=None, database=None,
            derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        for mode in GenerationMode:
            with suppress(Unsatisfiable):  # what takes no value has no wrong one
                quiet(given(case=found.ok().as_strategy(generation_mode=mode))(lambda case: use(case)))()


def test_made_up_requests_break_neither_gateway_nor_engine(
    appliance: dict[str, Any], engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the engine's own OpenAPI. `FUZZ_EXAMPLES=300 make live` sends more than ten thousand."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    url, key = appliance["url"].removesuffix("/v1"), key_file().read_text().strip()
    sent, before = Sent(), container(engine).attrs
    examples = int(os.environ.get("FUZZ_EXAMPLES", "8"))
    made_up(openapi(engine), examples, lambda case: sent.send(case, url, key))
    time.sleep(1)
    log = container(engine).logs(stderr=False).splitlines()
    rows = [json.loads(line) for line in log if line.startswith(b"{")]
    print(f"{sum(sent.codes.values())} answers: {dict(sorted(sent.codes.items()))}; {len(rows)} rows in the log")
    told = container(engine).logs(stdout=False, tail=40).decode()
    assert sent.broken == [], told
    assert sum(sent.codes.values()) > 30 * examples, sent.codes
    assert {400, 404} <= sent.codes.keys(), sent.codes
    own = [r for r in rows if r["status"] >= 500 and not r["engine_status"] and r["path"] != "/health"]
    assert own == []
    after = container(engine).attrs
    assert [a["RestartCount"] for a in (before, after)] == [0, 0], told
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"], told
    assert "exited on signal" not in container(engine).logs(stdout=False).decode(), told
    assert all(c["ok"] for c in answer("smoke", "--name", NAME)["checks"])


def test_the_image_is_small_and_the_second_build_does_nothing(
    appliance: dict[str, Any], engine: docker.DockerClient
) -> None:
    assert engine.images.get(appliance["image"]).attrs["Size"] < 2.5e9
    assert answer("build")["built"] is False


def test_the_line_that_is_printed_starts_under_another_uid_without_network(
    appliance: dict[str, Any], engine: docker.DockerClient
) -> None:
    name = "weighbridge-live-line"
    assert invoke("keys", "add", "--name", name, "--key-name", "test").returncode == 0
    line = answer("run", "--print", "docker", "--name", name, "--port", "0")["text"]
    words = shlex.split(line.replace("\\\n", " "))
    words[words.index("--user") + 1] = "1000700000:0"
    published = words.index("--publish")
    words[published : published + 2] = ["--network", "none"]
    for old in remaining(engine, name):
        old.remove(force=True)
    subprocess.run(words, check=True, capture_output=True)
    try:
        ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/health').status)"
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            if inside(engine, name, "/opt/engine/bin/python", "-c", ask).strip() == "200":
                break
            time.sleep(2)
        else:
            pytest.fail(engine.containers.get(name).logs(tail=40).decode())
    finally:
        engine.containers.get(name).remove(force=True)


# --- what goes wrong


def refused(*words: str, code: int) -> str:
    done = invoke(*words)
    assert done.returncode == code, done.stderr
    error = done.stderr[done.stderr.index("error: ") :]
    assert len(error.strip().splitlines()) == 2, error
    return error


def test_a_taken_port_is_a_two_line_error() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        assert f"port {port}" in refused("run", "--port", port, "--name", "weighbridge-live-port", code=1)


def test_a_taken_name_is_a_two_line_error(appliance: dict[str, Any]) -> None:
    error = refused("run", "--name", NAME, "--port", "0", "--context", "1024", code=1)
    assert f"invoke stop --name {NAME}" in error


def test_cards_that_are_not_here_are_refused_by_a_check() -> None:
    error = refused("run", "--profile", "h100-80g-x2", "--model", "qwen3-8b", "--weights", str(DEMO), code=2)
    assert "h100-80g-x2 needs 2" in error


def test_weights_that_are_not_here_are_refused_before_anything_starts(tmp_path: Path) -> None:
    assert "no such folder" in refused("run", "--weights", str(tmp_path / "none"), "--port", "0", code=2)


def test_an_engine_that_dies_shows_its_log_and_leaves_nothing(engine: docker.DockerClient, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir(mode=0o755)
    for file in DEMO.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    config = broken / "config.json"
    config.write_text(
        config.read_text().replace("Qwen2ForCausalLM", "NoSuchModel").replace('"qwen2"', '"no-such-kind"')
    )
    done = invoke("run", "--weights", str(broken), "--port", "0", "--name", "weighbridge-live-broken")
    assert done.returncode == 1
    assert "died with exit code" in done.stderr
    assert "no-such-kind" in done.stderr
    diagnosis = done.stderr.partition("\n  diagnosis (sure): this version of the engine does not know the model: ")[2]
    assert "no-such-kind" in diagnosis.partition("\n")[0]
    hint = shlex.split(done.stderr.strip().splitlines()[-1])
    assert hint[0] == "less"
    whole = (ROOT / hint[1]).read_text(encoding="utf-8")
    assert "weighbridge: starting" in whole
    assert "no-such-kind" in whole
    assert remaining(engine, "weighbridge-live-broken") == []


def test_an_engine_that_the_kernel_ends_is_diagnosed(engine: docker.DockerClient) -> None:
    name = "weighbridge-live-starved"
    done = invoke("run", "--memory-limit", "600m", "--port", "0", "--name", name)
    assert done.returncode == 1
    assert "diagnosis (sure): the host's memory ended, and its kernel ended the engine: " in done.stderr
    assert answer("diagnose", "--name", name)["failure"] == "host-memory"
    assert remaining(engine, name) == []


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_ctrl_c_while_it_starts_leaves_nothing(seconds: float, engine: docker.DockerClient) -> None:
    name = "weighbridge-live-interrupted"
    command = [str(Path(sys.executable).with_name("invoke")), "run", "--port", "0", "--name", name]
    process = subprocess.Popen(  # a shell that runs tests in the background has SIGINT ignored
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True, env=around(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "waiting for the engine" in line:
            break
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert remaining(engine, name) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_it_starts_leaves_nothing(number: int, code: int, engine: docker.DockerClient) -> None:
    name = "weighbridge-live-ended"
    command = [str(Path(sys.executable).with_name("invoke")), "run", "--port", "0", "--name", name]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "waiting for the engine" in line:
            break
    os.kill(process.pid, number)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == code, rest
    assert remaining(engine, name) == []


def test_two_that_start_the_same_at_once_share_one_container(engine: docker.DockerClient) -> None:
    name = "weighbridge-live-twice"
    command = [str(Path(sys.executable).with_name("invoke")), "run", "--port", "0", "--name", name, "--json"]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "12"
    ]
    try:
        said = [process.communicate(timeout=600) for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        found = [json.loads(out) for out, _ in said]
        assert found[0]["url"] == found[1]["url"]
        assert sorted(f["ready_seconds"] is None for f in found) == [False, True], "one started it, one joined"
        assert len(remaining(engine, name)) == 1
    finally:
        for old in remaining(engine, name):
            old.remove(force=True)


def test_a_hostile_model_name_is_served_and_injects_nothing(engine: docker.DockerClient) -> None:
    name = "weighbridge-live-hostile"
    beside = """--override-generation-config '{"top_k": 1, "$(touch /tmp/injected)": "`id` \\" ; {{ 1 }}"}' --seed 7"""
    words = ("--model", HOSTILE, "--model-config", str(DEMO), "--name", name, "--port", "0", "--extra-args", beside)
    started = answer("run", *words)
    try:
        header = {"Authorization": f"Bearer {key_file(name).read_text().strip()}"}
        served = httpx.get(f"{started['url']}/models", trust_env=False, headers=header).json()["data"][0]["id"]
        assert served == HOSTILE
        assert answer("smoke", "--name", name)["model"] == HOSTILE
        listing = inside(engine, name, "ls", "/tmp")
        assert "injected" not in listing
        argv = inside(engine, name, "sh", "-c", "cat /proc/[0-9]*/cmdline").split("\0")
        assert set(shlex.split(beside)) <= set(argv), "word for word as they were typed"
        assert not Path("/tmp/injected").exists()
    finally:
        answer("stop", "--name", name)
