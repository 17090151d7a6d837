"""Answers for the doctor's tests: captures of others' machines, whole or with a few named edits."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from weighbridge.catalog import Catalog, read_yaml
from weighbridge.doctor import Answer, Area, Report, about, about_profile, areas, judge
from weighbridge.doctor_read import READERS

HERE = Path(__file__).resolve().parent
CAPTURES = HERE / "captures"
MISSING = Answer(status="missing")


@cache
def catalog() -> Catalog:
    return Catalog()


@cache
def all_areas() -> dict[str, Area]:
    return areas(catalog())


@cache
def index() -> dict[str, Any]:
    return read_yaml(CAPTURES / "index.yaml")


def capture(name: str, *edits: tuple[str, str]) -> str:
    """A capture's text; each edit (old, new) must find its old text."""
    text = (CAPTURES / f"{name}.txt").read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text, f"{name} holds no {old!r}"
        text = text.replace(old, new)
    return text


def ok(text: str) -> Answer:
    return Answer(status="ok", text=text)


def failed(text: str) -> Answer:
    return Answer(status="failed", text=text)


def value(question: str, text: str) -> Any:
    """A text as the value of a question."""
    asked = next(area.questions[question] for area in all_areas().values() if question in area.questions)
    return READERS[asked.reads](text, asked.pattern)


def report(answers: dict[str, Answer], profile: str | None = None, /, **given: Any) -> Report:
    """The doctor's judgement of these answers for a profile."""
    wanted = catalog().profile(profile) if profile else None
    engine = catalog().engine(wanted.family.default_engine) if wanted else None
    facts = {"profile": about_profile(wanted, engine), **given}
    return judge(about(all_areas(), wanted), answers, facts)


def ids(answers: dict[str, Answer], profile: str | None = None, /, **given: Any) -> set[str]:
    return {f.id for f in report(answers, profile, **given).found}
