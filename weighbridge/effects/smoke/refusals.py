"""Questions that must be refused: with which status, in which form, and paths that must not be there."""

from __future__ import annotations

import json
from typing import Any

from weighbridge.effects.smoke.session import Session, expect
from weighbridge.smoke import Question
from weighbridge.words import many

_KEYS = {"none": {"Authorization": ""}, "wrong": {"Authorization": "Bearer wrong"}, "right": {}}
_MIB = 1024**2


def unknown_model(session: Session, question: Question) -> str:
    code = session.client.post(question.path, json=session.body(question, "Hello", model="no-such-model")).status_code
    expect(code == 404, f"a model that is not served answers {code}, not 404")
    return "404"


def too_long(session: Session, question: Question) -> str:
    longest = session.target.max_model_len or 10_000_000
    body = session.body(question, "Hello", max_tokens=longest + 1)
    code = session.client.post(question.path, json=body).status_code
    expect(code == 400, f"{longest + 1} tokens asked answers {code}, not 400")
    return f"400 for {longest + 1} tokens"


def closed(session: Session, question: Question) -> str:
    """Without a key, and beside the paths that are let through, nothing answers."""
    client = session.client
    without = client.get(question.path, headers=_KEYS["none"]).status_code
    expect(without == 401, f"{question.path} without a key answers {without}, not 401")
    wrong = client.get(question.path, headers=_KEYS["wrong"]).status_code
    expect(wrong == 401, f"{question.path} with a wrong key answers {wrong}, not 401")
    beside = client.post("/tokenize", json={"prompt": "Hello"}).status_code
    expect(beside == 404, f"/tokenize answers {beside}, not 404")
    return "401 without a key and with a wrong one, 404 beside the open paths"


def closed_paths(session: Session, question: Question) -> str:
    """What the engine has and clients must not reach."""
    found = {
        f"{row.method} {row.path}": session.client.request(row.method, row.path).status_code
        for row in session.contract.closed
    }
    open_ = [f"{name} answers {code}" for name, code in found.items() if code != 404]
    expect(not open_, f"{', '.join(open_)}, not 404")
    return f"404 for {many(len(found), 'path')} of the engine"


def refused(session: Session, question: Question) -> str:
    """The status, and JSON from which a client can read why."""
    content = _content(session, question)
    headers = {"Content-Type": "application/json", **_KEYS[question.key]}
    answer = session.client.request(question.method, question.path, content=content, headers=headers)
    code = answer.status_code
    expect(code == question.status, f"answers {code}, not {question.status}: {answer.text[:120]}")
    error: Any = answer.json()
    error = error.get("error") if isinstance(error, dict) else None
    readable = isinstance(error, dict) and all(isinstance(error.get(k), str) and error[k] for k in ("message", "type"))
    expect(readable, f"{code} without error.message and error.type: {answer.text[:120]!r}")
    expect(question.code in (None, error["code"]), f"error.code is {error['code']!r}, not {question.code!r}")
    return f"{code}: {error['message'][:80]}"


def _content(session: Session, question: Question) -> bytes | None:
    if question.method == "GET":
        return None
    if question.oversize:
        return b" " * ((session.target.body_mib + 1) * _MIB)
    if question.text is not None:
        return question.text.encode()
    return json.dumps({"model": session.target.model, **question.body}).encode()
