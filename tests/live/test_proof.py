"""The proof on the real engine: the whole smoke contract, red on what is wrong, and the clients that people use."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import docker
import httpx
import msgspec
import openai
import pytest

from weighbridge.catalog import Catalog
from weighbridge.effects.chat import Target
from weighbridge.effects.probe import free_port
from weighbridge.effects.smoke import smoke
from weighbridge.effects.target import target_of
from weighbridge.smoke import Contract, read_contract
from weighbridge.types import Check

pytestmark = pytest.mark.live
ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "weighbridge-demo"
SERVED = "weighbridge-live-smoke"
WRONG = "weighbridge-live-smoke-wrong"
# As a person may start the image by hand: no gateway, another context, fewer sequences, no prefix cache, the parser
# of another model, no tools.
WRONG_WORDS = (
    "--uds", "", "--host", "0.0.0.0", "--port", "8000", "--max-model-len", "1024", "--max-num-seqs", "2",
    "--no-enable-prefix-caching", "--reasoning-parser", "granite", "--no-enable-auto-tool-choice",
)  # fmt: skip
STOP = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
    if path.read_text().startswith("VLLM::Engine"):
        os.kill(int(path.parent.name), signal.SIGSTOP)
        print("stopped")
"""
BUFFERING = """
daemon off; pid {folder}/pid; error_log stderr; events {{}}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; client_max_body_size 64m;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {url}; proxy_http_version 1.0; proxy_buffering on; proxy_buffer_size 1m;
      proxy_buffers 8 1m; proxy_busy_buffers_size 2m; proxy_ignore_client_abort on;
    }}
  }}
}}
"""


