"""The smoke contract put to a running server: every question in turn; what does not apply is skipped, with a reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import httpx

from weighbridge.effects.chat import Target
from weighbridge.effects.smoke import load, refusals, talk
from weighbridge.effects.smoke.session import Session, Skipped, Wrong, open_session
from weighbridge.errors import BadFile, unknown
from weighbridge.report import check_line
from weighbridge.smoke import WITHOUT, Contract, Need, Question
from weighbridge.types import Check, SmokeReport
from weighbridge.words import many

Say = Callable[[str], None]
Ask = Callable[[Session, Question], str]
ASKS: Mapping[str, Ask] = {
    "health": talk.health, "models": talk.models, "chat": talk.chat, "stream": talk.stream,
    "reasoning": talk.reasoning, "tool-call": talk.tool_call, "completions": talk.completions,
    "unicode": talk.unicode, "deterministic": talk.deterministic, "json": talk.json_mode,
    "unbuffered": load.unbuffered, "long-prompt": load.long_prompt, "burst": load.burst, "cancel": load.cancel,
    "prefix-cache": load.prefix_cache,
    "unknown-model": refusals.unknown_model, "too-long": refusals.too_long, "closed": refusals.closed,
    "closed-paths": refusals.closed_paths, "refused": refusals.refused,
}  # fmt: skip
_PAUSE_SECONDS = 1.0  # between rounds of which one failed, so that a dead server is not asked thousands of times


def smoke(
    target: Target, contract: Contract, *, level: str = "quick", minutes: float = 0, say: Say, passed: bool = True
) -> SmokeReport:
    """Every check of the level in turn, again and again for `minutes`. A check that fails is in the report; the
    others still run. `passed`: say also what did not fail.

    Raises BadFile for a way of asking that is not known, HostError when a key cannot be read.
    """
    started = time.monotonic()
    questions = contract.asked(level)
    _known(questions)
    with open_session(target, contract) as session:
        rounds = [list(_round(session, questions, say, passed=passed))]
        while time.monotonic() - started < 60 * minutes:
            if any(c.ok is False for c in rounds[-1]):
                time.sleep(_PAUSE_SECONDS)
            rounds.append(list(_round(session, questions, _quiet)))
            say(_progress(rounds, time.monotonic() - started))
    return SmokeReport(
        url=target.url, model=target.model, checks=tuple(_together(rounds)),
        seconds=round(time.monotonic() - started, 3), memory=target.memory,
        key_file=str(target.key_file) if target.key_file else None, cert=str(target.cert) if target.cert else None,
        level=level, rounds=len(rounds), about=dict(target.about),
    )  # fmt: skip


def _known(questions: Mapping[str, Question]) -> None:
    for name, question in questions.items():
        if (question.ask or name) not in ASKS:
            error = unknown("way of asking", question.ask or name, ASKS, "images/README.md")
            raise BadFile(f"smoke.yaml: {name}: {error.message}", error.hint)


def _round(session: Session, questions: Mapping[str, Question], say: Say, *, passed: bool = True) -> Iterator[Check]:
    silent: str | None = None
    width = max(map(len, questions), default=0)
    for name, question in questions.items():
        why = _why_not(session, question, silent)
        if why:
            check, lost = Check(id=name, ok=None, seconds=0.0, detail=f"skipped: {why}"), False
        else:
            check, lost = _run(name, lambda q=question, n=name: ASKS[q.ask or n](session, q))  # type: ignore[misc]
        if lost and silent is None and "tokens" in question.needs:
            silent = name
        if passed or check.ok is False:
            say(check_line(check, width))
        yield check


def _why_not(session: Session, question: Question, silent: str | None) -> str | None:
    if question.skip:
        return question.skip
    target = session.target
    there: dict[Need, bool] = {
        "gateway": target.gateway, "reasoning": target.reasoning, "tools": target.tools,
        "metrics": session.metrics is not None, "context": target.max_model_len is not None,
        "sequences": target.max_num_seqs is not None, "tokens": True,
    }  # fmt: skip
    lacking = next((need for need in question.needs if not there[need]), None)
    if lacking:
        return WITHOUT[lacking]
    if silent and "tokens" in question.needs:
        return f"{silent} had no answer in {session.contract.answer_seconds:g} s"
    return None


def _run(name: str, ask: Callable[[], str]) -> tuple[Check, bool]:
    """The check, and whether no answer came in time."""
    started, lost = time.monotonic(), False
    ok: bool | None
    try:
        ok, detail = True, ask()
    except Wrong as e:
        ok, detail = False, str(e)
    except Skipped as e:
        ok, detail = None, f"skipped: {e}"
    except (httpx.HTTPError, LookupError, TypeError, ValueError, AttributeError) as e:  # an answer of another form
        ok, detail, lost = False, f"{type(e).__name__}: {e}", isinstance(e, httpx.ReadTimeout)
    return Check(
        id=name, ok=ok, seconds=round(time.monotonic() - started, 3), detail=" ".join(detail.split())[:300]
    ), lost


def _quiet(_: str) -> None:
    pass


def _progress(rounds: list[list[Check]], seconds: float) -> str:
    failed = [c.id for c in rounds[-1] if c.ok is False]
    words = f"FAIL {', '.join(failed)}" if failed else "ok"
    return f"round {len(rounds)} after {seconds / 60:.1f} min: {words}"


def _together(rounds: list[list[Check]]) -> Iterator[Check]:
    """One check for all its rounds: failed when one failed; the slowest time."""
    if len(rounds) == 1:
        yield from rounds[0]
        return
    for asked in zip(*rounds, strict=True):
        wrong = [c for c in asked if c.ok is False]
        right = [c for c in asked if c.ok]
        slowest = max(c.seconds for c in asked)
        if wrong:
            detail = f"{len(wrong)} of {many(len(asked), 'round')} failed, the first: {wrong[0].detail}"
        elif right:
            detail = f"{many(len(right), 'round')}, slowest {slowest:.2f} s; the last: {right[-1].detail}"
        else:
            detail = asked[-1].detail
        ok = False if wrong else True if right else None
        yield Check(id=asked[0].id, ok=ok, seconds=slowest, detail=detail[:300])
