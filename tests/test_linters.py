"""Is what we write, and what we make, clean? Skipped where a tool is missing, required in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import GOLDEN, ROOT

pytestmark = pytest.mark.linters
SHELL = sorted([*ROOT.glob("scripts/*.sh"), *ROOT.glob(".ci/*"), *GOLDEN.glob("**/*.sh")])


def lint(tool: str, *words: str) -> None:
    found = shutil.which(tool, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{tool} is missing, and CI must have it")
        pytest.skip(f"{tool} is missing")
    done = subprocess.run([found, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{tool} {' '.join(words[:2])}\n{done.stdout}{done.stderr}"


def test_the_code_is_formatted() -> None:
    lint("ruff", "format", "--check", ".")


def test_the_code_is_clean() -> None:
    lint("ruff", "check", ".")


def test_the_types_hold() -> None:
    lint("mypy")


def test_every_script_and_every_entrypoint_is_clean() -> None:
    assert any(path.name == "entrypoint.sh" for path in SHELL)
    lint("shellcheck", "-S", "warning", *map(str, SHELL))


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_every_line_to_paste_is_a_shells(shell: str) -> None:
    for path in [p for p in SHELL if p.parent.name == "run"]:
        lint(shell, "-n", str(path))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/compose/compose.yaml")), ids=lambda p: p.parent.parent.name)
def test_every_compose_file_is_yaml_with_one_service(path: Path) -> None:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert found.keys() <= {"name", "services", "volumes"}
    assert list(found["services"]) == ["engine"]
