"""Questions to a running appliance, over HTTP, and what must come back. Nothing is asked twice."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from weighbridge.effects.keyring import read_secret
from weighbridge.effects.tls import trusting
from weighbridge.errors import NotReady
from weighbridge.facts import Expectation, SmokeFacts
from weighbridge.types import Check, Reconciliation, SmokeReport

Say = Callable[[str], None]
_ANSWER_SECONDS = 120.0
HEALTH = "/health"  # the gateway's, whatever the engine calls its own
_PLAIN = Expectation(ask="Say hello.", answer="")
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Target(NamedTuple):
    """What is asked: where, under which name, and what the plan promised of it."""

    url: str
    model: str
    max_model_len: int | None
    reasoning: bool
    tools: bool
    facts: SmokeFacts
    memory: Reconciliation | None = None
    key_file: Path | None = None
    cert: Path | None = None
    gateway: bool = False


class Wrong(Exception):
    """An answer that is not what it must be; one line."""


def local(url: str) -> bool:
    """Whether an address is this machine's own, which no proxy of the environment can reach for us."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def open_client(url: str, seconds: float, key: str | None = None, cert: Path | None = None) -> httpx.Client:
    """A client that sends `key`, and trusts `cert` alone when it is given. Raises HostError when it cannot be read."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    verify = trusting(cert) if cert else True
    return httpx.Client(base_url=url, timeout=seconds, trust_env=not local(url), headers=headers, verify=verify)


def wait_ready(
    url: str,
    path: str,
    *,
    seconds: int,
    alive: Callable[[], None],
    progress: Callable[[float], None],
    cert: Path | None = None,
) -> float:
    """Seconds until `path` answers 200. Raises NotReady when the time is up, or what `alive` raises."""
    started = time.monotonic()
    with open_client(url, 5.0, cert=cert) as client:
        while (passed := time.monotonic() - started) < seconds:
            alive()
            try:
                if client.get(path).status_code == 200:
                    return time.monotonic() - started
            except httpx.TransportError:
                pass
            progress(passed)
            time.sleep(0.5)
    raise NotReady(f"{url}{path} did not answer within {seconds} s", "start it again: invoke run")


def smoke(target: Target, *, say: Say) -> SmokeReport:
    """Every check in turn. A check that fails is in the report; the others still run."""
    started = time.monotonic()
    checks = []
    key = read_secret(target.key_file) if target.key_file else None
    with open_client(target.url, _ANSWER_SECONDS, key, target.cert) as client:
        for name, ask in _checks(target):
            checks.append(_run(name, lambda ask=ask: ask(client, target)))  # type: ignore[misc]
            say(f"{'ok  ' if checks[-1].ok else 'FAIL'} {name}: {checks[-1].detail}")
    seconds = round(time.monotonic() - started, 3)
    return SmokeReport(
        url=target.url, model=target.model, checks=tuple(checks), seconds=seconds, memory=target.memory,
        key_file=str(target.key_file) if target.key_file else None, cert=str(target.cert) if target.cert else None,
    )  # fmt: skip


Ask = Callable[[httpx.Client, Target], str]


def _checks(target: Target) -> Iterator[tuple[str, Ask]]:
    yield "health", _health
    yield "models", _models
    yield "chat", _chat
    yield "stream", _stream
    if target.reasoning:
        yield "reasoning", _reasoning
    if target.tools:
        yield "tool-call", _tool_call
    yield "unknown-model", _unknown_model
    yield "too-long", _too_long
    if target.gateway:
        yield "closed", _closed


def _run(name: str, ask: Callable[[], str]) -> Check:
    started = time.monotonic()
    try:
        ok, detail = True, ask()
    except Wrong as e:
        ok, detail = False, str(e)
    except (httpx.HTTPError, LookupError, TypeError, ValueError, AttributeError) as e:  # an answer of another form
        ok, detail = False, f"{type(e).__name__}: {e}"
    return Check(id=name, ok=ok, seconds=round(time.monotonic() - started, 3), detail=detail[:300])


def _expect(truth: bool, wrong: str) -> None:
    if not truth:
        raise Wrong(wrong)


def _health(client: httpx.Client, target: Target) -> str:
    code = client.get(HEALTH).status_code
    _expect(code == 200, f"{HEALTH} answers {code}")
    return "200"


def _models(client: httpx.Client, target: Target) -> str:
    served = client.get("/v1/models").raise_for_status().json()["data"][0]
    _expect(served["id"] == target.model, f"serves {served['id']!r}, not {target.model!r}")
    longest = served.get("max_model_len")
    planned = target.max_model_len
    _expect(planned is None or longest == planned, f"max_model_len is {longest}, planned {planned}")
    return f"{served['id']}, max_model_len {longest}"


def _body(target: Target, ask: str, **more: Any) -> dict[str, Any]:
    # 400 tokens leave room for a chain of thought; temperature 0 makes answers comparable
    return {
        "model": target.model,
        "messages": [{"role": "user", "content": ask}],
        "temperature": 0,
        "max_tokens": 400,
        **more,
    }


def _complete(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json=body)
    _expect(answer.status_code == 200, f"answers {answer.status_code}: {answer.text[:200]}")
    found = answer.json()
    if not isinstance(found, dict):
        raise Wrong(f"answers {found!r:.200}")
    return found


def _reasoning_of(message: dict[str, Any]) -> str:
    """The engine's field changed its name over versions."""
    return message.get("reasoning") or message.get("reasoning_content") or ""


