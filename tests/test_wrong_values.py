"""One wrong value for every option of every verb: two lines, an exit code that is not 0, and nothing left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import ROOT

import tasks
from weighbridge.cli import VERBS, flag_name

WRONG = "no such\tthing/…"
ELSE = {"junit": "/proc/nope/x", "html": "/proc/nope/x", "svg": "/proc/nope/x", "output": "/proc/nope/x"}
# What a verb needs beside the wrong value to come to it; without a Docker engine all is refused in the end.
WITH: dict[str, list[str]] = {
    "bake": ["--to", "layout"],
    "fetch": ["--dry-run", "--source", "dir", "--from", str(ROOT / "models" / "weighbridge-demo")],
    "run": ["--dry-run"],
    "keys": ["add"],
    "host-setup": ["--profile", "h100-80g-x8"],
}
ACCEPTED = {
    ("calibrate", "catalog"): "read when a run is added, and no sooner",
    ("render", "weights"): "the folder may be on the machine that the lines are for",
    ("render", "keys"): "the same",
    ("run", "weights"): "the same, of a dry run",
    ("run", "keys"): "the same, of a dry run",
    ("fetch", "model"): "a folder's files are whatever one calls them",
    ("fetch", "lock"): "a lock that is not there is written",
}
CASES = [
    (verb, name)
    for verb, (flags, words) in VERBS.items()
    for name, (default, _) in flags.items()
    if not isinstance(default, bool) and name not in words
]


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Docker engine, no store, no keys: what a wrong value leaves would be found."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "WEIGHBRIDGE_STORE", "WEIGHBRIDGE_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))


def beside(verb: str, flag: str) -> list[str]:
    """The words of a verb without the flag that is about to be given."""
    words = WITH.get(verb, [])
    at = words.index(flag) if flag in words else None
    return words if at is None else [*words[:at], *words[at + 2 :]]


@pytest.mark.parametrize(("verb", "name"), CASES, ids=[f"{v}-{n}" for v, n in CASES])
def test_a_wrong_value_is_two_lines(verb: str, name: str, inv: Any, tmp_path: Path) -> None:
    flag = f"--{flag_name(name)}"
    said = inv(verb, *beside(verb, flag), flag, ELSE.get(name, WRONG))
    if (verb, name) in ACCEPTED:
        assert said.code == 0, ACCEPTED[verb, name]
        return
    assert said.code in (1, 2), said
    *_, first, second = said.err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  ")
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_every_verb_is_here() -> None:
    assert {verb for verb, _ in CASES} == {n.replace("_", "-") for n in tasks.__all__} - {"clean"}
