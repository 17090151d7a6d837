"""What every test shares: a clean environment, the catalogue, and the switches --live and --update-golden."""

from __future__ import annotations

import os

import pytest
from fetch_bench import bench, hub

from weighbridge.catalog import Catalog

__all__ = ["bench", "hub"]  # fixtures


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--live", action="store_true", help="also run the tests that need a Docker engine (minutes)")
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/ with what is made now")


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
