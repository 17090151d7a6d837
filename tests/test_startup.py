"""Where a start went, from logs of real starts: seconds since the start stand before each line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from weighbridge.catalog import Catalog
from weighbridge.startup import phases, startup_text

LOGS = Path(__file__).parent / "startup"


def lines(name: str) -> list[tuple[float, str]]:
    rows = [re.match(r"\[ *([\d.]+)\] (.*)", line) for line in (LOGS / f"{name}.log").read_text().splitlines()]
    return [(float(m[1]), m[2]) for m in rows if m]


def took(name: str, catalog: Catalog) -> dict[str, float]:
    return {t.phase: t.seconds for t in phases(lines(name), catalog.engine("vllm").startup)}


@pytest.mark.parametrize("name", ["h100-cold", "h100-warm", "h100-warm-startup-plan", "h100-eager"])
def test_the_phases_add_up_to_the_last_line(name: str, catalog: Catalog) -> None:
    found = took(name, catalog)
    assert sum(found.values()) == pytest.approx(lines(name)[-1][0], abs=0.5)
    assert all(seconds >= 0 for seconds in found.values())


def test_what_a_kept_cache_saves_is_seen(catalog: Catalog) -> None:
    cold, warm = took("h100-cold", catalog), took("h100-warm", catalog)
    assert cold["compile"] > 12
    assert warm["compile"] < 6
    assert cold["read the model's configuration"] > 10  # a process of its own looks at the model's class, once
    assert warm["read the model's configuration"] < 1


def test_an_eager_start_has_neither_compilation_nor_graphs(catalog: Catalog) -> None:
    assert not {"compile", "capture graphs"} & took("h100-eager", catalog).keys()


def test_the_table_ends_with_the_sum(catalog: Catalog) -> None:
    text = startup_text(phases(lines("h100-warm"), catalog.engine("vllm").startup))
    assert text.splitlines()[-1].startswith("in all")
    assert "no line" in startup_text(phases([(1.0, "nothing of interest")], catalog.engine("vllm").startup))
