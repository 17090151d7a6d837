"""What is made for each machine, compared whole and both ways. `--update-golden` rewrites it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest
from support import GOLDEN, Case, cases, outcome

from weighbridge.catalog import Catalog
from weighbridge.types import File

UPDATE = "pytest tests/test_golden.py --update-golden"


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.name)
def test_every_file_is_as_it_was_reviewed(case: Case, catalog: Catalog, pytestconfig: pytest.Config) -> None:
    folder = GOLDEN / case.name
    made = outcome(case, catalog)
    if pytestconfig.getoption("--update-golden"):
        _rewrite(folder, made)
    stored = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file() and p.name != "order.yaml"}
    missing, stale = sorted(made.keys() - stored.keys()), sorted(stored.keys() - made.keys())
    assert not missing, f"not stored yet; look at them, then: {UPDATE}"
    assert not stale, f"stored and no longer made: {UPDATE}"
    for name, file in sorted(made.items()):
        assert stored[name].read_text(encoding="utf-8") == file.text, _difference(name, stored[name], file)
        assert os.access(stored[name], os.X_OK) == file.executable, f"{case.name}/{name}: its mode changed: {UPDATE}"


def test_a_case_is_a_folder_with_an_order() -> None:
    stray = [p.name for p in GOLDEN.iterdir() if p.is_dir() and not (p / "order.yaml").is_file()]
    assert not stray, "folders without order.yaml"


def _rewrite(folder: Path, made: dict[str, File]) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        elif path.name != "order.yaml":
            path.unlink()
    for name, file in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
        path.chmod(0o755 if file.executable else 0o644)


def _difference(name: str, stored: Path, file: File) -> str:
    old, new = stored.read_text(encoding="utf-8").splitlines(), file.text.splitlines()
    return "\n".join(difflib.unified_diff(old, new, f"{name} (reviewed)", f"{name} (now)", lineterm="", n=1))


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.name)
def test_a_case_is_refused_only_when_its_name_says_so(case: Case) -> None:
    assert (GOLDEN / case.name / "error.json").is_file() == case.name.endswith("-refused")