class Served(NamedTuple):
    """Where it answers, its owner's key, its image, and the environment that finds its keys."""

    url: str
    key_file: Path
    image: str
    environment: dict[str, str]

    @property
    def key(self) -> str:
        return self.key_file.read_text(encoding="utf-8").strip()

    def invoke(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("invoke")), *words]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False, env=self.environment
        )

    def answer(self, *words: str) -> Any:
        done = self.invoke(*words, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = tmp_path_factory.mktemp("config")
    config.parent.chmod(0o755)
    empty = Served("", config / "weighbridge" / SERVED / "key", "", {**os.environ, "XDG_CONFIG_HOME": str(config)})
    subprocess.run(["docker", "rm", "-f", SERVED], capture_output=True, check=False)
    started = empty.answer("run", "--port", "0", "--name", SERVED)
    yield empty._replace(url=started["url"].removesuffix("/v1"), image=empty.answer("build")["image"])
    empty.answer("stop", "--name", SERVED)


@pytest.fixture(scope="module")
def contract() -> Contract:
    return read_contract(Catalog(), "vllm")


@pytest.fixture
def target(served: Served) -> Target:
    return target_of(SERVED, None, Catalog())


def asked(target: Target, contract: Contract, *names: str) -> dict[str, Check]:
    checks = {n: q for n, q in contract.checks.items() if not names or n in names}
    only = msgspec.structs.replace(contract, checks=checks)
    return {c.id: c for c in smoke(target, only, level="full", say=print).checks}


def failed(found: dict[str, Check]) -> dict[str, str]:
    return {name: c.detail for name, c in found.items() if c.ok is False}


def test_the_whole_contract_is_green_on_the_appliance(served: Served, contract: Contract, tmp_path: Path) -> None:
    page = tmp_path / "smoke.html"
    report = served.answer("smoke", "--name", SERVED, "--level", "full", "--html", str(page))
    assert {c["id"]: c["detail"] for c in report["checks"] if c["ok"] is not True} == {}
    assert [c["id"] for c in report["checks"]] == list(contract.checks)
    assert report["about"]["engine"] == "vllm"
    assert "28 of 28 checks passed" in page.read_text(encoding="utf-8")
    (tmp_path / "report.json").write_bytes(msgspec.json.encode(report))
    same = served.answer("smoke", "--compare", str(tmp_path / "report.json"), "--with", str(tmp_path / "report.json"))
    assert {c["kind"] for c in same["changes"]} == {"same"}


def test_a_soak_is_green_too(served: Served) -> None:
    report = served.answer("smoke", "--name", SERVED, "--soak", "0.1")
    assert report["rounds"] > 1
    assert all(c["ok"] for c in report["checks"])


@pytest.fixture
def buffering(served: Served, tmp_path: Path) -> Iterator[str]:
    """A proxy of somebody's own in front of the gateway, which keeps chunks and goes on when its client has gone."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if nginx is None:
        pytest.skip("nginx is missing: scripts/install-missing.sh tools")
    port = free_port("127.0.0.1")
    conf = tmp_path / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    text = BUFFERING.format(folder=tmp_path, port=port, url=served.url)
    conf.write_text(user + text, encoding="utf-8")
    with subprocess.Popen([nginx, "-e", "stderr", "-c", str(conf)]) as process:
        wait_for(f"http://127.0.0.1:{port}", 10)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def wait_for(url: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"{url} does not answer")


def test_a_buffering_proxy_is_noticed(target: Target, contract: Contract, buffering: str) -> None:
    found = failed(asked(target._replace(url=buffering), contract, "chat", "stream", "unbuffered", "cancel"))
    assert found.keys() == {"unbuffered", "cancel"}
    assert "holds the stream back" in found["unbuffered"]
    assert "vllm:num_requests_running" in found["cancel"]


@pytest.fixture(scope="module")
def wrong(served: Served) -> Iterator[str]:
    """The address of the same image, started by hand and wrongly."""
    subprocess.run(["docker", "rm", "-f", WRONG], capture_output=True, check=False)
    model = f"type=bind,source={DEMO},target=/models/weighbridge-demo,readonly"
    line = [
        "docker", "run", "--detach", "--name", WRONG, "--user", "10001:0", "--read-only", "--shm-size", "1g",
        "--tmpfs", "/tmp", "--tmpfs", "/run/weighbridge:mode=1777", "--tmpfs", "/var/cache/weighbridge:mode=1777",
        "--publish", "127.0.0.1::8000", "--mount", model,
        "--entrypoint", "/opt/weighbridge/entrypoint.sh", served.image, *WRONG_WORDS,
    ]  # fmt: skip
    subprocess.run(line, check=True, capture_output=True)
    try:
        shown = subprocess.run(["docker", "port", WRONG, "8000"], capture_output=True, text=True, check=True).stdout
        url = f"http://{shown.split()[0]}"
        wait_for(url, 240)
        yield url
    finally:
        subprocess.run(["docker", "rm", "-f", WRONG], capture_output=True, check=False)


def test_an_engine_that_was_started_wrongly_is_noticed(target: Target, contract: Contract, wrong: str) -> None:
    found = asked(target._replace(url=wrong), contract)
    details = failed(found)
    assert "max_model_len is 1024, planned 2048" in details["models"]
    assert "no reasoning field" in details["reasoning"]
    assert "--enable-auto-tool-choice" in details["tool-call"]
    assert "answers 400" in details["long-prompt"]
    assert re.search("16 were asked at a time, [1-6] ran at a time, planned 16", details["burst"])
    assert "did not grow" in details["prefix-cache"]
    gateway = {"closed", "no-key", "wrong-key", "key-for-metrics", "no-such-path", "large-body", "closed-paths"}
    assert gateway <= details.keys()
    assert "GET /openapi.json answers 200" in details["closed-paths"]
    assert {"json-object", "json-schema", "cancel"} <= details.keys(), "thoughts in the answer, a shorter context"
    right = {n for n, c in found.items() if c.ok}
    assert {"health", "chat", "stream", "completions", "unicode", "deterministic"} <= right


def test_a_dead_engine_behind_a_healthy_port_is_noticed(target: Target, contract: Contract, wrong: str) -> None:
    """Its core is stopped, its port is not: one wait, and no question more."""
    container: Any = docker.from_env().containers.get(WRONG)
    assert b"stopped" in container.exec_run(["python3", "-c", STOP]).output
    short = msgspec.structs.replace(contract, answer_seconds=3)
    found = asked(target._replace(url=wrong, gateway=False), short)
    assert found["health"].ok
    assert "ReadTimeout" in found["chat"].detail
    assert found["stream"].detail == "skipped: chat had no answer in 3 s"
    assert found["broken-json"].ok


# --- the clients that people use ------------------------------------------------------------------------

MODEL = "weighbridge-demo"
FRANCE: Any = [{"role": "user", "content": "What is the capital of France?"}]
SUMS = "What is 3 * 12? Also, what is 11 + 49?"


def function(name: str, words: str) -> dict[str, Any]:
    numbers = {"type": "object", "properties": {n: {"type": "integer"} for n in "ab"}, "required": ["a", "b"]}
    return {"type": "function", "function": {"name": name, "description": words, "parameters": numbers}}


TOOLS: Any = [function("add", "Add two integers."), function("multiply", "Multiply two integers.")]


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment cannot reach this machine for us."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def client(served: Served, direct: None) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key) as found:
        yield found


def test_openai_asks_and_streams(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0)
    assert whole.choices[0].message.content == "The capital of France is Paris."
    stream = client.chat.completions.create(
        model=MODEL, messages=FRANCE, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_openai_calls_tools_and_goes_on_with_their_results(client: openai.OpenAI) -> None:
    talk: list[Any] = [{"role": "user", "content": SUMS}]
    first = client.chat.completions.create(model=MODEL, messages=talk, tools=TOOLS, temperature=0).choices[0]
    assert first.finish_reason == "tool_calls"
    calls: list[Any] = list(first.message.tool_calls or [])
    assert [(c.function.name, json.loads(c.function.arguments)) for c in calls] == [
        ("multiply", {"a": 3, "b": 12}), ("add", {"a": 11, "b": 49}),
    ]  # fmt: skip
    talk.append(first.message.model_dump(exclude_none=True))
    talk += [{"role": "tool", "tool_call_id": c.id, "content": r} for c, r in zip(calls, ("36", "60"), strict=True)]
    last = client.chat.completions.create(model=MODEL, messages=talk, tools=TOOLS, temperature=0)
    assert last.choices[0].message.content == "3 * 12 = 36 and 11 + 49 = 60."


def test_openai_asks_many_at_a_time(served: Served, direct: None) -> None:
    async def ask() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key) as client:
            asks = [client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0) for _ in range(8)]
            return [found.choices[0].message.content for found in await asyncio.gather(*asks)]

    assert asyncio.run(ask()) == ["The capital of France is Paris."] * 8


def test_openai_reads_a_refusal(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="DeepSeek-R1-Distill-Qwen-1.5B", messages=FRANCE)
    stranger = client.with_options(api_key="token123456")
    with pytest.raises(openai.AuthenticationError, match="no valid key"):
        stranger.models.list()


def run_python(text: str) -> str:
    around = {**os.environ, "NO_PROXY": "127.0.0.1,localhost"}
    done = subprocess.run([sys.executable, "-c", text], env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_langchain_openai_as_a_tutorial_has_it(served: Served) -> None:
    text = f"""
from langchain_openai import ChatOpenAI
from langchain_core.tools import tool

llm = ChatOpenAI(
    model={MODEL!r}, openai_api_key={served.key!r}, openai_api_base='{served.url}/v1', max_tokens=128
)
print(llm.invoke("What is the capital of France?", temperature=0).content)

@tool
def add(a: int, b: int) -> int:
    \"\"\"Add two integers.\"\"\"
    return a + b

@tool
def multiply(a: int, b: int) -> int:
    \"\"\"Multiply two integers.\"\"\"
    return a * b

found = llm.bind_tools(tools=[add, multiply]).invoke({SUMS!r}, temperature=0)
print(found.invalid_tool_calls, [(c["name"], c["args"]) for c in found.tool_calls])
"""
    first, second = run_python(text).splitlines()
    assert first == "The capital of France is Paris."
    assert second == "[] [('multiply', {'a': 3, 'b': 12}), ('add', {'a': 11, 'b': 49})]"


def test_langchain_deepseek_as_a_tutorial_has_it(served: Served) -> None:
    text = f"""
from langchain_deepseek import ChatDeepSeek

llm = ChatDeepSeek(
    api_key={served.key!r}, api_base='{served.url}/v1', model={MODEL!r}, temperature=0, max_tokens=None,
    timeout=None, max_retries=2,
)
messages = [
    ("system", "You are a helpful translator. Translate the user sentence to French."),
    ("human", "I love programming."),
]
print(llm.invoke(messages).content)
"""
    assert run_python(text).strip() == "J'adore la programmation."


CURLS = {
    "models": ("/v1/models", None, '"id":"weighbridge-demo"'),
    "chat": ("/v1/chat/completions", {"messages": FRANCE}, "Paris"),
    "completions": (
        "/v1/completions",
        {"prompt": "我想问你，5的阶乘是多少？<think>\n", "max_tokens": 1024, "temperature": 0},
        "5的阶乘是120",
    ),
    "chat in chinese": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "我想问你，5的阶乘是多少？<think>\n"}], "temperature": 0},
        "5的阶乘是120",
    ),
    "sampling and a stream": (
        "/v1/chat/completions",
        {"messages": FRANCE, "max_tokens": 1024, "temperature": 0, "top_p": 0.9, "seed": 10, "stream": True},
        "data: [DONE]",
    ),
}


@pytest.mark.parametrize("name", CURLS)
def test_curl_as_tutorials_have_it(name: str, served: Served, direct: None) -> None:
    path, body, wanted = CURLS[name]
    header = ("-H", "Content-Type: application/json", "-H", f"Authorization: Bearer {served.key}")
    data = ("-d", json.dumps({"model": MODEL, **body}, ensure_ascii=False)) if isinstance(body, dict) else ()
    line = ["curl", "-s", "--fail", f"{served.url}{path}", *header, *data]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert wanted in done.stdout


def test_offline_inference_as_the_page_has_it(served: Served, tmp_path: Path) -> None:
    """docs/smoke.md: the script and the line are taken from there."""
    page = (ROOT / "docs" / "smoke.md").read_text(encoding="utf-8")
    script = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    line = next(b for b in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "offline.py" in b)
    (tmp_path / "offline.py").write_text(script, encoding="utf-8")
    (tmp_path / "offline.py").chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    around = {**os.environ, "IMAGE": served.image, "WEIGHTS": str(DEMO)}
    done = subprocess.run(["bash", "-euc", line], cwd=tmp_path, env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "'The capital of France is' -> ' Paris.'" in done.stdout
    assert "5的阶乘是120" in done.stdout
