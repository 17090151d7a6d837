"""What every test shares: a clean environment, the catalogue, and the switches --live and --update-golden."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fetch_bench import bench, hub
from invoke.collection import Collection

import tasks
from weighbridge.catalog import Catalog
from weighbridge.program import Verbs

__all__ = ["bench", "hub"]  # fixtures


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--live", action="store_true", help="also run the tests that need a Docker engine (minutes)")
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/ with what is made now")


def pytest_configure() -> None:
    """A shell starts what runs in its background deaf to Ctrl-C, and so would be each command that a test begins."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--live") or "live" in str(config.getoption("markexpr")):
        return
    live = [item for item in items if item.get_closest_marker("live")]
    if live:
        config.hook.pytest_deselected(items=live)
        items[:] = [item for item in items if item not in live]


@pytest.fixture(autouse=True)
def _plain_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No WEIGHBRIDGE_* of the person who runs the tests; live tests keep theirs (mirrors, caches)."""
    if request.node.get_closest_marker("live"):
        return
    for name in [n for n in os.environ if n.startswith("WEIGHBRIDGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog()


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def inv(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`inv(...)` in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Said:
        program = Verbs(namespace=Collection.from_module(tasks), version="0")
        code = 0
        try:
            program.run(["inv", *words], exit=False)
        except SystemExit as e:
            code = int(e.code or 0)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call
