"""Questions about how it serves: chunks in time, long prompts, many at a time, cancelling, the prefix cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from weighbridge.effects.smoke.session import PLAIN, Heard, Session, Skipped, Wrong, expect, words
from weighbridge.smoke import Question
from weighbridge.words import many

_PAUSE_SECONDS = 0.5
_SPREAD_SHARE = 0.5  # of the whole time, chunks must come over at least so much
_CLUMP_SHARE = 0.25  # of the chunks, at least so many must come apart from the one before
_ALONE_SHARE = 0.55  # of the clumps are one chunk: rather a busy client than a buffer
_NEAR_SHARE = 0.9  # of the goal, a long prompt must have at least so much
_SPARE_TOKENS = 16


def _endless(session: Session, question: Question, ask: str, **more: Any) -> dict[str, Any]:
    """A body that is answered to its last token, within the context."""
    longest = session.target.max_model_len or 4096
    most = min(question.body["max_tokens"], longest - 8 * _SPARE_TOKENS)
    return session.body(question, ask, **session.contract.endless, max_tokens=most, **more)


def unbuffered(session: Session, question: Question) -> str:
    """Each token travels when it is made. What stands between may hold chunks back: all of them, or some kB."""
    return _best_of(question, lambda: _apart(session, question))


def _best_of(question: Question, ask: Callable[[], str]) -> str:
    """What is wrong is wrong each time; a busy client is late only now and then."""
    for _ in range(question.tries - 1):
        try:
            return ask()
        except (Wrong, Skipped):
            time.sleep(_PAUSE_SECONDS)  # what made this client late may have passed
    return ask()


def _apart(session: Session, question: Question) -> str:
    heard = session.hear(question, _endless(session, question, (session.target.facts.chat or PLAIN).ask))
    return told_apart(heard.moments)


def told_apart(moments: Sequence[float]) -> str:
    """How the chunks of a stream came, by the seconds of each. Raises Wrong when something held them back."""
    count = len(moments)
    if count < 20:
        raise Skipped(f"its answer has {many(count, 'chunk')}, too few to tell")
    spread = (moments[-1] - moments[0]) / moments[-1]
    mean = (moments[-1] - moments[0]) / (count - 1)
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(moments), 1) if b - a > mean / 4), count]
    sizes = [b - a for a, b in pairwise(starts)]
    apart, alone = len(sizes), sizes.count(1)
    last = f"{count} chunks came between {moments[0]:.2f} and {moments[-1]:.2f} s"
    expect(spread >= _SPREAD_SHARE, f"{last}: something holds the stream back")
    if apart >= _CLUMP_SHARE * count:
        return f"{last}, {apart} of them apart"
    late = alone >= _ALONE_SHARE * apart and max(sizes) <= count / 2
    expect(late, f"{last}, in {apart} clumps: something holds the stream back")
    raise Skipped(f"{last}, in {apart} clumps, of which {alone} are one chunk: this client is too busy to tell")


def long_prompt(session: Session, question: Question) -> str:
    """As long as was planned, or as long as `seconds` allow; a longer one is refused."""
    longest = session.target.max_model_len or 0
    began = time.monotonic()
    probe = session.used(question, words(256))
    rate = probe / (time.monotonic() - began)
    bound = int(rate * question.seconds)
    goal = min(longest - question.body["max_tokens"] - _SPARE_TOKENS, max(bound, probe))
    began = time.monotonic()
    used = session.used(question, session.prompt(question, goal))
    took = time.monotonic() - began
    expect(_NEAR_SHARE * goal <= used <= goal + _SPARE_TOKENS, f"{used:,} tokens were counted, {goal:,} were sent")
    said = f"{used:,} of {longest:,} tokens in {took:.2f} s"
    if goal < longest - question.body["max_tokens"] - _SPARE_TOKENS:
        return f"{said}, all that {question.seconds:g} s of reading allow"
    over = session.body(question, session.prompt(question, longest + 4 * _SPARE_TOKENS))
    code = session.client.post(question.path, json=over).status_code
    expect(code == 400, f"a prompt beyond {longest:,} tokens answers {code}, not 400")
    return f"{said}, 400 beyond"


def burst(session: Session, question: Question) -> str:
    """As many requests at a time as were planned: all are answered, and all of them run at the same time."""
    return _best_of(question, lambda: _at_once(session, question))


def _at_once(session: Session, question: Question) -> str:
    planned = session.target.max_num_seqs or 1
    count = min(planned, question.requests)
    asks = [f"{words(1)} {number}" for number in range(count)]
    began = time.monotonic()

    def one(ask: str) -> tuple[float, float, Heard]:
        started = time.monotonic() - began
        heard = session.hear(question, _endless(session, question, ask))
        return started + heard.moments[0], started + heard.moments[-1], heard

    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(one, asks))
    broken = sum(not heard.done for _, _, heard in found)
    expect(not broken, f"{broken} of {count} streams do not end with [DONE]")
    most = max(sum(first <= moment <= last for first, last, _ in found) for moment, _, _ in found)
    tokens = sum(heard.chunks[-1]["usage"]["completion_tokens"] for _, _, heard in found)
    took = time.monotonic() - began
    expect(most >= _NEAR_SHARE * count, f"{count} were asked at a time, {most} ran at a time, planned {planned}")
    return f"{count} at a time of {planned} planned: {tokens / took:.0f} tokens a second"


def cancel(session: Session, question: Question) -> str:
    """A client that hangs up in mid-stream frees its slot, long before its answer would have ended."""
    metric = session.contract.metrics.running
    if metric is None:
        raise Skipped("smoke.yaml names no metric of running requests")
    before = session.figure(metric)
    body = _endless(session, question, (session.target.facts.chat or PLAIN).ask)
    with session.open_stream(question, body) as events:
        for _ in zip(range(3), events, strict=False):
            pass
        during, _ = session.figure_until(metric, lambda value: value > before, question.seconds)
        expect(during > before, f"{metric} stays {during:g} while a stream is read: it is not shown, or had ended")
    after, took = session.figure_until(metric, lambda value: value <= before, question.seconds)
    expect(after <= before, f"{metric} is still {after:g}, {took:.1f} s after the client hung up; {before:g} before")
    return f"the slot was free {took:.2f} s after the client hung up"


def prefix_cache(session: Session, question: Question) -> str:
    """The same long prompt again is read from the cache: of n replicas, one sees it twice in n + 1 times."""
    metric = session.contract.metrics.prefix_hits
    if metric is None:
        raise Skipped("smoke.yaml names no metric of the prefix cache")
    tokens = min(question.tokens, (session.target.max_model_len or question.tokens * 2) // 2)
    body = session.body(question, session.prompt(question, tokens))
    before, hits, times = session.figure(metric), [], 1 + session.target.replicas
    for _ in range(times):
        session.post(question, body)
        hits.append(session.figure(metric) - before)
    found = max(after - earlier for earlier, after in pairwise(hits))
    if found <= 0:  # figures may come late
        found = session.figure_until(metric, lambda value: value - before > hits[-1], question.seconds)[0]
        found -= before + hits[-1]
    if found <= 0:
        raise Wrong(f"{metric} did not grow when the same {tokens:,} tokens came {times} times")
    return f"{found:,.0f} of {tokens:,} tokens came from the cache"
