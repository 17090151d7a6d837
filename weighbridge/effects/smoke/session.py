"""One talk with a running server: requests, streams with the moment of each chunk, and figures of its metrics."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from weighbridge.effects.chat import Target, open_client
from weighbridge.effects.keyring import read_secret
from weighbridge.facts import Expectation
from weighbridge.smoke import Contract, Question

PLAIN = Expectation(ask="Say hello.", answer="")
_METRICS_SECONDS = 5.0


class Wrong(Exception):
    """An answer that is not what it must be; one line."""


class Skipped(Exception):
    """A question that turns out not to apply; why."""


def expect(truth: bool, wrong: str) -> None:
    if not truth:
        raise Wrong(wrong)


def reasoning_of(message: dict[str, Any]) -> str:
    """The engine's field changed its name over versions."""
    return message.get("reasoning") or message.get("reasoning_content") or ""


class Heard(NamedTuple):
    """A stream: its chunks, seconds from the question to each, and whether it said that it was over."""

    chunks: list[dict[str, Any]]
    moments: list[float]
    done: bool

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [c["choices"][0]["delta"] for c in self.chunks if c["choices"]]

    @property
    def text(self) -> str:
        return "".join(d.get("content") or "" for d in self.deltas)


class Session:
    """A target, its contract, and clients that hold its keys."""

    def __init__(self, client: httpx.Client, metrics: httpx.Client | None, target: Target, contract: Contract) -> None:
        self.client, self.metrics, self.target, self.contract = client, metrics, target, contract
        self._rate: tuple[float, float] | None = None

    def body(self, question: Question, ask: str, **more: Any) -> dict[str, Any]:
        return {
            "model": self.target.model,
            "messages": [{"role": "user", "content": ask}],
            **question.body,
            **more,
        }

    def post(self, question: Question, body: dict[str, Any]) -> dict[str, Any]:
        """The object that answers. Raises Wrong for another status or form."""
        answer = self.client.post(question.path, json=body)
        expect(answer.status_code == 200, f"answers {answer.status_code}: {answer.text[:200]}")
        found = answer.json()
        if not isinstance(found, dict):
            raise Wrong(f"answers {found!r:.200}")
        return found

    def message(self, question: Question, body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.post(question, body)["choices"][0]["message"]
        return found

    @contextmanager
    def open_stream(self, question: Question, body: dict[str, Any]) -> Iterator[Iterator[str]]:
        """The events of a stream as they come; leaving the block hangs up."""
        with self.client.stream("POST", question.path, json={**body, "stream": True}) as answer:
            if answer.status_code != 200:
                answer.read()
                raise Wrong(f"answers {answer.status_code}: {answer.text[:200]}")
            yield (line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: "))

    def hear(self, question: Question, body: dict[str, Any]) -> Heard:
        """A stream to its end."""
        asked, events, moments = time.monotonic(), [], []
        with self.open_stream(question, {**body, "stream_options": {"include_usage": True}}) as found:
            for event in found:
                events.append(event)
                moments.append(time.monotonic() - asked)
        done = events[-1:] == ["[DONE]"]
        chunks = [json.loads(e) for e in (events[:-1] if done else events)]
        return Heard(chunks, moments[: len(chunks)], done)

    def figure(self, metric: str) -> float:
        """A metric's value now, summed over its engines. Raises Wrong when it is not there."""
        assert self.metrics is not None  # a question that needs metrics is skipped without them
        answer = self.metrics.get(self.target.metrics_path or "")
        expect(answer.status_code == 200, f"{self.target.metrics_path} answers {answer.status_code}")
        pattern = re.compile(rf"^{re.escape(metric)}(?:\{{.*\}})?\s+(\S+)", re.MULTILINE)
        found = [float(value) for value in pattern.findall(answer.text)]
        expect(bool(found), f"no {metric} in {self.target.metrics_path}")
        return sum(found)

    def figure_until(self, metric: str, holds: Callable[[float], bool], seconds: float) -> tuple[float, float]:
        """The value once it holds, or the last one, and the seconds that it took."""
        began = time.monotonic()
        while True:
            value, passed = self.figure(metric), time.monotonic() - began
            if holds(value) or passed > seconds:
                return value, passed
            time.sleep(0.02)

    def prompt(self, question: Question, tokens: int) -> str:
        """A prompt that nobody asked before, of as many tokens: by the engine's own count of two shorter ones."""
        base, each = self._words(question)
        return words(max(1, int((tokens - base) / each)))

    def _words(self, question: Question) -> tuple[float, float]:
        """Tokens of a prompt without words, and of each word."""
        if self._rate is None:
            counts = [(n, self.used(question, words(n))) for n in (32, 96)]
            each = (counts[1][1] - counts[0][1]) / (counts[1][0] - counts[0][0])
            expect(each > 0, f"usage counts no prompt tokens: {counts}")
            self._rate = counts[0][1] - each * counts[0][0], each
        return self._rate

    def used(self, question: Question, ask: str) -> int:
        """The tokens of a prompt, as the engine counts them."""
        return int(self.post(question, self.body(question, ask))["usage"]["prompt_tokens"])


def words(count: int) -> str:
    """So many words after a beginning of its own, which no cache holds."""
    return f"{time.monotonic_ns() % 10**9:09d}" + " hello" * count


@contextmanager
def open_session(target: Target, contract: Contract) -> Iterator[Session]:
    """Raises HostError when a key or certificate cannot be read."""
    key = read_secret(target.key_file) if target.key_file else None
    with open_client(target.url, contract.answer_seconds, key, target.cert) as client:
        if not target.metrics_path:
            yield Session(client, None, target, contract)
            return
        own = read_secret(target.metrics_key) if target.metrics_key else None
        with open_client(target.url, _METRICS_SECONDS, own, target.cert) as metrics:
            yield Session(client, metrics, target, contract)
