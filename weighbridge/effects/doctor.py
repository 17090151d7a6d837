"""Asks a machine the doctor's questions: each bounded in time, none with root, none that changes anything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path

from weighbridge.doctor import Answer, Area, Question
from weighbridge.errors import BadValue

_AT_ONCE = 8  # tools wait for drivers and networks, not for the processor
_MOST_BYTES = 1_000_000
_NOT_FOUND = 127  # what a shell says of a command that it does not find


def ask_all(areas: Mapping[str, Area]) -> dict[str, Answer]:
    """Every question of these areas, several at a time; takes as long as the slowest."""
    questions = {n: q for area in areas.values() for n, q in area.questions.items() if q.of is None}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(questions, pool.map(ask, questions.values()), strict=True))


def ask(question: Question) -> Answer:
    """What this machine answers to one question; whatever goes wrong is an answer too."""
    if question.url:
        return _ask_address(question.url, question.seconds)
    if not shutil.which(question.command[0]):
        return Answer(status="missing")
    return _ask_command(question)


def _ask_command(question: Question) -> Answer:
    """Standard output and error together, as a person sees them. Past its time the whole process group is killed."""
    plain = {**os.environ, "LC_ALL": "C"}
    child = subprocess.Popen(
        list(question.command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=plain, start_new_session=True,
    )  # fmt: skip
    try:
        printed, _ = child.communicate(timeout=question.seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # a process that hangs in a driver survives even that
            child.communicate(timeout=1)
        return Answer(status="slow")
    return _answer(child.returncode, printed[:_MOST_BYTES].decode(errors="replace"))


def _answer(code: int, text: str) -> Answer:
    if code == _NOT_FOUND:
        return Answer(status="missing", text=text)
    return Answer(status="ok" if code == 0 else "failed", text=text)


def _ask_address(url: str, seconds: float) -> Answer:
    """Does it answer, how soon, and what time is it there? Any HTTP status is an answer; no token is sent."""
    import httpx

    began = time.monotonic()
    try:
        reply = httpx.head(url, timeout=seconds, headers={"User-Agent": "weighbridge-doctor"})
    except httpx.TimeoutException:
        return Answer(status="slow")
    except (httpx.HTTPError, OSError, ValueError) as e:
        return Answer(status="failed", text=f"{type(e).__name__}: {e}")
    took = round(time.monotonic() - began, 2)
    facts = {"url": url, "status": reply.status_code, "seconds": took, "skew_seconds": _skew(reply.headers.get("date"))}
    return Answer(status="ok", text=json.dumps(facts))


def _skew(date: str | None) -> int | None:
    """Seconds by which our clock is ahead of a Date header."""
    try:
        return round(time.time() - parsedate_to_datetime(date or "").timestamp())
    except ValueError:
        return None


def captured(folder: Path) -> dict[str, Answer]:
    """The answers of another machine, as tests/doctor/capture.sh wrote them. Raises BadValue."""
    if not folder.is_dir():
        raise BadValue(f"--captured {folder}: no such folder", "write one there with: tests/doctor/capture.sh FOLDER")
    found = {}
    for path in sorted(folder.glob("*.out")):
        code = path.with_suffix(".rc")
        number = code.read_text().strip() if code.is_file() else "0"
        text = path.read_text(encoding="utf-8", errors="replace")
        slow = number in ("124", "137")
        found[path.stem.replace("-", "_")] = (
            Answer(status="slow", text=text) if slow else _answer(int(number) if number.isdigit() else 1, text)
        )
    if not found:
        raise BadValue(f"--captured {folder}: holds no NAME.out", "write it with: tests/doctor/capture.sh FOLDER")
    return found