def _chat(client: httpx.Client, target: Target) -> str:
    wanted = target.facts.chat or _PLAIN
    found = _complete(client, _body(target, wanted.ask))
    choice, usage = found["choices"][0], found["usage"]
    text = choice["message"].get("content") or ""
    _expect(bool(text or _reasoning_of(choice["message"])), "the answer is empty")
    _expect(wanted.answer in text, f"{wanted.ask!r} -> {text!r}, without {wanted.answer!r}")
    total = usage["prompt_tokens"] + usage["completion_tokens"]
    _expect(usage["completion_tokens"] > 0 and usage["total_tokens"] == total, f"usage does not add up: {usage}")
    return f"{wanted.ask!r} -> {text[:80]!r}, {usage['completion_tokens']} tokens"


def _stream(client: httpx.Client, target: Target) -> str:
    wanted = target.facts.chat or _PLAIN
    whole = _complete(client, _body(target, wanted.ask))["choices"][0]["message"].get("content") or ""
    body = _body(target, wanted.ask, stream=True, stream_options={"include_usage": True})
    started, first, events = time.monotonic(), 0.0, []
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        _expect(answer.status_code == 200, f"answers {answer.status_code}")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                first = first or time.monotonic() - started
                events.append(line.removeprefix("data: "))
    _expect(bool(events) and events[-1] == "[DONE]", "the stream does not end with [DONE]")
    chunks = [json.loads(e) for e in events[:-1]]
    deltas = [c["choices"][0]["delta"] for c in chunks if c["choices"]]
    text = "".join(d.get("content") or "" for d in deltas)
    _expect(text == whole, f"the chunks join to {text!r}, the whole answer is {whole!r}")
    _expect(bool(text) or any(map(_reasoning_of, deltas)), "the chunks hold neither an answer nor reasoning")
    _expect(bool(chunks[-1].get("usage")), "the last chunk carries no usage")
    return f"{len(chunks)} chunks, the first after {first:.2f} s, joined they are the whole answer"


def _reasoning(client: httpx.Client, target: Target) -> str:
    wanted = target.facts.reasoning or Expectation(ask="What is 17 + 25? Think first.", answer="")
    message = _complete(client, _body(target, wanted.ask))["choices"][0]["message"]
    thought, text = _reasoning_of(message), message.get("content") or ""
    _expect(bool(thought), f"no reasoning field in {message}")
    _expect((wanted.reasoning or "") in thought, f"the reasoning is {thought!r}, without {wanted.reasoning!r}")
    _expect(wanted.answer in text, f"the answer is {text!r}, without {wanted.answer!r}")
    _expect("think>" not in text, f"thinking is left in the answer: {text!r}")
    return f"{thought[:60]!r} apart from {text[:60]!r}"


def _tool_call(client: httpx.Client, target: Target) -> str:
    wanted = target.facts.tool_call
    ask = wanted.ask if wanted else "What is the weather in Paris?"
    message = _complete(client, _body(target, ask, tools=[_WEATHER], tool_choice="auto"))["choices"][0]["message"]
    if wanted is None:  # a model that was not taught this may answer in words; the server must not refuse
        return "accepted tools; no call proven"
    calls = message.get("tool_calls") or []
    _expect(len(calls) == 1, f"{len(calls)} tool calls in {message}")
    function = calls[0]["function"]
    arguments = json.loads(function["arguments"])
    _expect(function["name"] == wanted.tool and arguments == wanted.arguments, f"calls {function}")
    talk = [{"role": "user", "content": ask}, message, _tool_answer(calls[0]["id"])]
    text = _complete(client, _body(target, ask, messages=talk, tools=[_WEATHER]))["choices"][0]["message"]["content"]
    _expect(wanted.answer in (text or ""), f"after the tool's answer: {text!r}, without {wanted.answer!r}")
    return f"{function['name']}({function['arguments']}) -> {text[:60]!r}"


def _tool_answer(call_id: str) -> dict[str, str]:
    return {"role": "tool", "tool_call_id": call_id, "content": json.dumps({"temperature_c": 21, "sky": "sunny"})}


def _unknown_model(client: httpx.Client, target: Target) -> str:
    body = _body(target, "Hello", model="no-such-model")
    code = client.post("/v1/chat/completions", json=body).status_code
    _expect(code == 404, f"a model that is not served answers {code}, not 404")
    return "404"


def _too_long(client: httpx.Client, target: Target) -> str:
    longest = target.max_model_len or 10_000_000
    code = client.post("/v1/chat/completions", json=_body(target, "Hello", max_tokens=longest + 1)).status_code
    _expect(code == 400, f"{longest + 1} tokens asked answers {code}, not 400")
    return f"400 for {longest + 1} tokens"


def _closed(client: httpx.Client, target: Target) -> str:
    """Without a key, and beside the paths that are let through, nothing answers."""
    without = client.get("/v1/models", headers={"Authorization": ""}).status_code
    _expect(without == 401, f"/v1/models without a key answers {without}, not 401")
    wrong = client.get("/v1/models", headers={"Authorization": "Bearer wrong"}).status_code
    _expect(wrong == 401, f"/v1/models with a wrong key answers {wrong}, not 401")
    beside = client.post("/tokenize", json={"prompt": "Hello"}).status_code
    _expect(beside == 404, f"/tokenize answers {beside}, not 404")
    return "401 without a key and with a wrong one, 404 beside the open paths"
