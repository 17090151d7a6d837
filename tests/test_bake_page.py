"""The page of `make bench-bake`: what it says of targets, with figures that were made up to meet and to miss them."""

from __future__ import annotations

from typing import Any

from bench.page import GIB, TARGETS, TITLES, targets

ROUTES = ("floor", "layout", "layout-known", "docker", "docker-again", "docker-build")


def row(route: str, gib: float, turn: int, **more: float) -> dict[str, Any]:
    plain = {"wall": gib, "cpu": gib, "daemon_cpu": 0.0, "written": gib * GIB, "daemon_written": 0, "rss": 90 * 2**20}
    return {"route": route, "gib": gib, "round": turn, "load": 0.1, "read": 0, "peak": 0, **plain, **more}


def found(**more: dict[str, float]) -> dict[str, Any]:
    """One GiB and four, two rounds; `more`: what a route did otherwise, at four."""
    plain: dict[str, dict[str, float]] = {"docker-build": {"wall": 9}, "docker-again": {"wall": 0.4, "written": 0}}
    rows = [
        row(r, gib, turn, **{**plain.get(r, {}), **(more.get(r.replace("-", "_"), {}) if gib == 4 else {})})
        for gib in (1, 4) for turn in (0, 1) for r in ROUTES
    ]  # fmt: skip
    return {"machine": "m", "routes": list(ROUTES), "rows": rows}


def test_targets_that_are_met_are_said_to_be() -> None:
    text = targets(found())
    assert text.startswith("All 20 targets are met.")
    assert "| to a layout, nothing known: wall, x floor | <= 1.15 | 1.00 | 1.00 |" in text
    assert "CPU a GiB at 4 GiB beside that at 1 (at most 1.2): layout 1.00, docker 1.00." in text
    assert "registry" not in text, "what was not measured is neither met nor missed"


def test_each_target_that_is_missed_is_named_where_it_is() -> None:
    text = targets(found(layout_known={"wall": 4.8, "cpu": 4.4}, docker_again={"wall": 0.64}, docker={"wall": 8}))
    assert text.startswith("4 of 20 targets are missed.")
    assert "| to a layout, sha256 known: wall, x floor | <= 1.15 | 1.00 | **1.20, missed** |" in text
    assert "| to a layout, sha256 known: CPU s/GiB | <= 1 | 1.00 | **1.10, missed** |" in text
    assert "| new entrypoint, docker: wall s | <= 0.5 | 0.40 | **0.64, missed** |" in text
    assert "| to Docker: times as fast as docker build | >= 1.8 | 9.00 | **1.12, missed** |" in text


def test_what_grows_faster_than_the_model_is_said() -> None:
    assert "**layout 1.50, missed**" in targets(found(layout={"cpu": 6}))


def test_every_target_is_of_a_route_that_is_measured() -> None:
    assert {t.route for t in TARGETS} | {t.beside for t in TARGETS} <= TITLES.keys()
